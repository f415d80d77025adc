/** Lists of groups go by their id, within a parent, an organization or a kind; names are looked up by how they begin. */

export const up = [
  'drop index groups_parent_id_idx',
  'create index groups_parent_id_id_idx on groups (parent_id, id)',
  'drop index groups_organization_id_idx',
  'create index groups_organization_id_id_idx on groups (organization_id, id)',
  'create index groups_kind_id_idx on groups (kind, id)',
  "create index groups_open_id_idx on groups (id) where organization_id is null and kind = 'team' and is_active",
  'create index groups_name_idx on groups (lower(name) text_pattern_ops)',
  'create index groups_external_ref_idx on groups (external_ref) where external_ref is not null',
];

export const down = [
  'drop index groups_external_ref_idx',
  'drop index groups_name_idx',
  'drop index groups_open_id_idx',
  'drop index groups_kind_id_idx',
  'drop index groups_organization_id_id_idx',
  'create index groups_organization_id_idx on groups (organization_id)',
  'drop index groups_parent_id_id_idx',
  'create index groups_parent_id_idx on groups (parent_id)',
];
