/** Second factors: authenticator apps (TOTP, RFC 6238), backup codes and passkeys (WebAuthn); and what may be used once alone. */

export const up = [
  `create table totp_devices (
    id uuid constraint totp_devices_pkey primary key,
    user_id uuid not null constraint totp_devices_user_id_fkey references users on delete cascade,
    name text not null,
    secret_encrypted bytea not null,
    algorithm text not null default 'SHA1' constraint totp_devices_algorithm_check check (algorithm in ('SHA1', 'SHA256', 'SHA512')),
    digits integer not null default 6 constraint totp_devices_digits_check check (digits in (6, 8)),
    period_seconds integer not null default 30 constraint totp_devices_period_seconds_check check (period_seconds between 15 and 120),
    last_step integer,
    confirmed_at timestamptz,
    last_used_at timestamptz,
    expires_at timestamptz,
    created_at timestamptz not null default now()
  )`,
  'create index totp_devices_user_id_idx on totp_devices (user_id)',
  'create index totp_devices_expires_at_idx on totp_devices (expires_at) where expires_at is not null',

  `create table backup_codes (
    id uuid constraint backup_codes_pkey primary key,
    user_id uuid not null constraint backup_codes_user_id_fkey references users on delete cascade,
    code_hash text not null,
    consumed_at timestamptz,
    created_at timestamptz not null default now(),
    constraint backup_codes_user_id_code_hash_key unique (user_id, code_hash)
  )`,

  `create table passkeys (
    id uuid constraint passkeys_pkey primary key,
    user_id uuid not null constraint passkeys_user_id_fkey references users on delete cascade,
    credential_id text not null constraint passkeys_credential_id_key unique,
    public_key bytea not null,
    counter bigint not null,
    transports jsonb not null default '[]',
    aaguid text not null,
    discoverable boolean not null,
    backup_eligible boolean not null,
    backed_up boolean not null,
    name text not null,
    last_used_at timestamptz,
    created_at timestamptz not null default now()
  )`,
  'create index passkeys_user_id_idx on passkeys (user_id)',

  `create table consumed_tokens (
    token_hash text constraint consumed_tokens_pkey primary key,
    expires_at timestamptz not null
  )`,
  'create index consumed_tokens_expires_at_idx on consumed_tokens (expires_at)',

  'alter table users add column mfa_grace_until timestamptz',
  'alter table known_devices add column mfa_until timestamptz',
];

export const down = [
  'alter table known_devices drop column mfa_until',
  'alter table users drop column mfa_grace_until',
  'drop table consumed_tokens',
  'drop table passkeys',
  'drop table backup_codes',
  'drop table totp_devices',
];
