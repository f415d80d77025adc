/** Token exchange (RFC 8693): which clients may exchange people's tokens, and what a grant that came of one ends with. */

export const up = [
  // Null: the client exchanges API keys alone.
  'alter table clients add column token_exchange jsonb',
  // The grant of the token that was exchanged: this one ends with it.
  `alter table grants add column source_grant_id text
     constraint grants_source_grant_id_fkey references grants on delete cascade`,
  'create index grants_source_grant_id_idx on grants (source_grant_id)',
];

export const down = [
  'alter table grants drop column source_grant_id',
  'alter table clients drop column token_exchange',
];
