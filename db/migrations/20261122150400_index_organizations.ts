/** Lists of organizations in the order of their names, who owns them, and the permission to leave them. */

const leave = 'organizations:leave:own';

export const up = [
  // One index for the order of lists, for names that begin with something, and for what lies beneath something.
  `create index organizations_name_idx on organizations (lower(name) collate "C", id)`,
  `create index organizations_parent_id_name_idx on organizations (parent_id, lower(name) collate "C", id)`,
  'drop index organizations_parent_id_idx',
  `create index organizations_inactive_idx on organizations (lower(name) collate "C", id) where not is_active`,
  `create index organization_members_owner_idx on organization_members (organization_id, user_id) where is_owner`,

  `insert into permissions (name) values ('${leave}') on conflict (name) do nothing`,
  // Whoever may see which organizations they belong to.
  `insert into role_permissions (role_id, permission_id)
     select role_id, (select id from permissions where name = '${leave}')
     from role_permissions join permissions on permissions.id = permission_id where name = 'organizations:read:own'
     on conflict do nothing`,
];

export const down = [
  `delete from permissions where name = '${leave}'`,
  'drop index organization_members_owner_idx',
  'drop index organizations_inactive_idx',
  'create index organizations_parent_id_idx on organizations (parent_id)',
  'drop index organizations_parent_id_name_idx',
  'drop index organizations_name_idx',
];
