/** Which row of another system is which row of ours: reads and single-statement writes of `external_references`. */
import type { Db } from '../../db/connect.ts';
import { heldBy } from '../users/held-roles.queries.ts';

export type ReferenceKind = 'user' | 'role' | 'group' | 'client' | 'identity-provider';

export interface Reference {
  externalId: string;
  localId: string;
  /** Keyed, of what was brought over: the same one means that there is nothing to do. */
  fingerprint: string;
  /** The row's `updated_at` as it was left: a later one means that it was changed here. */
  localVersion?: Date;
}

export const findReferences = async (
  db: Db,
  system: string,
  kind: ReferenceKind,
  externalIds: readonly string[],
): Promise<Map<string, Reference>> => {
  const rows: Reference[] = await db('externalReferences')
    .where({ system, kind })
    .whereIn('externalId', externalIds)
    .select('externalId', 'localId', 'fingerprint', 'localVersion');
  return new Map(rows.map((row) => [row.externalId, row]));
};

export const saveReferences = async (
  db: Db,
  system: string,
  kind: ReferenceKind,
  references: readonly Reference[],
): Promise<void> => {
  if (!references.length) return;
  await db('externalReferences')
    .insert(references.map((reference) => ({ ...reference, system, kind, updatedAt: db.fn.now() })))
    .onConflict(['system', 'kind', 'externalId'])
    .merge(['fingerprint', 'localVersion', 'updatedAt']);
};

/** Any constant that no other advisory lock of ours uses. */
const importLock = 7_262_014;

/** Until the transaction ends no other import looks at what is there, or adds to it. */
export const lockImports = async (db: Db): Promise<void> => {
  await db.raw('select pg_advisory_xact_lock(?)', [importLock]);
};

/** What became of an imported user. */
export interface ImportedUser extends Omit<Reference, 'localVersion'> {
  status: 'active' | 'deactivated' | 'closed';
  email: string;
  piiKey: Uint8Array | null;
  /** Whether the row is as the import left it. */
  untouched: boolean;
  /** Whether the person was given more than an import gives. */
  elevated: boolean;
}

export const findImportedUsers = async (
  db: Db,
  system: string,
  externalIds: readonly string[],
): Promise<Map<string, ImportedUser>> => {
  const { rows } = (await db.raw(
    `select external_id, local_id, fingerprint, status, email, pii_key, users.updated_at = local_version as untouched,
       exists (with recursive ${heldBy('users.id', true)} select from held join roles on roles.id = held.role_id
         where rank > (select rank from roles where name = 'user')) as elevated
     from external_references join users on users.id = case kind when 'user' then local_id::uuid end
     where system = ? and kind = 'user' and external_id = any(?)`,
    [system, [...externalIds]],
  )) as { rows: ImportedUser[] };
  return new Map(rows.map((row) => [row.externalId, row]));
};

/** Writes down other fingerprints of the same rows, of which nothing was changed. */
export const renewFingerprints = async (
  db: Db,
  system: string,
  kind: ReferenceKind,
  renewed: readonly Pick<Reference, 'externalId' | 'fingerprint'>[],
): Promise<void> => {
  await db.raw(
    `update external_references set fingerprint = renewed.fingerprint
     from unnest(cast(:externalIds as text[]), cast(:fingerprints as text[])) as renewed (external_id, fingerprint)
     where system = :system and kind = :kind and external_references.external_id = renewed.external_id`,
    {
      ...{ system, kind },
      externalIds: renewed.map(({ externalId }) => externalId),
      fingerprints: renewed.map(({ fingerprint }) => fingerprint),
    },
  );
};

/**
 * Takes roles from people that an import gave them, as far as an active group gives them the same everywhere and for good, so
 * that nobody loses anything. @returns how many
 */
export const dropRedundantGrants = async (
  db: Db,
  grants: readonly { userId: string; roleId: string }[],
): Promise<number> => {
  if (!grants.length) return 0;
  const { rows } = (await db.raw(
    `with gone as (
       delete from role_grants direct where granted_by = 'keycloak' and organization_id is null and expires_at is null
         and identity_provider_id is null
         and (user_id, role_id) in (select * from unnest(cast(:users as uuid[]), cast(:roles as uuid[])))
         and exists (
           with recursive above as (
             select groups.id, parent_id from group_members join groups on groups.id = group_id
             where group_members.user_id = direct.user_id and is_active and groups.organization_id is null
             union
             select groups.id, groups.parent_id from above join groups on groups.id = above.parent_id and is_active
           )
           select from role_grants given where group_id in (select id from above) and given.role_id = direct.role_id
             and organization_id is null and expires_at is null and starts_at <= now()
         )
       returning 1
     ) select count(*)::int as count from gone`,
    { users: grants.map(({ userId }) => userId), roles: grants.map(({ roleId }) => roleId) },
  )) as { rows: [{ count: number }] };
  return rows[0].count;
};

/** Who holds these addresses now. */
export const findAddressHolders = async (db: Db, emails: readonly string[]): Promise<Map<string, string>> => {
  const rows: { id: string; email: string }[] = await db('users')
    .whereIn('email', emails)
    .whereNot({ status: 'closed' })
    .select('id', 'email');
  return new Map(rows.map(({ id, email }) => [email, id]));
};

/** Which of these ids somebody has, closed accounts among them. */
export const findTakenIds = async (db: Db, ids: readonly string[]): Promise<Set<string>> => {
  const rows: { id: string }[] = await db('users').whereIn('id', ids).select('id');
  return new Set(rows.map(({ id }) => id));
};

/** Whom provisioning has to look at: what they are called there, and which version of them is there. */
export interface ToProvision {
  id: string;
  email: string;
  emailVerified: boolean;
  name: string;
  locale: string | null;
  status: 'active' | 'deactivated' | 'closed';
  piiKey: Uint8Array | null;
  piiEncrypted: Uint8Array | null;
  /** The row's `updated_at`, to the microsecond. */
  version: string;
  externalId: string | null;
  fingerprint: string | null;
}

/**
 * Accounts after the one with the id `after` that changed since they were provisioned, and those that have not been and can
 * be: open, and of somebody who has shown that the address is theirs.
 */
export const listToProvision = async (
  db: Db,
  system: string,
  { after, limit }: { after: string | undefined; limit: number },
): Promise<ToProvision[]> => {
  const { rows } = (await db.raw(
    `select users.id, users.email, users.email_verified_at is not null as email_verified, users.name, users.locale, users.status, users.pii_key, users.pii_encrypted,
       users.updated_at::text as version, there.external_id, there.fingerprint
     from users left join external_references there
       on there.system = :system and there.kind = 'user' and there.local_id = users.id::text
     where (:after::uuid is null or users.id > :after::uuid)
       and case when there.local_id is null then users.status = 'active' and users.email_verified_at is not null
           else users.updated_at > there.local_version end
     order by users.id limit :limit`,
    { system, after: after ?? null, limit },
  )) as { rows: ToProvision[] };
  return rows;
};

/** Writes down who somebody is there, and which version of them: one that changed meanwhile comes again. */
export const saveProvisioned = async (
  db: Db,
  system: string,
  { externalId, localId, fingerprint, version }: Omit<Reference, 'localVersion'> & { version: string },
): Promise<void> => {
  await db('externalReferences')
    .insert({
      system,
      kind: 'user',
      externalId,
      localId,
      fingerprint,
      localVersion: db.raw('?::timestamptz', [version]),
    })
    .onConflict(['system', 'kind', 'localId'])
    .merge({ externalId, fingerprint, localVersion: db.raw('?::timestamptz', [version]), updatedAt: db.fn.now() });
};

/** Whose account here somebody of there is. */
export const findProvisioned = async (db: Db, system: string, externalId: string): Promise<string | undefined> =>
  (await db('externalReferences').where({ system, kind: 'user', externalId }).first('localId'))?.localId;
