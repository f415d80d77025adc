/**
 * A FAPI 2.0 client as the suite's modules play it: each step of the flow by itself, so that a module can do one of them
 * wrongly, with what the suite checks of every answer on the way.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  decodeProtectedHeader,
  exportJWK,
  type JSONWebKeySet,
  jwtVerify,
  SignJWT,
} from 'jose';
import { expect } from 'vitest';
import { authorize, Browser, type Page } from '../support/browser.ts';
import { type Certified, makeCertificate } from '../support/certificates.ts';
import { assertionType } from '../support/client-keys.ts';
import { makeProver, type ProofOptions, type Prover } from '../support/dpop.ts';
import { type Person, type Reply, redirectUri, send } from '../support/relying-party.ts';
import type { TestServer } from '../support/server.ts';

/** The suite's variant parameters client_auth_type, sender_constrain, openid, fapi_request_method and fapi_response_mode. */
export interface Variant {
  clientAuth: 'private_key_jwt' | 'mtls';
  senderConstrain: 'dpop' | 'mtls';
  /** Or, as another profile of the suite's has it, nobody but the client: fapi_client_credentials_grant. */
  openid: 'openid_connect' | 'plain_oauth' | 'client_credentials';
  requests: 'unsigned' | 'signed_non_repudiation';
  responses: 'plain_response' | 'jarm';
}

export interface Fapi2Client {
  id: string;
  redirectUri: string;
  key: KeyObject;
  kid: string;
  certified: Certified;
}

type Claims = Record<string, unknown>;
type Form = Record<string, string>;

/** What is signed, and how, where it is not as it should be. An undefined claim is left out. */
export interface Signing {
  claims?: Claims;
  header?: Claims;
  key?: KeyObject;
}

/** An authorization request, and what is needed afterwards. */
export interface Request {
  client: Fapi2Client;
  parameters: Claims;
  verifier: string;
  prover: Prover;
}

/** What is beside the request_uri; by default what a plain OAuth request must have is repeated there. */
type Outside = Form | 'alone' | 'backwards';

export interface Pushing {
  /** Changes of the request object; without one, there is none to change. */
  object?: Signing;
  /** Takes the place of the form's `request`. */
  sign?: (claims: Claims) => Promise<string> | string;
  /** The parameters themselves, where signed ones are expected. */
  isUnsigned?: boolean;
  assertion?: Signing;
  form?: Form;
  /** Sends a proof, which binds the code to the key (RFC 9449 section 10.1). */
  proof?: Partial<ProofOptions>;
  method?: string;
}

export interface Redeeming {
  client?: Fapi2Client;
  /** undefined sends none. */
  verifier?: string | undefined;
  assertion?: Signing;
  /** Instead of what authenticates the client. */
  authentication?: Form;
  /** No proof, or no certificate. */
  withoutPossession?: boolean;
  withoutCertificate?: boolean;
  prover?: Prover;
  certified?: Certified;
  proof?: Partial<ProofOptions>;
}

export interface Presenting {
  prover?: Prover;
  certified?: Certified;
  proof?: Partial<ProofOptions>;
  /** Takes the place of the proof; undefined sends none. */
  rawProof?: string | undefined;
  scheme?: string;
  path?: string;
  headers?: Form;
}

export interface Tokens {
  access_token: string;
  token_type: string;
  expires_in: number;
  /** With OpenID Connect. */
  id_token: string;
  refresh_token?: string;
  scope?: string;
}

/** FAPI 2.0 Security Profile section 5.4.1, as the suite reads it. */
export const fapiAlgs = ['PS256', 'ES256', 'EdDSA', 'Ed25519'];
/** What the suite's second client has behind its redirect URI. */
export const querySuffix = '?dummy1=lorem&dummy2=ipsum';

const now = () => Math.floor(Date.now() / 1000);
export const seconds = (fromNow: number) => now() + fromNow;
const strings = (claims: Claims): Form =>
  Object.fromEntries(
    Object.entries(claims)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  );

/** Bits of a value that was drawn as its characters are distributed, as the suite estimates them. */
export const entropyBits = (value: string): number => {
  const counts = new Map<string, number>();
  for (const letter of value) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / value.length) * Math.log2(count / value.length);
  return bits * value.length;
};
export const expectUnguessable = (value: unknown): void => {
  expect(value).toEqual(expect.any(String));
  expect(String(value).length * 8).toBeGreaterThanOrEqual(128);
  expect(entropyBits(String(value))).toBeGreaterThanOrEqual(96);
};

/** An error of RFC 6749 section 5.2 or RFC 9126 section 2.3: one of these codes, said as the RFC wants it said. */
export const expectRefused = ({ status, headers, body }: Reply, statuses: number[], codes: string[]): void => {
  expect(codes).toContain(body.error);
  expect(statuses).toContain(status);
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  // %x20-21 / %x23-5B / %x5D-7E
  expect(body.error_description ?? '').toMatch(/^[ !#-[\]-~]*$/);
  if (body.error_uri !== undefined) expect(URL.canParse(body.error_uri)).toBe(true);
};
/** RFC 6749 section 5.2: 401 for `invalid_client`, which may be 400, and 400 for everything else. */
export const expectTokenRefused = (reply: Reply, ...codes: string[]): void =>
  expectRefused(reply, reply.body.error === 'invalid_client' ? [400, 401] : [400], codes);

const registerClient = async (
  server: TestServer,
  variant: Variant,
  name: string,
  uri: string,
): Promise<Fapi2Client> => {
  // RSA, so that RS256 can be tried with a registered key. The key names no algorithm: it is the profile that refuses.
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const certified = makeCertificate({ subject: [['CN', name]] });
  const jwk = { ...(await exportJWK(publicKey)), kid: name, use: 'sig' };
  const certificateJwk = {
    ...(await exportJWK(certified.certificate.publicKey)),
    kid: `${name}-certificate`,
    x5c: [certified.certificate.raw.toString('base64')],
  };
  const { client_id } = await server.client({
    client_name: `Conformance ${name}`,
    ...(variant.openid === 'client_credentials'
      ? { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] }
      : {
          redirect_uris: [redirectUri, `${redirectUri}${querySuffix}`],
          grant_types: ['authorization_code', 'refresh_token'],
        }),
    scope: 'openid profile email address phone offline_access users:read:own',
    profile: variant.requests === 'unsigned' ? 'fapi2-security' : 'fapi2-message-signing',
    token_endpoint_auth_method: variant.clientAuth === 'mtls' ? 'self_signed_tls_client_auth' : 'private_key_jwt',
    tls_client_certificate_bound_access_tokens: variant.senderConstrain === 'mtls',
    jwks: { keys: [jwk, ...(variant.clientAuth === 'mtls' ? [certificateJwk] : [])] },
  });
  return { id: client_id, redirectUri: uri, key: privateKey, kid: name, certified };
};

export interface Fapi2 {
  variant: Variant;
  server: TestServer;
  client1: Fapi2Client;
  client2: Fapi2Client;
  /** What requests ask for. */
  scope: string;
  /** Discovery. */
  metadata: Claims;
  jwks: JSONWebKeySet;
  /** A browser in which nobody is signed in. */
  fresh(): Person;
  begin(parameters?: Claims, client?: Fapi2Client, prover?: Prover): Promise<Request>;
  push(request: Request, pushing?: Pushing): Promise<Reply>;
  /** The authorization endpoint's URL. The suite repeats parameters there unless it says so; what else is outside counts for nothing. */
  urlOf(request: Request, requestUri: string, outside?: Outside): URL;
  /** Pushes, which must be taken. */
  start(request: Request, pushing?: Pushing, outside?: Outside): Promise<URL>;
  /** Signs in and consents where asked, and reads what comes back to the client. */
  answer(request: Request, url: URL, person?: Person): Promise<Claims>;
  read(request: Request, callback: URL): Promise<Claims>;
  /** A whole authorization: the code, with what the suite checks of each answer. */
  code(request: Request, pushing?: Pushing, outside?: Outside): Promise<string>;
  redeem(request: Request, code: string, redeeming?: Redeeming): Promise<Reply>;
  refresh(request: Request, token: string, redeeming?: Redeeming & { form?: Form }): Promise<Reply>;
  expectTokens(request: Request, reply: Reply): Promise<Tokens>;
  idToken(request: Request, token: string): Promise<Claims>;
  /** The protected resource: userinfo, or without OpenID Connect an operation of the REST API. */
  resourcePath: string;
  resource(request: Request, token: string, presenting?: Presenting): Promise<Reply>;
  expectResource(request: Request, tokens: Tokens, presenting?: Presenting): Promise<Reply>;
  /** From the request to the resource. */
  flow(request: Request, pushing?: Pushing, outside?: Outside): Promise<Tokens>;
  sign(client: Fapi2Client, claims: Claims, signing?: Signing): Promise<string>;
}

export const openFapi2 = async (server: TestServer, variant: Variant, account: Person): Promise<Fapi2> => {
  const isDpop = variant.senderConstrain === 'dpop';
  const isSigned = variant.requests === 'signed_non_repudiation';
  const isJarm = variant.responses === 'jarm';
  const isOpenId = variant.openid === 'openid_connect';
  const isMachine = variant.openid === 'client_credentials';
  const client1 = await registerClient(server, variant, 'client1', redirectUri);
  const client2 = await registerClient(server, variant, 'client2', `${redirectUri}${querySuffix}`);
  const document = isOpenId ? 'openid-configuration' : 'oauth-authorization-server';
  const { body: metadata } = await send(`${server.issuer}/.well-known/${document}`);
  const { body: jwks } = await send(metadata.jwks_uri);
  const signedIn = new Browser(server.issuer);

  const sign: Fapi2['sign'] = (client, claims, { claims: changes = {}, header = {}, key = client.key } = {}) =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader({ alg: 'PS256', kid: client.kid, ...header }).sign(key);

  const authenticationOf = async (client: Fapi2Client, signing?: Signing): Promise<Form> => {
    if (variant.clientAuth === 'mtls') return { client_id: client.id };
    const claims = { iss: client.id, sub: client.id, aud: server.issuer, jti: randomUUID() };
    const times = { iat: now(), nbf: now(), exp: seconds(60) };
    return {
      client_assertion: await sign(client, { ...claims, ...times }, signing),
      client_assertion_type: assertionType,
    };
  };

  /** As a proxy in front passes a certificate on. */
  const ask = (path: string, certified: Certified | undefined, init: RequestInit): Promise<Reply> =>
    send(`${server.issuer}${path}`, {
      ...init,
      headers: {
        ...(init.headers as Form),
        ...(certified ? { 'client-cert': `:${certified.certificate.raw.toString('base64')}:` } : {}),
      },
    });
  const postForm = (path: string, form: Form, headers: Form, certified: Certified | undefined, method = 'POST') =>
    ask(path, certified, {
      method,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body: new URLSearchParams(form).toString(),
    });

  const askToken = async (request: Request, form: Form, redeeming: Redeeming): Promise<Reply> => {
    const {
      client = request.client,
      prover = request.prover,
      assertion,
      authentication,
      withoutPossession,
    } = redeeming;
    const proof =
      isDpop && !withoutPossession
        ? { dpop: await prover.proof({ url: `${server.issuer}/oauth/token`, ...redeeming.proof }) }
        : {};
    const shows = variant.clientAuth === 'mtls' || !isDpop;
    const hides = redeeming.withoutCertificate || (withoutPossession && !isDpop);
    const certified = shows && !hides ? (redeeming.certified ?? client.certified) : undefined;
    const credentials = authentication ?? (await authenticationOf(client, assertion));
    return postForm('/oauth/token', { ...form, ...credentials }, proof as Form, certified);
  };

  const op: Fapi2 = {
    variant,
    server,
    client1,
    client2,
    scope: isOpenId ? 'openid profile' : 'users:read:own',
    resourcePath: isOpenId ? '/oauth/userinfo' : '/auth/me',
    metadata,
    jwks,
    sign,
    fresh: () => ({ browser: new Browser(server.issuer), email: account.email }),

    begin: async (parameters = {}, client = client1, prover) => {
      const verifier = randomBytes(32).toString('base64url');
      const challenge = new Uint8Array(await crypto.subtle.digest('SHA-256', Buffer.from(verifier)));
      return {
        client,
        verifier,
        prover: prover ?? (await makeProver()),
        parameters: {
          client_id: client.id,
          redirect_uri: client.redirectUri,
          scope: op.scope,
          state: randomUUID(),
          ...(isOpenId ? { nonce: randomUUID() } : {}),
          response_type: 'code',
          ...(isJarm ? { response_mode: 'jwt' } : {}),
          code_challenge: Buffer.from(challenge).toString('base64url'),
          code_challenge_method: 'S256',
          ...parameters,
        },
      };
    },

    push: async ({ client, parameters, prover }, pushing = {}) => {
      const { object, sign: signAs, isUnsigned = !isSigned, assertion, form = {}, proof, method } = pushing;
      const claims = { ...parameters, iss: client.id, aud: server.issuer, nbf: now(), exp: seconds(300) };
      const request = isUnsigned
        ? strings(parameters)
        : { request: signAs ? await signAs(claims) : await sign(client, claims, object) };
      const headers = proof ? { dpop: await prover.proof({ url: `${server.issuer}/oauth/par`, ...proof }) } : {};
      const certified = variant.clientAuth === 'mtls' ? client.certified : undefined;
      const credentials = await authenticationOf(client, assertion);
      return postForm('/oauth/par', { ...request, ...form, ...credentials }, headers as Form, certified, method);
    },

    urlOf: ({ client, parameters }, requestUri, outside = {}) => {
      const url = new URL('/oauth/authorize', server.issuer);
      const { response_type, redirect_uri, scope } = parameters;
      const repeated = outside === 'alone' ? {} : strings({ response_type, scope, redirect_uri });
      const all = { request_uri: requestUri, client_id: client.id, ...repeated };
      const more = typeof outside === 'string' ? {} : outside;
      const inOrder = Object.entries({ ...all, ...more });
      url.search = new URLSearchParams(outside === 'backwards' ? inOrder.reverse() : inOrder).toString();
      return url;
    },

    start: async (request, pushing, outside) => {
      const { status, headers, body } = await op.push(request, pushing);
      expect([status, body.error]).toEqual([201, undefined]);
      expect(headers.get('content-type')).toMatch(/^application\/json/);
      expect(body.expires_in).toBeGreaterThan(0);
      expect(Number.isInteger(body.expires_in)).toBe(true);
      expectUnguessable(body.request_uri);
      return op.urlOf(request, body.request_uri, outside);
    },

    answer: async (request, url, person = { browser: signedIn, email: account.email }) =>
      op.read(request, await authorize(person.browser, url, person.email)),

    read: async ({ client }, callback) => {
      const expected = new URL(client.redirectUri);
      expect([callback.origin, callback.pathname, callback.hash]).toEqual([expected.origin, expected.pathname, '']);
      const { ...parameters } = Object.fromEntries(callback.searchParams);
      for (const [name, value] of expected.searchParams) {
        expect(callback.searchParams.getAll(name)).toEqual([value]);
        delete parameters[name];
      }
      if (!isJarm) return parameters;
      // JARM section 2.4, and FAPI 2.0 Message Signing section 5.4.
      expect(Object.keys(parameters)).toEqual(['response']);
      const { payload, protectedHeader } = await jwtVerify(String(parameters.response), createLocalJWKSet(jwks), {
        issuer: server.issuer,
        audience: client.id,
        algorithms: fapiAlgs,
        requiredClaims: ['exp'],
      });
      expect(protectedHeader.kid).toEqual(expect.any(String));
      expect(payload.exp).toBeGreaterThan(seconds(10));
      expect(payload.exp).toBeLessThanOrEqual(seconds(600));
      const { aud: _aud, exp: _exp, iat: _iat, ...answer } = payload;
      return answer;
    },

    code: async (request, pushing, outside) => {
      if (isMachine) return '';
      const answer = await op.answer(request, await op.start(request, pushing, outside));
      const { state } = request.parameters;
      expect(answer).toEqual({
        code: expect.any(String),
        iss: server.issuer,
        ...(state === undefined ? {} : { state }),
      });
      expectUnguessable(answer.code);
      return String(answer.code);
    },

    redeem: (request, code, redeeming = {}) => {
      const { client = request.client } = redeeming;
      if (isMachine) return askToken(request, { grant_type: 'client_credentials', scope: op.scope }, redeeming);
      const verifier = 'verifier' in redeeming ? redeeming.verifier : request.verifier;
      const form = strings({
        grant_type: 'authorization_code',
        code,
        redirect_uri: client.redirectUri,
        code_verifier: verifier,
      });
      return askToken(request, form, redeeming);
    },

    refresh: (request, token, { form = {}, ...redeeming } = {}) =>
      askToken(request, { grant_type: 'refresh_token', refresh_token: token, ...form }, redeeming),

    expectTokens: async (request, { status, headers, body }) => {
      expect([status, body.error]).toEqual([200, undefined]);
      expect(headers.get('content-type')).toMatch(/^application\/json/);
      expect([headers.get('cache-control'), body.token_type.toLowerCase()]).toEqual([
        expect.stringContaining('no-store'),
        isDpop ? 'dpop' : 'bearer',
      ]);
      expect(Number.isInteger(body.expires_in) && body.expires_in > 0).toBe(true);
      expectUnguessable(body.access_token);
      if (body.refresh_token !== undefined) expectUnguessable(body.refresh_token);
      if (isOpenId) expect((await op.idToken(request, body.id_token)).nonce).toBe(request.parameters.nonce);
      else expect(body).not.toHaveProperty('id_token');
      if (isMachine) expect(body).not.toHaveProperty('refresh_token');
      return body as Tokens;
    },

    idToken: async ({ client }, token) => {
      const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), {
        issuer: server.issuer,
        audience: client.id,
        algorithms: fapiAlgs,
        requiredClaims: ['sub', 'iat', 'exp'],
      });
      expect(decodeProtectedHeader(token).kid).toEqual(expect.any(String));
      expect([payload.aud].flat()).toEqual([client.id]);
      return payload;
    },

    resource: async (request, token, presenting = {}) => {
      const { prover = request.prover, scheme = isDpop ? 'DPoP' : 'Bearer', path = op.resourcePath } = presenting;
      const url = `${server.issuer}${op.resourcePath}`;
      const proof =
        'rawProof' in presenting
          ? presenting.rawProof
          : isDpop && (await prover.proof({ method: 'GET', url, token, ...presenting.proof }));
      return ask(path, isDpop ? undefined : (presenting.certified ?? request.client.certified), {
        headers: {
          ...(scheme ? { authorization: `${scheme} ${token}` } : {}),
          ...(proof ? { dpop: proof } : {}),
          ...presenting.headers,
        },
      });
    },

    expectResource: async (request, tokens, presenting) => {
      const reply = await op.resource(request, tokens.access_token, presenting);
      expect([reply.status, reply.headers.get('content-type')]).toEqual([200, expect.stringMatching(/json/)]);
      expect(Number.isNaN(Date.parse(reply.headers.get('date') ?? ''))).toBe(false);
      expect(reply.body[isOpenId ? 'sub' : 'id']).toEqual(expect.any(String));
      return reply;
    },

    flow: async (request, pushing, outside) => {
      const tokens = await op.expectTokens(request, await op.redeem(request, await op.code(request, pushing, outside)));
      await op.expectResource(request, tokens);
      return tokens;
    },
  };
  return op;
};

/** The first page that an authorization URL leads to in a browser of its own. */
export const visit = (op: Fapi2, url: URL): Promise<Page> => op.fresh().browser.go(url);

/** Another key's thumbprint (RFC 7638). */
export const otherThumbprint = async (): Promise<string> =>
  calculateJwkThumbprint(await exportJWK(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey));
