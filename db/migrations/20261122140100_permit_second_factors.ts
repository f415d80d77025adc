/** Who may see and change their own second factors, who may take away somebody else's, and which applications ask for one. */

/** Whoever may end their own sessions; `super_admin` may do everything. */
const own = ['moderator', 'manager', 'partner', 'operator', 'user'];
const permissions = ['mfa:read:own', 'mfa:write:own'];
const list = (names: readonly string[]) => names.map((name) => `'${name}'`).join(', ');

export const up = [
  `insert into permissions (name) select name from unnest(array[${list([...permissions, 'mfa:*:any'])}]) as name
     on conflict (name) do nothing`,
  `insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from roles cross join permissions
     where (roles.name in (${list(own)}) and permissions.name in (${list(permissions)}))
       or (roles.name = 'admin' and permissions.name = 'mfa:*:any')
     on conflict do nothing`,
  'alter table clients add column require_mfa boolean not null default false',
];

export const down = [
  'alter table clients drop column require_mfa',
  `delete from permissions where name in (${list([...permissions, 'mfa:*:any'])})`,
];
