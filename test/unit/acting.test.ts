/** Who acts for whom: the chain of `act`, and `may_act` (RFC 8693 sections 4.1 and 4.4). */
import { describe, expect, it } from 'vitest';
import { type Act, actClaim, actorsMax, actorsOf, mayAct, setAct, withActor } from '../../src/provider/acting.ts';

const issuer = 'https://id.example.com';
const party = { sub: 'ada', clientId: 'desk' };

describe('act', () => {
  it('has the present actor outside, and those before nested in it', () => {
    const first = withActor(party);
    expect(first).toEqual({ sub: 'ada', client_id: 'desk' });
    const second = withActor({ sub: 'backend', clientId: 'backend' }, first);
    expect(second).toEqual({ sub: 'backend', client_id: 'backend', act: { sub: 'ada', client_id: 'desk' } });
    expect(actorsOf(second)).toEqual([
      { sub: 'backend', clientId: 'backend' },
      { sub: 'ada', clientId: 'desk' },
    ]);
    expect(actorsOf(undefined)).toEqual([]);
  });

  it('is bounded', () => {
    let act: Act | undefined;
    for (let actors = 0; actors < actorsMax; actors++) act = withActor(party, act);
    expect(actorsOf(act)).toHaveLength(actorsMax);
    expect(withActor(party, act)).toBeUndefined();
  });

  it('is a claim of the token that it was set on', () => {
    const token = {};
    expect(actClaim(token)).toBeUndefined();
    setAct(token, { sub: 'ada' });
    expect([actClaim(token), actClaim({})]).toEqual([{ act: { sub: 'ada' } }, undefined]);
  });
});

describe('may_act', () => {
  for (const [name, claim, expected] of [
    ['nothing said', undefined, true],
    ['the actor', { sub: 'ada' }, true],
    ['the actor and the issuer', { sub: 'ada', iss: issuer }, true],
    ['the application', { client_id: 'desk' }, true],
    ['both', { sub: 'ada', client_id: 'desk' }, true],
    ['somebody else', { sub: 'bob' }, false],
    ['the actor at another application', { sub: 'ada', client_id: 'other' }, false],
    ['the actor of another issuer', { sub: 'ada', iss: 'https://other.example' }, false],
    ['the issuer alone', { iss: issuer }, false],
    ['what we cannot compare', { sub: 'ada', email: 'ada@example.com' }, false],
    ['nobody', {}, false],
    ['a list', ['ada'], false],
    ['text', 'ada', false],
    ['null', null, false],
  ] as const)
    it(`${name}: ${expected}`, () => expect(mayAct(claim, party, issuer)).toBe(expected));
});
