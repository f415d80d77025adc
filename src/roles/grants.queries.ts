/**
 * Reads of what people, groups and API keys were given: roles and permissions, everywhere or in an organization, for a time. A
 * grant counts from `starts_at` until `expires_at`, whether a job runs or not.
 */
import type { Db } from '../../db/connect.ts';
import type { Reach } from '../http/reach.ts';
import { heldBy, inForce } from '../users/held-roles.queries.ts';

/** To whom something is given. */
export interface Subject {
  type: 'user' | 'group' | 'api_key';
  id: string;
}

export const columnOf = { user: 'userId', group: 'groupId', api_key: 'apiKeyId' } as const;

export type State = 'active' | 'later' | 'inactive' | 'lapsed';

/** Something that is held, and why. */
export interface Holding {
  /** Of the grant; null for the primary role and what an owner has. */
  id: string | null;
  source: 'primary' | 'grant' | 'group' | 'owner' | 'identity_provider';
  group: { id: string; name: string } | null;
  organizationId: string | null;
  startsAt: Date | null;
  expiresAt: Date | null;
  /** `inactive`: the person is no member of the organization, or that is not active. */
  state: State;
  /** Orders the list. */
  key: string;
}

export interface HeldRole extends Holding {
  role: string;
  rank: number;
  /** Names of the roles that it includes, by however many others. */
  includes: string[];
}

export interface HeldPermission extends Holding {
  permission: string;
  effect: 'allow' | 'deny';
}

const nobodysGroups = 'circles as (select id, parent_id from groups where false)';
const noOrganization = 'belongs as (select organization_id, is_owner from organization_members where false)';

/** The groups through which a subject has something (`circles`), and the organizations of a person (`belongs`). */
const ways = {
  user: heldBy(':id'),
  group: `${noOrganization}, circles as (
      select id, parent_id from groups where id = :id
      union select groups.id, groups.parent_id from circles join groups on groups.id = circles.parent_id
    )`,
  api_key: `${noOrganization}, ${nobodysGroups}`,
} as const;

const subjects = {
  user: '(user_id = :id or group_id = any(array(select id from circles)))',
  group: 'group_id = any(array(select id from circles))',
  api_key: 'api_key_id = :id',
} as const;

/** Of a grant of the subject: where it comes from, and whether it counts. */
const holding = ({ type }: Subject, provider: string) => `
  grants.id, grants.organization_id, grants.starts_at, grants.expires_at, grants.id::text as key,
  case when grants.group_id is not null ${type === 'group' ? 'and grants.group_id <> :id' : ''} then 'group'
    ${provider} else 'grant' end as source,
  case when grants.expires_at <= now() then 'lapsed' when grants.starts_at > now() then 'later'
    ${type === 'user' ? "when grants.organization_id is not null and grants.organization_id not in (select organization_id from belongs) then 'inactive'" : ''}
    else 'active' end as state,
  ${type === 'api_key' ? 'null::jsonb' : "(select jsonb_build_object('id', id, 'name', name) from groups where groups.id = grants.group_id)"} as "group"`;

/** As tables beneath one another: what `organizations` and what is beneath them is. */
const visible = `visible as (
    select id from organizations where id = any(:organizations)
    union select children.id from visible join organizations children on children.parent_id = visible.id
  ), hidden as (
    select id from organizations where id = any(:except)
    union select children.id from hidden join organizations children on children.parent_id = hidden.id
  )`;

export interface Page {
  state?: State | undefined;
  limit: number;
  after: string | undefined;
}

/** What `whole` selects, of which a caller of that reach may see what lies in their organizations. */
const page = async <Row>(
  db: Db,
  subject: Subject,
  whole: string,
  reach: Pick<Reach, 'everywhere' | 'organizations' | 'except'>,
  { state, limit, after = '' }: Page,
): Promise<Row[]> => {
  const { rows } = (await db.raw(
    `with recursive ${ways[subject.type]}, ${visible}, entries as (${whole})
     select * from entries
     where key collate "C" > :after and ${state ? 'state = :state' : "state <> 'lapsed'"}
       and ${reach.everywhere ? 'true' : 'organization_id in (select id from visible)'}
       and (organization_id is null or organization_id not in (select id from hidden))
     order by key collate "C" limit :limit`,
    {
      id: subject.id,
      after,
      limit,
      state: state ?? null,
      organizations: [...reach.organizations],
      except: [...reach.except],
    },
  )) as { rows: Row[] };
  return rows;
};

const included = (role: string) => `array(
    with recursive inner_roles (id) as (
      select parent_id from role_inheritance where role_id = ${role}
      union select parent_id from inner_roles join role_inheritance on role_id = inner_roles.id
    ) select name from inner_roles join roles on roles.id = inner_roles.id order by name)`;

/** The roles that a subject has or will have, by the id of their grants; those that have lapsed when they are asked for. */
export const listHeldRoles = (db: Db, subject: Subject, reach: Reach, options: Page): Promise<HeldRole[]> => {
  const byItself = (key: string, source: string, organization: string) =>
    `select null::uuid, ${organization}, null::timestamptz, null::timestamptz, ${key}, '${source}', 'active', null::jsonb`;
  return page(
    db,
    subject,
    `select held.*, roles.name as role, roles.rank, ${included('roles.id')} as includes from (
       select ${holding(subject, "when grants.identity_provider_id is not null then 'identity_provider'")}, grants.role_id
       from role_grants grants where ${subjects[subject.type]}
       ${
         subject.type === 'user'
           ? `union all ${byItself("'primary'", 'primary', 'null::uuid')}, role_id from users where users.id = :id
              union all ${byItself("'owner ' || organization_id", 'owner', 'organization_id')}, roles.id
                from belongs join roles on is_owner and roles.name = 'manager'`
           : ''
       }) held join roles on roles.id = held.role_id`,
    reach,
    options,
  );
};

/** Likewise the permissions that a subject was given or denied beside its roles. */
export const listHeldPermissions = (db: Db, subject: Subject, reach: Reach, options: Page): Promise<HeldPermission[]> =>
  page(
    db,
    subject,
    `select ${holding(subject, '')}, permissions.name as permission, effect
     from permission_grants grants join permissions on permissions.id = permission_id where ${subjects[subject.type]}`,
    reach,
    options,
  );

/** A row of `role_grants` or `permission_grants`. */
export interface GrantRow {
  id: string;
  organizationId: string | null;
  startsAt: Date;
  expiresAt: Date | null;
  createdAt: Date;
}

/** CTEs: `people` (user_id), whoever is in the group or in one beneath it. */
const peopleOf = `beneath as (
    select id from groups where id = :groupId
    union select children.id from beneath join groups children on children.parent_id = beneath.id
  ), people as (select distinct user_id from group_members where group_id = any(array(select id from beneath)))`;

/** The highest rank of anybody in the group or beneath it, everywhere and in the organizations of `place`; -1 for an empty one. */
export const findHighestRankIn = async (db: Db, groupId: string, place: readonly string[]): Promise<number> => {
  const counts = `${inForce()} and (organization_id is null or organization_id = any(:place))`;
  const { rows } = (await db.raw(
    `with recursive ${peopleOf}, giving (group_id, rank) as (
       select group_id, rank from role_grants join roles on roles.id = role_id where group_id is not null and ${counts}
       union select groups.id, rank from giving join groups on groups.parent_id = giving.group_id
     )
     select coalesce(greatest(
       (select max(rank) from people join users on users.id = user_id join roles on roles.id = role_id),
       (select max(rank) from people join role_grants on role_grants.user_id = people.user_id
          join roles on roles.id = role_id where ${counts}),
       (select max(rank) from giving join group_members on group_members.group_id = giving.group_id
          where user_id in (select user_id from people)),
       (select max(rank) from roles where name = 'manager' and exists (select from organization_members
          where is_owner and organization_id = any(:place) and user_id in (select user_id from people)))
     ), -1) as rank`,
    { groupId, place: [...place] },
  )) as { rows: [{ rank: number }] };
  return rows[0].rank;
};

/** Whoever is in the group or beneath it, has something to end, and has a primary role below that rank. */
export const listSignedInBelow = async (db: Db, groupId: string, rank: number): Promise<string[]> => {
  const { rows } = (await db.raw(
    `with recursive ${peopleOf}
     select users.id from people join users on users.id = user_id join roles on roles.id = role_id
     where status = 'active' and rank < :rank
       and (exists (select from sessions where sessions.user_id = users.id and expires_at > now())
         or exists (select from refresh_tokens where refresh_tokens.user_id = users.id and expires_at > now()))
     order by users.id`,
    { groupId, rank },
  )) as { rows: { id: string }[] };
  return rows.map(({ id }) => id);
};

/** Whether the person is in the group or in one beneath it. */
export const isInGroup = async (db: Db, groupId: string, userId: string): Promise<boolean> => {
  const { rows } = (await db.raw(`with recursive ${peopleOf} select from people where user_id = :userId`, {
    groupId,
    userId,
  })) as { rows: unknown[] };
  return rows.length > 0;
};

/** In which organizations a subject lies. */
const placesOf = {
  user: 'select organization_id from organization_members where user_id = :id',
  group: 'select organization_id from groups where id = :id and organization_id is not null',
  api_key: `select organization_id from organization_members join api_keys on api_keys.user_id = organization_members.user_id
    where api_keys.id = :id`,
} as const;

/** Whether the subject is there, and a caller of that reach may know of it. */
export const isInSight = async (db: Db, { type, id }: Subject, reach: Reach): Promise<boolean> => {
  const table = { user: 'users', group: 'groups', api_key: 'api_keys' }[type];
  const { rows } = (await db.raw(
    `with recursive ${visible}
     select from ${table} where id = :id and (:everywhere or exists (
       select from (${placesOf[type]}) places
       where organization_id in (select id from visible) and organization_id not in (select id from hidden)))`,
    { id, everywhere: reach.everywhere, organizations: [...reach.organizations], except: [...reach.except] },
  )) as { rows: unknown[] };
  return rows.length > 0;
};
