/** Device codes and backchannel requests as `app.ts` puts them together: how often they may be tried, and who decides them. */
import type { Jobs } from '../adapters/jobs.ts';
import { createBackchannelLimits, createUserCodeLimits, mayMailRequest } from '../adapters/protocol-limits.ts';
import { addressKey, type RateLimits } from '../adapters/rate-limits.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import { askPerson } from './auth/backchannel.commands.ts';
import type { BackchannelRouteDeps } from './auth/backchannel.routes.ts';
import { type BackchannelParts, type DecisionDeps, decideRequest } from './provider/ciba.ts';
import { limitDeviceRequests, type UserCodeLimits } from './provider/device-flow.ts';

export interface Approvals {
  userCodeLimits: UserCodeLimits;
  backchannel: BackchannelParts;
  limitDeviceRequests: ReturnType<typeof limitDeviceRequests>;
  decideRequest: BackchannelRouteDeps['decide'];
}

/** @param provider the engine's instance that serves now; there is one by the time that somebody decides */
export const createApprovals = ({
  accounts,
  limits,
  jobs,
  needsMfa,
  provider,
}: {
  accounts: AccountDeps;
  limits: RateLimits;
  jobs: Jobs;
} & Pick<DecisionDeps, 'needsMfa' | 'provider'>): Approvals => {
  const { db, secrets } = accounts;
  const asking = { ...accounts, mayMail: mayMailRequest(limits) };
  const deciding: DecisionDeps = {
    db,
    secrets,
    needsMfa,
    provider,
    queuePing: (db, ping) => jobs.send(db, 'ciba-ping', ping, ping.clientId),
  };
  return {
    userCodeLimits: createUserCodeLimits(limits),
    backchannel: {
      db,
      limits: createBackchannelLimits(limits),
      askPerson: (actor, request) => askPerson(asking, actor, request),
    },
    limitDeviceRequests: limitDeviceRequests((address) => limits.consume('deviceRequests', addressKey(address))),
    decideRequest: (actor, session, decision) => decideRequest(deciding, actor, session, decision),
  };
};
