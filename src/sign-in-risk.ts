/** Where addresses are and how risky sign-ins are, as `app.ts` puts them together. */
import { type GeoIp, openGeoIp } from '../adapters/geoip.ts';
import { createRisk, type Risk } from './auth/risk.commands.ts';
import type { KeepDeps } from './auth/sign-ins.commands.ts';
import type { Config } from './config.ts';
import type { Log } from './log.ts';

/** @throws Error for a file of GEOIP_DB that cannot be read */
export const createSignInRisk = (config: Config, deps: KeepDeps, log: Log): GeoIp & { risk: Risk } => {
  const geoIp = openGeoIp(config.GEOIP_DB, log);
  const thresholds = { stepUp: config.RISK_STEP_UP, refuse: config.RISK_REFUSE };
  return { ...geoIp, risk: createRisk({ ...deps, locate: geoIp.locate, thresholds }) };
};
