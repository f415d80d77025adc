/**
 * What the modules of the two FAPI 2.0 plans do and check, by their names without `fapi2-security-profile-final-`. The same
 * modules make up both plans: what is signed, and how clients authenticate, is in the variant.
 */
import { randomBytes } from 'node:crypto';
import { UnsecuredJWT } from 'jose';
import { expect } from 'vitest';
import { makeProver } from '../support/dpop.ts';
import { redirectUri, tampered } from '../support/relying-party.ts';
import {
  expectRefused,
  expectTokenRefused,
  type Fapi2,
  fapiAlgs,
  otherThumbprint,
  type Pushing,
  type Redeeming,
  type Request,
  seconds,
  type Tokens,
  visit,
} from './fapi2-flow.ts';
import { testProofs } from './fapi2-proofs.ts';
import { expectGoodTls, type Fapi2Server } from './fapi2-server.ts';

type Test = (op: Fapi2, tls: Fapi2Server['tls']) => Promise<unknown>;

const random = (length: number) => randomBytes(length).toString('base64url').slice(0, length);
const isDpop = ({ variant }: Fapi2) => variant.senderConstrain === 'dpop';
const isOpenId = ({ variant }: Fapi2) => variant.openid === 'openid_connect';
const is4xx = (status: number) => status >= 400 && status < 500;

/** Authorizes, and sends a token request that must be refused. */
const refusedToken = async (op: Fapi2, redeeming: Redeeming, ...codes: string[]): Promise<void> => {
  const request = await op.begin();
  const code = await op.code(request);
  expectTokenRefused(await op.redeem(request, code, redeeming), ...codes);
};
/** The suite takes the refusal of a bad assertion under either name. */
const refusedAssertion =
  (claims: () => Record<string, unknown>): Test =>
  (op) =>
    refusedToken(op, { assertion: { claims: claims() } }, 'invalid_client', 'invalid_request');
const refusedAssertionAtPar =
  (claims: (op: Fapi2) => Record<string, unknown>): Test =>
  async (op) => {
    const reply = await op.push(await op.begin(), { assertion: { claims: claims(op) } });
    expectRefused(reply, [400, 401], ['invalid_client', 'invalid_request']);
  };
/** Refused where it is pushed, which is one of the ways that the suite leaves open. */
const refusedAtPar = async (op: Fapi2, codes: string[], pushing: Pushing = {}, parameters = {}): Promise<void> =>
  expectRefused(await op.push(await op.begin(parameters), pushing), [400], codes);
const refusedObject =
  (claims: () => Record<string, unknown>): Test =>
  (op) =>
    refusedAtPar(op, ['invalid_request_object'], { object: { claims: claims() } });
const invalidRequestOrObject = ['invalid_request', 'invalid_request_object'];

/** All works with what is pushed and what is beside it; nothing outside the request counts. */
const works =
  (parameters: () => Record<string, unknown>, outside?: Record<string, string> | 'alone'): Test =>
  async (op) =>
    op.flow(await op.begin(parameters()), {}, outside);

/** What the suite knows an id_token to have without being asked. */
const idTokenClaims = new Set(
  'iss sub aud exp iat auth_time nonce acr amr azp at_hash c_hash s_hash nbf jti sid'.split(' '),
);

const discovery: Test = async ({ server, metadata, variant, jwks: { keys } }) => {
  const has = (name: string, ...values: string[]) => {
    expect([name, Array.isArray(metadata[name])]).toEqual([name, true]);
    const known = metadata[name] as string[];
    expect([name, !values.length || values.some((value) => known.includes(value))]).toEqual([name, true]);
  };
  const hasEndpoints = (...names: string[]) => {
    for (const name of names) {
      const url = String(metadata[name]);
      expect([name, URL.parse(url)?.origin]).toEqual([name, server.issuer]);
    }
  };
  expect(metadata.issuer).toBe(server.issuer);
  if (variant.senderConstrain === 'dpop') has('dpop_signing_alg_values_supported', ...fapiAlgs);
  else expect(metadata.tls_client_certificate_bound_access_tokens).toBe(true);
  has('token_endpoint_auth_methods_supported', 'private_key_jwt', 'tls_client_auth');
  if (variant.clientAuth === 'mtls')
    has('token_endpoint_auth_methods_supported', 'tls_client_auth', 'self_signed_tls_client_auth');
  else has('token_endpoint_auth_methods_supported', 'private_key_jwt');
  has('token_endpoint_auth_signing_alg_values_supported', ...fapiAlgs);
  hasEndpoints('token_endpoint', 'jwks_uri');
  if (metadata.registration_endpoint) hasEndpoints('registration_endpoint');
  for (const one of metadata.scopes_supported as string[]) expect(one).toMatch(/^[!#-[\]-~]+$/);
  for (const locale of metadata.ui_locales_supported as string[])
    expect(Intl.getCanonicalLocales(locale)).toEqual([locale]);
  // The keys: each with a name of its own, public, and long enough (section 5.4.1).
  expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length);
  for (const key of keys) {
    expect([key.kid, key.d]).toEqual([expect.any(String), undefined]);
    if (key.kty === 'RSA') expect(Buffer.from(String(key.n), 'base64url').length).toBeGreaterThanOrEqual(256);
    if (key.kty === 'EC') expect(Buffer.from(String(key.x), 'base64url').length).toBeGreaterThanOrEqual(28);
  }
  if (variant.openid === 'client_credentials') {
    has('grant_types_supported', 'client_credentials');
    return;
  }
  has('response_types_supported', 'code');
  if (variant.responses === 'jarm') {
    has('response_modes_supported', 'jwt');
    has('authorization_signing_alg_values_supported', ...fapiAlgs);
    for (const kind of ['alg', 'enc']) has(`authorization_encryption_${kind}_values_supported`);
  } else expect(metadata.authorization_response_iss_parameter_supported).toBe(true);
  has('userinfo_signing_alg_values_supported', ...fapiAlgs);
  has('code_challenge_methods_supported', 'S256');
  expect([undefined, true, false]).toContain(metadata.require_pushed_authorization_requests);
  if (variant.requests !== 'unsigned') has('request_object_signing_alg_values_supported', ...fapiAlgs);
  hasEndpoints('authorization_endpoint', 'pushed_authorization_request_endpoint', 'userinfo_endpoint');
  if (variant.openid === 'plain_oauth') return;
  has('id_token_signing_alg_values_supported', ...fapiAlgs);
  has('scopes_supported', 'openid');
  has('subject_types_supported', 'public', 'pairwise');
};

/** Client 1's key or certificate with client 2's token. */
const expectBoundToClient2 = async (op: Fapi2, request1: Request, request2: Request, { access_token }: Tokens) => {
  const stolen = { prover: request1.prover, certified: op.client1.certified };
  expect(is4xx((await op.resource(request2, access_token, stolen)).status)).toBe(true);
  expect((await op.resource(request2, access_token)).status).toBe(200);
};

/** Client 2 varies what may vary: lengths, a query in the redirect URI, the media type and `iat` of its request object. */
const beginSecond = async (op: Fapi2, parameters = {}): Promise<Request> => {
  const prover = await makeProver();
  const nonce = isOpenId(op) ? { nonce: random(43) } : {};
  const all = { state: random(128), ...nonce, ...(isDpop(op) ? { dpop_jkt: prover.jkt } : {}), ...parameters };
  return op.begin(all, op.client2, prover);
};
const secondObject = () => ({
  object: { claims: { iat: seconds(0) }, header: { typ: 'oauth-authz-req+jwt' } },
});

const happyFlow: Test = async (op, tls) => {
  await expectGoodTls(tls);
  const request1 = await op.begin();
  const tokens1 = await op.flow(request1);
  const claims = isOpenId(op) ? await op.idToken(request1, tokens1.id_token) : {};
  expect(Object.keys(claims).filter((name) => !idTokenClaims.has(name))).toEqual([]);
  const inQuery = { scheme: '', path: `${op.resourcePath}?access_token=${tokens1.access_token}` };
  expect([400, 401, 414]).toContain((await op.resource(request1, tokens1.access_token, inQuery)).status);
  const accepted: Record<string, string>[] = [
    { accept: 'application/json; charset=utf-8', 'x-fapi-customer-ip-address': '2001:db8::1893:25c8:1946' },
    { accept: 'text/html, image/gif, image/jpeg, application/json, *; q=.2, */*; q=.2' },
  ];
  for (const headers of accepted) await op.expectResource(request1, tokens1, { headers });

  const request2 = await beginSecond(op);
  const code = await op.code(request2, secondObject(), 'backwards');
  const tokens2 = await op.expectTokens(request2, await op.redeem(request2, code));
  await op.expectResource(request2, tokens2);
  await expectBoundToClient2(op, request1, request2, tokens2);
};

const rejects: Test = async (op) => {
  for (const client of [op.client1, op.client2]) {
    const request = await op.begin({ state: random(128) }, client);
    const { browser } = op.fresh();
    const page = await browser.go(await op.start(request));
    const { url } = await browser.submit(page, {}, '/abort');
    const { error_description, ...answer } = await op.read(request, url);
    expect(answer).toEqual({ error: 'access_denied', state: request.parameters.state, iss: op.server.issuer });
    expect([undefined, expect.any(String)]).toContainEqual(error_description);
  }
};

/** Every standard claim that discovery names, asked for in each form there is, and nonsense beside them. */
const claimsParameter: Test = async (op) => {
  expect(op.metadata.claims_parameter_supported).toBe(true);
  const standard =
    'sub name given_name family_name middle_name nickname preferred_username profile picture website email email_verified gender birthdate zoneinfo locale phone_number phone_number_verified address updated_at';
  const supported = standard.split(' ').filter((name) => (op.metadata.claims_supported as string[]).includes(name));
  expect(supported).toEqual(standard.split(' '));
  const forms = [null, { essential: false }, { essential: true }, {}];
  const wanted = Object.fromEntries(supported.filter((name) => name !== 'sub').map((name, i) => [name, forms[i % 4]]));
  const claims = {
    id_token: { ...wanted, [random(10)]: null },
    userinfo: wanted,
    [random(10)]: { [random(10)]: null },
  };
  const request = await op.begin({ claims });
  const tokens = await op.flow(request);
  const identity = await op.idToken(request, tokens.id_token);
  const { body } = await op.expectResource(request, tokens);
  expect(body.sub).toBe(identity.sub);
  expect(Object.keys({ ...identity, ...body })).toEqual(expect.arrayContaining(supported));
  for (const name of Object.keys(body)) expect(supported).toContain(name);
  for (const name of Object.keys(identity)) expect([...supported, ...idTokenClaims]).toContain(name);
  expect(body).toMatchObject({ email_verified: true, address: { country: 'USA' }, updated_at: expect.any(Number) });
};

const invertedCase: Test = async (op) => {
  const request = await op.begin();
  const tokens = await op.flow(request);
  const scheme = [...(isDpop(op) ? 'DPoP' : 'Bearer')]
    .map((letter) => (letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()))
    .join('');
  await op.expectResource(request, tokens, { scheme });
};

/** Proofs whose claims are these work at the endpoints that take one, those of the code bound from the beginning if `par`. */
const proofsWork =
  (claims: () => Record<string, unknown>, par: boolean): Test =>
  async (op) => {
    const request = await op.begin();
    const code = await op.code(request, par ? { proof: { claims: claims() } } : {});
    const tokens = await op.expectTokens(request, await op.redeem(request, code, { proof: { claims: claims() } }));
    await op.expectResource(request, tokens, { proof: { claims: claims() } });
  };
const possessionErrors = ['invalid_request', 'invalid_grant', 'invalid_dpop_proof'];

const holderOfKey: Test = async (op, tls) => {
  await expectGoodTls(tls);
  const mtls =
    op.variant.clientAuth === 'mtls' ? ['invalid_client', 'invalid_request'] : ['invalid_client', ...possessionErrors];
  await refusedToken(op, { withoutPossession: true }, ...(isDpop(op) ? possessionErrors : mtls));
};

/** Client 2 by name, client 1 by its key or certificate. */
const otherClientId: Test = async (op) => {
  const request = await op.begin();
  const code = await op.code(request);
  const { client1, client2 } = op;
  const mixed: Redeeming =
    op.variant.clientAuth === 'mtls'
      ? { authentication: { client_id: client2.id } }
      : {
          authentication: {
            client_id: client2.id,
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
            client_assertion: await op.sign(client1, {
              ...{ iss: client2.id, sub: client2.id, aud: op.server.issuer, jti: random(20) },
              ...{ iat: seconds(0), nbf: seconds(0), exp: seconds(60) },
            }),
          },
        };
  expectTokenRefused(await op.redeem(request, code, mixed), 'invalid_client', 'invalid_grant');
};

const boundToClient: Test = async (op) => {
  const request = await op.begin();
  const code = await op.code(request);
  const { client2: client } = op;
  const stolen = { client, prover: await makeProver() };
  expectRefused(await op.redeem(request, code, stolen), [400], ['invalid_grant']);
};

const reusedCode: Test = async (op) => {
  const request = await op.begin();
  const code = await op.code(request);
  const tokens = await op.expectTokens(request, await op.redeem(request, code));
  await op.expectResource(request, tokens);
  // A second later.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expectRefused(await op.redeem(request, code), [400], ['invalid_grant']);
  expect(is4xx((await op.resource(request, tokens.access_token)).status)).toBe(true);
};

/** Instead of waiting: what is stored must expire within the time, and is as if that had passed. */
const passTime = async ({ server }: Fapi2, model: string, secondsMax: number): Promise<void> => {
  const rows = server.database.db('oidcPayloads').where({ model }).andWhere('expiresAt', '>', new Date());
  const [row] = await rows.clone().orderBy('expiresAt', 'desc').select('expiresAt');
  expect(Date.parse(row?.expiresAt)).toBeLessThanOrEqual(Date.now() + secondsMax * 1000);
  await rows.update({ expiresAt: new Date(Date.now() - 1000) });
};
const expiredCode: Test = async (op) => {
  const request = await op.begin();
  const code = await op.code(request);
  await passTime(op, 'AuthorizationCode', 60);
  expectRefused(await op.redeem(request, code), [400], ['invalid_grant']);
};

/** OpenID Connect Core section 12.2. */
const expectSameSignIn = (before: Record<string, unknown>, after: Record<string, unknown>): void => {
  for (const name of ['iss', 'sub', 'aud', 'azp', 'auth_time'])
    if (name !== 'auth_time' || after[name] !== undefined) expect([name, after[name]]).toEqual([name, before[name]]);
  expect(after.iat).toBeGreaterThanOrEqual(Number(before.iat));
};

const refreshToken: Test = async (op) => {
  expect(op.metadata.grant_types_supported).toContain('refresh_token');
  const one = async (request: Request, pushing?: Pushing) => {
    const first = await op.flow(request, pushing);
    const token = String(first.refresh_token);
    expect(token).toMatch(/^[ -~]+$/);
    const form: Record<string, string> = request.client === op.client2 ? { scope: op.scope } : {};
    const reply = await op.refresh(request, token, { form });
    expect([reply.status, reply.body.token_type.toLowerCase()]).toEqual([200, isDpop(op) ? 'dpop' : 'bearer']);
    const [cacheControl, pragma] = ['cache-control', 'pragma'].map((name) => reply.headers.get(name));
    expect([cacheControl, pragma]).toEqual([expect.stringContaining('no-store'), null]);
    expect(reply.body.access_token).not.toBe(first.access_token);
    expect(reply.body.expires_in).toBeGreaterThan(0);
    if (isOpenId(op))
      expectSameSignIn(await op.idToken(request, first.id_token), await op.idToken(request, reply.body.id_token));
    else expect(reply.body).not.toHaveProperty('id_token');
    // Section 5.3.2.1 has bound tokens not be rotated, so that an answer may be lost.
    expect([undefined, token]).toContain(reply.body.refresh_token);
    expect((await op.refresh(request, token)).status).toBe(200);
    return { first, token };
  };
  const request1 = await op.begin();
  const { token: token1 } = await one(request1);
  const unauthenticated: Redeeming =
    op.variant.clientAuth === 'mtls' ? { withoutCertificate: true } : { authentication: {} };
  const nobody = ['invalid_client', 'invalid_grant', 'invalid_request'];
  expectRefused(await op.refresh(request1, token1, unauthenticated), [400, 401], nobody);
  const bare = await op.refresh(request1, token1, { withoutPossession: true });
  if (isDpop(op)) expectRefused(bare, [400], possessionErrors);
  else expectTokenRefused(bare, 'invalid_client', 'invalid_request', 'invalid_grant');

  const request2 = await beginSecond(op);
  const { first, token: token2 } = await one(request2, secondObject());
  await expectBoundToClient2(op, request1, request2, first);
  expectRefused(await op.refresh(request1, token2), [400], ['invalid_grant']);
};

const reloadedRequest: Test = async (op) => {
  const request = await op.begin();
  const url = await op.start(request);
  const person = op.fresh();
  for (let visits = 0; visits < 2; visits++) expect((await person.browser.go(url)).html).toContain('current-password');
  const { code } = await op.answer(request, url, person);
  await op.expectResource(request, await op.expectTokens(request, await op.redeem(request, String(code))));
};

/** A request_uri that is no good: an error page, or the error at the redirect URI that is repeated outside, signed or not. */
const expectBadRequestUri = async (op: Fapi2, request: Request, url: URL, ...codes: string[]): Promise<void> => {
  const page = await visit(op, url);
  if (page.url.origin === op.server.issuer) {
    expect(page.status).toBe(400);
    expect(codes).toContain(/400 (\w+)/.exec(page.html)?.[1]);
    return;
  }
  const { searchParams } = page.url;
  const answer = searchParams.has('response') ? await op.read(request, page.url) : Object.fromEntries(searchParams);
  expect(`${page.url.origin}${page.url.pathname}`).toBe(redirectUri);
  expect(codes).toContain(answer.error);
  expect([answer.iss, answer.code]).toEqual([op.server.issuer, undefined]);
};

const reusedRequest: Test = async (op) => {
  const request = await op.begin();
  const url = await op.start(request);
  const { code } = await op.answer(request, url);
  await op.expectResource(request, await op.expectTokens(request, await op.redeem(request, String(code))));
  await expectBadRequestUri(op, request, url, 'invalid_request_uri');
};

const expiredRequest: Test = async (op) => {
  const request = await op.begin();
  const { body } = await op.push(request);
  await passTime(op, 'PushedAuthorizationRequest', body.expires_in);
  await expectBadRequestUri(op, request, op.urlOf(request, body.request_uri), 'invalid_request_uri');
};

const requestOfAnother: Test = async (op) => {
  const request = await op.begin();
  const url = await op.start(request);
  url.searchParams.set('client_id', op.client2.id);
  const stolen = { ...request, client: { ...op.client2, redirectUri } };
  await expectBadRequestUri(op, stolen, url, 'invalid_request_uri', ...invalidRequestOrObject);
};

const withoutPar: Test = async (op) => {
  const request = await op.begin();
  const url = new URL('/oauth/authorize', op.server.issuer);
  url.search = new URLSearchParams(request.parameters as Record<string, string>).toString();
  const { error_description: _description, ...answer } = await op.read(request, (await visit(op, url)).url);
  expect(answer).toEqual({ error: 'invalid_request', state: request.parameters.state, iss: op.server.issuer });
};

const otherResponseType =
  (response_type: string): Test =>
  async (op) => {
    const reply = await op.push(await op.begin({ response_type }));
    expect(['unsupported_response_type', 'invalid_request', 'unauthorized_client']).toContain(reply.body.error);
    expect(is4xx(reply.status)).toBe(true);
  };

const badRedirectUri = () => ({ redirect_uri: `https://app.example.com/callback/${random(10)}` });

export const fapi2Modules: Record<string, Test> = {
  'discovery-end-point-verification': discovery,
  'happy-flow': happyFlow,
  'user-rejects-authentication': rejects,
  'ensure-authorization-request-without-state-success': works(() => ({ state: undefined })),
  'ensure-authorization-request-without-nonce-success': works(() => ({ nonce: undefined })),
  'ensure-authorization-request-with-64-char-nonce-success': works(() => ({ nonce: random(64) })),
  'ensure-other-scope-order-succeeds': async (op) =>
    op.flow(await op.begin({ scope: op.scope.split(' ').reverse().join(' ') })),
  'test-claims-parameter-identity-claims': claimsParameter,
  'access-token-type-header-case-sensitivity': invertedCase,
  'check-dpop-proof-nbf-exp': proofsWork(() => ({ nbf: seconds(0), exp: seconds(300) }), false),
  'ensure-dpopproof-with-iat-10seconds-before-succeeds': proofsWork(() => ({ iat: seconds(-10) }), true),
  // The suite's own ten are eight, so that its clock may be ahead of the server's.
  'ensure-dpopproof-with-iat-10seconds-after-succeeds': proofsWork(() => ({ iat: seconds(8) }), true),
  'ensure-mismatched-dpop-jkt-fails': async (op) =>
    refusedAtPar(op, ['invalid_request', 'invalid_dpop_proof'], { proof: {} }, { dpop_jkt: await otherThumbprint() }),
  'ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt': async (op) => {
    const request = await op.begin();
    const code = await op.code(request, { proof: {} });
    expectTokenRefused(await op.redeem(request, code, { prover: await makeProver() }), ...possessionErrors);
  },
  'ensure-token-endpoint-fails-with-mismatched-dpop-jkt': async (op) => {
    const request = await op.begin({ dpop_jkt: await otherThumbprint() });
    expectTokenRefused(await op.redeem(request, await op.code(request)), ...possessionErrors);
  },
  'ensure-dpopproof-at-par-endpoint-binding-success': async (op) => op.flow(await op.begin(), { proof: {} }),
  'ensure-dpop-auth-code-binding-success': async (op) => {
    const prover = await makeProver();
    await op.flow(await op.begin({ dpop_jkt: prover.jkt }, op.client1, prover), { proof: {} });
  },
  'ensure-different-nonce-inside-and-outside-request-object': works(() => ({}), { nonce: random(43) }),
  'ensure-different-state-inside-and-outside-request-object': works(() => ({}), { state: random(43) }),
  'ensure-authorization-request-with-long-nonce': works(() => ({ nonce: random(384) })),
  'ensure-authorization-request-with-long-state': works(() => ({ state: random(1000) })),
  'state-only-outside-request-object-not-used': works(() => ({ state: undefined }), { state: random(43) }),
  'ensure-request-object-without-redirect-uri-fails': (op) =>
    refusedAtPar(op, invalidRequestOrObject, {}, { redirect_uri: undefined }),
  // RFC 9126 section 2.4 would let it be taken; here only what is registered is.
  'plain-fapi-tolerate-unregistered-redirect-uri': (op) =>
    refusedAtPar(op, invalidRequestOrObject, {}, badRedirectUri()),
  'ensure-unsigned-authorization-request-without-using-par-fails': withoutPar,
  'ensure-redirect-uri-in-authorization-request': (op) =>
    refusedAtPar(op, invalidRequestOrObject, {}, { redirect_uri: undefined }),
  'ensure-response-type-code-idtoken-fails': otherResponseType('code id_token'),
  'ensure-response-type-token-fails': otherResponseType('token'),
  'ensure-client-id-in-token-endpoint': otherClientId,
  'ensure-holder-of-key-required': holderOfKey,
  'ensure-authorization-code-is-bound-to-client': boundToClient,
  'attempt-reuse-authorization-code-after-one-second': reusedCode,
  'ensure-token-endpoint-fails-with-expired-auth-code': expiredCode,
  'ensure-signed-client-assertion-with-RS256-fails': (op) =>
    refusedToken(op, { assertion: { header: { alg: 'RS256' } } }, 'invalid_client'),
  'ensure-client-assertion-in-token-endpoint': (op) =>
    refusedToken(op, { authentication: { client_id: op.client1.id } }, 'invalid_client', 'invalid_request'),
  'ensure-client-assertion-with-exp-is-5-minutes-in-past-fails': refusedAssertion(() => ({
    exp: seconds(-300),
  })),
  'ensure-client-assertion-with-wrong-aud-fails': refusedAssertion(() => ({ aud: 'https://rs.example.com/userinfo' })),
  'ensure-client-assertion-with-no-sub-fails': refusedAssertion(() => ({ sub: undefined })),
  'dpop-negative-tests': testProofs,
  'refresh-token': refreshToken,
  'par-ensure-reused-request-uri-prior-to-auth-completion-succeeds': reloadedRequest,
  'par-attempt-reuse-request_uri': reusedRequest,
  'par-attempt-to-use-expired-request_uri': expiredRequest,
  'par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted': async (op) =>
    op.flow(await op.begin(), { assertion: { claims: { iat: seconds(8), nbf: seconds(8) } } }),
  'par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails': refusedAssertionAtPar(() => ({
    iat: seconds(62),
    nbf: seconds(62),
    exp: seconds(122),
  })),
  'par-attempt-to-use-request_uri-for-different-client': requestOfAnother,
  'par-authorization-request-containing-request_uri-form-param': (op) =>
    refusedAtPar(op, [...invalidRequestOrObject, 'request_uri_not_supported'], {
      form: { request_uri: `urn:fdc:example.com:${random(43)}` },
    }),
  'par-attempt-invalid-http-method': async (op) => {
    const { status, headers } = await op.push(await op.begin(), { method: 'PUT' });
    expect([status, headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
  },
  'par-ensure-pkce-required': (op) =>
    refusedAtPar(op, ['invalid_request'], {}, { code_challenge: undefined, code_challenge_method: undefined }),
  'ensure-pkce-code-verifier-required': (op) => refusedToken(op, { verifier: undefined }, 'invalid_grant'),
  'incorrect-pkce-code-verifier-rejected': (op) => refusedToken(op, { verifier: random(43) }, 'invalid_grant'),
  'par-plain-pkce-rejected': (op) =>
    refusedAtPar(op, ['invalid_request'], {}, { code_challenge: random(43), code_challenge_method: 'plain' }),
  'par-without-duplicate-parameters': works(() => ({}), 'alone'),
  'par-test-array-as-audience-fails': refusedAssertionAtPar(({ server }) => ({
    aud: [server.issuer, 'https://other1.example.com'],
  })),
  'par-test-par-endpoint-url-as-audience-fails': refusedAssertionAtPar(({ metadata }) => ({
    aud: metadata.pushed_authorization_request_endpoint,
  })),
  'par-test-token-endpoint-url-as-audience-fails': refusedAssertionAtPar(({ metadata }) => ({
    aud: metadata.token_endpoint,
  })),

  // What FAPI 2.0 Message Signing adds: the request object.
  'ensure-request-object-with-multiple-aud-succeeds': async (op) =>
    op.flow(
      await op.begin(),
      { object: { claims: { aud: [op.server.issuer, 'https://other1.example.com', 'invalid'] } } },
      'alone',
    ),
  'ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted': async (op) =>
    op.flow(await op.begin(), { object: { claims: { nbf: seconds(8) } } }),
  'ensure-request-object-without-exp-fails': refusedObject(() => ({ exp: undefined })),
  'ensure-request-object-without-nbf-fails': refusedObject(() => ({ nbf: undefined })),
  'ensure-expired-request-object-fails': refusedObject(() => ({ exp: seconds(-3600) })),
  'ensure-request-object-with-bad-aud-fails': refusedObject(() => ({ aud: 'https://www.other1.example.com/' })),
  'ensure-request-object-with-exp-over-60-fails': refusedObject(() => ({ exp: seconds(70 * 60) })),
  'ensure-request-object-with-nbf-over-60-fails': refusedObject(() => ({ nbf: seconds(-70 * 60) })),
  'ensure-signed-request-object-with-RS256-fails': (op) =>
    refusedAtPar(op, ['invalid_request_object'], { object: { header: { alg: 'RS256' } } }),
  'ensure-request-object-signature-algorithm-is-not-none': (op) =>
    refusedAtPar(op, ['invalid_request_object'], { sign: (claims) => new UnsecuredJWT(claims).encode() }),
  'ensure-request-object-with-invalid-signature-fails': (op) =>
    refusedAtPar(op, ['invalid_request_object'], {
      sign: async (claims) => tampered(await op.sign(op.client1, claims)),
    }),
  'ensure-matching-key-in-authorization-request': (op) =>
    refusedAtPar(op, invalidRequestOrObject, {
      sign: (claims) => op.sign(op.client2, claims),
    }),
  'ensure-unsigned-request-at-par-endpoint-fails': (op) => refusedAtPar(op, ['invalid_request'], { isUnsigned: true }),
  'par-authorization-request-containing-request_uri': (op) =>
    refusedAtPar(op, ['invalid_request_object'], {
      object: { claims: { request_uri: `urn:example:${random(30)}` } },
    }),
};
