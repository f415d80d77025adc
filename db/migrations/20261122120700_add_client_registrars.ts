/** Who answers for a client: what it may do on its own ends with what they may do. */

export const up = [
  // Null: the operator, at the machine itself. Accounts are closed and not deleted, so that nobody's clients become theirs.
  'alter table clients add column created_by uuid constraint clients_created_by_fkey references users on delete set null',
  'create index clients_created_by_idx on clients (created_by)',
  // Code from before ranks registers at the machine alone, and names none: nobody below the operator takes its clients over.
  'alter table clients alter column rank set default 100',
  'update clients set rank = 100 where rank = 0',
];

export const down = [
  'alter table clients alter column rank set default 0',
  'drop index clients_created_by_idx',
  'alter table clients drop column created_by',
];
