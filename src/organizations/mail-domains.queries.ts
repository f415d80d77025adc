/** Reads and single-statement writes of `organization_domains`, and who joins by them. */
import type { Db } from '../../db/connect.ts';

export interface MailDomain {
  id: string;
  organizationId: string;
  domain: string;
  /** What the TXT record must hold. It is published, so it is no secret. */
  token: string;
  /** People with a verified address there become members by themselves. */
  autoJoin: boolean;
  roleId: string | null;
  /** Of the role that they are given in the organization. */
  role: string | null;
  verifiedAt: Date | null;
  verifiedByHand: boolean;
  /** When DNS was last asked. */
  checkedAt: Date | null;
  /** Since when DNS has not had the record any more. */
  missingSince: Date | null;
  createdAt: Date;
}

const domains = (db: Db) =>
  db('organizationDomains')
    .leftJoin('roles', 'roles.id', 'organizationDomains.roleId')
    .select(
      ...[
        'id',
        'organizationId',
        'domain',
        'token',
        'autoJoin',
        'roleId',
        'verifiedAt',
        'verifiedByHand',
        'checkedAt',
      ].map((column) => `organizationDomains.${column}`),
      'missingSince',
      'organizationDomains.createdAt',
      'roles.name as role',
    );

export const findMailDomain = (db: Db, organizationId: string, id: string): Promise<MailDomain | undefined> =>
  domains(db).where({ organizationId, 'organizationDomains.id': id }).first();

/** By name; found by the key of the organization and the domain. */
export const listMailDomains = (
  db: Db,
  organizationId: string,
  { limit, after }: { limit: number; after: string | undefined },
): Promise<MailDomain[]> =>
  domains(db)
    .where({ organizationId })
    .modify((query) => {
      if (after) query.where('domain', '>', after);
    })
    .orderBy('domain')
    .limit(limit);

export const countMailDomains = async (db: Db, organizationId: string): Promise<number> =>
  Number((await db('organizationDomains').where({ organizationId }).count().first())?.count);

/** @returns false when the organization has claimed it already */
export const insertMailDomain = async (
  db: Db,
  domain: Pick<MailDomain, 'id' | 'organizationId' | 'domain' | 'token' | 'autoJoin' | 'roleId'>,
): Promise<boolean> => {
  const rows = await db('organizationDomains')
    .insert(domain)
    .onConflict(['organizationId', 'domain'])
    .ignore()
    .returning('id');
  return rows.length === 1;
};

export const updateMailDomain = async (
  db: Db,
  id: string,
  changes: Partial<
    Pick<MailDomain, 'autoJoin' | 'roleId' | 'verifiedAt' | 'verifiedByHand' | 'checkedAt' | 'missingSince'>
  >,
): Promise<void> => {
  if (Object.keys(changes).length) await db('organizationDomains').where({ id }).update(changes);
};

export const deleteMailDomain = async (db: Db, id: string): Promise<boolean> =>
  (await db('organizationDomains').where({ id }).delete()) === 1;

/** Whether another organization has shown that the domain is its own. */
export const isDomainTaken = async (db: Db, organizationId: string, domain: string): Promise<boolean> =>
  (await db('organizationDomains')
    .where({ domain })
    .whereNotNull('verifiedAt')
    .whereNot({ organizationId })
    .first('id')) !== undefined;

/** Those that are to be looked at again, the longest ago first. */
export const listStaleDomains = (db: Db, before: Date, limit: number): Promise<MailDomain[]> =>
  domains(db)
    .whereNotNull('verifiedAt')
    .where('verifiedByHand', false)
    .where('checkedAt', '<', before)
    .orderBy('checkedAt')
    .limit(limit);

/**
 * Until the transaction ends, nobody else makes the domain an organization’s, or changes who joins by it; addresses there are
 * verified after that. Of two that do not see each other’s rows nobody would be joined.
 */
export const lockDomain = async (db: Db, domain: string): Promise<void> => {
  await db.raw('select pg_advisory_xact_lock(hashtextextended(?, 0))', [`mail domain ${domain}`]);
};

/** Likewise for those whose addresses were verified; any number of them at the same time. */
export const lockDomainsOf = async (db: Db, userIds: readonly string[]): Promise<void> => {
  await db.raw(
    `select pg_advisory_xact_lock_shared(key) from (
       select distinct hashtextextended('mail domain ' || split_part(email, '@', 2), 0) as key
       from users where id = any(?) order by key) as keys`,
    [[...userIds]],
  );
};

/** Who has joined an organization by a domain. */
export interface Joined {
  organizationId: string;
  domainId: string;
  roleId: string | null;
  userIds: string[];
}

/**
 * Makes members of those whose verified address is at a domain by which people join. Who was a member once does not become
 * one again so.
 */
export const insertJoiners = async (
  db: Db,
  who: { userIds: readonly string[] } | { domainId: string },
): Promise<Joined[]> => {
  const which = 'userIds' in who ? 'users.id = any(:userIds)' : 'claimed.id = :domainId';
  const { rows } = (await db.raw(
    `with wanted as (
       select claimed.id as domain_id, claimed.organization_id, claimed.role_id, users.id as user_id
       from organization_domains claimed join organizations on organizations.id = claimed.organization_id
         join users on split_part(users.email, '@', 2) = claimed.domain
       where ${which} and claimed.verified_at is not null and claimed.auto_join and organizations.is_active
         and users.email_verified_at is not null and users.status <> 'closed'
         and not exists (select from organization_departures gone
           where gone.organization_id = claimed.organization_id and gone.user_id = users.id)
     ), joined as (
       insert into organization_members (organization_id, user_id) select organization_id, user_id from wanted
       on conflict do nothing returning organization_id, user_id
     )
     select organization_id, domain_id, role_id, array_agg(user_id::text) as user_ids
     from joined join wanted using (organization_id, user_id) group by organization_id, domain_id, role_id`,
    'userIds' in who ? { userIds: [...who.userIds] } : who,
  )) as { rows: Joined[] };
  return rows;
};
