/** The settings of how risky sign-ins are judged and what becomes of them, which `config.ts` takes in with all others. */
import { z } from 'zod';
import { list } from './setting-kinds.ts';

const score = (initial: number, description: string) => {
  const message = 'expected a score from 1 to 100, or 0 for never';
  return z.coerce.number(message).int(message).min(0, message).max(100, message).default(initial).meta({ description });
};

/** A second factor that is asked for from a score on where everybody is refused already would never be asked for. */
export const riskMistakes = ({
  RISK_STEP_UP,
  RISK_REFUSE,
}: {
  RISK_STEP_UP?: number;
  RISK_REFUSE?: number;
}): string[] =>
  RISK_REFUSE && RISK_STEP_UP !== undefined && RISK_STEP_UP > RISK_REFUSE
    ? [`RISK_STEP_UP: ${RISK_STEP_UP} is more than RISK_REFUSE (${RISK_REFUSE}), so it would never be reached`]
    : [];

export const riskSettings = {
  GEOIP_DB: list.default([]).meta({
    description:
      'MMDB files (MaxMind’s format), separated by commas, that tell where addresses are: a city database, one of autonomous systems, or both. Read again when they change',
  }),
  RISK_STEP_UP: score(
    70,
    'From which risk score on (docs/risk.md) a sign-in needs a second factor; 0: risk never asks for one',
  ),
  RISK_REFUSE: score(0, 'From which risk score on a sign-in is refused, as if the password were wrong; 0: never'),
};
