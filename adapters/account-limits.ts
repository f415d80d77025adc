/** The limits of what people do with accounts: which of the counters each attempt takes from. */
import type { AccountDeps } from '../src/auth/accounts.commands.ts';
import { createGuesses } from '../src/auth/guesses.ts';
import type { Secrets } from '../src/secrets.ts';
import { addressKey, type RateLimits } from './rate-limits.ts';

export const createAccountLimits = (
  limits: RateLimits,
  secrets: Secrets,
): Pick<AccountDeps, 'limitMail' | 'limitRegistrations' | 'guesses' | 'hashDevice' | 'releaseCodes'> => ({
  limitMail: async (kind, email, address) => {
    const from = addressKey(address);
    await limits.consume('mailClient', from);
    await limits.consume('mailPair', `${email} ${from}`);
    return !(await limits.take('mailRecipient', `${kind} ${email}`)).exceeded;
  },
  limitRegistrations: (address) => limits.consume('register', addressKey(address)),
  guesses: createGuesses(limits, addressKey),
  releaseCodes: async (userId) => {
    for (const purpose of ['verify-phone', 'mfa', 'change-email'])
      await limits.reset('codeRecipient', `${purpose} ${userId}`);
  },
  hashDevice: (userId, { address = '', userAgent = '' }, cookie) =>
    secrets.mac('device', JSON.stringify([userId, ...(cookie ? [cookie] : [addressKey(address), userAgent])])),
});
