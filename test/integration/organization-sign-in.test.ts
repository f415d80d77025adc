/** What organizations ask of their people's sign-ins: a second factor, and which ways in there are, at every door. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { proceed } from '../../src/auth/proceed.commands.ts';
import { findSignInRules, type SignInMethod, signInMethodOf } from '../../src/organizations/sign-in-rules.queries.ts';
import { findUser } from '../../src/users/users.queries.ts';
import { freshCode, setUpTotp } from '../support/authenticator.ts';
import { Browser, password, registerAccount } from '../support/browser.ts';
import { callerOf, giveRole, nobody, type TestCaller } from '../support/callers.ts';
import { addMember, makeOrganization } from '../support/organizations.ts';
import { basic, post, type RelyingParty, registerRelyingParty } from '../support/relying-party.ts';
import { eventually, mailCount, signedIn, signIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let anybody: TestCaller;
let party: RelyingParty;
beforeAll(async () => {
  server = await startServer();
  anybody = nobody(server);
  party = await registerRelyingParty(server, {
    first_party: true,
    grant_types: ['authorization_code', 'refresh_token', 'password'],
    scope: 'openid users:read:own',
  });
});
afterAll(() => server.stop());

const db = () => server.database.db;
const actor = { type: 'anonymous', address: '192.0.2.1' } as const;

interface Rules {
  requireMfa?: boolean;
  signInMethods?: SignInMethod[] | null;
  isActive?: boolean;
}
const organization = async (
  rules: Rules,
  { parentId, members = [] }: { parentId?: string; members?: string[] } = {},
) => {
  const { id } = await makeOrganization(server, { parentId, members });
  if (Object.keys(rules).length) await db()('organizations').where({ id }).update(rules);
  return id;
};
const person = async () => {
  const email = await registerAccount(server);
  const { id } = await db()('users').where({ email }).first('id');
  return { id: id as string, email };
};
/** Somebody whose organizations have these rules, the later ones above the earlier. */
const memberOf = async (...levels: Rules[]) => {
  const one = await person();
  let parentId: string | undefined;
  for (const rules of levels.toReversed()) parentId = await organization(rules, { ...(parentId ? { parentId } : {}) });
  await addMember(server, parentId as string, one.id);
  return one;
};
const login = (email: string, more: object = {}) =>
  anybody.request('post', '/auth/login', { email, password, ...more });
const reasons = async (userId: string) =>
  (await db()('auditLogs').where({ targetId: userId, action: 'session.sign_in_failed' })).map(
    ({ meta }) => meta.reason,
  );

describe('the rules of somebody', () => {
  for (const [name, levels, expected] of [
    ['of no organization that says anything', [{}], { needsMfa: false, methods: undefined }],
    ['of their own organization', [{ requireMfa: true }], { needsMfa: true, methods: undefined }],
    ['of one above it', [{}, {}, { requireMfa: true }], { needsMfa: true, methods: undefined }],
    [
      'of one above it that is not active',
      [{}, { requireMfa: true, isActive: false }],
      { needsMfa: false, methods: undefined },
    ],
    [
      'of one that is above one that is not active',
      [{}, { isActive: false }, { requireMfa: true }],
      { needsMfa: true, methods: undefined },
    ],
    [
      'of their own that is not active',
      [{ requireMfa: true, isActive: false }],
      { needsMfa: false, methods: undefined },
    ],
    [
      'of all of them together',
      [{ signInMethods: ['password', 'passkey'] }, { signInMethods: ['social', 'passkey'] }],
      { needsMfa: false, methods: ['passkey'] },
    ],
    [
      'that leave nothing',
      [{ signInMethods: ['password'] }, { signInMethods: ['social'] }],
      { needsMfa: false, methods: [] },
    ],
  ] as [string, Rules[], object][])
    it(`are those ${name}`, async () => {
      expect(await findSignInRules(db(), (await memberOf(...levels)).id)).toMatchObject(expected);
    });

  it('are not those of what lies beneath, or beside', async () => {
    const one = await person();
    const above = await organization({}, { members: [one.id] });
    await organization({ requireMfa: true, signInMethods: [] }, { parentId: above });
    await organization({ requireMfa: true, signInMethods: [] });
    expect(await findSignInRules(db(), one.id)).toMatchObject({ needsMfa: false, methods: undefined });
  });

  it('allow a super_admin every way in, and ask for a second factor like anybody', async () => {
    const one = await memberOf({ requireMfa: true, signInMethods: ['social'] });
    await giveRole(server, one.id, 'super_admin');
    expect(await findSignInRules(db(), one.id)).toMatchObject({ needsMfa: true, methods: undefined, rank: 100 });
  });
});

describe('a way in', () => {
  const shown: [SignInMethod, string[]][] = [
    ['password', ['pwd']],
    ['password', ['pwd', 'otp', 'mfa']],
    ['password', ['pwd', 'pop', 'mfa']],
    ['passkey', ['pop', 'user', 'mfa']],
    ['magic-link', ['otp']],
    ['magic-link', ['otp', 'pop', 'mfa']],
    ['social', ['fed']],
    ['social', ['fed', 'mfa']],
  ];
  it.each(shown)('is %s by %j', (method, amr) => expect(signInMethodOf(amr)).toBe(method));

  for (const [method, amr] of shown.filter(([, { length }]) => length === 1 || length === 3)) {
    it(`by ${method} (${amr}) is let in where it is allowed, and refused where it is not`, async () => {
      const others = (['password', 'passkey', 'magic-link', 'social'] as const).filter((one) => one !== method);
      for (const [allowed, expected] of [
        [[method], ['signed-in', undefined]],
        [others, ['refused', others]],
      ] as [SignInMethod[], unknown[]][]) {
        const user = await findUser(db(), (await memberOf({ signInMethods: allowed })).id);
        if (!user) throw new Error('nobody');
        const outcome = await proceed(server.app.signIn, actor, { user, amr, ts: Math.floor(Date.now() / 1000) });
        expect([outcome.kind, 'instead' in outcome ? outcome.instead : undefined]).toEqual(expected);
      }
    });
  }

  it('by password says at every door what to use instead, and only to who knows the password', async () => {
    const one = await memberOf({ signInMethods: ['passkey', 'social'] });
    const told = await login(one.email);
    expect([told.status, told.json.code, told.json.methods]).toEqual([
      403,
      'sign_in_method_not_allowed',
      ['passkey', 'social'],
    ]);
    expect(await login(one.email, { password: 'wrong' })).toMatchObject({ status: 401 });

    const grant = (secret: string) =>
      post(
        server,
        '/oauth/token',
        { grant_type: 'password', username: one.email, password: secret },
        basic(party.client),
      );
    const [right, wrong] = [await grant(password), await grant('wrong')];
    expect([right.status, right.body.error, wrong.body.error]).toEqual([400, 'invalid_grant', 'invalid_grant']);
    expect(right.body.error_description).toContain('organization');
    expect(wrong.body.error_description).not.toContain('organization');

    const page = await signIn(new Browser(server.issuer), one.email);
    const said = ['methodNotAllowed', 'instead-passkey', 'instead-social', 'instead-password', 'wrongCredentials'];
    expect([page.status, ...said.map((code) => page.html.includes(words(`problems.${code}`)))]).toEqual([
      ...[401, true, true, true, false, false],
    ]);
    const wrongPage = await signIn(new Browser(server.issuer), one.email, 'wrong');
    expect(wrongPage.html).not.toContain(words('problems.methodNotAllowed'));
    expect((await reasons(one.id)).filter((reason) => reason === 'method_not_allowed')).toHaveLength(3);
  });

  it('by a mailed link is refused over REST', async () => {
    const one = await memberOf({ signInMethods: ['password'] });
    await anybody.request('post', '/auth/magic-link', { email: one.email });
    await eventually(() => mailCount(server, one.email, /^Sign in/) > 0, 'a mail');
    const { text } = await server.mail(one.email, /^Sign in/);
    const code = /\b\d{6}\b/.exec(text)?.[0];
    const { status, json } = await anybody.request('post', '/auth/magic-link/verify', { email: one.email, code });
    expect([status, json.code, json.methods]).toEqual([403, 'sign_in_method_not_allowed', ['password']]);
  });

  it('does not change the sign-in page for people who are not known', async () => {
    await memberOf({ signInMethods: ['passkey'] });
    const page = await signIn(new Browser(server.issuer), 'nobody@example.com');
    expect([page.status, page.html.includes(words('problems.wrongCredentials'))]).toEqual([401, true]);
  });
});

describe('a second factor', () => {
  it('is asked of members at every door, and set up within the grace', async () => {
    const one = await memberOf({ requireMfa: true });
    const { status, json } = await login(one.email);
    expect([status, json.code, json.methods]).toEqual([401, 'mfa_required', ['email']]);
    const page = await signIn(new Browser(server.issuer), one.email);
    expect(page.html).toContain('view-second-factor');
    const grant = { grant_type: 'password', username: one.email, password };
    expect((await post(server, '/oauth/token', grant, basic(party.client))).body.error).toBe('mfa_required');
  });

  it('is asked of those beneath, and of nobody once the rule is gone', async () => {
    const one = await memberOf({}, { requireMfa: true });
    expect((await login(one.email)).json.code).toBe('mfa_required');
    await db()('organizations').update({ requireMfa: false });
    expect((await login(one.email)).status).toBe(200);
  });

  it('is asked of a session that is there already at the next authorization, and its refresh token is worth nothing', async () => {
    const one = await person();
    const browser = new Browser(server.issuer);
    const attempt = await party.begin();
    const { url } = await browser.submit(await browser.go(attempt.url), { email: one.email, password });
    const tokens = await party.redeem({ attempt, callback: url });
    expect((await browser.go((await party.begin()).url)).url.origin).not.toBe(server.issuer);

    await organization({ requireMfa: true }, { members: [one.id] });
    const page = await browser.go((await party.begin()).url);
    expect([page.url.origin, page.html.includes('view-second-factor')]).toEqual([server.issuer, true]);
    expect((await browser.go('/account')).url.pathname).not.toBe('/account');
    await expect(party.refresh(tokens.refresh_token as string)).rejects.toThrow();
  });

  it('is excused by a remembered browser, as for roles', async () => {
    const caller = await callerOf(server);
    const { secret } = await setUpTotp(server, caller);
    await organization({ requireMfa: true }, { members: [caller.id] });
    const browser = new Browser(server.issuer);
    const come = async () =>
      browser.submit(await browser.go((await party.begin({ prompt: 'login' })).url), { email: caller.email, password });
    const asked = await come();
    expect(asked.html).toContain('view-second-factor');
    await browser.submit(asked, { code: await freshCode(server, caller.id, secret), remember: '1' });
    expect((await come()).url.origin).not.toBe(server.issuer);
  });

  it('is one that its owner must keep, while an organization asks for it', async () => {
    const one = await person();
    const id = await organization({ requireMfa: true }, { members: [one.id] });
    expect(await server.app.factors.needsFactor(db(), one.id)).toBe(true);
    await db()('organizations').where({ id }).update({ requireMfa: false });
    expect(await server.app.factors.needsFactor(db(), one.id)).toBe(false);
  });
});

it('what organizations ask costs a sign-in no query of its own', async () => {
  const plain = await person();
  const bound = await memberOf({ signInMethods: ['password'] }, {}, {});
  const countOne = async (email: string) => {
    let queries = 0;
    const listener = () => {
      queries++;
    };
    db().on('query', listener);
    expect((await login(email)).status).toBe(200);
    db().removeListener('query', listener);
    return queries;
  };
  /** The least of several: what the service asks of its own accord may come in between. */
  const count = async (email: string) => {
    await signedIn(server, email);
    const counts: number[] = [];
    while (counts.length < 10) counts.push(await countOne(email));
    return Math.min(...counts);
  };
  expect(Math.abs((await count(plain.email)) - (await count(bound.email)))).toBeLessThanOrEqual(1);
});
