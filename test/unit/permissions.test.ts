/** What may be passed on of what is held: the rules behind scopes of clients and API keys. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { intersect, mayPassOn, PermissionName, permissionsOf, permits } from '../../src/roles/permissions.ts';

it('what is no permission permits nothing, whatever it begins with', () => {
  const letters = fc.constantFrom('*', 'any', 'own', 'users', 'read', '', 'x', ':', '!');
  const name = fc.array(letters, { maxLength: 6 }).map((parts) => parts.join(':'));
  fc.assert(
    fc.property(fc.oneof(name, fc.string()), (text) => {
      fc.pre(!PermissionName.safeParse(text).success);
      expect([permits([text], 'users:read:any'), intersect(['*:*:*'], [text]), mayPassOn(['*:*:*'], text)]).toEqual([
        false,
        [],
        false,
      ]);
    }),
  );
  for (const text of ['*:*:*:x', '*:*:*:', ' *:*:*', '*:*', 'users:read:anywhere'])
    expect([text, permits([text], 'users:read:any')]).toEqual([text, false]);
});

describe('a permission may be given to somebody else', () => {
  for (const [held, name, expected] of [
    [['users:read:any'], 'users:read:any', true],
    [['users:read:any'], 'users:read:own', true],
    [['users:read:own'], 'users:read:any', false],
    [['users:read:any'], 'users:*:any', false],
    [['users:*:any'], 'users:*:any', true],
    [['users:*:any'], '*:*:*', false],
    [['*:*:*'], '*:*:*', true],
    [[], 'users:read:own', false],
    // The denial would not follow whoever gets it.
    [['users:*:any', '!users:close:any'], 'users:close:any', false],
    [['users:*:any', '!users:close:any'], 'users:*:any', false],
    [['users:*:any', '!users:close:own'], 'users:*:any', false],
    [['*:*:*', '!users:close:any'], '*:*:*', false],
    [['*:*:*', '!users:close:any'], '*:close:any', false],
    [['users:*:any', '!users:close:any'], 'users:read:any', true],
    [['*:*:*', '!users:*:any'], 'clients:*:any', true],
  ] as const)
    it(`${JSON.stringify(held)} ${expected ? 'passes on' : 'keeps'} ${name}`, () =>
      expect(mayPassOn(held, name)).toBe(expected));
});

it('of a scope, the names with the shape of a permission are ours', () => {
  const scope = ['openid', 'api:read', 'https://x.example:8443/a', 'a:b:c', 'users:read:own', '*:*:*', 'users:*:any'];
  expect(permissionsOf(scope)).toEqual(['users:read:own', '*:*:*', 'users:*:any']);
});

it('of two lists a token passes on exactly what both permit', () => {
  const name = fc
    .tuple(
      fc.constantFrom('*', 'users', 'keys'),
      fc.constantFrom('*', 'read', 'rotate'),
      fc.constantFrom('*', 'own', 'organization', 'any'),
    )
    .map((parts) => parts.join(':'));
  const list = fc.array(name, { maxLength: 4 });
  fc.assert(
    fc.property(list, list, (held, scope) => {
      for (const needed of [
        'users:read:own',
        'users:read:organization',
        'users:read:any',
        'keys:rotate:any',
        'roles:read:any',
      ])
        expect([needed, permits(intersect(held, scope), needed)]).toEqual([
          needed,
          permits(held, needed) && permits(scope, needed),
        ]);
    }),
  );
});

it('a token passes on what both hold, the narrower of two, and every denial', () => {
  expect(intersect(['users:*:any', '!users:close:any'], ['users:read:own', 'clients:read:any']).sort()).toEqual([
    '!users:close:any',
    'users:read:own',
  ]);
});
