/** Orders in which roles and permissions are listed. */

export const up = [
  'create index roles_rank_idx on roles ((-rank), name)',
  'create unique index permissions_name_c_idx on permissions (name collate "C")',
];

export const down = ['drop index permissions_name_c_idx', 'drop index roles_rank_idx'];
