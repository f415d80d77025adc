import { describe, expect, it } from 'vitest';
import type { Caller } from '../../src/http/caller.ts';
import { createRoleLimits } from '../../src/http/role-limits.ts';
import { readRoleLimits, roleLimits } from '../../src/limit-settings.ts';

const ranks: Record<string, number> = { super_admin: 100, admin: 80, moderator: 60, user: 10, twin: 60 };

const policyOf = async (caller: Partial<Caller> | undefined, policies: readonly string[]) => {
  const seen: [string, string][] = [];
  const limit = createRoleLimits({
    policies,
    windowSeconds: 900,
    take: async (policy, key) => {
      seen.push([policy, key]);
      return { limit: 1, remaining: 0, resetSeconds: 900, exceeded: false };
    },
    addressKey: (address) => `at ${address}`,
    findRanks: async (names) => Object.fromEntries(Object.entries(ranks).filter(([name]) => names.includes(name))),
  });
  const ctx = { ip: '192.0.2.1', set: () => {} } as never;
  await limit(ctx, caller && ({ kind: 'user', id: 'ada', roles: [], rank: 0, permissions: [], ...caller } as Caller));
  return seen[0];
};

describe('the limit of a caller', () => {
  const listed = Object.keys(readRoleLimits('user=1'));
  for (const [name, caller, expected] of [
    ['nobody', undefined, ['role:anonymous', 'at 192.0.2.1']],
    ['a user', { roles: ['user'], rank: 10 }, ['role:user', 'user ada ']],
    ['a manager, who is not listed', { roles: ['manager'], rank: 50 }, ['role:user', 'user ada ']],
    ['a moderator', { roles: ['moderator', 'user'], rank: 60 }, ['role:moderator', 'user ada ']],
    ['somebody between two roles', { roles: ['lead'], rank: 79 }, ['role:moderator', 'user ada ']],
    ['a super_admin', { roles: ['super_admin'], rank: 100 }, ['role:super_admin', 'user ada ']],
    ['somebody below every role', { roles: ['guest'], rank: 5 }, ['role:anonymous', 'user ada ']],
    ['an application', { kind: 'client', rank: 80 }, ['role:client', 'client ada ']],
    ['an application for a user', { rank: 10, clientId: 'acme' }, ['role:user', 'user ada acme']],
    [
      'an API key of a user',
      { rank: 10, apiKeyId: '019b2f60-0000-7000-8000-00000000000c' },
      ['role:user', 'user ada key c'],
    ],
    ['somebody of another issuer', { kind: 'external' }, ['role:user', 'external ada ']],
  ] as [string, Partial<Caller> | undefined, [string, string]][]) {
    it(`${name}: ${expected[0]}`, async () => expect(await policyOf(caller, listed)).toEqual(expected));
  }

  it('is that of the role they hold, of two of one rank', async () => {
    expect((await policyOf({ roles: ['twin'], rank: 60 }, [...listed, 'twin']))?.[0]).toBe('role:twin');
    expect((await policyOf({ roles: ['moderator'], rank: 60 }, [...listed, 'twin']))?.[0]).toBe('role:moderator');
  });
});

describe('RATE_LIMITS', () => {
  it('overrides what it names and keeps the rest', () => {
    expect(readRoleLimits('user=7, operator=20')).toEqual({
      anonymous: 50,
      user: 7,
      moderator: 300,
      admin: 500,
      super_admin: 1000,
      client: 1000,
      operator: 20,
    });
  });
  for (const wrong of [
    '',
    'user',
    'user=',
    'user=0',
    'user=-1',
    'user=1.5',
    'user=1,user=2',
    'User=1',
    'a b=1',
    'user=1,',
    'user=9999999999',
  ]) {
    it(`refuses ${JSON.stringify(wrong)}`, () => expect(roleLimits.safeParse(wrong).success).toBe(false));
  }
});
