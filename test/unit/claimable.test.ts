/** What tokens say of somebody's access, compared with the decision on random facts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide, noPolicies } from '../../src/policies/decide.ts';
import type { Membership, UserAccess } from '../../src/roles/access.queries.ts';
import { claimablePermissions, inOrganization, membershipIn } from '../../src/roles/claimable.ts';
import { allows } from '../../src/roles/permissions.ts';

const resources = ['users', 'orders'];
const actions = ['read', 'write'];
const scopes = ['own', 'organization', 'any'];
const names = resources.flatMap((resource) => actions.map((action) => `${resource}:${action}:any`));
const concrete = resources.flatMap((resource) =>
  actions.flatMap((action) => scopes.map((scope) => ({ resource, action, scope }))),
);

const permission = fc
  .record({
    resource: fc.constantFrom(...resources, '*'),
    action: fc.constantFrom(...actions, '*'),
    scope: fc.constantFrom(...scopes, '*'),
    denied: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
  })
  .map(({ resource, action, scope, denied }) => `${denied ? '!' : ''}${resource}:${action}:${scope}`);
/** Inside an organization nothing reaches further than that. */
const inside = permission.map((name) => (name.startsWith('!') ? name : name.replace(/:(any|[*])$/, ':organization')));
const several = (one: fc.Arbitrary<string>) => fc.uniqueArray(one, { maxLength: 4 });

const member = (id: string) =>
  several(inside).map(
    (permissions): Membership => ({
      ...{ id, kind: 'organization', name: id, isOwner: false, roles: [], rank: -1 },
      permissions,
    }),
  );
const person: fc.Arbitrary<UserAccess> = fc
  .record({ permissions: several(permission), a: member('a'), b: member('b') })
  .map(({ permissions, a, b }) => ({
    ...{ roles: [], rank: 0, permissions, organizations: [a, b], groups: [], domains: [], grants: [] },
    changesInMs: undefined,
  }));
const place = fc.constantFrom(undefined, 'a', 'b');

const may = (
  subject: UserAccess,
  { resource: type, action }: { resource: string; action: string },
  target: { owner?: string; organizations?: string[][] },
): boolean =>
  decide(
    { subject: { type: 'user', id: 'me' }, action, resource: { type, ...target } },
    { subject, policiesFor: noPolicies },
  ).allowed;

/** Things that the subject stands to in that relation. */
const things = (scope: string, organizations: readonly { id: string }[], everywhere: boolean) => {
  const inside = organizations.map(({ id }) => ({ organizations: [[id]] }));
  if (scope === 'organization') return inside;
  if (scope === 'any') return [{}];
  return [...(everywhere ? [{ owner: 'me' }] : []), ...inside.map((thing) => ({ ...thing, owner: 'me' }))];
};

describe('permissions in tokens', () => {
  it('are never more than the decision allows', () => {
    fc.assert(
      fc.property(person, place, (full, organizationId) => {
        const access = inOrganization(full, organizationId) as UserAccess;
        const claimed = claimablePermissions(access, membershipIn(access, organizationId), names);
        for (const asked of concrete) {
          const name = `${asked.resource}:${asked.action}:${asked.scope}`;
          if (!allows(claimed, name)) continue;
          // What is held in an organization is held for one's own things there.
          const everywhere = allows(claimablePermissions(access, undefined, names), name);
          for (const thing of things(asked.scope, access.organizations, everywhere))
            expect([claimed, asked, thing, may(access, asked, thing)]).toEqual([claimed, asked, thing, true]);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('are all that it allows where nothing is denied', () => {
    const undenied = person.map((one) => ({
      ...one,
      permissions: one.permissions.filter((name) => !name.startsWith('!')),
      organizations: one.organizations.map((place) => ({
        ...place,
        permissions: place.permissions.filter((name) => !name.startsWith('!')),
      })),
    }));
    fc.assert(
      fc.property(undenied, fc.constantFrom('a', 'b'), (full, organizationId) => {
        const access = inOrganization(full, organizationId) as UserAccess;
        const claimed = claimablePermissions(access, membershipIn(access, organizationId), names);
        for (const asked of concrete.filter(({ scope }) => scope !== 'own')) {
          const [thing] = things(asked.scope, access.organizations, true);
          const told = allows(claimed, `${asked.resource}:${asked.action}:${asked.scope}`);
          expect([claimed, asked, told]).toEqual([claimed, asked, may(access, asked, thing ?? {})]);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

it('a token for one organization can do nothing that its person could not do without it', () => {
  const thing = fc.record(
    {
      owner: fc.constantFrom('me', 'somebody'),
      // c lies beneath a, and b beneath c.
      organizations: fc.uniqueArray(fc.constantFrom<string[]>(['a'], ['b'], ['c', 'a'], ['b', 'c', 'a']), {
        maxLength: 2,
        selector: String,
      }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(person, fc.constantFrom('a', 'b'), thing, fc.constantFrom(...concrete), (full, id, target, asked) => {
      const bound = inOrganization(full, id) as UserAccess;
      if (may(bound, asked, target)) expect(may(full, asked, target)).toBe(true);
    }),
    { numRuns: 20_000 },
  );
});

it('a token for one organization knows no groups of others', () => {
  const group = (id: string, organizationId: string | null) => ({
    id,
    kind: 'group' as const,
    name: id,
    organizationId,
  });
  const access = {
    ...{ roles: [], rank: 0, permissions: [], domains: [], grants: [], changesInMs: undefined },
    organizations: ['a', 'b'].map((id) => ({
      ...{ id, kind: 'organization' as const, name: id, isOwner: false, roles: [], rank: -1, permissions: [] },
    })),
    groups: [group('in a', 'a'), group('in b', 'b'), group('of nobody', null)],
  };
  expect(inOrganization(access, 'a')?.groups.map(({ id }) => id)).toEqual(['in a', 'of nobody']);
  expect(inOrganization(access, undefined)?.groups).toHaveLength(3);
});

it('whoever is no member has no access there', () => {
  fc.assert(fc.property(person, (full) => inOrganization(full, 'c') === undefined));
});
