/** What the modules of the FAPI-CIBA plan do and check, by their names without `fapi-ciba-id1-`. */
import { UnsecuredJWT } from 'jose';
import { expect, vi } from 'vitest';
import { startNotificationReceiver } from '../support/notification-receiver.ts';
import { tampered } from '../support/relying-party.ts';
import { type Asking, type Authenticating, type Ciba, expectCibaRefused } from './fapi-ciba-flow.ts';
import { seconds } from './fapi2-flow.ts';
import { expectGoodTls, type Fapi2Server } from './fapi2-server.ts';

export type CibaTest = (op: Ciba, tls: Fapi2Server['tls']) => Promise<unknown>;

const acr = 'urn:countersign:acr:single-factor';
/** The statuses that go with an error, where the suite leaves the choice of the error to the server. */
const refusals: Record<string, number[]> = {
  authorization_pending: [400],
  invalid_request: [400],
  invalid_grant: [400],
  access_denied: [403],
  invalid_client: [400, 401],
};

const discovery: CibaTest = async ({ server, variant, metadata, jwks }) => {
  const has = (name: string, ...values: string[]) => {
    expect([name, Array.isArray(metadata[name])]).toEqual([name, true]);
    expect([name, values.some((value) => metadata[name].includes(value))]).toEqual([name, true]);
  };
  expect(metadata.issuer).toBe(server.issuer);
  expect(metadata.tls_client_certificate_bound_access_tokens).toBe(true);
  has('id_token_signing_alg_values_supported', 'PS256', 'ES256');
  has('token_endpoint_auth_methods_supported', 'private_key_jwt', 'tls_client_auth');
  has('token_endpoint_auth_signing_alg_values_supported', 'PS256', 'ES256');
  has('backchannel_authentication_request_signing_alg_values_supported', 'PS256', 'ES256');
  has('backchannel_token_delivery_modes_supported', variant.mode);
  has('grant_types_supported', 'urn:openid:params:grant-type:ciba');
  if (variant.clientAuth === 'mtls')
    has('token_endpoint_auth_methods_supported', 'tls_client_auth', 'self_signed_tls_client_auth');
  else has('token_endpoint_auth_methods_supported', 'private_key_jwt');
  expect([undefined, true, false]).toContain(metadata.backchannel_user_code_parameter_supported);
  for (const one of metadata.scopes_supported) expect(one).toMatch(/^[!#-[\]-~]+$/);
  for (const locale of metadata.ui_locales_supported) expect(Intl.getCanonicalLocales(locale)).toEqual([locale]);
  for (const name of ['backchannel_authentication_endpoint', 'token_endpoint', 'jwks_uri'])
    expect([name, new URL(metadata[name]).origin]).toEqual([name, server.issuer]);
  // FAPI 1.0 Baseline section 5.2.2 items 5 and 6.
  expect(new Set(jwks.keys.map(({ kid }: { kid: string }) => kid)).size).toBe(jwks.keys.length);
  for (const key of jwks.keys) {
    expect([key.kid, key.d]).toEqual([expect.any(String), undefined]);
    if (key.kty === 'RSA') expect(Buffer.from(key.n, 'base64url').length).toBeGreaterThanOrEqual(256);
    if (key.kty === 'EC') expect(Buffer.from(key.x, 'base64url').length).toBeGreaterThanOrEqual(20);
  }
};

/** Two clients, which ask differently, and whose tokens are theirs alone. */
const twoClients: CibaTest = async (op, tls) => {
  const { server, client1, client2, variant } = op;
  const first = await op.authenticate(op.begin(), { assertion: { claims: { aud: server.issuer } } });
  await expectGoodTls(tls);
  await op.expectResource(first.asked, first.tokens.access_token);
  const token = first.tokens.access_token;
  // FAPI 1.0 Baseline section 6.2.1 item 4: never in the query.
  const inQuery = await op.resource(token, client1, { authorization: '' }, `/oauth/userinfo?access_token=${token}`);
  expect([400, 401]).toContain(inQuery.status);
  for (const accept of ['application/json;charset=UTF-8', 'application/json, application/*+json, */*']) {
    const headers = { accept, 'accept-charset': 'UTF-8', 'x-fapi-customer-ip-address': '2001:db8::1893:25c8:1946' };
    expect((await op.resource(token, client1, headers)).status).toBe(200);
  }

  expect(op.metadata.acr_values_supported).toContain(acr);
  const long = variant.mode === 'ping' ? { client_notification_token: op.b64token(1024) } : {};
  const second = await op.authenticate(op.begin({ acr_values: acr, requested_expiry: 300, ...long }), {
    client: client2,
    assertion: { claims: { aud: `${server.issuer}/oauth/token` } },
    object: { header: { typ: 'OautH-auThZ-REQ+jWt' } },
  });
  expect((await op.idToken(second.asked, second.tokens)).acr).toBe(acr);
  await op.expectResource(second.asked, second.tokens.access_token);
  // RFC 8705 section 3.
  const foreign = await op.resource(second.tokens.access_token, client1);
  expect(Math.floor(foreign.status / 100)).toBe(4);
  expectCibaRefused(await op.poll(second.asked), [400], ['invalid_grant']);
};

const userRejects: CibaTest = async (op) => {
  const asked = await op.start();
  await op.expectPending(asked);
  await op.decide('deny');
  await op.notified(asked);
  expectCibaRefused(await op.poll(asked), [400], ['access_denied']);
};

const multipleCalls: CibaTest = async (op) => {
  const asked = await op.start();
  await op.expectPending(asked);
  for (let attempt = 0; attempt < 20; attempt++)
    expectCibaRefused(await op.poll(asked), [400], ['authorization_pending', 'slow_down']);
  await op.decide('approve');
  await op.notified(asked);
};

const expires: CibaTest = async (op) => {
  const asked = await op.start(op.begin({ requested_expiry: 10 }));
  await op.expectPending(asked);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 });
  try {
    expectCibaRefused(await op.poll(asked), [400], ['expired_token']);
  } finally {
    vi.useRealTimers();
  }
};

/** Emoji with modifiers, another script, and more than a small screen shows: refused by its own error, or shown whole. */
const potentiallyBadMessage: CibaTest = async (op) => {
  const binding_message = `1234 👍🏿 品川 ${'Would you confirm that this is yours? '.repeat(12)}`.trim();
  expectCibaRefused(await op.ask(op.begin({ binding_message })), [400], ['invalid_binding_message']);
};

/** A request that is refused as invalid (CIBA Core section 13). */
const refusedRequest =
  (asking: (op: Ciba) => Asking, parameters: (op: Ciba) => Record<string, unknown> = (op) => op.begin()): CibaTest =>
  async (op) =>
    expectCibaRefused(await op.ask(parameters(op), asking(op)), [400], ['invalid_request']);
const refusedObject = (claims: (op: Ciba) => Record<string, unknown>): CibaTest =>
  refusedRequest((op) => ({ object: { claims: claims(op) } }));

/** A request whose client is refused under one of the names that the suite takes. */
const refusedClient =
  (asking: (op: Ciba) => Asking): CibaTest =>
  async (op) => {
    const reply = await op.ask(op.begin(), asking(op));
    expectCibaRefused(reply, refusals[reply.body.error] ?? [], ['access_denied', 'invalid_request', 'invalid_client']);
  };

/** A token request that is refused, before anybody has decided. */
const refusedPoll =
  (how: (op: Ciba) => Authenticating & { client?: Ciba['client1'] }, ...codes: string[]): CibaTest =>
  async (op) => {
    const reply = await op.poll(await op.start(), how(op));
    expectCibaRefused(reply, refusals[reply.body.error] ?? [], codes);
  };

/** What has become of the latest notification's job, once it has been tried. */
const lastPing = ({ server }: Ciba): Promise<string> =>
  vi.waitFor(
    async () => {
      const { rows } = (await server.database.db.raw(
        `select state::text as state from pgboss.job where name = 'ciba-ping' order by created_on desc limit 1`,
      )) as { rows: { state: string }[] };
      const state = rows[0]?.state ?? '';
      if (['created', 'active', ''].includes(state)) throw new Error(`it is ${state}`);
      return state;
    },
    { timeout: 15_000, interval: 50 },
  );

/** The notification endpoint answers so, and the flow ends as ever. */
const pingAnswered =
  (answer: Ciba['receiver']['answers'][number], isTold?: (op: Ciba) => Promise<unknown>): CibaTest =>
  async (op) => {
    const asked = await op.start();
    await op.expectPending(asked);
    op.receiver.answers.push(answer);
    await op.decide('approve');
    await op.notified(asked);
    await isTold?.(op);
    const tokens = await op.expectTokens(asked, await op.poll(asked));
    await op.expectResource(asked, tokens.access_token);
  };

const doesNotRetry = async (op: Ciba): Promise<void> => {
  expect(await lastPing(op)).toBe('completed');
  const { notifications } = op.receiver;
  const ids = notifications.map(({ body }) => (body as { auth_req_id: string }).auth_req_id);
  expect(ids.filter((id) => id === ids.at(-1)).length).toBe(1);
};

const redirected: CibaTest = async (op, tls) => {
  const target = await startNotificationReceiver();
  try {
    // By the time that the job has failed, whatever followed the redirect would have arrived.
    await pingAnswered({ status: 301, location: target.uri }, lastPing)(op, tls);
    expect(target.notifications).toEqual([]);
  } finally {
    await target.stop();
  }
};

const refreshTokens: CibaTest = async (op) => {
  const { client1, client2 } = op;
  expect(op.metadata.grant_types_supported).toContain('refresh_token');
  let last = '';
  for (const client of [client1, client2]) {
    // The first asks with the scope that it had, the second with none (RFC 6749 section 6).
    const isFirst = client === client1;
    const aud = isFirst ? op.server.issuer : `${op.server.issuer}/oauth/token`;
    const { asked, tokens } = await op.authenticate(op.begin(), { client, assertion: { claims: { aud } } });
    const before = await op.idToken(asked, tokens);
    // `iat` is in whole seconds, and must be that of the new id_token.
    await vi.waitUntil(() => seconds(0) > Number(before.iat), { timeout: 20_000, interval: 20 });
    const reply = await op.refresh(asked, tokens.refresh_token, isFirst ? { scope: op.scope } : {});
    const refreshed = await op.expectTokens(asked, reply);
    expect(refreshed.refresh_token).toMatch(/^[\x20-\x7e]+$/);
    const after = await op.idToken(asked, refreshed);
    // OpenID Connect Core section 12.2.
    for (const claim of ['iss', 'sub', 'aud', 'auth_time', 'azp']) expect(after[claim]).toEqual(before[claim]);
    expect(after.iat).not.toBe(before.iat);
    await op.expectResource(asked, refreshed.access_token);
    last = refreshed.refresh_token;
    if (!isFirst)
      expectCibaRefused(await op.refresh(asked, last, { scope: op.scope }, client1), [400], ['invalid_grant']);
  }
};

const holderOfKey: CibaTest = async (op, tls) => {
  await expectGoodTls(tls);
  const codes =
    op.variant.clientAuth === 'mtls'
      ? ['invalid_client', 'invalid_request']
      : ['invalid_client', 'invalid_request', 'invalid_grant'];
  await refusedPoll(() => ({ certified: null }), ...codes)(op, tls);
};

export const cibaModules: Record<string, CibaTest> = {
  'discovery-end-point-verification': discovery,
  '': twoClients,
  'user-rejects-authentication': userRejects,
  'multiple-call-to-token-endpoint': multipleCalls,
  'auth-req-id-expired': expires,
  'ensure-authorization-request-with-binding-message-succeeds': (op) => op.flow(op.begin({ binding_message: '1234' })),
  'ensure-other-scope-order-succeeds': (op) => op.flow(op.begin({ scope: op.scope.split(' ').reverse().join(' ') })),
  'ensure-requested-expiry-as-string-succeeds': (op) => op.flow(op.begin({ requested_expiry: '30' })),
  'ensure-authorization-request-with-potentially-bad-binding-message': potentiallyBadMessage,

  'ensure-request-object-missing-aud-fails': refusedObject(() => ({ aud: undefined })),
  'ensure-request-object-bad-aud-fails': refusedObject(() => ({ aud: 'https://other.example.com/' })),
  'ensure-request-object-missing-iss-fails': refusedObject(() => ({ iss: undefined })),
  'ensure-request-object-bad-iss-fails': refusedObject(({ client2 }) => ({ iss: client2.id })),
  'ensure-request-object-missing-exp-fails': refusedObject(() => ({ exp: undefined })),
  'ensure-request-object-expired-exp-fails': refusedObject(() => ({ exp: seconds(-3600) })),
  'ensure-request-object-exp-is-70-minutes-in-future-fails': refusedObject(() => ({ exp: seconds(70 * 60) })),
  'ensure-request-object-missing-iat-fails': refusedObject(() => ({ iat: undefined })),
  'ensure-request-object-missing-nbf-fails': refusedObject(() => ({ nbf: undefined })),
  'ensure-request-object-nbf-is-10-minutes-in-future-fails': refusedObject(() => ({ nbf: seconds(10 * 60) })),
  'ensure-request-object-nbf-is-70-minutes-in-past-fails': refusedObject(() => ({ nbf: seconds(-70 * 60) })),
  'ensure-request-object-missing-jti-fails': refusedObject(() => ({ jti: undefined })),
  'ensure-request-object-signature-algorithm-is-none-fails': refusedRequest(() => ({
    sign: (claims) => new UnsecuredJWT(claims).encode(),
  })),
  'ensure-request-object-signature-algorithm-is-bad-fails': refusedRequest(({ sign, client1 }) => ({
    sign: async (claims) => tampered(await sign(client1, claims)),
  })),
  'ensure-request-object-signature-algorithm-is-RS256-fails': refusedRequest(() => ({
    object: { header: { alg: 'RS256' } },
  })),
  'ensure-request-object-signed-by-other-client-fails': refusedRequest(({ client2 }) => ({
    object: { key: client2.key, header: { kid: client2.kid } },
  })),
  'ensure-authorization-request-with-multiple-hints-fails': refusedRequest(
    () => ({}),
    (op) => op.begin({ login_hint: 'join@example.com', login_hint_token: 'x'.repeat(20), binding_message: undefined }),
  ),
  'ensure-wrong-auth-req-id-in-token-endpoint-request': refusedPoll(
    ({ client2 }) => ({ client: client2 }),
    'invalid_grant',
  ),

  // Another client_id than the certificate's, with the request object of the certificate's client.
  'ensure-different-client-id-and-issuer-in-backchannel-authorization-request': async (op) => {
    const reply = await op.ask(op.begin(), { credentials: { client_id: op.client2.id } });
    expectCibaRefused(reply, [401], ['invalid_client']);
  },
  'ensure-wrong-client-id-in-token-endpoint-request': refusedPoll(
    ({ client2 }) => ({ credentials: { client_id: client2.id } }),
    'invalid_client',
  ),
  // The other client's in all but keys and certificate.
  'ensure-wrong-client-id-in-backchannel-authorization-request': refusedClient(({ client1, client2 }) => ({
    client: { ...client1, id: client2.id },
  })),

  'ensure-without-client-assertion-in-token-endpoint-request': refusedPoll(
    ({ client1 }) => ({ credentials: { client_id: client1.id } }),
    'invalid_client',
    'invalid_request',
  ),
  'ensure-without-client-assertion-in-backchannel-authorization-request': refusedClient(({ client1 }) => ({
    credentials: { client_id: client1.id },
  })),
  'ensure-client-assertion-signature-algorithm-in-backchannel-authorization-request-is-RS256-fails': refusedClient(
    () => ({ assertion: { header: { alg: 'RS256' } } }),
  ),
  'ensure-client-assertion-signature-algorithm-in-token-endpoint-request-is-RS256-fails': refusedPoll(
    () => ({ assertion: { header: { alg: 'RS256' } } }),
    'invalid_client',
  ),
  'ensure-client-assertion-with-iss-aud-to-token-endpoint-succeeds': refusedPoll(
    ({ server }) => ({ assertion: { claims: { aud: server.issuer } } }),
    'authorization_pending',
  ),

  'ping-backchannel-notification-endpoint-response-has-body': pingAnswered({ status: 200, body: 'Thank you.' }),
  'ping-backchannel-notification-endpoint-response-401': pingAnswered({ status: 401 }),
  'ping-backchannel-notification-endpoint-response-403': pingAnswered({ status: 403 }),
  'ping-with-mtls-ciba-notification-endpoint-response-401-and-require-server-does-not-retry': pingAnswered(
    { status: 401 },
    doesNotRetry,
  ),
  'ping-backchannel-notification-endpoint-return-redirect-request': redirected,

  'ensure-unsigned-backchannel-authorization-request-fails': refusedRequest(() => ({ isUnsigned: true })),
  'refresh-token': refreshTokens,
  'ensure-mtls-holder-of-key-required': holderOfKey,
};
