/** Second factors as `app.ts` puts them together: what changing and using them needs of other domains. */
import type { AccountDeps } from './auth/accounts.commands.ts';
import { listFallbacks } from './auth/fallback-factors.queries.ts';
import { forgetRememberedBrowsers } from './auth/known-devices.queries.ts';
import { tellOfFactor } from './auth/notices.commands.ts';
import type { OtpDeps } from './auth/otp.commands.ts';
import { provePassword } from './auth/password-proofs.commands.ts';
import { isMfaRequired } from './auth/second-factor-policy.ts';
import type { FactorDeps } from './mfa/factor-changes.ts';
import type { MfaRouteDeps } from './mfa/factor-fields.ts';
import { usesStrictClient } from './mfa/factors.queries.ts';
import { assertMayTakeOver } from './roles/accounts-of-others.ts';
import { findUser } from './users/users.queries.ts';

/** @param requiredRank from which on people must have a second factor; undefined: nobody must */
export const createFactorDeps = (accounts: AccountDeps, requiredRank: number | undefined): FactorDeps => ({
  db: accounts.db,
  secrets: accounts.secrets,
  tellOwner: (db, actor, userId, change) => tellOfFactor(accounts, db, actor, { userId, change }),
  needsFactor: async (db, userId) =>
    (await isMfaRequired(db, { requiredRank }, userId)) || usesStrictClient(db, userId),
  forgetBrowsers: forgetRememberedBrowsers,
});

/** What the REST routes need beside that. @param brand the service's name, as authenticator apps show it */
export const createMfaRouteDeps = (
  factors: FactorDeps,
  { accounts, otp, brand }: { accounts: AccountDeps; otp: OtpDeps; brand: string },
): MfaRouteDeps => ({
  ...otp,
  ...factors,
  brand,
  endSessions: accounts.endSessions,
  assertMayTakeOver,
  listFallbacks: (userId) => listFallbacks(otp, userId),
  provePassword: async (actor, { userId, sessionUid, password }) => {
    // A session is proof enough to have tries of one's own, whatever others do to the account.
    const device = { kind: 'proven', key: `session ${sessionUid}` } as const;
    const user = await findUser(accounts.db, userId);
    await provePassword(accounts, actor, user, { operation: 'change_factors', password, device });
  },
});
