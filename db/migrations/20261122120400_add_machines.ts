/** Machines: a client's second secret while it is rotated, what its tokens are for and look like, and API keys. */

export const up = [
  // Built-in clients follow the configuration and are written at each start; nobody else may change them.
  'alter table clients add column built_in boolean not null default false',
  // Those that are there were registered at the command line.
  'update clients set rank = 100',
  'alter table clients add column audience text',
  `alter table clients add column access_token_format text not null default 'jwt'
     constraint clients_access_token_format_check check (access_token_format in ('jwt', 'opaque'))`,
  'alter table clients add column previous_secret_hash text',
  'alter table clients add column previous_secret_expires_at timestamptz',
  `alter table clients add constraint clients_previous_secret_check
     check ((previous_secret_hash is null) = (previous_secret_expires_at is null))`,

  `create table api_keys (
    id uuid constraint api_keys_pkey primary key,
    user_id uuid not null constraint api_keys_user_id_fkey references users on delete cascade,
    name text not null,
    prefix text not null,
    key_hash text not null constraint api_keys_key_hash_key unique,
    scopes text[] not null default '{}',
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now()
  )`,
  'create index api_keys_user_id_id_idx on api_keys (user_id, id)',
  'create index api_keys_ended_idx on api_keys (least(revoked_at, expires_at))',

  // The grant of tokens that a key was exchanged for: they end with it.
  `alter table grants add column api_key_id uuid
     constraint grants_api_key_id_fkey references api_keys on delete cascade`,
  'create index grants_api_key_id_idx on grants (api_key_id)',
];

export const down = [
  'alter table grants drop column api_key_id',
  'drop table api_keys',
  'alter table clients drop constraint clients_previous_secret_check',
  'alter table clients drop column previous_secret_expires_at',
  'alter table clients drop column previous_secret_hash',
  'alter table clients drop column access_token_format',
  'alter table clients drop column audience',
  'alter table clients drop column built_in',
];
