/** Devices on which an account has signed in before. Somebody who guesses its password from elsewhere does not hold them back. */

export const up = [
  `create table known_devices (
    user_id uuid not null constraint known_devices_user_id_fkey references users on delete cascade,
    device_hash text not null,
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint known_devices_pkey primary key (user_id, device_hash)
  )`,
  'create index known_devices_expires_at_idx on known_devices (expires_at)',
];

export const down = ['drop table known_devices'];
