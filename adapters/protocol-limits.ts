/** The limits of the flows in which a person and a client meet on different devices: which counters each attempt takes from. */
import { tooMany } from '../src/errors.ts';
import type { BackchannelLimits } from '../src/provider/ciba.ts';
import type { UserCodeLimits } from '../src/provider/device-flow.ts';
import { addressKey, type RateLimits } from './rate-limits.ts';

/** How long somebody who is not signed in is sent away while codes are being guessed everywhere, in seconds. */
const busySeconds = 900;

/**
 * User codes are counted by address, by account, and over everybody. Past the last of them only those who are signed in
 * may try, each within a limit of their own: guessing from many places must not turn the flow off for everybody.
 */
export const createUserCodeLimits = (limits: RateLimits): UserCodeLimits => ({
  begin: async (address, userId) => {
    const from = addressKey(address);
    await limits.consume('userCodeAddress', from);
    if (userId !== undefined) await limits.consume('userCodeAccount', userId);
    const excess = await limits.count('userCodeTotal', '');
    if (excess > 0 && userId === undefined) throw tooMany(busySeconds);
    return async () => {
      await limits.reward('userCodeAddress', from);
      if (userId !== undefined) await limits.reward('userCodeAccount', userId);
      await limits.reward('userCodeTotal', '');
    };
  },
});

/** Whether one more mail about a request may go to an address. */
export const mayMailRequest =
  (limits: RateLimits) =>
  async (email: string): Promise<boolean> =>
    !(await limits.take('mailRecipient', `backchannel-request ${email}`)).exceeded;

/** Backchannel requests are counted by client and person, and by person: nobody is to be worn down until they agree. */
export const createBackchannelLimits = (limits: RateLimits): BackchannelLimits => ({
  ask: async (clientId, userId) => {
    await limits.consume('backchannelPair', `${clientId} ${userId}`);
    await limits.consume('backchannelPerson', userId);
  },
  missed: (clientId) => limits.consume('backchannelUnknown', clientId),
});
