/** What the OpenID Provider stores: signing keys, clients, sessions, grants, consents, tokens. */

export const up = [
  // A key's state follows from the clock: published before signs_from, then signing until the next key of its
  // algorithm starts to sign, then retired until nothing that it signed is alive.
  `create table jwks_keys (
    kid text constraint jwks_keys_pkey primary key,
    alg text not null,
    public_jwk jsonb not null,
    private_encrypted bytea not null,
    signs_from timestamptz not null,
    created_at timestamptz not null default now()
  )`,
  'create index jwks_keys_alg_signs_from_idx on jwks_keys (alg, signs_from)',

  // Names and meanings are those of RFC 7591 and OpenID Connect Registration, except the last block.
  `create table clients (
    client_id text constraint clients_pkey primary key,
    client_secret_hash text,
    client_secret_expires_at timestamptz,
    client_name text,
    client_uri text,
    logo_uri text,
    policy_uri text,
    tos_uri text,
    contacts text[] not null default '{}',
    application_type text not null default 'web',
    redirect_uris text[] not null default '{}',
    post_logout_redirect_uris text[] not null default '{}',
    grant_types text[] not null default '{authorization_code}',
    response_types text[] not null default '{code}',
    scope text,
    token_endpoint_auth_method text not null default 'client_secret_basic',
    token_endpoint_auth_signing_alg text,
    jwks jsonb,
    jwks_uri text,
    id_token_signed_response_alg text,
    userinfo_signed_response_alg text,
    subject_type text not null default 'public',
    sector_identifier_uri text,
    initiate_login_uri text,
    default_max_age integer,
    require_auth_time boolean not null default false,
    default_acr_values text[] not null default '{}',
    backchannel_logout_uri text,
    backchannel_logout_session_required boolean not null default false,
    first_party boolean not null default false,
    require_pkce boolean not null default true,
    theme jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint clients_application_type_check check (application_type in ('web', 'native')),
    constraint clients_subject_type_check check (subject_type in ('public', 'pairwise')),
    constraint clients_require_pkce_check check (require_pkce or token_endpoint_auth_method <> 'none')
  )`,

  // uid is not unique: the engine destroys and inserts a session in two statements when its identifier changes.
  `create table sessions (
    id_hash text constraint sessions_pkey primary key,
    uid text not null,
    user_id uuid constraint sessions_user_id_fkey references users on delete cascade,
    payload jsonb not null,
    user_agent text,
    address text,
    started_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null
  )`,
  'create index sessions_uid_idx on sessions (uid)',
  'create index sessions_user_id_idx on sessions (user_id)',
  'create index sessions_expires_at_idx on sessions (expires_at)',

  `create table grants (
    id text constraint grants_pkey primary key,
    user_id uuid not null constraint grants_user_id_fkey references users on delete cascade,
    client_id text not null constraint grants_client_id_fkey references clients on delete cascade,
    session_uid text,
    payload jsonb not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  )`,
  'create index grants_user_id_client_id_idx on grants (user_id, client_id)',
  'create index grants_client_id_idx on grants (client_id)',
  'create index grants_session_uid_idx on grants (session_uid)',
  'create index grants_expires_at_idx on grants (expires_at)',

  `create table consents (
    user_id uuid not null constraint consents_user_id_fkey references users on delete cascade,
    client_id text not null constraint consents_client_id_fkey references clients on delete cascade,
    scopes text[] not null default '{}',
    claims text[] not null default '{}',
    resources jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint consents_pkey primary key (user_id, client_id)
  )`,
  'create index consents_client_id_idx on consents (client_id)',

  // No foreign key to grants: a replay may revoke the grant while the winner of the race saves its token, and that
  // token must then be dead (its grant is gone), not an error.
  `create table refresh_tokens (
    token_hash text constraint refresh_tokens_pkey primary key,
    user_id uuid not null constraint refresh_tokens_user_id_fkey references users on delete cascade,
    client_id text not null constraint refresh_tokens_client_id_fkey references clients on delete cascade,
    grant_id text not null,
    parent_hash text,
    payload jsonb not null,
    consumed_at timestamptz,
    revoked boolean not null default false,
    superseded boolean not null default false,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  )`,
  'create index refresh_tokens_grant_id_idx on refresh_tokens (grant_id)',
  'create index refresh_tokens_parent_hash_idx on refresh_tokens (parent_hash)',
  'create index refresh_tokens_user_id_idx on refresh_tokens (user_id)',
  'create index refresh_tokens_client_id_idx on refresh_tokens (client_id)',
  'create index refresh_tokens_expires_at_idx on refresh_tokens (expires_at)',

  `create table oidc_payloads (
    model text not null,
    id_hash text not null,
    payload jsonb not null,
    grant_id text,
    user_code_hash text,
    consumed_at timestamptz,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    constraint oidc_payloads_pkey primary key (model, id_hash)
  )`,
  'create index oidc_payloads_grant_id_idx on oidc_payloads (grant_id) where grant_id is not null',
  'create index oidc_payloads_user_code_hash_idx on oidc_payloads (user_code_hash) where user_code_hash is not null',
  'create index oidc_payloads_expires_at_idx on oidc_payloads (expires_at)',

  `create table revoked_tokens (
    jti_hash text constraint revoked_tokens_pkey primary key,
    expires_at timestamptz not null,
    created_at timestamptz not null default now()
  )`,
  'create index revoked_tokens_expires_at_idx on revoked_tokens (expires_at)',
];

export const down = [
  'drop table revoked_tokens',
  'drop table oidc_payloads',
  'drop table refresh_tokens',
  'drop table consents',
  'drop table grants',
  'drop table sessions',
  'drop table clients',
  'drop table jwks_keys',
];
