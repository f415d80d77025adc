/** What administrators search accounts by, and what makes the tokens that a client got for itself revocable. */

export const up = [
  // Prefixes, whatever the collation of the database.
  'create index users_email_prefix_idx on users (email text_pattern_ops)',
  'create index users_name_prefix_idx on users (lower(name) text_pattern_ops)',
  "create index users_status_idx on users (status, id) where status <> 'active'",
  'create index users_created_at_idx on users (created_at)',
  // A JWT of client_credentials has no grant that could end. It carries the generation that it was made in, and is dead
  // once the client's is another.
  'alter table clients add column token_generation integer not null default 0',
];

export const down = [
  'alter table clients drop column token_generation',
  'drop index users_created_at_idx',
  'drop index users_status_idx',
  'drop index users_name_prefix_idx',
  'drop index users_email_prefix_idx',
];
