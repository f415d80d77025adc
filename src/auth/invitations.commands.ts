/** Accounts that somebody makes for somebody else, and the mail that asks them in. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import type { Caller } from '../http/caller.ts';
import { insertMember } from '../organizations/members.queries.ts';
import { assertMayMakeAccount } from '../roles/accounts-of-others.ts';
import { joinByWord } from '../roles/joining.commands.ts';
import { assertHolds } from '../roles/passing-on.ts';
import { requireRole } from '../roles/roles.commands.ts';
import { findRolePermissions } from '../roles/roles.queries.ts';
import { emailTaken } from '../users/users.commands.ts';
import { type Account, findAccount, insertUser, normalizeEmail } from '../users/users.queries.ts';
import { type AccountDeps, checkPassword, linkTo } from './accounts.commands.ts';
import { createActionToken, invitationMinutes } from './action-tokens.commands.ts';

export interface NewAccount {
  email: string;
  name: string;
  role: string;
  /** Without one the account has none until its owner sets it by a mailed link. */
  password?: string | undefined;
  emailVerified: boolean;
  /** Mails a link that sets a password, which verifies the address as well. */
  sendInvitation: boolean;
  locale: string | null;
  /** The account begins as a member of this organization. */
  organizationId?: string | undefined;
}

/**
 * Makes an account for somebody else.
 * @throws AppError 400 for the password or a role that is not there, 403 and 404 as `assertMayMakeAccount` and `assertHolds`,
 * 409 email_taken, 503
 */
export const createUser = async (
  deps: Pick<AccountDeps, 'db' | 'issuer' | 'passwords' | 'queueMail'>,
  actor: Actor,
  by: Caller,
  { email: given, password, emailVerified, sendInvitation, organizationId, ...input }: NewAccount,
): Promise<Account> => {
  const { passwords } = deps;
  const email = normalizeEmail(given);
  if (password !== undefined) await checkPassword(passwords, 'password', password, { email, name: input.name });
  const passwordHash = password === undefined ? null : await passwords.hash(password);
  const user = { id: uuid(), email, name: input.name, locale: input.locale };
  return deps.db.transaction(async (db) => {
    const role = await requireRole(db, input.role);
    await assertMayMakeAccount(db, by, organizationId);
    // Everybody who registers gets the role `user`; whoever makes accounts for an organization need not rank as high elsewhere.
    const permissions = await findRolePermissions(db, role.name);
    await assertHolds(db, by, {
      permissions,
      rank: role.rank,
      organizationId: role.name === 'user' ? organizationId : undefined,
    });
    const emailVerifiedAt = emailVerified ? new Date() : null;
    if (!(await insertUser(db, { ...user, passwordHash, role: role.name, emailVerifiedAt }))) throw emailTaken();
    if (organizationId) await insertMember(db, { organizationId, userId: user.id, isOwner: false });
    if (sendInvitation) await invite(deps, db, user);
    const meta = { role: role.name, invited: sendInvitation, ...(organizationId ? { organizationId } : {}) };
    await recordEvent(db, actor, { action: 'user.create', target: userTarget(user.id), meta });
    if (organizationId) {
      const meta = { organizationId, isOwner: false, roles: [] };
      await recordEvent(db, actor, { action: 'organization.add_member', target: userTarget(user.id), meta });
    }
    if (emailVerified) await joinByWord(db, actor, by, user.id);
    return (await findAccount(db, user.id)) as Account;
  });
};

const invite = async (
  { issuer, queueMail }: Pick<AccountDeps, 'issuer' | 'queueMail'>,
  db: Db,
  user: { id: string; email: string; name: string; locale: string | null },
): Promise<void> => {
  const token = await createActionToken(db, 'reset-password', user.id, undefined, invitationMinutes);
  await queueMail(db, user, {
    mail: 'invitation',
    props: { name: user.name, link: linkTo(issuer, 'reset', token), minutes: invitationMinutes },
  });
};
