/** Codes of six digits that people type: mailed, or sent by SMS. */

export const up = [
  // Subject: whose code it is. A user's id, or the blind index of a mail address, which need not have an account.
  `create table one_time_codes (
    id uuid constraint one_time_codes_pkey primary key,
    purpose text not null,
    subject text not null,
    user_id uuid constraint one_time_codes_user_id_fkey references users on delete cascade,
    channel text not null,
    code_hash text not null,
    destination_encrypted bytea,
    tries integer not null default 0,
    expires_at timestamptz not null,
    consumed_at timestamptz,
    created_at timestamptz not null default now(),
    constraint one_time_codes_subject_key unique (purpose, subject),
    constraint one_time_codes_purpose_check check (purpose in ('verify-email', 'verify-phone', 'mfa')),
    constraint one_time_codes_channel_check check (channel in ('email', 'sms'))
  )`,
  'create index one_time_codes_user_id_idx on one_time_codes (user_id)',
  'create index one_time_codes_expires_at_idx on one_time_codes (expires_at)',
];

export const down = ['drop table one_time_codes'];
