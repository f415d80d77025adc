/** Clients that nobody registered: dynamic registration (RFC 7591, RFC 7592) and client metadata documents. */

export const up = [
  // What clients may register that come with a token of this policy.
  `create table software_policies (
    name text constraint software_policies_pkey primary key,
    description text,
    grant_types text[] not null,
    redirect_hosts text[],
    scope text,
    profile text constraint software_policies_profile_check check (profile in ('oauth2.1', 'fapi2-security', 'fapi2-message-signing')),
    require_pkce boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  )`,

  `create table initial_access_tokens (
    id uuid constraint initial_access_tokens_pkey primary key,
    token_hash text not null constraint initial_access_tokens_token_hash_key unique,
    note text not null,
    software_policy text constraint initial_access_tokens_software_policy_fkey references software_policies on delete cascade,
    uses_left integer constraint initial_access_tokens_uses_left_check check (uses_left >= 0),
    created_by uuid constraint initial_access_tokens_created_by_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  )`,
  'create index initial_access_tokens_software_policy_idx on initial_access_tokens (software_policy)',
  'create index initial_access_tokens_created_by_idx on initial_access_tokens (created_by)',
  'create index initial_access_tokens_expires_at_idx on initial_access_tokens (expires_at)',

  // A policy that is gone leaves its clients what they have; what they register from then on is what anybody may.
  `alter table clients
    add column kind text not null default 'registered',
    add column software_policy text constraint clients_software_policy_fkey references software_policies on delete set null,
    add column registration_token_hash text,
    add column metadata_expires_at timestamptz,
    add column last_used_at timestamptz,
    add constraint clients_kind_check check (kind in ('registered', 'dynamic', 'metadata-document'))`,
  'create index clients_software_policy_idx on clients (software_policy)',
  `create index clients_kind_created_at_idx on clients (kind, created_at) where kind <> 'registered'`,
];

export const down = [
  // Nobody vouches for them, and without their kind they would look like somebody's.
  `delete from clients where kind <> 'registered'`,
  `alter table clients
    drop column kind,
    drop column software_policy,
    drop column registration_token_hash,
    drop column metadata_expires_at,
    drop column last_used_at`,
  'drop table initial_access_tokens',
  'drop table software_policies',
];
