/**
 * What the conformance suite does in every module of its OpenID Connect plans: it registers, sends somebody to the
 * authorization endpoint, takes the answer in whichever response mode, redeems the code, asks userinfo, and looks at all that
 * it is given. A module adds what it is about.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  type CryptoKey,
  createLocalJWKSet,
  decodeProtectedHeader,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
  SignJWT,
} from 'jose';
import { expect } from 'vitest';
import { formsOf, type Page, password } from '../support/browser.ts';
import { jwksOf } from '../support/jwks.ts';
import {
  basic,
  bearer,
  elsewhere,
  type Parameters,
  type Person,
  post,
  type Reply,
  redirectUri,
  send,
} from '../support/relying-party.ts';
import type { RegisteredClient, TestServer } from '../support/server.ts';

/** With the query that the suite adds to see that it is kept. */
export const otherRedirectUri = `${redirectUri}?dummy1=lorem&dummy2=ipsum`;

export interface Variant {
  responseType: 'code' | 'code id_token' | 'id_token';
  responseMode?: 'form_post';
  /** Registers a client with the metadata that the plan gives it. */
  register(metadata: Record<string, unknown>): Promise<RegisteredClient>;
}

/** A client that the suite plays. */
export interface Player {
  metadata: RegisteredClient;
  /** Signs its assertions, if it authenticates with `private_key_jwt`. */
  key?: { kid?: string; privateKey: CryptoKey };
}

export interface Suite {
  server: TestServer;
  variant: Variant;
  keys: JSONWebKeySet;
  client: Player;
  /** Of the same kind, and another one. */
  client2: Player;
  account: Person;
  /** A browser in which the account is signed in. */
  known: Person;
}

export const givesCode = ({ variant }: Pick<Suite, 'variant'>): boolean => variant.responseType.includes('code');
const givesIdToken = ({ variant }: Pick<Suite, 'variant'>): boolean => variant.responseType.includes('id_token');

/** The metadata of a client of the variant. */
export const metadataOf = (variant: Variant): Record<string, unknown> => ({
  client_name: 'Conformance suite',
  contacts: ['certification@example.com'],
  redirect_uris: [redirectUri, otherRedirectUri],
  response_types: [variant.responseType],
  grant_types: [
    ...(givesCode({ variant }) ? ['authorization_code', 'refresh_token'] : []),
    ...(givesIdToken({ variant }) ? ['implicit'] : []),
  ],
});

/** Registers the clients of a variant, and signs somebody in. */
export const openSuite = async (
  server: TestServer,
  variant: Variant,
  account: Person,
  player = async (): Promise<Player> => ({ metadata: await variant.register(metadataOf(variant)) }),
): Promise<Suite> => {
  const suite = {
    ...{ server, variant, keys: await jwksOf(server.address) },
    ...{ client: await player(), client2: await player() },
    ...{ account, known: elsewhere(account) },
  };
  await run(suite, suite.known);
  return suite;
};

/** The account in a browser that nobody is signed in to. */
export const fresh = ({ account }: Suite): Person => elsewhere(account);

const random = () => randomBytes(16).toString('base64url');

/** The parameters of an authorization request; an undefined one takes a default away. */
export const requestOf = (suite: Suite, changes: Parameters = {}, client = suite.client): URLSearchParams => {
  const { responseType: response_type, responseMode: response_mode } = suite.variant;
  const { client_id } = client.metadata;
  const all = { client_id, redirect_uri: client.metadata.redirect_uris[0], scope: 'openid', state: random() };
  const request = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...all, nonce: random(), response_type, response_mode, ...changes }))
    if (value !== undefined) request.set(name, value);
  return request;
};

/** What came of an authorization request. */
export interface Outcome {
  request: URLSearchParams;
  /** Where the browser stands, or the page that posts to the redirect URI. */
  page: Page;
  /** Where the parameters are sent; undefined on a page that goes nowhere. */
  target: URL | undefined;
  parameters: URLSearchParams;
}

/** OAuth 2.0 Form Post Response Mode section 2: a form that a script of ours, or a button, posts; our policy lets them. */
const postedForm = ({ html, headers }: Page): Pick<Outcome, 'target' | 'parameters'> | undefined => {
  const form = formsOf(html).find(({ action }) => action.startsWith(redirectUri));
  if (!form) return undefined;
  expect(html).toMatch(/<form [^>]*method="post"[^>]*data-continue>[\s\S]*<button[\s\S]*<\/form>/);
  expect(html).not.toMatch(/enctype/);
  expect(html).toMatch(/<script [^>]*src="/);
  expect(headers.get('content-security-policy')).not.toContain('form-action');
  expect(headers.get('cache-control')).toContain('no-store');
  const target = new URL(form.action);
  for (const name of ['code', 'error']) expect(target.searchParams.has(name)).toBe(false);
  return { target, parameters: new URLSearchParams(form.fields) };
};

const outcomeOf = ({ server }: Suite, request: URLSearchParams, page: Page): Outcome => {
  if (page.url.origin === server.issuer) {
    const posted = request.get('response_mode') === 'form_post' ? postedForm(page) : undefined;
    return { request, page, target: undefined, parameters: new URLSearchParams(), ...posted };
  }
  const inQuery = request.get('response_type') === 'code' || !request.has('response_type');
  const parameters = inQuery ? page.url.searchParams : new URLSearchParams(page.url.hash.slice(1));
  // OpenID Connect Core section 3.3.2.5: what belongs into the fragment is not in the query.
  if (!inQuery) for (const name of ['code', 'error']) expect(page.url.searchParams.has(name)).toBe(false);
  return { request, page, target: page.url, parameters };
};

/** The first page that the request leads to. */
export const visit = async (suite: Suite, { browser }: Person, request: URLSearchParams): Promise<Outcome> =>
  outcomeOf(suite, request, await browser.go(`/oauth/authorize?${request}`));

/** Signs in and consents from that page on, if asked. */
export const proceed = async (suite: Suite, { browser, email }: Person, first: Outcome): Promise<Outcome> => {
  let { page } = first;
  for (let step = 0; step < 5 && page.url.pathname.startsWith('/interaction/'); step++)
    page = await browser.submit(page, page.html.includes('current-password') ? { email, password } : {});
  return outcomeOf(suite, first.request, page);
};

export const follow = async (suite: Suite, person: Person, request: URLSearchParams): Promise<Outcome> =>
  proceed(suite, person, await visit(suite, person, request));

/** Where it was sent, with what the request said; RFC 9207 section 2.4. */
const expectSent = ({ server }: Suite, { request, target, parameters }: Outcome): void => {
  const wanted = new URL(request.get('redirect_uri') ?? '');
  expect(`${target?.origin}${target?.pathname}`).toBe(`${wanted.origin}${wanted.pathname}`);
  for (const [name, value] of wanted.searchParams) expect(target?.searchParams.get(name)).toBe(value);
  expect(parameters.get('state')).toBe(request.get('state'));
  expect([null, server.issuer]).toContain(parameters.get('iss'));
};

/** An error that was sent to the redirect URI (OpenID Connect Core section 3.1.2.6), and nothing beside it. */
export const expectRefused = (suite: Suite, outcome: Outcome, errors: string[]): void => {
  const { parameters } = outcome;
  expectSent(suite, outcome);
  expect(errors).toContain(parameters.get('error'));
  const query = [...new URL(outcome.request.get('redirect_uri') ?? '').searchParams.keys()];
  const known = ['error', 'error_description', 'state', 'iss', ...query];
  expect([...parameters.keys()].filter((name) => !known.includes(name))).toEqual([]);
  // RFC 6749 section 4.1.2.1.
  expect(parameters.get('error_description') ?? '').toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/);
};

export interface Granted {
  outcome: Outcome;
  /** Of the front channel. */
  front: JWTPayload | undefined;
  /** What the token endpoint said. */
  tokens: Record<string, unknown> & { access_token: string; refresh_token: string; id_token: string };
  /** Of the id_token that came last, and how it was signed. */
  claims: JWTPayload;
  header: { alg?: string; kid?: string };
  idToken: string;
  /** The claims about the person: from userinfo, or from the id_token where there is no access token. */
  person: Record<string, unknown>;
}

const halfHash = (text: string) => createHash('sha256').update(text).digest().subarray(0, 16).toString('base64url');

/** OpenID Connect Core sections 2, 3.1.3.7 and 3.3.2.11. After a refresh there is no nonce to compare. */
export const validateIdToken = async (
  { server, keys }: Suite,
  idToken: string,
  { client, nonce, code, accessToken }: { client: Player; nonce?: string | null; code?: string; accessToken?: string },
): Promise<JWTPayload> => {
  const { payload } = await jwtVerify(idToken, createLocalJWKSet(keys), {
    issuer: server.issuer,
    audience: client.metadata.client_id,
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat'],
  });
  if (nonce !== undefined) expect(payload.nonce ?? null).toBe(nonce);
  expect(payload.sub).toMatch(/^[\x21-\x7e]{1,255}$/);
  if (payload.acr !== undefined) expect(payload.acr).toMatch(/./);
  if (payload.auth_time !== undefined) expect(payload.auth_time).toBeLessThanOrEqual(Date.now() / 1000 + 1);
  if (code && payload.c_hash !== undefined) expect(payload.c_hash).toBe(halfHash(code));
  if (accessToken && payload.at_hash !== undefined) expect(payload.at_hash).toBe(halfHash(accessToken));
  return payload;
};

/** `private_key_jwt` (RFC 7523 section 3). */
const assertionOf = async ({ server }: Suite, { metadata, key }: Player, audience?: string) => ({
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: await new SignJWT({ jti: random() })
    .setProtectedHeader({ alg: 'RS256', ...(key?.kid === undefined ? {} : { kid: key.kid }) })
    .setIssuer(metadata.client_id)
    .setSubject(metadata.client_id)
    .setAudience(audience ?? `${server.issuer}/oauth/token`)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + 60)
    .sign(key?.privateKey as CryptoKey),
});

/** A request to the token endpoint, authenticated as the client registered to. */
export const askTokens = async (
  suite: Suite,
  client: Player,
  form: Record<string, string>,
  audience?: string,
): Promise<Reply> => {
  const { client_id, client_secret = '', token_endpoint_auth_method: method } = client.metadata;
  if (method === 'private_key_jwt')
    return post(suite.server, '/oauth/token', { ...form, ...(await assertionOf(suite, client, audience)) });
  if (method === 'client_secret_post') return post(suite.server, '/oauth/token', { ...form, client_id, client_secret });
  return post(suite.server, '/oauth/token', form, basic(client.metadata));
};

/** The form that redeems the code of an outcome. */
export const redemptionOf = ({ request, parameters }: Outcome, more: Record<string, string> = {}) => ({
  grant_type: 'authorization_code',
  code: parameters.get('code') as string,
  redirect_uri: request.get('redirect_uri') as string,
  ...more,
});

/** What userinfo says, which must be of whom the id_token is (OpenID Connect Core section 5.3.2). */
export const userinfo = async (
  { server }: Suite,
  token: string,
  init: RequestInit = {},
): Promise<Record<string, unknown>> => {
  const { status, headers, body } = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(token), ...init });
  expect([status, headers.get('content-type')]).toEqual([200, expect.stringMatching(/^application\/json/)]);
  return body;
};

const expectTokens = ({ status, headers, body }: Reply): void => {
  expect([status, body.error]).toEqual([200, undefined]);
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  // RFC 6749 section 5.1.
  expect(headers.get('cache-control')).toBe('no-store');
  expect(body.token_type.toLowerCase()).toBe('bearer');
  expect(body.expires_in).toBeGreaterThan(0);
  expect(body.access_token).toMatch(/^[\x20-\x7e]{22,}$/);
  if (body.refresh_token !== undefined) expect(body.refresh_token).toMatch(/^[\x20-\x7e]{22,}$/);
};

/** Checks what a refresh gave likewise. */
export const refresh = async (
  suite: Suite,
  client: Player,
  form: Record<string, string>,
): Promise<Granted['tokens']> => {
  const reply = await askTokens(suite, client, { grant_type: 'refresh_token', ...form });
  expectTokens(reply);
  return reply.body;
};

const protocolClaims = new Set(
  'iss aud exp iat nonce acr amr auth_time sid at_hash c_hash s_hash azp jti nbf'.split(' '),
);
const withoutProtocol = (claims: JWTPayload) =>
  Object.fromEntries(Object.entries(claims).filter(([name]) => !protocolClaims.has(name)));

/** Takes what an authorization response gives, to the end. */
export const take = async (
  suite: Suite,
  outcome: Outcome,
  {
    client = suite.client,
    form = {},
    audience,
  }: { client?: Player; form?: Record<string, string>; audience?: string } = {},
): Promise<Granted> => {
  const { request, parameters } = outcome;
  expect(parameters.get('error_description')).toBeNull();
  expectSent(suite, outcome);
  const code = parameters.get('code') ?? undefined;
  const first = parameters.get('id_token') ?? undefined;
  const expected = { client, nonce: request.get('nonce'), ...(code === undefined ? {} : { code }) };
  expect([code !== undefined, first !== undefined]).toEqual([givesCode(suite), givesIdToken(suite)]);
  const front = first === undefined ? undefined : await validateIdToken(suite, first, expected);
  if (front && code) expect(front).toHaveProperty('c_hash');
  if (code === undefined)
    return {
      ...{ outcome, front, tokens: {} as Granted['tokens'], claims: front as JWTPayload },
      ...{ header: decodeProtectedHeader(first as string), idToken: first as string },
      person: withoutProtocol(front as JWTPayload),
    };
  const reply = await askTokens(suite, client, redemptionOf(outcome, form), audience);
  expectTokens(reply);
  const { access_token: accessToken, id_token: idToken } = reply.body;
  const claims = await validateIdToken(suite, idToken, { ...expected, accessToken });
  if (front) expect(claims.sub).toBe(front.sub);
  const header = decodeProtectedHeader(idToken);
  const signed = client.metadata.userinfo_signed_response_alg !== undefined;
  const person = signed ? {} : await userinfo(suite, accessToken);
  if (!signed) expect(person.sub).toBe(claims.sub);
  return { outcome, front, tokens: reply.body, claims, header, idToken, person };
};

/** An authorization from its request to its end. */
export const run = async (
  suite: Suite,
  person: Person,
  parameters: Parameters = {},
  client = suite.client,
): Promise<Granted> => take(suite, await follow(suite, person, requestOf(suite, parameters, client)), { client });
