/**
 * Every change of what access rests on is told on the channel `access`, by the transaction that makes it: an import, a sign-in
 * with a provider and a statement typed by hand as well as the API. What is told are the names that caches know it by, with a
 * blank between two: `user:ID` for a person's access, `path:TYPE/ID` for where something lies, `client:ID` for what a client
 * may do; `KIND:*` is all of a kind, and `*` everything.
 */

/** Beyond this many people all are told of instead: a notification takes less than 8,000 bytes. */
const most = 150;

type Event = 'insert' | 'update' | 'delete';

/** SQL of the members of these groups and of those beneath them, which inherit. */
const membersBeneath = (groups: string) => `with recursive beneath (id) as (
        ${groups}
        union select groups.id from groups join beneath on groups.parent_id = beneath.id
      ) select distinct user_id from group_members where group_id in (select id from beneath)`;

/** SQL of the rows of which an UPDATE has changed one of the columns. */
const differing = (...columns: string[]) => {
  const values = (rows: string) => `(${columns.map((column) => `${rows}.${column}`).join(', ')})`;
  return `changed join was on was.id = changed.id where ${values('was')} is distinct from ${values('changed')}`;
};

const tellPeople = (query: string) => `perform tell_people(array(${query} limit ${most + 1}));`;
const tell = (names: string) => `perform pg_notify('access', '${names}');`;

/** Of an UPDATE both the rows before and those after: whom something was taken from, and whom it was given to. */
const bothSides = (body: (rows: string) => string) =>
  `${body('changed')} if tg_op = 'UPDATE' then ${body('was')} end if;`;

const pathsOf = (rows: string) => `if (select count(distinct user_id) from ${rows}) > ${most} then
        ${tell('path:*')}
      else
        perform pg_notify('access', (select string_agg(distinct 'path:user/' || user_id, ' ') from ${rows}))
          where exists (select from ${rows});
      end if;`;

/** What triggers do, by the names of their functions. `changed` are the rows of the statement, `was` those before an UPDATE. */
const functions: Readonly<Record<string, string>> = {
  tell_everything: tell('*'),
  tell_all_people: tell('user:*'),
  tell_all_paths: tell('path:*'),
  tell_all_clients: tell('client:*'),
  tell_users: tellPeople('select id from changed'),
  tell_changed_users: tellPeople(`select changed.id from ${differing('status', 'role_id')}`),
  tell_grantees: bothSides((rows) =>
    tellPeople(`select user_id from ${rows} where user_id is not null
      union (${membersBeneath(`select group_id from ${rows} where group_id is not null`)})`),
  ),
  tell_members: bothSides((rows) => tellPeople(`select distinct user_id from ${rows}`)),
  // Where people's own things lie follows from where they are members.
  tell_organization_members: bothSides(
    (rows) => `${tellPeople(`select distinct user_id from ${rows}`)} ${pathsOf(rows)}`,
  ),
  tell_changed_organizations: `${tellPeople(`select distinct user_id from organization_members where organization_id in (
        select changed.id from ${differing('name', 'kind', 'is_active')})`)}
      if exists (select from ${differing('parent_id')}) then ${tell('path:*')} end if;`,
  tell_changed_groups: `${tellPeople(
    membersBeneath(`select changed.id from ${differing('name', 'kind', 'is_active', 'parent_id', 'organization_id')}`),
  )}
      if exists (select from ${differing('organization_id')}) then ${tell('path:*')} end if;`,
  tell_changed_domains: tellPeople(`select distinct user_id from domain_members where domain_id in (
        select changed.id from ${differing('key', 'is_active')})`),
  tell_changed_clients: `if exists (select from changed join was on was.client_id = changed.client_id
        where (was.kind, was.rank, was.scope, was.first_party, was.created_by)
          is distinct from (changed.kind, changed.rank, changed.scope, changed.first_party, changed.created_by))
      then ${tell('client:*')} end if;`,
};

const always = (name: string): Record<Event, string> => ({ insert: name, update: name, delete: name });

/** Which function runs after a statement. What is new and nobody's yet concerns nobody. */
const triggers: Readonly<Record<string, Partial<Record<Event, string>>>> = {
  ...Object.fromEntries(
    ['role_permissions', 'role_inheritance', 'permissions'].map((table) => [table, always('tell_all_people')]),
  ),
  // What a client may do rests on the ranks of roles as well.
  roles: always('tell_everything'),
  users: { update: 'tell_changed_users', delete: 'tell_users' },
  role_grants: always('tell_grantees'),
  permission_grants: always('tell_grantees'),
  group_members: always('tell_members'),
  domain_members: always('tell_members'),
  organization_members: always('tell_organization_members'),
  organizations: { update: 'tell_changed_organizations', delete: 'tell_all_paths' },
  groups: { update: 'tell_changed_groups', delete: 'tell_all_paths' },
  domains: { update: 'tell_changed_domains' },
  clients: { update: 'tell_changed_clients', delete: 'tell_all_clients' },
};

/** The rows of a statement; a trigger of PostgreSQL that is given them is for one kind of statement. */
const rowsOf: Readonly<Record<Event, string>> = {
  insert: 'new table as changed',
  update: 'old table as was new table as changed',
  delete: 'old table as changed',
};

export const up = [
  // With the search_path of now, so that it finds its tables whoever makes the change, a restore included.
  `create function tell_people(people uuid[]) returns void language plpgsql set search_path from current as $$
    begin
      if cardinality(people) > ${most} then
        ${tell('user:*')}
      elsif cardinality(people) > 0 then
        perform pg_notify('access', (select string_agg('user:' || person, ' ' order by person) from unnest(people) as person));
      end if;
    end
  $$`,
  ...Object.entries(functions).map(
    ([name, body]) => `create function ${name}() returns trigger language plpgsql set search_path from current as $$
    begin
      ${body}
      return null;
    end
  $$`,
  ),
  ...Object.entries(triggers).flatMap(([table, byEvent]) => [
    ...Object.entries(byEvent).map(
      ([event, name]) => `create trigger ${table}_tell_${event} after ${event} on ${table}
        referencing ${rowsOf[event as Event]} for each statement execute function ${name}()`,
    ),
    `create trigger ${table}_tell_truncate after truncate on ${table} for each statement execute function tell_everything()`,
  ]),
];

export const down = [
  ...Object.entries(triggers).flatMap(([table, byEvent]) =>
    [...Object.keys(byEvent), 'truncate'].map((event) => `drop trigger ${table}_tell_${event} on ${table}`),
  ),
  ...Object.keys(functions).map((name) => `drop function ${name}()`),
  'drop function tell_people(uuid[])',
];
