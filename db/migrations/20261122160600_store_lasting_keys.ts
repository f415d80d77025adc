/**
 * Keys whose work outlives a master key: what they made is stored, or others know it (a pairwise `sub`), and it cannot be made
 * again. They are wrapped by the master key, so that a rotation changes the wrapping alone.
 */

export const up = [
  `create table lasting_keys (
    purpose text constraint lasting_keys_pkey primary key,
    key_encrypted bytea not null,
    created_at timestamptz not null default now()
  )`,
];

export const down = ['drop table lasting_keys'];
