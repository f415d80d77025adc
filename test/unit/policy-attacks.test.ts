/** Conditions of policies: nothing that somebody writes, or sends to be looked at, runs code, loops or takes memory. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { Db } from '../../db/connect.ts';
import { compilePolicies, createActivePolicies } from '../../src/policies/active-policies.ts';
import { conditionBounds, inspectCondition, operators } from '../../src/policies/condition-shape.ts';
import { type ConditionData, createCondition, workMax } from '../../src/policies/conditions.ts';
import { decide } from '../../src/policies/decide.ts';

const data = (properties: Record<string, unknown> = {}, context: Record<string, unknown> = {}): ConditionData => ({
  subject: {
    type: 'user',
    id: 'u1',
    roles: ['user'],
    groups: [],
    teams: ['t1'],
    organizations: ['o1'],
    domains: [],
    properties: {},
  },
  resource: { type: 'documents', id: 'd1', owner: 'u1', organizations: ['o1', 'o2'], properties },
  action: { name: 'read', properties: {} },
  context: { time: '2026-11-22T16:30:00Z', address: '10.1.2.3', ...context },
});
const property = (name: string) => ({ var: `resource.properties.${name}` });
const evaluate = (condition: unknown, ...given: Parameters<typeof data>) => createCondition(condition)(data(...given));

const nested = (depth: number): unknown => (depth ? { '!': nested(depth - 1) } : true);

describe('refuses to be written', () => {
  for (const [name, condition] of [
    ['code', { eval: ['process.exit()'] }],
    ['methods of what there is', { method: [{ var: 'subject' }, 'constructor'] }],
    ['what the engine has besides: val', { val: ['subject', 'constructor'] }],
    ['… exists', { exists: ['subject'] }],
    ['… throw', { throw: 'x' }],
    ['… try', { try: [{ var: 'subject.id' }, 1] }],
    ['… map', { map: [{ var: 'subject.roles' }, { var: '' }] }],
    ['… reduce', { reduce: [{ var: 'subject.roles' }, { '+': [{ var: 'current' }, { var: 'accumulator' }] }, 0] }],
    ['… filter', { filter: [{ var: 'subject.roles' }, true] }],
    ['… cat', { cat: ['a', 'b'] }],
    ['… merge', { merge: [[1], [2]] }],
    ['… preserve', { preserve: { a: 1 } }],
    ['… pipe', { pipe: [1, 2] }],
    ['… eachKey', { eachKey: { a: 1 } }],
    ['… log', { log: 'x' }],
    ['… substr', { substr: ['abc', 1] }],
    ['members of objects as operators: constructor', { constructor: ['return process'] }],
    ['… toString', { toString: [] }],
    ['… hasOwnProperty', { hasOwnProperty: ['a'] }],
    ['… __proto__', JSON.parse('{"__proto__": [1]}')],
    ['paths to prototypes', { var: 'subject.__proto__.polluted' }],
    ['… constructor', { var: 'subject.constructor.constructor' }],
    ['… prototype', { var: 'context.prototype' }],
    ['paths elsewhere', { var: 'process.env' }],
    ['the whole of it', { var: '' }],
    ['paths that climb', { var: '../../context' }],
    ['paths that are computed', { var: { '+': [1, 2] } }],
    ['paths that are numbers', { var: 0 }],
    ['paths that are long', { var: `context.${'a'.repeat(300)}` }],
    ['paths that are deep', { var: `context${'.a'.repeat(20)}` }],
    ['an object as what is otherwise', { var: ['context.a', { b: 1 }] }],
    ['an operator as what an item is otherwise', { some: [{ var: 'subject.roles' }, { var: ['', { '!': true }] }] }],
    ['depth', nested(conditionBounds.depth + 1)],
    ['depth in lists', { in: [1, Array.from({ length: 30 }).reduce<unknown>((inner) => [inner], 1)] }],
    ['many operators', { and: Array.from({ length: 90 }, () => ({ or: [1, 2, 3, 4, 5, 6, 7] })) }],
    ['long lists', { in: ['a', Array.from({ length: 600 }, (_, at) => at)] }],
    ['long texts', { '==': ['a'.repeat(1000), 'b'] }],
    ['control characters', { '==': ['a\u0000b', 'b'] }],
    ['two operators in one', { '==': [1, 1], '!=': [1, 2] }],
    ['an operator without a name', {}],
    ['too many arguments', { '==': [1, 1, 1] }],
    ['too few', { '==': [1] }],
    ['no number', { '==': [Number.NaN, 1] }],
    ['a function', { '==': [() => 1, 1] }],
    ['networks that are none', { in_network: [{ var: 'context.address' }, '10.0.0.0/99'] }],
    ['networks that are computed', { in_network: [{ var: 'context.address' }, { var: 'context.network' }] }],
    ['time zones that are none', { weekday: 'Mars/Olympus' }],
    ['time zones that are computed', { weekday: { var: 'context.zone' } }],
    ['a list alone', [true]],
    ['a text alone', 'true'],
    ['nothing', undefined],
  ] as const) {
    it(name, () => {
      expect(inspectCondition(condition).mistake).toEqual(expect.any(String));
      expect(() => createCondition(condition)).toThrow();
    });
  }
});

describe('evaluates', () => {
  const zone = 'Europe/Berlin';
  for (const [condition, expected] of [
    [true, true],
    [{ '==': [{ var: 'resource.owner' }, { var: 'subject.id' }] }, true],
    [{ '===': [1, '1'] }, false],
    [{ '==': [1, '1'] }, true],
    [{ '==': ['', 0] }, false],
    [{ '==': [null, 0] }, false],
    [{ '==': [{ var: 'context.nothing' }, null] }, true],
    [{ '!==': ['a', 'b'] }, true],
    [{ '!=': ['1', 1] }, false],
    [{ in: ['user', { var: 'subject.roles' }] }, true],
    [{ in: [{ var: 'context.nothing' }, { var: 'subject.roles' }] }, false],
    [{ in: ['', 'abc'] }, false],
    [{ in: ['b', 'abc'] }, true],
    [{ overlaps: [{ var: 'subject.organizations' }, { var: 'resource.organizations' }] }, true],
    [{ overlaps: [{ var: 'subject.teams' }, []] }, false],
    [{ '<': [{ var: 'context.risk' }, 50] }, false],
    [{ '>=': [{ var: 'context.risk' }, 50] }, false],
    [{ '<=': ['09:00', { time_of_day: zone }, '18:00'] }, true],
    [{ '<=': ['09:00', { time_of_day: 'America/New_York' }, '11:00'] }, false],
    [{ '===': [{ weekday: zone }, 7] }, true],
    [{ '===': [{ weekday: 'Pacific/Kiritimati' }, 1] }, true],
    [{ '===': [{ date: zone }, '2026-11-22'] }, true],
    [{ in_network: [{ var: 'context.address' }, '10.0.0.0/8', '2001:db8::/32'] }, true],
    [{ in_network: ['::ffff:10.1.1.1', '10.0.0.0/8'] }, true],
    [{ in_network: ['2001:db8::1', '2001:db8::/32'] }, true],
    [{ in_network: ['10.1.1.1 ', '10.0.0.0/8'] }, false],
    [{ in_network: [{ var: 'context.nothing' }, '0.0.0.0/0'] }, false],
    [{ in_network: ['0x0a010101', '10.0.0.0/8'] }, false],
    [{ starts_with: [{ var: 'resource.id' }, 'd'] }, true],
    [{ starts_with: [{ var: 'resource.id' }, ''] }, false],
    [{ ends_with: [{ var: 'resource.id' }, 'x'] }, false],
    [{ some: [{ var: 'subject.roles' }, { '===': [{ var: '' }, 'user'] }] }, true],
    [{ all: [[], true] }, false],
    [{ none: [[1, 2], { '>': [{ var: '' }, 2] }] }, true],
    [{ '===': [{ count: { var: 'subject.roles' } }, 1] }, true],
    [{ if: [false, true, { var: 'context.nothing' }, true, false] }, false],
    [{ '===': [{ '%': [{ '+': [1, '2', { '*': [2, 2] }, { '-': [3, 1] }] }, 5] }, 4] }, true],
    [{ '!!': [[]] }, false],
    [{ var: ['context.nothing', true] }, true],
  ] as const) {
    it(`${JSON.stringify(condition)}: ${expected}`, () => {
      expect(evaluate(condition)).toBe(expected);
    });
  }
});

describe('what is sent cannot', () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;

  it('reach what objects are made of', () => {
    const hostile = JSON.parse('{"a": {"__proto__": {"admin": true}, "constructor": "x", "length": 5}}');
    expect(evaluate(property('a.admin'), hostile)).toBe(false);
    for (const name of ['a.toString', 'a.hasOwnProperty', 'list.length', 'list.map', 'text.length', 'text.at'])
      expect([name, evaluate(property(name), { ...hostile, list: [1], text: 'abc' })]).toEqual([name, false]);
    expect(({} as Record<string, unknown>).admin).toBeUndefined();
  });

  it('be taken for logic', () => {
    const logic = { '===': [1, 1] };
    expect(() => evaluate({ '===': [property('a'), true] }, { a: logic })).toThrow(/not compared/);
    expect(evaluate({ in: ['x', { var: 'resource.properties.list' }] }, { list: ['y', 'z'] })).toBe(false);
    expect(() => evaluate({ in: ['x', property('list')] }, { list: [{ var: 'subject.id' }] })).toThrow(/not compared/);
    expect(evaluate({ some: [property('list'), { '===': [{ var: 'if' }, 'x'] }] }, { list: [{ if: 'x' }] })).toBe(true);
  });

  it('make it call anything', () => {
    const called = vi.fn();
    const trap = { toString: called, valueOf: called, [Symbol.toPrimitive]: called, toJSON: called };
    for (const condition of [
      { '==': [property('trap'), 1] },
      { '<': [property('trap'), 1] },
      { '+': [property('trap'), 1] },
      { starts_with: [property('trap'), 'a'] },
      { in: [property('trap'), 'abc'] },
      { in_network: [property('trap'), '10.0.0.0/8'] },
      { overlaps: [property('trap'), ['a']] },
      { count: property('trap') },
    ])
      try {
        evaluate(condition, { trap });
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    expect(called).not.toHaveBeenCalled();
  });

  it('keep it busy: lists in lists of lists are given up', () => {
    const list = Array.from({ length: 1000 }, (_, at) => at);
    const each = (inner: unknown) => ({ all: [property('list'), inner] });
    // Inside, paths are of the item: the lists are literal, and as long as they may be.
    const literal = Array.from({ length: 100 }, (_, at) => at);
    const condition = each({ all: [literal, { all: [literal, { '>=': [{ var: '' }, 0] }] }] });
    const started = performance.now();
    expect(() => evaluate(condition, { list })).toThrow(`more than ${workMax} steps`);
    // Far below what it would take to the end, and far above what a busy machine makes of it.
    expect(performance.now() - started).toBeLessThan(5000);
    expect(() => evaluate({ overlaps: [property('list'), property('list')] }, { list: Array(20_000).fill(1) })).toThrow(
      /steps/,
    );
    expect(() => evaluate({ in: ['a', property('text')] }, { text: 'b'.repeat(2_000_000) })).toThrow(/steps/);
    const written = { '!!': [[{ var: '' }, ...Array<number>(400).fill(1)]] };
    expect(() => evaluate({ all: [property('list'), written] }, { list: Array(100).fill(1) })).toThrow(/steps/);
  });

  it('make it look for ever', () => {
    expect(evaluate(property('self.self.self.self.self.self'), { self: circular })).toBe(true);
  });

  it('make numbers of nothing', () => {
    for (const value of ['Infinity', 'NaN', '1e999', '', ' ', [], {}, true, '0b1x'])
      expect(() => evaluate({ '+': [property('n'), 1] }, { n: value })).toThrow(/number is needed|list/);
    expect(() => evaluate({ '<': [property('n'), 1] }, { n: '0x0' })).toThrow(/number/);
    expect(evaluate({ '==': [property('n'), 16] }, { n: '0x10' })).toBe(false);
  });

  it('have a time that is none', () => {
    expect(() => evaluate({ weekday: 'UTC' }, {}, { time: 'yesterday' })).toThrow(/no time/);
  });
});

it('what is thrown denies, and is an Error that says why', () => {
  const row = { id: 'p', name: 'p', version: 1, rank: 100, effect: 'allow' as const, resources: ['*'], actions: ['*'] };
  const { policiesFor } = compilePolicies([{ ...row, condition: { '+': [{ var: 'subject.roles' }, 1] } }]);
  const subject = { roles: [], rank: 0, permissions: ['*:*:*'], organizations: [] };
  const question = { subject: { type: 'user', id: 'u' }, action: 'read', resource: { type: 'users' } };
  expect(decide(question, { subject, policiesFor })).toEqual({
    allowed: false,
    because: { rule: 'policy', policy: 'p', version: 1, effect: 'deny', error: 'a number is needed' },
  });
  // Of another version of this service, say.
  const unknown = compilePolicies([{ ...row, effect: 'deny', condition: { unheard_of: [] } }]);
  expect(decide(question, { subject, policiesFor: unknown.policiesFor })).toMatchObject({
    allowed: false,
    because: { error: expect.stringMatching(/operator/) },
  });
});

it('what is there is there as well where it is an item of a list', () => {
  const row = { id: 'p', name: 'p', version: 1, rank: 100, effect: 'deny' as const, resources: ['*'], actions: ['*'] };
  const subject = {
    roles: ['user'],
    rank: 0,
    permissions: ['*:*:*'],
    organizations: [{ id: 'o1', roles: [], rank: 0, permissions: [] }],
    groups: [{ id: 't1', kind: 'team', name: 't' }],
  };
  const resource = { type: 'notes', owner: 'u', organizations: [['o1', 'o2']] };
  const question = { subject: { type: 'user', id: 'u' }, action: 'read', resource };
  const isDenied = (root: string, condition: object): boolean => {
    const { policiesFor } = compilePolicies([{ ...row, condition: { some: [[{ var: root }], condition] } }]);
    return decide(question, { subject, policiesFor }).because.rule === 'policy';
  };
  expect(isDenied('subject', { in: ['user', { var: 'roles' }] })).toBe(true);
  expect(isDenied('subject', { in: ['t1', { var: 'teams' }] })).toBe(true);
  expect(isDenied('subject', { in: ['o1', { var: 'organizations' }] })).toBe(true);
  expect(isDenied('resource', { in: ['o2', { var: 'organizations' }] })).toBe(true);
  expect(isDenied('action', { '==': ['read', { var: 'name' }] })).toBe(true);
  expect(isDenied('context', { '!!': { var: 'time' } })).toBe(true);
  expect(isDenied('subject', { var: 'rank' })).toBe(false);
});

it('whatever is written is refused, or evaluated within its bounds, or denies', () => {
  const literal = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom('subject.id', 'UTC', '10.0.0.0/8'),
  );
  const { condition } = fc.letrec((tie) => ({
    condition: fc.oneof(
      { depthSize: 'medium' },
      literal,
      tie('operator'),
      fc.array(tie('condition'), { maxLength: 4 }),
    ),
    operator: fc
      .tuple(
        fc.constantFrom(...Object.keys(operators), 'map', '__proto__'),
        fc.oneof(fc.array(tie('condition'), { maxLength: 4 }), tie('condition')),
      )
      .map(([name, given]) => Object.fromEntries([[name, given]])),
  }));
  const properties = fc.dictionary(fc.string(), fc.jsonValue() as fc.Arbitrary<unknown>);
  let evaluated = 0;
  fc.assert(
    fc.property(condition, properties, (logic, given) => {
      if (inspectCondition(logic).mistake !== undefined) {
        expect(() => createCondition(logic)).toThrow();
        return;
      }
      evaluated++;
      try {
        expect(typeof evaluate(logic, given)).toBe('boolean');
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
        expect((error as Error).message).toMatch(/needed|compared|steps|evaluated|time/);
      }
    }),
    { numRuns: 10_000 },
  );
  expect(evaluated).toBeGreaterThan(100);
}, 60_000);

it('a database that takes longer to answer than its answer is trusted holds nobody up for good', async () => {
  let asked = 0;
  const slow = {
    raw: async () => {
      asked++;
      await new Promise((resolve) => setTimeout(resolve, 1100));
      return { rows: [{ fingerprint: '' }] };
    },
  } as unknown as Db;
  const active = await createActivePolicies(slow, async () => async () => {});
  await Promise.all([active.current(), active.current()]);
  expect(asked).toBe(1);
});

it('no code is made', () => {
  const made = vi.spyOn(globalThis, 'Function');
  for (let count = 0; count < 10; count++) evaluate({ and: [{ '==': [1, 1] }, { some: [[1], { var: '' }] }] });
  expect(made).not.toHaveBeenCalled();
  made.mockRestore();
});
