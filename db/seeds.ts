/**
 * What a new installation has: the built-in roles with what they permit, teams, and areas of a business. The migrations have put it
 * into every database; this puts back what is missing of it, and changes nothing that is there.
 */
import type { Db } from './connect.ts';

/** What everybody may do with what is their own. */
const own = [
  'api_keys:read:own',
  'api_keys:write:own',
  'audit:read:own',
  'authz:check:own',
  'domains:read:own',
  'groups:read:own',
  'identities:read:own',
  'identities:write:own',
  'mfa:read:own',
  'mfa:write:own',
  'organizations:leave:own',
  'organizations:read:own',
  'requests:decide:own',
  'requests:read:own',
  'sessions:end:own',
  'sessions:read:own',
  'users:close:own',
  'users:read:own',
  'users:write:own',
];

/** By name, as a new database has them. */
const roles: Readonly<Record<string, { rank: number; description: string; permissions: readonly string[] }>> = {
  super_admin: { rank: 100, description: 'Everything, including other administrators', permissions: ['*:*:*'] },
  admin: {
    rank: 80,
    description: 'Users, clients and settings',
    permissions: [
      'api_keys:*:any',
      'audit:*:any',
      'authz:*:any',
      'clients:*:any',
      'domains:*:any',
      'groups:*:any',
      'identities:*:any',
      'identity_providers:*:any',
      'keys:*:any',
      'mfa:*:any',
      'organizations:*:any',
      'policies:*:any',
      'requests:decide:own',
      'requests:read:own',
      'resource_servers:*:any',
      'roles:*:any',
      'sessions:*:any',
      'tokens:*:any',
      'users:*:any',
    ],
  },
  moderator: {
    rank: 60,
    description: 'Looks after users and content',
    permissions: [
      ...own,
      'audit:read:any',
      'domains:read:any',
      'groups:read:any',
      'organizations:read:any',
      'sessions:end:any',
      'sessions:read:any',
      'users:deactivate:any',
      'users:read:any',
    ],
  },
  manager: {
    rank: 50,
    description: 'Looks after an organization or team',
    permissions: [
      ...own,
      'groups:read:organization',
      'groups:write:organization',
      'organizations:read:organization',
      'organizations:write:organization',
      'roles:assign:organization',
      'roles:read:organization',
      'users:read:organization',
      'users:write:organization',
    ],
  },
  partner: { rank: 40, description: 'A person of a partner organization', permissions: own },
  operator: {
    rank: 30,
    description: 'Runs the service',
    permissions: [
      ...own,
      'audit:read:any',
      'clients:read:any',
      'identity_providers:read:any',
      'keys:read:any',
      'keys:rotate:any',
      'resource_servers:read:any',
      'tokens:revoke:any',
    ],
  },
  user: { rank: 10, description: 'Signs in', permissions: own },
};

/** Of a group by its name, or of an area, whose key is its name in lower case. */
const teams = ['General', 'Engineering', 'Product', 'Design'];
const areas = ['Engineering', 'Product', 'Design', 'Marketing', 'Sales'];

/** What was missing, by its name. */
export interface Seeded {
  roles: string[];
  /** As `role permission`. */
  permissions: string[];
  teams: string[];
  domains: string[];
}

/** Puts back what is missing. Pass a transaction. @returns what that was; nothing the second time */
export const seedDefaults = async (db: Db): Promise<Seeded> => {
  // Two at once would both find a team missing.
  await db.raw("select pg_advisory_xact_lock(hashtextextended('seed defaults', 0))");
  const entries = Object.entries(roles);
  const made: { name: string }[] = await db('roles')
    .insert(entries.map(([name, { rank, description }]) => ({ name, rank, description, builtIn: true })))
    .onConflict('name')
    .ignore()
    .returning('name');
  const pairs = entries.flatMap(([role, { permissions }]) => permissions.map((permission) => ({ role, permission })));
  const names = [...new Set(pairs.map(({ permission }) => permission))];
  await db('permissions')
    .insert(names.map((name) => ({ name })))
    .onConflict('name')
    .ignore();
  const { rows: given } = (await db.raw(
    `with wanted as (
       select roles.id as role_id, permissions.id as permission_id, concat(role, ' ', permission) as pair
       from unnest(cast(:roles as text[]), cast(:permissions as text[])) as pairs (role, permission)
         join roles on roles.name = role and built_in join permissions on permissions.name = permission
     ), made as (
       insert into role_permissions (role_id, permission_id) select role_id, permission_id from wanted
       on conflict do nothing returning role_id, permission_id
     ) select pair from made join wanted using (role_id, permission_id) order by pair`,
    { roles: pairs.map(({ role }) => role), permissions: pairs.map(({ permission }) => permission) },
  )) as { rows: { pair: string }[] };
  const { rows: madeTeams } = (await db.raw(
    `insert into groups (kind, name) select 'team', wanted.name from unnest(cast(:teams as text[])) as wanted (name)
     where not exists (select from groups
       where groups.name = wanted.name and kind = 'team' and organization_id is null and parent_id is null)
     returning name`,
    { teams },
  )) as { rows: { name: string }[] };
  const madeAreas: { key: string }[] = await db('domains')
    .insert(areas.map((name) => ({ key: name.toLowerCase(), name })))
    .onConflict('key')
    .ignore()
    .returning('key');
  return {
    roles: made.map(({ name }) => name),
    permissions: given.map(({ pair }) => pair),
    teams: madeTeams.map(({ name }) => name),
    domains: madeAreas.map(({ key }) => key),
  };
};
