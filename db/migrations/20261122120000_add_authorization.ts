/** Permissions of the built-in roles, grants of roles and permissions beside the primary role, and whom they can be limited to. */

const own = ['users:read:own', 'users:write:own', 'users:close:own', 'sessions:read:own', 'sessions:end:own'].concat([
  'api_keys:read:own',
  'api_keys:write:own',
  'audit:read:own',
]);

const rolePermissions: Record<string, readonly string[]> = {
  super_admin: ['*:*:*'],
  admin: [
    'users:*:any',
    'roles:*:any',
    'sessions:*:any',
    'api_keys:*:any',
    'clients:*:any',
    'keys:*:any',
    'tokens:*:any',
    'audit:*:any',
  ],
  moderator: [
    ...own,
    'users:read:any',
    'users:deactivate:any',
    'sessions:read:any',
    'sessions:end:any',
    'audit:read:any',
  ],
  manager: [...own, 'users:read:organization', 'users:write:organization', 'roles:assign:organization'],
  partner: own,
  operator: [...own, 'clients:read:any', 'keys:read:any', 'keys:rotate:any', 'tokens:revoke:any', 'audit:read:any'],
  user: own,
};

const quoted = (names: readonly string[]) => names.map((name) => `('${name}')`).join(', ');
const assigned = Object.entries(rolePermissions).flatMap(([role, names]) =>
  names.map((name) => `('${role}', '${name}')`),
);

/** Columns that a grant of a role and a grant of a permission have in common. */
const grantColumns = (table: string) => `
    id uuid constraint ${table}_pkey primary key default gen_random_uuid(),
    user_id uuid constraint ${table}_user_id_fkey references users on delete cascade,
    group_id uuid constraint ${table}_group_id_fkey references groups on delete cascade,
    organization_id uuid constraint ${table}_organization_id_fkey references organizations on delete cascade,
    starts_at timestamptz not null default now(),
    expires_at timestamptz,
    granted_by text,
    created_at timestamptz not null default now(),
    constraint ${table}_subject_check check (num_nonnulls(user_id, group_id) = 1),
    constraint ${table}_period_check check (expires_at is null or expires_at > starts_at)`;

const grantIndexes = (table: string) => [
  `create index ${table}_user_id_idx on ${table} (user_id)`,
  `create index ${table}_group_id_idx on ${table} (group_id)`,
  `create index ${table}_organization_id_idx on ${table} (organization_id)`,
  `create index ${table}_expires_at_idx on ${table} (expires_at) where expires_at is not null`,
];

export const up = [
  // The names that the code knows for permissions, and no others: a denial of any other would deny nothing.
  'alter table permissions drop constraint permissions_name_check',
  `alter table permissions add constraint permissions_name_check
     check (name ~ '^([*]|[a-z][a-z_]{0,39}):([*]|[a-z][a-z_]{0,39}):([*]|own|organization|any)$')`,
  `insert into permissions (name) values ${quoted([...new Set(Object.values(rolePermissions).flat())])}`,
  `insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from (values ${assigned.join(', ')}) as assigned (role, permission)
     join roles on roles.name = assigned.role join permissions on permissions.name = assigned.permission`,

  // Companies are organizations of that kind, teams are groups of that kind, domains are areas of a business.
  `create table organizations (
    id uuid constraint organizations_pkey primary key default gen_random_uuid(),
    parent_id uuid constraint organizations_parent_id_fkey references organizations,
    kind text not null default 'organization',
    name text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint organizations_kind_check check (kind in ('organization', 'company')),
    constraint organizations_parent_id_check check (parent_id <> id)
  )`,
  'create index organizations_parent_id_idx on organizations (parent_id)',
  `create table organization_members (
    organization_id uuid constraint organization_members_organization_id_fkey references organizations on delete cascade,
    user_id uuid constraint organization_members_user_id_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint organization_members_pkey primary key (organization_id, user_id)
  )`,
  'create index organization_members_user_id_idx on organization_members (user_id)',
  `create table groups (
    id uuid constraint groups_pkey primary key default gen_random_uuid(),
    parent_id uuid constraint groups_parent_id_fkey references groups,
    organization_id uuid constraint groups_organization_id_fkey references organizations on delete cascade,
    kind text not null default 'group',
    name text not null,
    external_ref text,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint groups_kind_check check (kind in ('group', 'team')),
    constraint groups_parent_id_check check (parent_id <> id)
  )`,
  'create index groups_parent_id_idx on groups (parent_id)',
  'create index groups_organization_id_idx on groups (organization_id)',
  `create table group_members (
    group_id uuid constraint group_members_group_id_fkey references groups on delete cascade,
    user_id uuid constraint group_members_user_id_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint group_members_pkey primary key (group_id, user_id)
  )`,
  'create index group_members_user_id_idx on group_members (user_id)',
  `create table domains (
    id uuid constraint domains_pkey primary key default gen_random_uuid(),
    parent_id uuid constraint domains_parent_id_fkey references domains,
    key text not null constraint domains_key_key unique,
    name text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint domains_parent_id_check check (parent_id <> id)
  )`,
  'create index domains_parent_id_idx on domains (parent_id)',
  `create table domain_members (
    domain_id uuid constraint domain_members_domain_id_fkey references domains on delete cascade,
    user_id uuid constraint domain_members_user_id_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint domain_members_pkey primary key (domain_id, user_id)
  )`,
  'create index domain_members_user_id_idx on domain_members (user_id)',

  `create table role_grants (${grantColumns('role_grants')},
    role_id uuid not null constraint role_grants_role_id_fkey references roles on delete cascade
  )`,
  ...grantIndexes('role_grants'),
  'create index role_grants_role_id_idx on role_grants (role_id)',
  `create table permission_grants (${grantColumns('permission_grants')},
    permission_id uuid not null constraint permission_grants_permission_id_fkey references permissions on delete cascade,
    effect text not null default 'allow',
    constraint permission_grants_effect_check check (effect in ('allow', 'deny'))
  )`,
  ...grantIndexes('permission_grants'),
  'create index permission_grants_permission_id_idx on permission_grants (permission_id)',

  // What a client may do on its own is limited by its scope, and by the rank of whoever registered it.
  'alter table clients add column rank integer not null default 0',
];

export const down = [
  'alter table clients drop column rank',
  'drop table permission_grants',
  'drop table role_grants',
  'drop table domain_members',
  'drop table domains',
  'drop table group_members',
  'drop table groups',
  'drop table organization_members',
  'drop table organizations',
  'delete from role_permissions',
  'delete from permissions',
  'alter table permissions drop constraint permissions_name_check',
  "alter table permissions add constraint permissions_name_check check (name ~ '^[a-z_*]+:[a-z_*]+:[a-z_*]+$')",
];
