/** Closes accounts for good. The row stays, without a name, for the audit log to point at; the address is free again. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { conflict, invalid, notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { assertOwnsNothingAlone } from '../organizations/members.commands.ts';
import { assertNotLastSuperAdmin, lockTarget } from '../users/users.commands.ts';
import { findUser, type User, updateUser } from '../users/users.queries.ts';
import type { AccountDeps } from './accounts.commands.ts';
import { provePassword } from './password-proofs.commands.ts';

/** What goes with a person, as `on delete cascade` would have it if the row itself went. */
export const belongings = [
  'action_tokens',
  'api_keys',
  'backchannel_requests',
  'backup_codes',
  'consents',
  'domain_members',
  'grants',
  'group_members',
  'identities',
  'known_devices',
  'one_time_codes',
  'organization_departures',
  'organization_members',
  'passkeys',
  'permission_grants',
  'refresh_tokens',
  'role_grants',
  'sessions',
  'sign_ins',
  'totp_devices',
] as const;

/** The address of a closed account: of nobody, under a top-level domain that will never be one (RFC 2606 section 2). */
const nobodysAddress = (id: string) => `${id}@closed.invalid`;

/**
 * A stolen token or API key must not be enough to destroy an account, so its owner gives the password as well.
 * @returns the account that was proven
 * @throws AppError 400 with the field `password`, 429, 503
 */
const provePresence = async (
  deps: Pick<AccountDeps, 'db' | 'passwords' | 'guesses'>,
  actor: Actor,
  { id, sessionUid }: Caller,
  password: string | undefined,
  signedInLately: boolean,
): Promise<User> => {
  const user = await findUser(deps.db, id);
  if (!user) throw notFound('user');
  if (user.passwordHash === null && signedInLately) return user;
  if (password === undefined) {
    throw invalid('invalid_request', 'The password is needed to close one’s own account', {
      fields: [{ field: 'password', code: 'password_required', message: 'is needed' }],
    });
  }
  const device = sessionUid
    ? ({ kind: 'proven', key: `session ${sessionUid}` } as const)
    : { kind: 'unknown' as const };
  return provePassword(deps, actor, user, { operation: 'close_account', password, device });
};

export interface ClosingRequest {
  userId: string;
  /** Of the account, when it is the caller's own. */
  password: string | undefined;
  /** The owner has signed in lately and as strongly as they can: that does where there is no password. */
  signedInLately?: boolean;
}

/**
 * Closes an account: everything that it was signed in to ends, its name, address, password and personal data are gone (of
 * the sealed part the key, which erases it from backups too), and nobody can open it again.
 * What nobody else owns is handed over before, or deleted, whoever closes the account.
 * @throws AppError 404 user_not_found, 403 rank_too_low, 409 last_super_admin, last_owner or password_changed, 400, 429
 */
export const closeAccount = async (
  deps: Pick<AccountDeps, 'db' | 'passwords' | 'guesses' | 'endSessions'>,
  actor: Actor,
  caller: Caller,
  { userId, password, signedInLately = false }: ClosingRequest,
): Promise<void> => {
  const isOwn = caller.kind === 'user' && caller.id === userId.toLowerCase();
  const proven = isOwn ? await provePresence(deps, actor, caller, password, signedInLately) : undefined;
  await transact(deps.db, async (db) => {
    const account = await lockTarget(db, caller, userId);
    // Whoever has set a new password meanwhile has not asked for this.
    if (proven && (await findUser(db, account.id))?.passwordHash !== proven.passwordHash)
      throw conflict('password_changed', 'The password was changed meanwhile');
    await assertNotLastSuperAdmin(db, account);
    await assertOwnsNothingAlone(db, account.id);
    await deps.endSessions(db, actor, account.id, undefined, 'closed');
    await forget(db, account.id);
    await recordEvent(db, actor, { action: 'user.close', target: userTarget(account.id) });
  });
};

const forget = async (db: Db, id: string): Promise<void> => {
  // What they have sent is void, and what was sent to them has their address.
  const own = db('users').where({ id }).whereNotNull('emailVerifiedAt').select('email');
  await db('organizationInvitations').where({ invitedBy: id }).orWhere('email', own).delete();
  await updateUser(db, id, {
    status: 'closed',
    email: nobodysAddress(id),
    emailVerifiedAt: null,
    name: '',
    passwordHash: null,
    locale: null,
    piiKey: null,
    piiEncrypted: null,
    phoneIndex: null,
    lastSignInAt: null,
  });
  for (const table of belongings) await db(table).delete().where({ userId: id });
  // Whoever registers a client with one would answer to nobody.
  await db('initialAccessTokens').delete().where({ createdBy: id });
};
