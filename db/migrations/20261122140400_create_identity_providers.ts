/** Who else signs people in for us, which of their accounts are whose here, and the roles that they speak of. */

/** Whoever may end their own sessions; `super_admin` may do everything. */
const own = ['moderator', 'manager', 'partner', 'operator', 'user'];
const ownPermissions = ['identities:read:own', 'identities:write:own'];
const assigned = [
  ...own.flatMap((role) => ownPermissions.map((name) => [role, name])),
  ['admin', 'identities:*:any'],
  ['admin', 'identity_providers:*:any'],
  ['operator', 'identity_providers:read:any'],
];
const names = [...new Set(assigned.map(([, name]) => name))];

export const up = [
  `create table identity_providers (
    id text constraint identity_providers_pkey primary key,
    metadata jsonb not null,
    secrets_encrypted bytea,
    rank integer not null,
    created_by uuid constraint identity_providers_created_by_fkey references users on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  )`,
  'create index identity_providers_created_by_idx on identity_providers (created_by)',

  // A provider may be of the operator's file, so it is no foreign key. An issuer that is not known yet is empty.
  `create table identities (
    id uuid constraint identities_pkey primary key default gen_random_uuid(),
    user_id uuid not null constraint identities_user_id_fkey references users on delete cascade,
    provider_id text not null,
    issuer text not null default '',
    subject text not null,
    email text,
    email_proven boolean not null default false,
    last_used_at timestamptz,
    created_at timestamptz not null default now(),
    constraint identities_provider_id_issuer_subject_key unique (provider_id, issuer, subject)
  )`,
  'create index identities_user_id_idx on identities (user_id)',

  // A role that somebody holds for as long as a provider says so.
  'alter table role_grants add column identity_provider_id text',
  `create unique index role_grants_identity_provider_id_idx on role_grants (identity_provider_id, user_id, role_id)
     where identity_provider_id is not null`,

  `insert into permissions (name) values ${names.map((name) => `('${name}')`).join(', ')} on conflict (name) do nothing`,
  `insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from (values ${assigned.map(([role, name]) => `('${role}', '${name}')`).join(', ')})
       as assigned (role, permission)
     join roles on roles.name = assigned.role join permissions on permissions.name = assigned.permission
     on conflict do nothing`,
];

export const down = [
  `delete from permissions where name in (${names.map((name) => `'${name}'`).join(', ')})`,
  'delete from role_grants where identity_provider_id is not null',
  'alter table role_grants drop column identity_provider_id',
  'drop table identities',
  'drop table identity_providers',
];
