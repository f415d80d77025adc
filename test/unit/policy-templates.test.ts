/** Templates of policies: each with what it denies or allows, and what it leaves alone; and what the documentation says of them. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compilePolicies } from '../../src/policies/active-policies.ts';
import { operators } from '../../src/policies/condition-shape.ts';
import { decide, type Question, type SubjectFacts } from '../../src/policies/decide.ts';
import { describeTemplates, templates } from '../../src/policies/templates.ts';

const me = 'u1';
const team = '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f';
const subject = (permissions: string[], more: Partial<SubjectFacts> = {}): SubjectFacts => ({
  roles: ['editor'],
  rank: 10,
  permissions,
  organizations: [],
  ...more,
});
interface Case {
  action: string;
  resource: Question['resource'];
  context?: Record<string, unknown>;
  facts?: Partial<SubjectFacts>;
  /** Who asks is a machine. */
  machine?: boolean;
}
const sunday = '2026-11-22T11:00:00Z';
const monday = '2026-11-23T11:00:00Z';
const mfa = 'urn:countersign:acr:multi-factor';
const doc = (more: Partial<Question['resource']> = {}): Question['resource'] => ({
  type: 'documents',
  id: 'd1',
  ...more,
});
const inO = { organizations: [['o2', 'o1']] };
const member = { organizations: [{ id: 'o1', roles: [], rank: 0, permissions: [] }] };

/** By template: parameters, what it refuses or allows, and what is as it would be without. */
const cases: Record<string, { parameters?: object; affected: Case[]; others: Case[] }> = {
  'business-hours': {
    affected: [
      { action: 'write', resource: doc(), context: { time: sunday } },
      { action: 'write', resource: doc(), context: { time: '2026-11-23T05:59:00Z' } },
      { action: 'write', resource: doc(), context: { time: '2026-11-23T17:00:00Z' } },
    ],
    others: [
      { action: 'write', resource: doc(), context: { time: monday } },
      { action: 'read', resource: doc(), context: { time: sunday } },
    ],
  },
  'change-freeze': {
    affected: [{ action: 'write', resource: doc(), context: { time: '2027-01-06T22:59:00Z' } }],
    others: [
      { action: 'write', resource: doc(), context: { time: '2027-01-06T23:01:00Z' } },
      { action: 'read', resource: doc(), context: { time: '2026-12-24T12:00:00Z' } },
    ],
  },
  'own-network': {
    affected: [
      { action: 'write', resource: doc(), context: { address: '203.0.113.1' } },
      { action: 'write', resource: doc() },
    ],
    others: [{ action: 'write', resource: doc(), context: { address: '192.168.3.4' } }],
  },
  'blocked-networks': {
    parameters: { networks: ['203.0.113.0/24'] },
    affected: [{ action: 'read', resource: doc(), context: { address: '203.0.113.1' } }],
    others: [
      { action: 'read', resource: doc(), context: { address: '192.0.2.1' } },
      { action: 'read', resource: doc() },
    ],
  },
  'mfa-for-administration': {
    affected: [
      {
        action: 'write',
        resource: { type: 'users', owner: 'u2' },
        context: { acr: 'urn:countersign:acr:single-factor' },
      },
      { action: 'rotate', resource: { type: 'keys' } },
    ],
    others: [
      { action: 'write', resource: { type: 'users', owner: 'u2' }, context: { acr: mfa } },
      { action: 'write', resource: { type: 'users', owner: me } },
      { action: 'write', resource: { type: 'users', owner: 'u2' }, machine: true },
    ],
  },
  'no-risky-sign-ins': {
    affected: [{ action: 'write', resource: doc(), context: { risk: 50 } }],
    others: [
      { action: 'write', resource: doc(), context: { risk: 49 } },
      { action: 'write', resource: doc() },
    ],
  },
  'owner-only': {
    affected: [
      { action: 'read', resource: doc({ owner: 'u2' }) },
      { action: 'read', resource: doc() },
    ],
    others: [{ action: 'read', resource: doc({ owner: me }) }],
  },
  'owner-may': {
    affected: [{ action: 'write', resource: doc({ owner: me }) }],
    others: [
      { action: 'write', resource: doc({ owner: 'u2' }) },
      { action: 'write', resource: doc() },
    ],
  },
  'same-organization': {
    affected: [
      { action: 'read', resource: doc(inO) },
      { action: 'read', resource: doc(), facts: member },
    ],
    others: [{ action: 'read', resource: doc(inO), facts: member }],
  },
  'four-eyes': {
    affected: [
      { action: 'approve', resource: doc({ properties: { createdBy: me } }) },
      { action: 'approve', resource: doc() },
    ],
    others: [
      { action: 'approve', resource: doc({ properties: { createdBy: 'u2' } }) },
      { action: 'read', resource: doc({ properties: { createdBy: me } }) },
    ],
  },
  'role-required': {
    affected: [{ action: 'write', resource: doc() }],
    others: [{ action: 'write', resource: doc(), facts: { roles: ['editor', 'admin'] } }],
  },
  'team-may': {
    affected: [{ action: 'read', resource: doc(), facts: { groups: [{ id: team, kind: 'team', name: 'Any' }] } }],
    others: [
      { action: 'read', resource: doc(), facts: { groups: [{ id: team, kind: 'group', name: 'Any' }] } },
      { action: 'read', resource: doc() },
    ],
  },
};

describe('templates', () => {
  for (const [id, template] of Object.entries(templates))
    it(id, () => {
      const { parameters = {}, affected, others } = cases[id] as (typeof cases)[string];
      const rule = template.rule(template.parameters.parse(parameters));
      const { policiesFor } = compilePolicies([{ ...rule, id, name: id, version: 1, rank: 100 }]);
      // A denial is tried on somebody who may do everything, an allowance on somebody who may do nothing.
      const held = rule.effect === 'deny' ? ['*:*:*'] : [];
      const ask = ({ action, resource, context = {}, facts, machine }: Case) =>
        decide(
          {
            subject: { type: machine ? 'client' : 'user', id: me },
            action,
            resource,
            context: { time: monday, ...context },
          },
          { subject: subject(held, facts), policiesFor },
        );
      for (const one of affected)
        expect([one, ask(one)]).toEqual([
          one,
          {
            allowed: rule.effect === 'allow',
            because: { rule: 'policy', policy: id, version: 1, effect: rule.effect },
          },
        ]);
      for (const one of others) expect([one, ask(one).allowed]).toEqual([one, rule.effect === 'deny']);
    });

  it('are all described, each with parameters that have defaults', () => {
    expect(describeTemplates().map(({ id }) => id)).toEqual(Object.keys(cases));
    for (const { parameters } of describeTemplates())
      for (const { description, default: initial } of parameters)
        expect([description, initial]).toEqual([expect.stringMatching(/./), expect.anything()]);
  });
});

it('the documentation lists every operator and every template', () => {
  const text = readFileSync(new URL('../../docs/authorization.md', import.meta.url), 'utf8');
  const rows = text.split('\n').map((line) => /^\| `([^`]+)` \| (.+) \|$/.exec(line)?.slice(1));
  for (const [name, { means }] of Object.entries(operators)) expect(rows).toContainEqual([name, means]);
  for (const [id, { description }] of Object.entries(templates)) expect(rows).toContainEqual([id, description]);
});
