/** Roles that include others, grants to API keys, organizations with owners and rules of their own, and the defaults. */

const everyone = ['moderator', 'manager', 'partner', 'operator', 'user'];
const own = ['organizations:read:own', 'groups:read:own', 'domains:read:own', 'authz:check:own'];
const given: Record<string, readonly string[]> = {
  ...Object.fromEntries(everyone.map((role) => [role, own])),
  admin: ['organizations:*:any', 'groups:*:any', 'domains:*:any', 'policies:*:any', 'authz:*:any'],
  moderator: [...own, 'organizations:read:any', 'groups:read:any', 'domains:read:any'],
  manager: [
    ...own,
    'organizations:read:organization',
    'organizations:write:organization',
    'groups:read:organization',
    'groups:write:organization',
    'roles:read:organization',
  ],
};
const names = [...new Set(Object.values(given).flat())];
const quoted = (texts: readonly string[]) => texts.map((text) => `'${text}'`).join(', ');
const assigned = Object.entries(given).flatMap(([role, permissions]) =>
  permissions.map((permission) => `('${role}', '${permission}')`),
);

/** Of a group by its name, or an area by its key. */
const teams = ['General', 'Engineering', 'Product', 'Design'];
const areas = ['Engineering', 'Product', 'Design', 'Marketing', 'Sales'];

/** One grant of a thing to a subject in a place from one source: what gives it again changes its period. */
const unique = (table: string, thing: string, source: string) =>
  `create unique index ${table}_key on ${table} (user_id, group_id, api_key_id, ${thing}, organization_id${source}) nulls not distinct`;

export const up = [
  `create table role_inheritance (
    role_id uuid constraint role_inheritance_role_id_fkey references roles on delete cascade,
    parent_id uuid constraint role_inheritance_parent_id_fkey references roles on delete cascade,
    constraint role_inheritance_pkey primary key (role_id, parent_id),
    constraint role_inheritance_parent_id_check check (role_id <> parent_id)
  )`,
  'create index role_inheritance_parent_id_idx on role_inheritance (parent_id)',
  'alter table roles add column updated_at timestamptz not null default now()',

  ...['role_grants', 'permission_grants'].flatMap((table) => [
    `alter table ${table} add column api_key_id uuid constraint ${table}_api_key_id_fkey references api_keys on delete cascade`,
    `alter table ${table} drop constraint ${table}_subject_check`,
    `alter table ${table} add constraint ${table}_subject_check check (num_nonnulls(user_id, group_id, api_key_id) = 1)`,
    `create index ${table}_api_key_id_idx on ${table} (api_key_id)`,
  ]),
  // The longest one of those that say the same stays.
  `delete from role_grants where id in (select id from (
     select id, row_number() over (partition by user_id, group_id, role_id, organization_id, identity_provider_id
       order by expires_at desc nulls first, starts_at, id) as place from role_grants) numbered where place > 1)`,
  `delete from permission_grants where id in (select id from (
     select id, row_number() over (partition by user_id, group_id, permission_id, organization_id
       order by effect desc, expires_at desc nulls first, starts_at, id) as place from permission_grants) numbered where place > 1)`,
  unique('role_grants', 'role_id', ', identity_provider_id'),
  unique('permission_grants', 'permission_id', ''),

  `alter table organizations
    add column description text not null default '',
    add column require_mfa boolean not null default false,
    add column sign_in_methods text[]`,
  // An owner has the role manager there; nobody else makes or unmakes owners.
  'alter table organization_members add column is_owner boolean not null default false',
  "alter table groups add column description text not null default ''",
  "alter table domains add column description text not null default ''",
  'alter table clients add column require_organization boolean not null default false',

  `insert into permissions (name) values ${names.map((name) => `('${name}')`).join(', ')} on conflict (name) do nothing`,
  `insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from (values ${assigned.join(', ')}) as assigned (role, permission)
     join roles on roles.name = assigned.role join permissions on permissions.name = assigned.permission
     on conflict do nothing`,
  `insert into groups (kind, name) select 'team', name from unnest(array[${quoted(teams)}]) as name
     where not exists (select from groups where groups.name = name.name and kind = 'team' and organization_id is null and parent_id is null)`,
  `insert into domains (key, name) select lower(name), name from unnest(array[${quoted(areas)}]) as name
     on conflict (key) do nothing`,
];

export const down = [
  `delete from domains where key in (${quoted(areas.map((name) => name.toLowerCase()))})`,
  `delete from groups where kind = 'team' and name in (${quoted(teams)}) and organization_id is null and parent_id is null
     and not exists (select from groups children where children.parent_id = groups.id)`,
  `delete from permissions where name in (${quoted(names)})`,
  'alter table clients drop column require_organization',
  'alter table domains drop column description',
  'alter table groups drop column description',
  'alter table organization_members drop column is_owner',
  'alter table organizations drop column description, drop column require_mfa, drop column sign_in_methods',
  'drop index permission_grants_key',
  'drop index role_grants_key',
  ...['role_grants', 'permission_grants'].flatMap((table) => [
    `delete from ${table} where api_key_id is not null`,
    `alter table ${table} drop constraint ${table}_subject_check`,
    `alter table ${table} drop column api_key_id`,
    `alter table ${table} add constraint ${table}_subject_check check (num_nonnulls(user_id, group_id) = 1)`,
  ]),
  'alter table roles drop column updated_at',
  'drop table role_inheritance',
];
