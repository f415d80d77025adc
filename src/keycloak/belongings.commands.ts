/** What users of a realm have beside their account: places in groups, roles, factors, and accounts elsewhere. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { sealTotpSecret } from '../mfa/totp.commands.ts';
import type { Secrets } from '../secrets.ts';
import { onlyByGroups } from './fingerprints.ts';
import type { Decision, UserImport } from './import-users.commands.ts';
import { dropRedundantGrants, renewFingerprints } from './references.queries.ts';

const insertInParts = async (
  rows: readonly object[],
  insert: (part: readonly object[]) => Promise<unknown>,
): Promise<void> => {
  // PostgreSQL takes 65,535 parameters in a statement.
  for (let at = 0; at < rows.length; at += 1000) await insert(rows.slice(at, at + 1000));
};

/** What refers to the users. What is there already is left: of a role that was given, an app that was set up. */
export const insertBelongings = async (
  db: Db,
  secrets: Secrets,
  decisions: readonly Decision[],
  { roleIds, groupIds, providerIds }: UserImport,
): Promise<void> => {
  const ids = decisions.filter(({ present }) => present).map(({ id }) => id);
  const held: { userId: string; roleId: string }[] = ids.length
    ? await db('roleGrants').whereIn('userId', ids).select('userId', 'roleId')
    : [];
  const grants = new Set(held.map(({ userId, roleId }) => `${userId} ${roleId}`));
  const withApps = new Set<string>(ids.length ? await db('totpDevices').whereIn('userId', ids).pluck('user_id') : []);

  const each = <Row extends object>(rows: (decision: Decision) => Row[]) => decisions.flatMap(rows);
  await insertInParts(
    each(({ user, id }) =>
      user.groups.flatMap((path) => {
        const groupId = groupIds.get(path);
        return groupId ? [{ groupId, userId: id }] : [];
      }),
    ),
    (part) => db('groupMembers').insert(part).onConflict(['groupId', 'userId']).ignore(),
  );
  await insertInParts(
    each(({ user, id }) =>
      user.roles
        .flatMap((key) => roleIds.get(key) ?? [])
        .filter((roleId) => !grants.has(`${id} ${roleId}`))
        .map((roleId) => ({ userId: id, roleId, grantedBy: 'keycloak' })),
    ),
    (part) => db('roleGrants').insert(part).onConflict().ignore(),
  );
  await insertInParts(
    each(({ user, id: userId }) =>
      (withApps.has(userId) ? [] : user.totp).map(({ secret, ...app }) => {
        const id = uuid();
        return { ...app, id, userId, secretEncrypted: sealTotpSecret(secrets, id, secret), confirmedAt: db.fn.now() };
      }),
    ),
    (part) => db('totpDevices').insert(part),
  );
  await insertInParts(
    each(({ user, id: userId }) =>
      user.passkeys.map(({ transports, ...passkey }) => ({
        ...passkey,
        id: uuid(),
        userId,
        transports: JSON.stringify(transports),
        backedUp: false,
        // Neither was written down by Keycloak; the first use says the one, and Keycloak's own id of the person is the other.
        backupEligible: null,
        userHandle: Buffer.from(user.externalId).toString('base64url'),
      })),
    ),
    (part) => db('passkeys').insert(part).onConflict('credentialId').ignore(),
  );
  await insertInParts(
    each(({ user, id }) =>
      user.identities.flatMap(({ alias, subject }) => {
        const providerId = providerIds.get(alias);
        return providerId ? [{ userId: id, providerId, issuer: '', subject, emailProven: user.emailVerified }] : [];
      }),
    ),
    (part) => db('identities').insert(part).onConflict(['providerId', 'issuer', 'subject']).ignore(),
  );
};

/** @returns how many roles people no longer have themselves, and have by their groups alone */
export const untangle = async (
  db: Db,
  { system, roleIds }: UserImport,
  decisions: readonly Decision[],
): Promise<number> => {
  const tangled = decisions.filter(({ untangles }) => untangles);
  if (!tangled.length) return 0;
  await renewFingerprints(
    db,
    system,
    'user',
    tangled.map(({ user: { externalId }, fingerprint }) => ({ externalId, fingerprint })),
  );
  const grants = tangled.flatMap(({ user, id: userId }) =>
    onlyByGroups(user).flatMap((key) => {
      const roleId = roleIds.get(key);
      return roleId ? [{ userId, roleId }] : [];
    }),
  );
  return dropRedundantGrants(db, grants);
};
