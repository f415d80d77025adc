/**
 * Who may do what, slowly and obviously, from the rows of the tables: what `decide` and the SQL that feeds it are compared with.
 * It shares nothing with either.
 */

export interface ModelGrant {
  userId: string | null;
  groupId: string | null;
  organizationId: string | null;
  startsAt: Date;
  expiresAt: Date | null;
}

/** Rows as the tables have them. */
export interface ModelWorld {
  users: { id: string; status: string; roleId: string }[];
  organizations: { id: string; parentId: string | null; isActive: boolean }[];
  members: { organizationId: string; userId: string; isOwner: boolean }[];
  groups: { id: string; parentId: string | null; organizationId: string | null; isActive: boolean }[];
  groupMembers: { groupId: string; userId: string }[];
  roles: { id: string; name: string; rank: number }[];
  inheritance: { roleId: string; parentId: string }[];
  rolePermissions: { roleId: string; name: string }[];
  roleGrants: (ModelGrant & { roleId: string })[];
  permissionGrants: (ModelGrant & { name: string; effect: 'allow' | 'deny' })[];
}

export interface ModelPolicy {
  effect: 'allow' | 'deny';
  rank: number;
  outcome: 'holds' | 'does not' | 'fails';
}

export interface ModelQuestion {
  userId: string;
  type: string;
  action: string;
  owner: string | undefined;
  organizations: string[];
  every: boolean;
}

/** From an organization up to its root. */
export const wayUp = (world: Pick<ModelWorld, 'organizations'>, id: string): string[] => {
  const way: string[] = [];
  let at: string | null = id;
  while (at !== null) {
    const next = world.organizations.find((one) => one.id === at);
    if (!next || way.includes(next.id)) break;
    way.push(next.id);
    at = next.parentId;
  }
  return way;
};

/** Where somebody is a member, as far as that counts. */
const placesOf = (world: ModelWorld, userId: string): string[] =>
  world.members
    .filter((member) => member.userId === userId)
    .map(({ organizationId }) => organizationId)
    .filter((id) => world.organizations.find((one) => one.id === id)?.isActive);

/** The groups whose roles reach somebody: a group that is not active passes nothing down. */
const groupsOf = (world: ModelWorld, userId: string): string[] => {
  const places = placesOf(world, userId);
  const found: string[] = [];
  for (const { groupId, userId: member } of world.groupMembers) {
    if (member !== userId) continue;
    const first = world.groups.find(({ id }) => id === groupId);
    if (first?.organizationId && !places.includes(first.organizationId)) continue;
    let at = first;
    while (at?.isActive && !found.includes(at.id)) {
      found.push(at.id);
      const { parentId } = at;
      at = world.groups.find(({ id }) => id === parentId);
    }
  }
  return found;
};

interface Holding {
  resource: string;
  action: string;
  scope: string;
  effect: 'allow' | 'deny';
  place: string | null;
}

const withIncluded = (world: ModelWorld, roleId: string): string[] => {
  const all = [roleId];
  for (const one of all)
    for (const { roleId: includer, parentId } of world.inheritance)
      if (includer === one && !all.includes(parentId)) all.push(parentId);
  return all;
};

/** All that is given to somebody or denied. */
export const holdingsOf = (world: ModelWorld, userId: string, now: Date): { holdings: Holding[]; rank: number } => {
  const user = world.users.find(({ id }) => id === userId);
  if (user?.status !== 'active') return { holdings: [], rank: -1 };
  const places = placesOf(world, userId);
  const groups = groupsOf(world, userId);
  const counts = (grant: ModelGrant) =>
    (grant.userId === userId || (grant.groupId !== null && groups.includes(grant.groupId))) &&
    grant.startsAt <= now &&
    (grant.expiresAt === null || grant.expiresAt > now) &&
    (grant.organizationId === null || places.includes(grant.organizationId));

  const held: { roleId: string; place: string | null }[] = [{ roleId: user.roleId, place: null }];
  for (const grant of world.roleGrants)
    if (counts(grant)) held.push({ roleId: grant.roleId, place: grant.organizationId });
  const manager = world.roles.find(({ name }) => name === 'manager');
  for (const { organizationId, userId: member, isOwner } of world.members)
    if (member === userId && isOwner && manager && places.includes(organizationId))
      held.push({ roleId: manager.id, place: organizationId });

  const holdings: Holding[] = [];
  const hold = (name: string, effect: 'allow' | 'deny', place: string | null) => {
    const [resource = '', action = '', scope = ''] = name.split(':');
    holdings.push({ resource, action, scope, effect, place });
  };
  let rank = -1;
  for (const { roleId, place } of held)
    for (const role of withIncluded(world, roleId)) {
      if (place === null) rank = Math.max(rank, world.roles.find(({ id }) => id === role)?.rank ?? -1);
      for (const one of world.rolePermissions) if (one.roleId === role) hold(one.name, 'allow', place);
    }
  for (const grant of world.permissionGrants) if (counts(grant)) hold(grant.name, grant.effect, grant.organizationId);
  return { holdings, rank };
};

/** Whether the user may, by everything that there is. */
export const modelMay = (
  world: ModelWorld,
  { userId, type, action, owner, organizations, every }: ModelQuestion,
  policies: readonly ModelPolicy[],
  now: Date,
): boolean => {
  const { holdings, rank } = holdingsOf(world, userId, now);
  // `*` stands for what permissions can be about; policies alone are about anything else.
  const isNameable = [type, action].every((name) => /^[a-z][a-z0-9_-]*$/.test(name));
  const about = (isNameable ? holdings : []).filter(
    ({ resource, action: verb }) => (resource === '*' || resource === type) && (verb === '*' || verb === action),
  );
  const places = placesOf(world, userId);
  const isMine = owner === userId;
  /** For each organization of the thing: those of mine that are it, or above it. */
  const mine = organizations.map((id) => wayUp(world, id).filter((one) => places.includes(one)));
  const related = mine.filter((ids) => ids.length > 0);

  const denied =
    about.some(
      ({ effect, scope, place }) => effect === 'deny' && isMine && place === null && ['own', '*'].includes(scope),
    ) ||
    related.some((ids) =>
      about.some(
        ({ effect, scope, place }) =>
          effect === 'deny' &&
          (place === null ? ['organization', '*'].includes(scope) : ids.includes(place) && scope !== 'own'),
      ),
    ) ||
    (!isMine &&
      related.length === 0 &&
      about.some(({ effect, scope, place }) => effect === 'deny' && place === null && ['any', '*'].includes(scope)));
  if (denied) return false;

  const allowing = about.filter(({ effect }) => effect === 'allow');
  const anywhere = allowing.filter(({ place }) => place === null);
  const inside = (ids: string[]) =>
    anywhere.some(({ scope }) => ['organization', 'any', '*'].includes(scope)) ||
    allowing.some(
      ({ scope, place }) => place !== null && ids.includes(place) && ['organization', 'any', '*'].includes(scope),
    );
  const permitted =
    (isMine && anywhere.length > 0) ||
    anywhere.some(({ scope }) => ['any', '*'].includes(scope)) ||
    (every ? mine.length > 0 && mine.every((ids) => ids.length > 0 && inside(ids)) : related.some(inside));

  const binding = policies.filter((policy) => policy.rank >= rank);
  if (binding.some(({ outcome }) => outcome === 'fails')) return false;
  if (binding.some(({ effect, outcome }) => effect === 'deny' && outcome === 'holds')) return false;
  return permitted || binding.some(({ effect, outcome }) => effect === 'allow' && outcome === 'holds');
};
