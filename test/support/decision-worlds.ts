/** Random worlds of organizations, groups, roles and grants, small enough that everything in them meets everything else. */
import fc from 'fast-check';
import type { ModelWorld } from './decision-model.ts';

const resources = ['users', 'purchase-orders2', '*'];
const actions = ['read', 'write', '*'];
const scopes = ['own', 'organization', 'any', '*'];

export const permissionName = fc
  .tuple(fc.constantFrom(...resources), fc.constantFrom(...actions), fc.constantFrom(...scopes))
  .map((parts) => parts.join(':'));

const id = (kind: number, at: number) => `0000000${kind}-0000-4000-8000-00000000000${at}`;
/** A tree: each hangs beneath an earlier one, or nowhere. */
const parents = (count: number) =>
  fc.tuple(
    ...Array.from({ length: count }, (_, at) =>
      fc.option(fc.nat(Math.max(0, at - 1)), { nil: null }).map((n) => (at === 0 ? null : n)),
    ),
  );

const long = 365 * 86_400_000;
const period = (now: number) =>
  fc.constantFrom(
    { startsAt: new Date(now - long), expiresAt: null },
    { startsAt: new Date(now - long), expiresAt: null },
    { startsAt: new Date(now - long), expiresAt: new Date(now + long) },
    { startsAt: new Date(now - 2 * long), expiresAt: new Date(now - long) },
    { startsAt: new Date(now + long), expiresAt: null },
  );

const counts = { users: 3, organizations: 4, groups: 4, roles: 4 };
const pick = (kind: number, count: number) => fc.nat(count - 1).map((at) => id(kind, at));
export const userIds = Array.from({ length: counts.users }, (_, at) => id(1, at));
export const organizationIds = Array.from({ length: counts.organizations }, (_, at) => id(2, at));

/** Each world as the rows of its tables. Roles include lower ones alone, and groups of an organization hang beneath each other. */
export const worlds = (now = Date.now()): fc.Arbitrary<ModelWorld> => {
  const subject = fc.oneof(
    pick(1, counts.users).map((userId) => ({ userId, groupId: null as string | null })),
    pick(3, counts.groups).map((groupId) => ({ userId: null as string | null, groupId })),
  );
  const place = fc.option(pick(2, counts.organizations), { nil: null, freq: 1 });
  const list = <T>(one: fc.Arbitrary<T>, maxLength: number, key: (item: T) => string) =>
    fc.uniqueArray(one, { maxLength, selector: key });
  return fc
    .record({
      primary: fc.tuple(...userIds.map(() => pick(4, counts.roles))),
      organizationParents: parents(counts.organizations),
      inactive: fc.subarray([...organizationIds, ...Array.from({ length: counts.groups }, (_, at) => id(3, at))], {
        maxLength: 2,
      }),
      members: list(
        fc.record({
          organizationId: pick(2, counts.organizations),
          userId: pick(1, counts.users),
          isOwner: fc.constantFrom(false, false, true),
        }),
        6,
        ({ organizationId, userId }) => organizationId + userId,
      ),
      groupParents: parents(counts.groups),
      groupPlaces: fc.tuple(...Array.from({ length: counts.groups }, () => place)),
      groupMembers: list(
        fc.record({ groupId: pick(3, counts.groups), userId: pick(1, counts.users) }),
        6,
        ({ groupId, userId }) => groupId + userId,
      ),
      inheritance: list(
        fc.tuple(fc.nat(counts.roles - 1), fc.nat(counts.roles - 1)).filter(([a, b]) => a > b),
        4,
        (pair) => pair.join(),
      ),
      rolePermissions: list(
        fc.record({ roleId: pick(4, counts.roles), name: permissionName }),
        8,
        ({ roleId, name }) => roleId + name,
      ),
      roleGrants: list(
        fc.tuple(subject, place, period(now), pick(4, counts.roles)),
        6,
        ([{ userId, groupId }, where, , role]) => `${userId}${groupId}${where}${role}`,
      ),
      permissionGrants: list(
        fc.tuple(subject, place, period(now), permissionName, fc.constantFrom('allow' as const, 'deny' as const)),
        6,
        ([{ userId, groupId }, where, , name]) => `${userId}${groupId}${where}${name}`,
      ),
    })
    .map((raw): ModelWorld => {
      const places = [...raw.groupPlaces];
      // A group lies where the one above it does.
      for (const [at, parent] of raw.groupParents.entries()) if (parent !== null) places[at] = places[parent] ?? null;
      return {
        users: userIds.map((user, at) => ({ id: user, status: 'active', roleId: raw.primary[at] as string })),
        organizations: organizationIds.map((one, at) => {
          const parent = raw.organizationParents[at] ?? null;
          return { id: one, parentId: parent === null ? null : id(2, parent), isActive: !raw.inactive.includes(one) };
        }),
        members: raw.members,
        groups: raw.groupParents.map((parent, at) => ({
          id: id(3, at),
          parentId: parent === null ? null : id(3, parent),
          organizationId: places[at] ?? null,
          isActive: !raw.inactive.includes(id(3, at)),
        })),
        groupMembers: raw.groupMembers,
        roles: Array.from({ length: counts.roles }, (_, at) => ({
          id: id(4, at),
          name: at === 0 ? 'manager' : `role-${at}`,
          rank: 10 * at,
        })),
        inheritance: raw.inheritance.map(([a, b]) => ({ roleId: id(4, a), parentId: id(4, b) })),
        rolePermissions: raw.rolePermissions,
        roleGrants: raw.roleGrants.map(([who, organizationId, when, roleId]) => ({
          ...who,
          organizationId,
          ...when,
          roleId,
        })),
        permissionGrants: raw.permissionGrants.map(([who, organizationId, when, name, effect]) => ({
          ...who,
          organizationId,
          ...when,
          name,
          effect,
        })),
      };
    });
};

export const questions = fc.record({
  userId: fc.constantFrom(...userIds),
  type: fc.constantFrom('users', 'purchase-orders2', 'Other'),
  action: fc.constantFrom('read', 'write'),
  owner: fc.option(fc.constantFrom(...userIds), { nil: undefined }),
  organizations: fc.subarray(organizationIds, { maxLength: 3 }),
  every: fc.boolean(),
});
