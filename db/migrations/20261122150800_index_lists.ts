/** Indexes that lists of accounts, groups and organizations are read by, each in the order of the list. */
export const up = [
  // By their primary role, in the order of a page.
  'create index users_role_id_id_idx on users (role_id, id)',
  'drop index users_role_id_idx',
  "create index users_status_role_id_idx on users (status, role_id, id) where status <> 'active'",
  // Those that wait to be verified are few among many.
  'create index users_unverified_idx on users (id) where email_verified_at is null',
  // Whether somebody belongs to one of many organizations is told by the index alone.
  'create index organization_members_user_id_organization_id_idx on organization_members (user_id, organization_id)',
  'drop index organization_members_user_id_idx',
  // Few are not active.
  'create index groups_inactive_idx on groups (id) where not is_active',
];

export const down = [
  'create index organization_members_user_id_idx on organization_members (user_id)',
  'drop index organization_members_user_id_organization_id_idx',
  'drop index groups_inactive_idx',
  'drop index users_unverified_idx',
  'drop index users_status_role_id_idx',
  'create index users_role_id_idx on users (role_id)',
  'drop index users_role_id_id_idx',
];
