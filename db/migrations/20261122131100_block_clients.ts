/** Clients that an administrator has blocked, and whether anybody answers for a client. */

export const up = [
  // A document would be read again at its next use: to delete its row would stop nothing.
  `alter table clients
    add column blocked_at timestamptz,
    add column vouched_for boolean not null default true,
    add constraint clients_blocked_at_check check (blocked_at is null or kind = 'metadata-document')`,
  // Of clients that registered themselves, who came with the operator's own token was not written down.
  `update clients set vouched_for = false
    where kind = 'metadata-document' or (kind = 'dynamic' and created_by is null and software_policy is null)`,
];

export const down = [
  // It would be let in again.
  'alter table clients drop constraint clients_blocked_at_check',
  'alter table clients drop column blocked_at, drop column vouched_for',
];
