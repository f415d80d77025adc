/** SQL of the roles that a person holds, and where each comes from. Whatever asks who may do what begins with it. */

/** Which grants count: those in force now, with `true` those that have yet to begin too, or those in force now that last until then. */
export type When = boolean | { until: string };

/**
 * Of a grant: whether it counts now. The query looks at the clock, so that a grant ends on time whether a job runs or not.
 * @param when `until`: SQL of a moment; null stands for good
 */
export const inForce = (when: When = false): string => {
  if (typeof when === 'object') return `starts_at <= now() and (expires_at is null or expires_at >= ${when.until})`;
  return `${when ? '' : 'starts_at <= now() and '}(expires_at is null or expires_at > now())`;
};

/**
 * Common table expressions for a `with recursive`:
 * - `belongs` (organization_id, is_owner): the active organizations that the person is a member of;
 * - `circles` (id, parent_id): the groups that they are in and those above, as far as they are active: groups pass roles down;
 * - `held` (role_id, organization_id, group_id): the roles, those that others include too. Without an organization a role is
 *   held everywhere. A grant inside an organization counts for its members alone, and owners are managers of theirs.
 *
 * All three are found by indexes from the user's id. `union` ends what would go round in circles.
 * @param id SQL of the user's id
 * @param when with `true` what may count one day too: grants that have yet to begin, groups and organizations that are not active
 */
export const heldBy = (id: string, when: When = false): string => {
  const active = (table: string) => (when === true ? '' : `and ${table}.is_active`);
  const counts = `${inForce(when)} and (organization_id is null or organization_id in (select organization_id from belongs))`;
  return `belongs as (
       select organization_id, is_owner from organization_members join organizations on organizations.id = organization_id
       where user_id = ${id} ${active('organizations')}
     ), circles as (
       select groups.id, groups.parent_id from group_members join groups on groups.id = group_id
       where user_id = ${id} ${active('groups')}
         and (groups.organization_id is null or groups.organization_id in (select organization_id from belongs))
       union
       select groups.id, groups.parent_id from circles join groups on groups.id = circles.parent_id ${active('groups')}
     ), held (role_id, organization_id, group_id) as (
       select role_id, null::uuid, null::uuid from users person where person.id = ${id}
       union
       select role_id, organization_id, null from role_grants where user_id = ${id} and ${counts}
       union
       select role_id, organization_id, group_id from role_grants where group_id = any(array(select id from circles)) and ${counts}
       union
       select roles.id, organization_id, null from belongs join roles on is_owner and roles.name = 'manager'
       union
       select role_inheritance.parent_id, organization_id, group_id
       from held join role_inheritance on role_inheritance.role_id = held.role_id
     )`;
};
