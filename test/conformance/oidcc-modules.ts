/**
 * The modules of the OpenID Foundation's Basic, Hybrid, Implicit and Form Post plans, each asserting what it asserts in the
 * suite, for any variant: response type, response mode, and how clients are registered.
 */
import { expect, vi } from 'vitest';
import { formsOf } from '../support/browser.ts';
import { bearer, expectErrorPage, type Parameters, post, redirectUri, send } from '../support/relying-party.ts';
import type { Module } from './modules.ts';
import {
  askTokens,
  expectRefused,
  follow,
  fresh,
  type Granted,
  givesCode,
  metadataOf,
  otherRedirectUri,
  proceed,
  redemptionOf,
  refresh,
  requestOf,
  run,
  type Suite,
  take,
  userinfo,
  validateIdToken,
  visit,
} from './suite-client.ts';

/** The profile that the plan's user has, as the profile page takes it. */
export const profile = {
  name: 'Jane Doe',
  given_name: 'Jane',
  family_name: 'Doe',
  middle_name: 'M.',
  nickname: 'JD',
  preferred_username: 'jane',
  profile: 'https://example.com/jane',
  picture: 'https://example.com/jane.png',
  website: 'https://jane.example.com/',
  gender: 'female',
  birthdate: '1985-10-31',
  zoneinfo: 'America/Los_Angeles',
  locale: 'en-US',
  phone_number: '+1 (555) 555-0100',
  street_address: '100 Universal City Plaza',
  locality: 'Hollywood',
  region: 'CA',
  postal_code: '91608',
  country: 'USA',
};

const { phone_number: _phone, street_address, locality, region, postal_code, country, ...profileMembers } = profile;
const profileClaims = { ...profileMembers, updated_at: expect.toSatisfy((at) => at > 1e9 && at <= Date.now() / 1000) };
const addressClaims = {
  address: { street_address, locality, region, postal_code, country, formatted: expect.any(String) },
};
const phoneClaims = { phone_number: '+15555550100', phone_number_verified: false };
const emailClaims = ({ account }: Suite) => ({ email: account.email, email_verified: true });

/** Lets the suite's and the server's clock be that much later for a while. */
export const later = async <T>(ms: number, then: () => Promise<T>): Promise<T> => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
  try {
    return await then();
  } finally {
    vi.useRealTimers();
  }
};

const isLogin = (html: string): boolean => html.includes('current-password');

/** The request succeeds although, or because, it has these parameters. */
const succeeds = async (suite: Suite, parameters: Parameters): Promise<Granted> => run(suite, suite.known, parameters);

/** The claims of the scope are given, of their types, and no others; `sub` is always there. */
const givesClaims = async (suite: Suite, scope: string, expected: Record<string, unknown>): Promise<void> => {
  const { claims, person } = await succeeds(suite, { scope });
  expect(person).toEqual({ sub: claims.sub, ...expected });
};

const unsigned = (payload: object) =>
  `${[{ alg: 'none' }, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`;

/** The suite's own condition for leaving out what is about unsigned request objects. */
const expectNoUnsignedRequests = async ({ server }: Suite): Promise<void> => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  expect(body.request_object_signing_alg_values_supported).not.toContain('none');
};

/** A second authorization in the same browser, which asks nobody anything, gives the same person and sign-in time. */
const staysTheSame = async (suite: Suite, first: Parameters, second: (first: Granted) => Parameters): Promise<void> => {
  const before = await run(suite, suite.known, { max_age: '15000', ...first });
  expect(before.claims.auth_time).toEqual(expect.any(Number));
  const outcome = await visit(suite, suite.known, requestOf(suite, { max_age: '15000', ...second(before) }));
  expect(outcome.target).toBeDefined();
  const { claims } = await take(suite, outcome);
  expect([claims.sub, claims.auth_time]).toEqual([before.claims.sub, before.claims.auth_time]);
};

/** A second authorization in the same browser, some time later, asks for the password again. */
const signsInAgain = async (suite: Suite, ms: number, second: Parameters): Promise<Granted> => {
  const person = fresh(suite);
  const before = await run(suite, person, { max_age: '15000' });
  return later(ms, async () => {
    const asked = await visit(suite, person, requestOf(suite, second));
    expect(isLogin(asked.page.html)).toBe(true);
    const after = await take(suite, await proceed(suite, person, asked));
    expect(after.claims.sub).toBe(before.claims.sub);
    expect(after.claims.auth_time).toBeGreaterThan(before.claims.auth_time as number);
    return after;
  });
};

const showsLogin = async (suite: Suite, parameters: Parameters): Promise<string> => {
  const person = fresh(suite);
  const asked = await visit(suite, person, requestOf(suite, parameters));
  expect([asked.page.status, isLogin(asked.page.html)]).toEqual([200, true]);
  await take(suite, await proceed(suite, person, asked));
  return asked.page.html;
};

/** RFC 6749 section 4.1.2: the second use of a code is refused, and ends what the first one gave. */
const refusesReuse = async (suite: Suite, ms: number): Promise<void> => {
  const { outcome, tokens } = await succeeds(suite, {});
  await later(ms, async () => {
    const { status, headers, body } = await askTokens(suite, suite.client, redemptionOf(outcome));
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    expect(body.error_description).toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/);
    const answer = await send(`${suite.server.issuer}/oauth/userinfo`, { headers: bearer(tokens.access_token) });
    expect(answer.status).toBe(401);
  });
};

/** The measure of the suite: Shannon's, of the letters as they come. */
const entropyBits = (text: string): number => {
  const counts = Object.values(Object.groupBy(text, (letter) => letter)).map((same) => same?.length ?? 0);
  return counts.reduce((sum, count) => sum - count * Math.log2(count / text.length), 0);
};

const protocolModules = {
  'oidcc-server': async (suite) => {
    const { outcome, front, claims } = await run(suite, fresh(suite));
    const code = outcome.parameters.get('code');
    if (code) {
      expect(code.length * 8).toBeGreaterThanOrEqual(128);
      expect(entropyBits(code)).toBeGreaterThan(96);
    }
    // Nothing about the person that was not asked for, in either id_token.
    const allowed = /^(iss|sub|aud|exp|iat|auth_time|nonce|acr|amr|azp|at_hash|c_hash|s_hash|nbf|jti|sid)$/;
    for (const given of [claims, front ?? {}])
      expect(Object.keys(given).filter((name) => !allowed.test(name))).toEqual([]);
  },
  'oidcc-response-type-missing': async (suite) => {
    const outcome = await follow(suite, suite.known, requestOf(suite, { response_type: undefined }));
    expectRefused(suite, outcome, ['invalid_request', 'unsupported_response_type']);
  },
  'oidcc-idtoken-signature': async (suite) => {
    const { header } = await succeeds(suite, {});
    expect(header.alg).toBe('RS256');
    expect(suite.keys.keys.filter(({ kid }) => kid === header.kid)).toHaveLength(1);
  },
  'oidcc-idtoken-unsigned': async (suite) => {
    const { body } = await send(`${suite.server.issuer}/.well-known/openid-configuration`);
    expect(body.id_token_signing_alg_values_supported).not.toContain('none');
    const metadata = { ...metadataOf(suite.variant), id_token_signed_response_alg: 'none' };
    await expect(suite.variant.register(metadata)).rejects.toThrow(/id_token_signed_response_alg/);
  },
  'oidcc-ensure-request-without-nonce-succeeds-for-code-flow': async (suite) => {
    expect((await succeeds(suite, { nonce: undefined })).claims).not.toHaveProperty('nonce');
  },
  'oidcc-ensure-request-without-nonce-fails': async (suite) => {
    const outcome = await follow(suite, suite.known, requestOf(suite, { nonce: undefined }));
    expectRefused(suite, outcome, ['invalid_request']);
  },
  'oidcc-alternate-happy-flow': async (suite) => {
    // Scopes and parameters in the opposite order; the redirect URI that has a query; a state of all sorts of characters.
    const state = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~ 0aZ';
    const request = requestOf(suite, { redirect_uri: otherRedirectUri, state, scope: 'email openid' });
    const reversed = new URLSearchParams([...request].reverse());
    const { claims, person } = await take(suite, await follow(suite, suite.known, reversed));
    expect(person).toEqual({ sub: claims.sub, ...emailClaims(suite) });
  },
  'oidcc-ensure-request-with-unknown-parameter-succeeds': async (suite) => {
    await succeeds(suite, { extra: 'foobar' });
  },
  'oidcc-ensure-registered-redirect-uri': async (suite) => {
    const request = requestOf(suite, { redirect_uri: `${redirectUri}/Xq3vBn8Rk2` });
    const { page } = await visit(suite, suite.known, request);
    expectErrorPage(page, suite.server.issuer, [400, 'invalid_redirect_uri']);
  },
  'oidcc-ensure-post-request-succeeds': async (suite) => {
    const person = fresh(suite);
    const request = requestOf(suite);
    const page = await person.browser.go('/oauth/authorize', { method: 'POST', body: request });
    const first = { request, page, target: undefined, parameters: new URLSearchParams() };
    await take(suite, await proceed(suite, person, first));
  },
  'oidcc-server-client-secret-post': async (suite) => {
    const token_endpoint_auth_method = 'client_secret_post';
    const metadata = await suite.variant.register({ ...metadataOf(suite.variant), token_endpoint_auth_method });
    expect(metadata.token_endpoint_auth_method).toBe(token_endpoint_auth_method);
    await run(suite, suite.known, {}, { metadata });
  },
  'oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported': async (suite) => {
    await expectNoUnsignedRequests(suite);
    const request = requestOf(suite, { request_uri: 'https://app.example.com/request.jwt' });
    expectRefused(suite, await follow(suite, suite.known, request), ['request_uri_not_supported']);
  },
  'oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported': async (suite) => {
    await expectNoUnsignedRequests(suite);
    const request = requestOf(suite);
    request.set('request', unsigned(Object.fromEntries(request)));
    expectRefused(suite, await follow(suite, suite.known, request), ['invalid_request_object']);
  },
  'oidcc-ensure-request-object-with-redirect-uri': async (suite) => {
    await expectNoUnsignedRequests(suite);
    // The good one inside, a bad one outside: whatever becomes of the request object, nobody is sent to the bad one.
    const request = requestOf(suite, {
      redirect_uri: `${redirectUri}/evil`,
      request: unsigned({ redirect_uri: redirectUri }),
    });
    const { page } = await visit(suite, suite.known, request);
    expectErrorPage(page, suite.server.issuer, [400, 'invalid_redirect_uri']);
  },
  'oidcc-ensure-request-with-valid-pkce-succeeds': async (suite) => {
    // RFC 7636 appendix B.
    const code_challenge = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
    const code_verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
    const request = requestOf(suite, { code_challenge, code_challenge_method: 'S256' });
    await take(suite, await follow(suite, suite.known, request), { form: { code_verifier } });
    const again = await follow(suite, suite.known, requestOf(suite, Object.fromEntries(request)));
    const without = await askTokens(suite, suite.client, redemptionOf(again));
    expect([without.status, without.body.error]).toEqual([400, 'invalid_grant']);
  },
} satisfies Partial<Modules>;

const claimModules = {
  'oidcc-userinfo-get': async (suite) => {
    // `run` asks userinfo by GET and compares `sub` with that of the id_token.
    expect((await succeeds(suite, {})).person.sub).toMatch(/./);
  },
  'oidcc-userinfo-post-header': async (suite) => {
    const { tokens, claims } = await succeeds(suite, {});
    expect((await userinfo(suite, tokens.access_token, { method: 'POST' })).sub).toBe(claims.sub);
  },
  'oidcc-userinfo-post-body': async (suite) => {
    const { tokens, claims } = await succeeds(suite, {});
    const reply = await post(suite.server, '/oauth/userinfo', { access_token: tokens.access_token });
    expect([reply.status, reply.headers.get('content-type')]).toEqual([200, expect.stringContaining('json')]);
    expect(reply.body.sub).toBe(claims.sub);
  },
  'oidcc-scope-profile': (suite) => givesClaims(suite, 'openid profile', profileClaims),
  'oidcc-scope-email': (suite) => givesClaims(suite, 'openid email', emailClaims(suite)),
  'oidcc-scope-address': (suite) => givesClaims(suite, 'openid address', addressClaims),
  'oidcc-scope-phone': (suite) => givesClaims(suite, 'openid phone', phoneClaims),
  'oidcc-scope-all': (suite) => {
    const all = { ...profileClaims, ...emailClaims(suite), ...addressClaims, ...phoneClaims };
    return givesClaims(suite, 'openid email phone address profile', all);
  },
  'oidcc-claims-essential': async (suite) => {
    const wanted = { name: { essential: true } };
    const claims = JSON.stringify(givesCode(suite) ? { userinfo: wanted } : { id_token: wanted });
    const granted = await succeeds(suite, { claims });
    expect(granted.person).toEqual({ sub: granted.claims.sub, name: profile.name });
    if (givesCode(suite)) expect(granted.claims).not.toHaveProperty('name');
  },
  'oidcc-claims-locales': async (suite) => {
    await succeeds(suite, { claims_locales: 'se' });
  },
  'oidcc-ensure-request-with-acr-values-succeeds': async (suite) => {
    const { body } = await send(`${suite.server.issuer}/.well-known/openid-configuration`);
    const granted = await succeeds(suite, { acr_values: body.acr_values_supported.join(' ') });
    expect(body.acr_values_supported).toContain(granted.claims.acr);
    await succeeds(suite, { acr_values: '1 2' });
  },
  'oidcc-refresh-token': async (suite) => {
    const { body } = await send(`${suite.server.issuer}/.well-known/openid-configuration`);
    expect(body.grant_types_supported).toContain('refresh_token');
    const asked = { scope: 'openid offline_access', prompt: 'consent', max_age: '15000' };
    const last = new Map<Suite['client'], string>();
    for (const client of [suite.client, suite.client2]) {
      const { tokens, claims } = await run(suite, suite.known, asked, client);
      const scope: Record<string, string> = client === suite.client ? { scope: asked.scope } : {};
      await later(1000, async () => {
        const next = await refresh(suite, client, { refresh_token: tokens.refresh_token, ...scope });
        expect(next.access_token).not.toBe(tokens.access_token);
        const after = await validateIdToken(suite, next.id_token, { client });
        for (const name of ['iss', 'sub', 'aud', 'auth_time', 'azp']) expect(after[name]).toEqual(claims[name]);
        expect(after.iat).toBeGreaterThan(claims.iat as number);
        expect((await userinfo(suite, next.access_token)).sub).toBe(claims.sub);
        last.set(client, next.refresh_token);
      });
    }
    const stolen = { grant_type: 'refresh_token', refresh_token: last.get(suite.client2) as string };
    const { status, headers, body: refused } = await askTokens(suite, suite.client, stolen);
    expect([status, refused.error]).toEqual([400, 'invalid_grant']);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
  },
  'oidcc-codereuse': (suite) => refusesReuse(suite, 0),
  'oidcc-codereuse-30seconds': (suite) => refusesReuse(suite, 30_000),
} satisfies Partial<Modules>;

const sessionModules = {
  'oidcc-display-page': async (suite) => {
    await showsLogin(suite, { display: 'page' });
  },
  'oidcc-display-popup': async (suite) => {
    await showsLogin(suite, { display: 'popup' });
  },
  'oidcc-prompt-login': async (suite) => {
    await signsInAgain(suite, 1000, { prompt: 'login', max_age: '15000' });
  },
  'oidcc-prompt-none-not-logged-in': async (suite) => {
    const outcome = await follow(suite, fresh(suite), requestOf(suite, { prompt: 'none', state: 'x'.repeat(128) }));
    const errors = ['interaction_required', 'login_required', 'account_selection_required', 'consent_required'];
    expectRefused(suite, outcome, errors);
  },
  'oidcc-prompt-none-logged-in': (suite) => staysTheSame(suite, {}, () => ({ prompt: 'none' })),
  'oidcc-max-age-1': async (suite) => {
    const { claims } = await signsInAgain(suite, 2000, { max_age: '1' });
    expect((claims.iat as number) - (claims.auth_time as number)).toBeLessThanOrEqual(1);
  },
  'oidcc-max-age-10000': (suite) => staysTheSame(suite, { max_age: '15000' }, () => ({ max_age: '10000' })),
  'oidcc-id-token-hint': (suite) =>
    staysTheSame(suite, {}, ({ idToken }) => ({ prompt: 'none', id_token_hint: idToken })),
  'oidcc-login-hint': async (suite) => {
    const { email } = suite.account;
    const page = await showsLogin(suite, { login_hint: email });
    expect(formsOf(page).find(({ fields }) => 'password' in fields)?.fields.email).toBe(email);
    await showsLogin(suite, { login_hint: `buffy@${new URL(suite.server.issuer).hostname}` });
  },
  'oidcc-ui-locales': async (suite) => {
    const asked = await visit(suite, fresh(suite), requestOf(suite, { ui_locales: 'se fr' }));
    expect([asked.page.headers.get('content-language'), isLogin(asked.page.html)]).toEqual(['fr', true]);
    await succeeds(suite, { ui_locales: 'se' });
  },
} satisfies Partial<Modules>;

type Name = Module<'oidcc-basic-certification-test-plan' | 'oidcc-hybrid-certification-test-plan'>;
type Modules = Record<Name, (suite: Suite) => Promise<void>>;
export const oidccModules: Modules = { ...protocolModules, ...claimModules, ...sessionModules };
