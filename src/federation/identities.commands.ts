/**
 * Connects accounts elsewhere with accounts here, and takes them apart again. What a provider says of somebody at each sign-in
 * (profile, roles) is taken over here too.
 */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import type { AccountDeps } from '../auth/accounts.commands.ts';
import { noticeTo } from '../auth/notices.commands.ts';
import { conflict, forbidden, notFound } from '../errors.ts';
import { findGiftsOfAccount } from '../roles/accounts-of-others.ts';
import { mayHoldAll } from '../roles/passing-on.ts';
import type { Secrets } from '../secrets.ts';
import { openPii, type Pii, sealPii } from '../users/pii.ts';
import { findAccount, findUser, lockUser, type User, updateUser } from '../users/users.queries.ts';
import {
  deleteIdentity,
  findIdentity,
  hasOwnWayIn,
  type Identity,
  insertIdentity,
  listIdentities,
  touchIdentity,
} from './identities.queries.ts';
import type { IdentityProvider } from './identity-providers.ts';
import type { UpstreamPerson } from './profiles.ts';

export interface IdentityDeps
  extends Pick<AccountDeps, 'db' | 'secrets' | 'issuer' | 'describeDevice' | 'queueMail' | 'endSessions'> {
  /** From which rank on a sign-in needs two factors; undefined: from none. */
  requiredRank: number | undefined;
}

/**
 * An account of a provider that a row describes ranks no higher, and may do no more, than whoever wrote the row: else they could sign
 * in as anybody.
 */
export const ranksTooHigh = async (db: Db, provider: IdentityProvider, userId: string): Promise<boolean> => {
  const { source, rank, permissions } = provider;
  if (source !== 'row') return false;
  if (((await findAccount(db, userId))?.rank ?? 0) > rank) return true;
  return Boolean(permissions) && !mayHoldAll(permissions ?? [], await findGiftsOfAccount(db, userId));
};

const keyOf = ({ providerId, issuer, subject }: UpstreamPerson) => ({ providerId, issuer, subject });

const tell = async (
  deps: IdentityDeps,
  db: Db,
  actor: Actor,
  user: User,
  { provider, connected }: { provider: string; connected: boolean },
): Promise<void> =>
  deps.queueMail(db, user, {
    mail: connected ? 'identity-connected' : 'identity-disconnected',
    props: { ...noticeTo(deps, actor, user), provider },
  });

/**
 * Connects somebody's account elsewhere with their account here, and tells the owner.
 * @param signsIn whether it is part of a sign-in by way of the provider, which is then its first
 * @throws AppError 404 user_not_found, 409 identity_taken when it is connected with another account, 403 rank_too_low
 */
export const linkIdentity = (
  deps: IdentityDeps,
  actor: Actor,
  provider: IdentityProvider,
  { userId, person, signsIn = false }: { userId: string; person: UpstreamPerson; signsIn?: boolean },
): Promise<Identity> =>
  transact(deps.db, async (db) => {
    if ((await lockUser(db, userId)) !== 'active') throw notFound('user');
    const user = (await findUser(db, userId)) as User;
    if (await ranksTooHigh(db, provider, userId))
      throw forbidden('rank_too_low', 'The provider was set up by somebody with a lower role');
    const known = await findIdentity(db, keyOf(person));
    if (known && known.userId === userId) return known;
    const { email = null, emailProven } = person;
    const used = signsIn ? { lastUsedAt: new Date() } : {};
    const made = known
      ? undefined
      : await insertIdentity(db, { ...keyOf(person), userId, email, emailProven, ...used });
    if (!made) throw conflict('identity_taken', 'It is connected with another account');
    await tell(deps, db, actor, user, { provider: provider.metadata.name, connected: true });
    await recordEvent(
      db,
      { ...actor, type: 'user', id: userId },
      { action: 'identity.link', target: userTarget(user.id), meta: { provider: provider.id } },
    );
    return made;
  });

/**
 * Takes one apart, and tells the owner. Sessions do not say by which account they were begun, so all end but the one that asks:
 * whoever has the other account is out.
 * @param offered names of the providers that people can sign in with, by id
 * @throws AppError 404 identity_not_found, 409 last_way_in when nothing else would be left to sign in with
 */
export const unlinkIdentity = (
  deps: IdentityDeps,
  actor: Actor,
  {
    userId,
    sessionUid,
    id,
    offered,
  }: { userId: string; sessionUid: string; id: string; offered: ReadonlyMap<string, string> },
): Promise<void> =>
  transact(deps.db, async (db) => {
    // Of two that are taken apart at once, the second sees what the first has left.
    await lockUser(db, userId);
    const user = await findUser(db, userId);
    const removed = user && (await deleteIdentity(db, userId, id));
    if (!removed) throw notFound('identity');
    const left = await listIdentities(db, userId);
    const hasOther = left.some(({ providerId }) => offered.has(providerId));
    if (!hasOther && !(await hasOwnWayIn(db, userId)))
      throw conflict('last_way_in', 'This is the only way to sign in: set a password or add a passkey first');
    await dropRoles(db, userId, removed.providerId, left);
    await deps.endSessions(db, actor, userId, sessionUid, 'identity_unlinked');
    const { providerId } = removed;
    await tell(deps, db, actor, user, { provider: offered.get(providerId) ?? providerId, connected: false });
    await recordEvent(db, actor, {
      action: 'identity.unlink',
      target: userTarget(user.id),
      meta: { provider: providerId },
    });
  });

/** Roles that a provider gave, once no account of it is left. */
const dropRoles = async (db: Db, userId: string, providerId: string, left: readonly Identity[]): Promise<void> => {
  if (left.some((one) => one.providerId === providerId)) return;
  await db('roleGrants').where({ userId, identityProviderId: providerId }).delete();
};

/**
 * Drops what may be a stranger's when the mailbox's owner takes an account back: all but accounts that a trusted provider says
 * have this very address. Pass the transaction that has locked the user's row.
 */
export const dropUnprovenIdentities = async (db: Db, actor: Actor, userId: string, reason: string): Promise<void> => {
  const user = await findUser(db, userId);
  if (!user) return;
  const gone: { providerId: string }[] = await db('identities')
    .where({ userId })
    .whereNot((one) => one.where({ emailProven: true, email: user.email }))
    .delete()
    .returning('providerId');
  const left = gone.length ? await listIdentities(db, userId) : [];
  for (const { providerId } of gone) {
    await dropRoles(db, userId, providerId, left);
    const meta = { provider: providerId, reason };
    await recordEvent(db, actor, { action: 'identity.unlink', target: userTarget(user.id), meta });
  }
};

const fillProfile = async (db: Db, secrets: Secrets, user: User, profile: UpstreamPerson['profile']): Promise<void> => {
  const { name = user.name, locale = user.locale, ...members } = profile;
  const before = openPii(secrets, user);
  const pii: Pii = { ...before, ...members };
  const isSame = Object.entries(members).every(([member, value]) => before[member as keyof Pii] === value);
  if (isSame && name === user.name && locale === user.locale) return;
  await updateUser(db, user.id, { name, locale, ...(isSame ? {} : sealPii(secrets, user.id, pii, user.piiKey)) });
};

/** What somebody holds by the provider's word is what it says now: other roles of it go. */
const fillRoles = async (
  deps: IdentityDeps,
  db: Db,
  actor: Actor,
  provider: IdentityProvider,
  { userId, names }: { userId: string; names: readonly string[] },
): Promise<void> => {
  const wanted: { id: string; name: string; rank: number }[] = await db('roles')
    .whereIn('name', [...names])
    .where('rank', '<=', provider.rank)
    .select('id', 'name', 'rank');
  const held: { roleId: string; name: string }[] = await db('roleGrants')
    .join('roles', 'roles.id', 'roleGrants.roleId')
    .where({ userId, identityProviderId: provider.id })
    .select('roleGrants.roleId', 'roles.name');
  const given = wanted.filter(({ id }) => !held.some(({ roleId }) => roleId === id));
  const taken = held.filter(({ roleId }) => !wanted.some(({ id }) => id === roleId));
  if (!given.length && !taken.length) return;
  if (taken.length)
    await db('roleGrants')
      .where({ userId, identityProviderId: provider.id })
      .whereIn(
        'roleId',
        taken.map(({ roleId }) => roleId),
      )
      .delete();
  const grantedBy = `identity_provider ${provider.id}`;
  if (given.length)
    await db('roleGrants').insert(
      given.map(({ id }) => ({ userId, roleId: id, grantedBy, identityProviderId: provider.id })),
    );
  // Sessions that are there already were begun when one factor was enough.
  const rank = Math.max(-1, ...given.map(({ rank }) => rank));
  if (deps.requiredRank !== undefined && rank >= deps.requiredRank)
    await deps.endSessions(db, actor, userId, undefined, 'second_factor_needed');
  await recordEvent(db, actor, {
    action: 'identity.assign_roles',
    target: userTarget(userId),
    meta: { provider: provider.id, given: given.map(({ name }) => name), taken: taken.map(({ name }) => name) },
  });
};

/**
 * Takes over what a provider says of somebody who has signed in there: before policy is asked what else is needed, since a
 * role that it gives may need more. Pass a transaction.
 */
export const takeOver = async (
  deps: IdentityDeps,
  db: Db,
  actor: Actor,
  { provider, identity, person }: { provider: IdentityProvider; identity: Identity; person: UpstreamPerson },
): Promise<void> => {
  const { userId } = identity;
  await lockUser(db, userId);
  const { issuer, email = null, emailProven } = person;
  await touchIdentity(db, identity.id, { issuer, email, emailProven });
  const user = await findUser(db, userId);
  if (user && Object.keys(person.profile).length) await fillProfile(db, deps.secrets, user, person.profile);
  await fillRoles(deps, db, actor, provider, { userId, names: person.roles });
};
