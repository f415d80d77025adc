/**
 * What the rows of other systems are here: of imports (what a person, role, group or client of Keycloak's became), and of
 * provisioning (who a person is there). Rows of several tables are pointed at, and a closed account must still be known, so
 * `local_id` is no foreign key.
 */

export const up = [
  `create table external_references (
    system text,
    kind text,
    external_id text,
    local_id text not null,
    fingerprint text not null,
    local_version timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint external_references_pkey primary key (system, kind, external_id),
    constraint external_references_kind_check check (kind in ('user', 'role', 'group', 'client', 'identity-provider')),
    constraint external_references_local_id_key unique (system, kind, local_id)
  )`,

  // Of an imported passkey nobody knows before its first use whether it can be copied; and it knows its owner by another name.
  'alter table passkeys alter column backup_eligible drop not null',
  'alter table passkeys add column user_handle text',
];

export const down = [
  'delete from passkeys where backup_eligible is null',
  'alter table passkeys drop column user_handle',
  'alter table passkeys alter column backup_eligible set not null',
  'drop table external_references',
];
