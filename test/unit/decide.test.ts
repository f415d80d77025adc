/** The decision: compared with a slow and obvious model on random worlds, and what it names as its reason. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ActivePolicy,
  decide,
  explain,
  noPolicies,
  type Question,
  type SubjectFacts,
} from '../../src/policies/decide.ts';
import { askedOf, isAllowed, isDenied, saidBy } from '../../src/policies/permission-index.ts';
import { allows, denied, denies, intersect } from '../../src/roles/permissions.ts';
import {
  holdingsOf,
  type ModelPolicy,
  type ModelQuestion,
  type ModelWorld,
  modelMay,
  wayUp,
} from '../support/decision-model.ts';
import { permissionName, questions, worlds } from '../support/decision-worlds.ts';

/** What the model holds, in the form in which decisions take it. */
const factsOf = (world: ModelWorld, userId: string, now: Date): SubjectFacts => {
  const { holdings, rank } = holdingsOf(world, userId, now);
  const heldIn = (place: string | null) =>
    holdings
      .filter((holding) => holding.place === place)
      .map(({ resource, action, scope, effect }) => {
        if (effect === 'deny') return denied(`${resource}:${action}:${scope}`);
        return `${resource}:${action}:${place !== null && ['any', '*'].includes(scope) ? 'organization' : scope}`;
      });
  const active = world.members.filter(
    ({ userId: member, organizationId }) =>
      member === userId && world.organizations.find(({ id }) => id === organizationId)?.isActive,
  );
  return {
    roles: [],
    rank,
    permissions: heldIn(null),
    organizations: active.map(({ organizationId: id }) => ({ id, roles: [], rank: -1, permissions: heldIn(id) })),
  };
};

const questionOf = (
  world: ModelWorld,
  { userId, type, action, owner, organizations, every }: ModelQuestion,
): Question => ({
  subject: { type: 'user', id: userId },
  action,
  resource: { type, owner, organizations: organizations.map((id) => wayUp(world, id)), every },
});

const policies: fc.Arbitrary<ModelPolicy[]> = fc.array(
  fc.record({
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    rank: fc.constantFrom(0, 10, 30),
    outcome: fc.constantFrom('holds' as const, 'does not' as const, 'fails' as const),
  }),
  { maxLength: 3 },
);

const activate = (all: readonly ModelPolicy[]): ActivePolicy[] =>
  all.map(({ effect, rank, outcome }, at) => ({
    id: `${at}`,
    name: `policy-${at}`,
    version: 1,
    effect,
    rank,
    holds: () => {
      if (outcome === 'fails') throw new Error('it failed');
      return outcome === 'holds';
    },
  }));

it('answers as the model does, on random worlds', () => {
  const now = new Date();
  let allowed = 0;
  const runs = 20_000;
  fc.assert(
    fc.property(
      worlds(now.getTime()),
      questions,
      fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, policies),
      (world, question, all) => {
        const expected = modelMay(world, question, all, now);
        allowed += Number(expected);
        const active = activate(all);
        const facts = { subject: factsOf(world, question.userId, now), policiesFor: () => active };
        expect(decide(questionOf(world, question), facts).allowed).toBe(expected);
      },
    ),
    { numRuns: runs },
  );
  // The worlds are worth something: a good part of the questions is answered with yes, and with no.
  expect(allowed).toBeGreaterThan(runs / 20);
  expect(allowed).toBeLessThan(runs * 0.95);
}, 120_000);

/** So that answers are remembered, as those of facts that nobody can change are. */
const deepFreeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null) for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
};

it('remembers what it answered from the same facts, and nothing else', () => {
  const now = new Date();
  fc.assert(
    fc.property(
      worlds(now.getTime()),
      fc.array(questions, { minLength: 4, maxLength: 30 }),
      policies,
      (world, asked, all) => {
        const active = activate(all);
        const subjects = new Map<string, SubjectFacts>();
        // Each one twice, among others about the same person.
        for (const question of [...asked, ...asked]) {
          const { userId } = question;
          const subject = subjects.get(userId) ?? deepFreeze(factsOf(world, userId, now));
          subjects.set(userId, subject);
          const forgetful = { ...subject };
          for (const inForce of [[], all]) {
            const policiesFor = inForce.length ? () => active : noPolicies;
            const decision = decide(questionOf(world, question), { subject, policiesFor });
            expect(decision.allowed).toBe(modelMay(world, question, inForce, now));
            expect(decision).toEqual(decide(questionOf(world, question), { subject: forgetful, policiesFor }));
          }
        }
      },
    ),
    { numRuns: 1500 },
  );
}, 120_000);

it('remembers of each way to stand to a thing, in many organizations too', () => {
  const ids = Array.from({ length: 8 }, (_, at) => `o${at}`);
  const organization = fc.constantFrom(...ids, 'elsewhere');
  const held = fc.subarray(['notes:read:organization', '!notes:read:organization', 'notes:read:own']);
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.constantFrom(...ids), held), { selector: ([id]) => id }),
      held,
      fc.array(
        fc.record({
          organizations: fc.option(fc.array(fc.uniqueArray(organization, { maxLength: 3 }), { maxLength: 2 }), {
            nil: undefined,
          }),
          owner: fc.constantFrom('me', 'other', undefined),
          every: fc.boolean(),
        }),
        { maxLength: 40 },
      ),
      (memberships, permissions, things) => {
        const grantsOf = (names: readonly string[], organizationId?: string) =>
          names.map((name) => ({
            permission: name.replace('!', ''),
            effect: name.startsWith('!') ? ('deny' as const) : ('allow' as const),
            ...(organizationId ? { organizationId } : {}),
          }));
        const subject: SubjectFacts = deepFreeze({
          roles: [],
          rank: 1,
          permissions,
          organizations: memberships.map(([id, names]) => ({ id, roles: [], rank: 1, permissions: names })),
          grants: [...grantsOf(permissions), ...memberships.flatMap(([id, names]) => grantsOf(names, id))],
        });
        for (const thing of [...things, ...things]) {
          const question: Question = {
            subject: { type: thing.owner === 'other' ? 'client' : 'user', id: 'me' },
            action: 'read',
            resource: { type: 'notes', ...thing },
          };
          expect(decide(question, { subject, policiesFor: noPolicies })).toEqual(
            decide(question, { subject: { ...subject }, policiesFor: noPolicies }),
          );
        }
      },
    ),
    { numRuns: 2000 },
  );
}, 60_000);

it('a scope does what it does where permissions are narrowed to it', () => {
  const now = new Date();
  fc.assert(
    fc.property(
      worlds(now.getTime()),
      questions,
      fc.array(permissionName, { maxLength: 4 }),
      (world, question, scope) => {
        const subject = factsOf(world, question.userId, now);
        const narrowed = {
          ...subject,
          permissions: intersect(subject.permissions, scope),
          organizations: subject.organizations.map((one) => ({
            ...one,
            permissions: intersect(one.permissions, scope),
          })),
        };
        const asked = questionOf(world, question);
        const tied = decide(asked, { subject: narrowed, scope, policiesFor: noPolicies });
        const untied = decide(asked, { subject, policiesFor: noPolicies });
        // No token gives anybody more than they have, nor more than it names.
        if (tied.allowed) {
          expect(untied.allowed).toBe(true);
          expect(allows(scope, `${question.type}:${question.action}:own`)).toBe(true);
        }
        expect(decide(asked, { subject: narrowed, policiesFor: noPolicies }).allowed).toBe(tied.allowed);
      },
    ),
    { numRuns: 5000 },
  );
});

it('the index says what the list says', () => {
  const name = fc.tuple(fc.boolean(), permissionName).map(([isDenial, text]) => (isDenial ? denied(text) : text));
  const part = fc.constantFrom('users', 'notes', 'read', 'write', '*', 'Other', '', '__proto__', 'a-b');
  fc.assert(
    fc.property(fc.array(name, { maxLength: 6 }), part, part, (held, type, action) => {
      const said = saidBy(held, askedOf(type, action));
      for (const scope of ['own', 'organization', 'any'] as const)
        expect([isAllowed(said, scope), isDenied(said, scope)]).toEqual([
          allows(held, `${type}:${action}:${scope}`),
          denies(held, `${type}:${action}:${scope}`),
        ]);
    }),
    { numRuns: 5000 },
  );
});

describe('names what decided', () => {
  const me = 'u1';
  const grants = [
    { permission: 'users:*:any', effect: 'allow', role: 'admin', groupId: 'g1' },
    { permission: 'notes:read:any', effect: 'allow', role: 'editor', organizationId: 'o1' },
    { permission: 'notes:write:organization', effect: 'deny', organizationId: 'o1' },
    { permission: 'notes:close:any', effect: 'deny', organizationId: 'o1' },
    { permission: 'keys:read:any', effect: 'deny', role: undefined as never },
  ] as const;
  const insideO1 = ['notes:read:organization', '!notes:write:organization', '!notes:close:organization'];
  const subject: SubjectFacts = {
    roles: ['admin'],
    rank: 50,
    permissions: ['users:*:any', '!keys:read:any'],
    organizations: [{ id: 'o1', roles: ['editor'], rank: 50, permissions: insideO1 }],
    grants,
  };
  const ask = (action: string, resource: Question['resource'], extra: Partial<Parameters<typeof decide>[1]> = {}) =>
    decide({ subject: { type: 'user', id: me }, action, resource }, { subject, policiesFor: noPolicies, ...extra });
  const holding = (effect: 'allow' | 'deny', rank = 50): ActivePolicy => ({
    id: 'p',
    name: 'p',
    version: 3,
    effect,
    rank,
    holds: () => true,
  });
  const inO1 = { organizations: [['o2', 'o1']] };

  for (const [name, decision, expected] of [
    [
      'a role of a group',
      ask('read', { type: 'users' }),
      { rule: 'permission', permission: 'users:read:any', granted: 'users:*:any', role: 'admin', groupId: 'g1' },
    ],
    [
      'what is one’s own',
      ask('read', { type: 'users', owner: me }),
      { rule: 'permission', permission: 'users:read:own', granted: 'users:*:any', role: 'admin', groupId: 'g1' },
    ],
    [
      'a role in an organization',
      ask('read', { type: 'notes', ...inO1 }),
      {
        rule: 'permission',
        permission: 'notes:read:organization',
        granted: 'notes:read:any',
        role: 'editor',
        organizationId: 'o1',
      },
    ],
    [
      'a denial in an organization',
      ask('write', { type: 'notes', ...inO1 }),
      {
        rule: 'denial',
        permission: 'notes:write:organization',
        granted: 'notes:write:organization',
        organizationId: 'o1',
      },
    ],
    [
      'a denial of everything in an organization',
      ask('close', { type: 'notes', ...inO1 }),
      {
        rule: 'denial',
        permission: 'notes:close:organization',
        granted: 'notes:close:any',
        organizationId: 'o1',
      },
    ],
    [
      'a denial',
      ask('read', { type: 'keys' }),
      { rule: 'denial', permission: 'keys:read:any', granted: 'keys:read:any' },
    ],
    ['nothing', ask('read', { type: 'notes' }), { rule: 'default', permission: 'notes:read:any' }],
    [
      'the token',
      ask('read', { type: 'users' }, { scope: ['users:read:own'] }),
      { rule: 'scope', permission: 'users:read:any' },
    ],
    [
      'a policy that denies',
      ask('read', { type: 'users' }, { policiesFor: () => [holding('deny')] }),
      { rule: 'policy', policy: 'p', version: 3, effect: 'deny' },
    ],
    [
      'a policy that allows',
      ask('read', { type: 'notes' }, { policiesFor: () => [holding('allow')] }),
      { rule: 'policy', policy: 'p', version: 3, effect: 'allow' },
    ],
    [
      'a permission, where the policy is of somebody lower',
      ask('read', { type: 'users' }, { policiesFor: () => [holding('deny', 49)] }),
      { rule: 'permission', permission: 'users:read:any', granted: 'users:*:any', role: 'admin', groupId: 'g1' },
    ],
    [
      'a denial, whatever policies allow',
      ask('read', { type: 'keys' }, { policiesFor: () => [holding('allow')] }),
      { rule: 'denial', permission: 'keys:read:any', granted: 'keys:read:any' },
    ],
  ] as const) {
    it(name, () => {
      expect(decision.because).toEqual(expected);
      expect(explain(decision.because)).toMatch(/^[a-z].{10,}/);
    });
  }

  it('a policy that cannot be evaluated denies, and says why', () => {
    const failing = {
      ...holding('allow'),
      holds: () => {
        throw new Error('there is no time to look at');
      },
    };
    const { allowed, because } = ask('read', { type: 'users' }, { policiesFor: () => [failing] });
    expect([allowed, because]).toEqual([
      false,
      { rule: 'policy', policy: 'p', version: 3, effect: 'deny', error: 'there is no time to look at' },
    ]);
  });
});
