/** Roles, users, the audit log, and single-use tokens sent by mail. */

const builtInRoles = [
  ['super_admin', 100, 'Everything, including other administrators'],
  ['admin', 80, 'Users, clients and settings'],
  ['moderator', 60, 'Looks after users and content'],
  ['manager', 50, 'Looks after an organization or team'],
  ['partner', 40, 'A person of a partner organization'],
  ['operator', 30, 'Runs the service'],
  ['user', 10, 'Signs in'],
] as const;

export const up = [
  `create table roles (
    id uuid constraint roles_pkey primary key default gen_random_uuid(),
    name text not null constraint roles_name_key unique,
    description text not null default '',
    rank integer not null,
    built_in boolean not null default false,
    created_at timestamptz not null default now()
  )`,
  `insert into roles (name, rank, description, built_in) values
    ${builtInRoles.map(([name, rank, description]) => `('${name}', ${rank}, '${description}', true)`).join(', ')}`,
  `create table permissions (
    id uuid constraint permissions_pkey primary key default gen_random_uuid(),
    name text not null constraint permissions_name_key unique,
    description text not null default '',
    constraint permissions_name_check check (name ~ '^[a-z_*]+:[a-z_*]+:[a-z_*]+$')
  )`,
  `create table role_permissions (
    role_id uuid not null constraint role_permissions_role_id_fkey references roles on delete cascade,
    permission_id uuid not null constraint role_permissions_permission_id_fkey references permissions on delete cascade,
    constraint role_permissions_pkey primary key (role_id, permission_id)
  )`,
  'create index role_permissions_permission_id_idx on role_permissions (permission_id)',

  // Personal data beyond email and name is in pii_encrypted, under a data key of this user's own (pii_key, wrapped by
  // the master key): destroying that key erases it from every backup too.
  `create table users (
    id uuid constraint users_pkey primary key,
    email text not null,
    email_verified_at timestamptz,
    name text not null,
    password_hash text,
    password_changed_at timestamptz,
    role_id uuid not null constraint users_role_id_fkey references roles,
    status text not null default 'active',
    locale text,
    pii_key bytea,
    pii_encrypted bytea,
    phone_index text,
    last_sign_in_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_status_check check (status in ('active', 'deactivated', 'closed')),
    constraint users_email_check check (email = lower(email)),
    constraint users_pii_check check ((pii_key is null) = (pii_encrypted is null))
  )`,
  "create unique index users_email_key on users (email) where status <> 'closed'",
  'create index users_role_id_idx on users (role_id)',
  'create index users_phone_index_idx on users (phone_index) where phone_index is not null',

  `create table action_tokens (
    token_hash text constraint action_tokens_pkey primary key,
    purpose text not null,
    user_id uuid constraint action_tokens_user_id_fkey references users on delete cascade,
    browser_hash text,
    expires_at timestamptz not null,
    consumed_at timestamptz,
    created_at timestamptz not null default now(),
    constraint action_tokens_purpose_check check (purpose in ('verify-email', 'reset-password', 'setup'))
  )`,
  'create index action_tokens_user_id_idx on action_tokens (user_id)',
  'create index action_tokens_expires_at_idx on action_tokens (expires_at)',

  `create table audit_logs (
    id uuid constraint audit_logs_pkey primary key,
    at timestamptz not null default now(),
    actor_type text not null,
    actor_id text,
    action text not null,
    target_type text,
    target_id text,
    meta jsonb not null default '{}',
    request_id text,
    address text,
    constraint audit_logs_actor_type_check check (actor_type in ('user', 'client', 'operator', 'system', 'anonymous'))
  )`,
  'create index audit_logs_at_idx on audit_logs (at)',
  'create index audit_logs_actor_id_idx on audit_logs (actor_id, at)',
  'create index audit_logs_target_idx on audit_logs (target_type, target_id, at)',
  'create index audit_logs_action_idx on audit_logs (action, at)',
  `create function audit_logs_append_only() returns trigger language plpgsql as $$
    begin
      raise exception 'audit_logs is append-only';
    end
  $$`,
  'create trigger audit_logs_append_only before update or delete on audit_logs for each row execute function audit_logs_append_only()',
  'create trigger audit_logs_no_truncate before truncate on audit_logs for each statement execute function audit_logs_append_only()',
];

export const down = [
  'drop table audit_logs',
  'drop function audit_logs_append_only()',
  'drop table action_tokens',
  'drop table users',
  'drop table role_permissions',
  'drop table permissions',
  'drop table roles',
];
