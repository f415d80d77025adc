/**
 * A FAPI-CIBA client as the suite's modules play it: each step by itself, so that a module can do one of them wrongly, with
 * what the suite checks of every answer on the way.
 */
import { createHash, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { createLocalJWKSet, decodeProtectedHeader, exportJWK, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { expect, vi } from 'vitest';
import { password } from '../support/browser.ts';
import { type Certified, makeCertificate } from '../support/certificates.ts';
import { assertionType } from '../support/client-keys.ts';
import { type NotificationReceiver, startNotificationReceiver } from '../support/notification-receiver.ts';
import { bearer, type Person, post, type Reply, send } from '../support/relying-party.ts';
import type { TestServer } from '../support/server.ts';
import {
  entropyBits,
  expectRefused,
  expectUnguessable,
  type Fapi2Client,
  type Signing,
  seconds,
} from './fapi2-flow.ts';

export const cibaGrant = 'urn:openid:params:grant-type:ciba';
/** FAPI 1.0 Advanced section 8.6. */
const algs = ['PS256', 'ES256'];
const scope = 'openid profile offline_access';

/** The suite's variant parameters client_auth_type and ciba_mode. */
export interface CibaVariant {
  clientAuth: 'private_key_jwt' | 'mtls';
  mode: 'poll' | 'ping';
}

type Claims = Record<string, unknown>;
type Form = Record<string, string>;
export type CibaClient = Omit<Fapi2Client, 'redirectUri'>;

/** How a request is authenticated, where it is not as it should be. */
export interface Authenticating {
  assertion?: Signing;
  /** Instead of what authenticates the client. */
  credentials?: Form;
  /** null: none. */
  certified?: Certified | null;
}

export interface Asking extends Authenticating {
  client?: CibaClient;
  /** Changes of the request object. */
  object?: Signing;
  /** Takes the place of what signs it. */
  sign?(claims: Claims): Promise<string> | string;
  /** The parameters themselves, where signed ones are expected. */
  isUnsigned?: boolean;
}

/** An authentication request that was taken. */
export interface Asked {
  client: CibaClient;
  parameters: Claims;
  authReqId: string;
}

export interface Tokens {
  access_token: string;
  id_token: string;
  refresh_token: string;
}

/** An error that says no more than CIBA Core section 13 and RFC 6749 section 5.2 allow. */
export const expectCibaRefused = (reply: Reply, statuses: number[], codes: string[]): void => {
  expectRefused(reply, statuses, codes);
  const allowed = ['error', 'error_description', 'error_uri'];
  expect(Object.keys(reply.body).filter((member) => !allowed.includes(member))).toEqual([]);
};

const b64token = (length: number): string =>
  `${randomBytes(length).toString('base64')}~.-_`
    .replaceAll('=', '')
    .slice(-length + 1)
    .concat('=');

const registerClient = async (
  server: TestServer,
  { clientAuth, mode }: CibaVariant,
  name: string,
  notified: string,
): Promise<CibaClient> => {
  // The key names no algorithm, so that RS256 is refused for what the client registered, and not for its key.
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const certified = makeCertificate({ subject: [['CN', name]] });
  const certificateJwk = {
    ...(await exportJWK(certified.certificate.publicKey)),
    kid: `${name}-certificate`,
    x5c: [certified.certificate.raw.toString('base64')],
  };
  const jwk = { ...(await exportJWK(publicKey)), kid: name, use: 'sig' };
  const isByCertificate = clientAuth === 'mtls';
  const { client_id } = await server.client({
    client_name: `Conformance ${name}`,
    redirect_uris: [],
    response_types: [],
    grant_types: [cibaGrant, 'refresh_token'],
    scope,
    id_token_signed_response_alg: 'ES256',
    tls_client_certificate_bound_access_tokens: true,
    backchannel_authentication_request_signing_alg: 'PS256',
    backchannel_token_delivery_mode: mode,
    ...(mode === 'ping' ? { backchannel_client_notification_endpoint: notified } : {}),
    ...(isByCertificate
      ? { token_endpoint_auth_method: 'self_signed_tls_client_auth' }
      : { token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'PS256' }),
    jwks: { keys: [jwk, ...(isByCertificate ? [certificateJwk] : [])] },
  });
  return { id: client_id, key: privateKey, kid: name, certified };
};

/** Somebody's authenticator app: decides on what was asked last. */
const makeDecider = async ({ issuer }: TestServer, { email }: Person) => {
  const { body } = await send(`${issuer}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password }),
  });
  const headers = bearer(body.accessToken);
  return async (verb: 'approve' | 'deny'): Promise<void> => {
    const list = await send(`${issuer}/auth/me/requests?limit=1`, { headers });
    const { id } = list.body.data[0];
    expect((await send(`${issuer}/auth/me/requests/${id}/${verb}`, { method: 'POST', headers })).status).toBe(204);
  };
};

export type Ciba = Awaited<ReturnType<typeof openCiba>>;

export const openCiba = async (server: TestServer, variant: CibaVariant, account: Person) => {
  const receiver: NotificationReceiver = await startNotificationReceiver();
  const client1 = await registerClient(server, variant, 'client1', receiver.uri);
  const client2 = await registerClient(server, variant, 'client2', receiver.uri);
  const { body: metadata } = await send(`${server.issuer}/.well-known/openid-configuration`);
  const { body: jwks } = await send(metadata.jwks_uri);
  const decide = await makeDecider(server, account);
  const isByCertificate = variant.clientAuth === 'mtls';

  const sign = (client: CibaClient, claims: Claims, { claims: changes = {}, header = {}, key }: Signing = {}) =>
    new SignJWT({ ...claims, ...changes })
      .setProtectedHeader({ alg: 'PS256', kid: client.kid, ...header })
      .sign(key ?? client.key);

  const credentialsOf = async (client: CibaClient, aud: string, signing?: Signing): Promise<Form> => {
    if (isByCertificate) return { client_id: client.id };
    const claims = { iss: client.id, sub: client.id, aud, jti: randomUUID() };
    const times = { iat: seconds(0), nbf: seconds(0), exp: seconds(60) };
    const client_assertion = await sign(client, { ...claims, ...times }, signing);
    return { client_assertion, client_assertion_type: assertionType };
  };

  /** As a proxy in front passes a certificate on. */
  const shown = (certified: Certified | null | undefined): Form =>
    certified ? { 'client-cert': `:${certified.certificate.raw.toString('base64')}:` } : {};

  const begin = (changes: Claims = {}): Claims => ({
    scope,
    login_hint: account.email,
    binding_message: '1234',
    // As long as the suite's.
    ...(variant.mode === 'ping' ? { client_notification_token: b64token(28) } : {}),
    ...changes,
  });

  /** Everything that makes a signed request of the parameters (CIBA Core section 7.1.1). */
  const objectOf = (client: CibaClient, parameters: Claims): Claims => ({
    ...parameters,
    ...{ iss: client.id, aud: server.issuer, jti: randomUUID() },
    ...{ iat: seconds(0), nbf: seconds(0), exp: seconds(300) },
  });

  const ask = async (parameters: Claims, asking: Asking = {}): Promise<Reply> => {
    const { client = client1, object, sign: signAs, isUnsigned } = asking;
    const claims = objectOf(client, parameters);
    const request = isUnsigned
      ? (parameters as Form)
      : { request: signAs ? await signAs(claims) : await sign(client, claims, object) };
    const url = `${server.issuer}/oauth/backchannel`;
    const credentials = asking.credentials ?? (await credentialsOf(client, url, asking.assertion));
    const { certified = isByCertificate ? client.certified : null } = asking;
    return post(server, '/oauth/backchannel', { ...request, ...credentials }, shown(certified));
  };

  /** Asks, which must be taken (CIBA Core section 7.3). */
  const start = async (parameters: Claims = begin(), asking: Asking = {}): Promise<Asked> => {
    const { status, headers, body } = await ask(parameters, asking);
    expect([status, body.error]).toEqual([200, undefined]);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    expect(body.auth_req_id).toMatch(/^[\w.-]+$/);
    expectUnguessable(body.auth_req_id);
    expect(entropyBits(body.auth_req_id)).toBeGreaterThan(160);
    for (const member of ['expires_in', 'interval']) expect(body[member]).toBeGreaterThan(0);
    expect(body.expires_in).toBeLessThanOrEqual(Number(parameters.requested_expiry ?? 600));
    return { client: asking.client ?? client1, parameters, authReqId: body.auth_req_id };
  };

  const askToken = async (client: CibaClient, form: Form, how: Authenticating = {}): Promise<Reply> => {
    const { certified = client.certified, assertion } = how;
    const credentials = how.credentials ?? (await credentialsOf(client, `${server.issuer}/oauth/token`, assertion));
    return post(server, '/oauth/token', { ...form, ...credentials }, shown(certified));
  };

  const poll = (asked: Asked, how: Authenticating & { client?: CibaClient } = {}): Promise<Reply> =>
    askToken(how.client ?? asked.client, { grant_type: cibaGrant, auth_req_id: asked.authReqId }, how);

  const refresh = ({ client }: Asked, token: string, form: Form = {}, as = client): Promise<Reply> =>
    askToken(as, { grant_type: 'refresh_token', refresh_token: token, ...form });

  /** As if this time had passed since the last poll. */
  const wait = (passed: number) =>
    server.database.db.raw(`update oidc_payloads set polled_at = polled_at - ? * interval '1 second'`, [passed]);

  /** Nobody has decided, which a client may ask for twice. */
  const expectPending = async (asked: Asked): Promise<void> => {
    expectCibaRefused(await poll(asked), [400], ['authorization_pending']);
    await wait(5);
    expectCibaRefused(await poll(asked), [400], ['authorization_pending']);
  };

  /** The notification of a request (CIBA Core section 10.2). In poll mode there is none. */
  const notified = async ({ authReqId, parameters }: Asked): Promise<void> => {
    if (variant.mode === 'poll') return;
    const own = await vi.waitFor(
      () => {
        const found = receiver.notifications.find(({ body }) => JSON.stringify(body).includes(authReqId));
        if (!found) throw new Error('no notification');
        return found;
      },
      { timeout: 15_000, interval: 20 },
    );
    expect(own).toEqual({
      authorization: `Bearer ${parameters.client_notification_token}`,
      body: { auth_req_id: authReqId },
    });
  };

  const idToken = async ({ client, authReqId }: Pick<Asked, 'client' | 'authReqId'>, tokens: Tokens) => {
    const { payload } = await jwtVerify<JWTPayload & Claims>(tokens.id_token, createLocalJWKSet(jwks), {
      issuer: server.issuer,
      audience: client.id,
      algorithms: algs,
      requiredClaims: ['sub', 'iat', 'exp'],
    });
    expect(decodeProtectedHeader(tokens.id_token).kid).toEqual(expect.any(String));
    const half = createHash('sha256').update(tokens.access_token).digest().subarray(0, 16).toString('base64url');
    expect([undefined, half]).toContain(payload.at_hash);
    expect([undefined, authReqId]).toContain(payload['urn:openid:params:jwt:claim:auth_req_id']);
    for (const foreign of ['nonce', 'c_hash', 's_hash']) expect(payload).not.toHaveProperty(foreign);
    return payload;
  };

  const expectTokens = async (asked: Asked, { status, headers, body }: Reply): Promise<Tokens> => {
    expect([status, body.error]).toEqual([200, undefined]);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    expect([headers.get('cache-control'), body.token_type]).toEqual([expect.stringContaining('no-store'), 'Bearer']);
    expect(Number.isInteger(body.expires_in) && body.expires_in > 0).toBe(true);
    expectUnguessable(body.access_token);
    expectUnguessable(body.refresh_token);
    await idToken(asked, body);
    return body;
  };

  /** The protected resource, which is userinfo. */
  const resource = (token: string, { certified }: CibaClient, headers: Form = {}, path = '/oauth/userinfo') =>
    send(`${server.issuer}${path}`, { headers: { ...bearer(token), ...shown(certified), ...headers } });

  /** FAPI 1.0 Baseline section 6.2.1. The suite's first client names its interaction, the second does not. */
  const expectResource = async ({ client }: Asked, token: string): Promise<void> => {
    const named = client === client1 ? randomUUID() : undefined;
    const auth = { 'x-fapi-auth-date': new Date().toUTCString() };
    const sent: Form = named ? { ...auth, 'x-fapi-interaction-id': named } : {};
    const { status, headers, body } = await resource(token, client, sent);
    expect([status, headers.get('content-type')]).toEqual([200, expect.stringMatching(/^application\/json/)]);
    expect(Number.isNaN(Date.parse(headers.get('date') ?? ''))).toBe(false);
    const interaction = headers.get('x-fapi-interaction-id');
    expect(interaction).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
    if (named) expect(interaction).toBe(named);
    expect(body.sub).toEqual(expect.any(String));
  };

  /** Approves, and fetches the tokens as soon as the mode says so. */
  const approved = async (asked: Asked): Promise<Tokens> => {
    await decide('approve');
    await notified(asked);
    return expectTokens(asked, await poll(asked));
  };

  /** From the request to the tokens. */
  const authenticate = async (parameters?: Claims, asking?: Asking): Promise<{ asked: Asked; tokens: Tokens }> => {
    const asked = await start(parameters, asking);
    await expectPending(asked);
    return { asked, tokens: await approved(asked) };
  };

  return {
    ...{ server, variant, client1, client2, metadata, jwks, receiver, scope },
    ...{
      sign,
      b64token,
      begin,
      ask,
      start,
      poll,
      refresh,
      wait,
      decide,
      notified,
      expectPending,
      expectTokens,
      idToken,
    },
    ...{ resource, expectResource, approved, authenticate },
    /** All of it, to the resource. */
    flow: async (parameters?: Claims, asking?: Asking): Promise<void> => {
      const { asked, tokens } = await authenticate(parameters, asking);
      await expectResource(asked, tokens.access_token);
    },
    stop: () => receiver.stop(),
  };
};
