/**
 * The OpenID Foundation's Dynamic OP plan, one test for each of its modules and named as the module. Its clients register
 * themselves for `private_key_jwt` with keys for RS256, and delete themselves when the module is done.
 */
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import { afterAll, beforeAll, expect } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { makeCertificate } from '../support/certificates.ts';
import { bearer, expectErrorPage, redirectUri, send } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { verifyDiscovery, verifyKeys } from './discovery-checks.ts';
import { planTests } from './module-test.ts';
import { later, oidccModules } from './oidcc-modules.ts';
import { initialAccessToken, newAccount, registerDynamic } from './oidcc-plans.ts';
import {
  expectRefused,
  follow,
  fresh,
  metadataOf,
  openSuite,
  type Player,
  refresh,
  requestOf,
  run,
  type Suite,
  take,
  type Variant,
  visit,
} from './suite-client.ts';

let server: TestServer;
let suite: Suite;
/** What the suite's own web server serves, by path. */
const documents = new Map<string, unknown>();
let site: Server;
let origin: string;
let trusted: string[];
beforeAll(async () => {
  // The suite's condition on new keys knows RSA and elliptic curves alone.
  server = await startServer({ DYNAMIC_REGISTRATION: 'open', SIGNING_ALGS: 'RS256,PS256,ES256' });
  const { cert, key } = makeCertificate({
    subject: [['CN', 'localhost']],
    alternatives: [['dns', 'localhost']],
    authority: true,
    purpose: 'server',
  });
  trusted = getCACertificates('default');
  setDefaultCACertificates([...trusted, cert]);
  site = createServer({ cert, key }, (request, response) => {
    const document = documents.get(request.url ?? '');
    response.writeHead(document ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(document));
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  origin = `https://localhost:${(site.address() as AddressInfo).port}`;
  const variant: Variant = {
    responseType: 'code',
    register: registerDynamic(server, await initialAccessToken(server)),
  };
  suite = await openSuite(server, variant, await newAccount(server), () => register(variant));
});
afterAll(async () => {
  site.close();
  setDefaultCACertificates(trusted);
  await server.stop();
});

const newKey = async (kid?: string) => {
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const jwk = { ...(await exportJWK(publicKey)), alg: 'RS256', use: 'sig', ...(kid ? { kid } : {}) };
  return { privateKey, jwk, ...(kid ? { kid } : {}) };
};

/** As the plan registers: the key by value and without an id, one redirect URI, no refresh tokens. */
const register = async (variant: Variant, metadata: Record<string, unknown> = {}): Promise<Player> => {
  const key = await newKey();
  const registered = await variant.register({
    ...metadataOf(variant),
    redirect_uris: [redirectUri],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [key.jwk] },
    ...metadata,
  });
  expect(registered.token_endpoint_auth_method).toBe('private_key_jwt');
  expect(registered.client_secret).toBeUndefined();
  return { metadata: registered, key };
};

/** What the plan does after each module (RFC 7592 section 2.3). */
const unregister = async ({ metadata }: Player): Promise<void> => {
  const { registration_client_uri: url, registration_access_token: token } = metadata as Record<string, string>;
  const { status } = await send(url ?? '', { method: 'DELETE', headers: bearer(token ?? '') });
  expect(status).toBe(204);
};

/** Runs with a client that was registered with the metadata, and is no more afterwards. */
const withClient = async (
  metadata: Record<string, unknown>,
  then: (suite: Suite) => Promise<unknown>,
): Promise<void> => {
  const client = await register(suite.variant, metadata);
  await then({ ...suite, client });
  await unregister(client);
};

/** The answer to a registration that must be refused. */
const expectNotRegistered = async (metadata: Record<string, unknown>, error: string): Promise<void> => {
  await expect(register(suite.variant, metadata)).rejects.toThrow(`400 ${error}`);
};

/** A redirect URI that is not the registered one, letter by letter, ends on a page of the server. */
const expectNotRedirected = async (suite: Suite, redirect_uri: string | undefined): Promise<void> => {
  const { page } = await visit(suite, suite.known, requestOf(suite, { redirect_uri }));
  const code = redirect_uri === undefined ? 'invalid_request' : 'invalid_redirect_uri';
  expectErrorPage(page, server.issuer, [400, code]);
};

/** Somebody who signs in is shown a link before anything is given. */
const expectLink = (member: 'policy_uri' | 'tos_uri') => {
  const uri = `https://app.example.com/${member}`;
  return withClient({ [member]: uri }, async (suite) => {
    const { browser, email } = fresh(suite);
    const { page } = await visit(suite, { browser, email }, requestOf(suite));
    const next = await browser.submit(page, { email, password: 'correct horse battery staple' });
    expect(next.url.pathname).toMatch(/^\/interaction\//);
    const link = new RegExp(`<a [^>]*href="${uri}"[^>]*>`).exec(next.html)?.[0];
    expect(link).toMatch(/rel="[^"]*noopener/);
  });
};

const byReference = async (request_object_signing_alg?: string) => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  expect(body.request_uri_parameter_supported).toBe(false);
  expect(body.request_object_signing_alg_values_supported).toContain('RS256');
  const request_uri = `${origin}/request.jwt#${'a'.repeat(43)}`;
  await withClient({ request_uris: [request_uri], request_object_signing_alg }, async (suite) => {
    expect(suite.client.metadata).not.toHaveProperty('request_uris');
    const outcome = await follow(suite, suite.known, requestOf(suite, { request_uri }));
    expectRefused(suite, outcome, ['request_uri_not_supported']);
  });
};

const signingModules = {
  'oidcc-idtoken-rs256': () =>
    withClient({ id_token_signed_response_alg: 'RS256' }, async (suite) => {
      expect(suite.client.metadata.id_token_signed_response_alg).toBe('RS256');
      await oidccModules['oidcc-idtoken-signature'](suite);
    }),
  'oidcc-idtoken-unsigned': () => oidccModules['oidcc-idtoken-unsigned'](suite),
  'oidcc-userinfo-rs256': async () => {
    const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
    expect(body.userinfo_signing_alg_values_supported).toContain('RS256');
    await withClient({ userinfo_signed_response_alg: 'RS256' }, async (suite) => {
      const { tokens, claims } = await run(suite, suite.known, { scope: 'openid profile' });
      const answer = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(tokens.access_token) });
      expect([answer.status, answer.headers.get('content-type')]).toEqual([
        200,
        expect.stringMatching(/^application\/jwt/),
      ]);
      const { payload, protectedHeader } = await jwtVerify(answer.body, createLocalJWKSet(suite.keys), {
        issuer: server.issuer,
        audience: suite.client.metadata.client_id,
      });
      expect(protectedHeader.alg).toBe('RS256');
      expect(payload).toMatchObject({ sub: claims.sub, name: 'Jane Doe', updated_at: expect.any(Number) });
      expect(payload).not.toHaveProperty('nonce');
    });
  },
  'oidcc-server-rotate-keys': async () => {
    const before = await verifyKeys(server.address);
    await rotateKeys(server.database.db, server.app.secrets, operator);
    await server.app.provider.reload();
    const after = await verifyKeys(server.address);
    const values = (keys: typeof before) => keys.map(({ kid, n, x }) => ({ kid, value: n ?? x }));
    const fresh = values(after).filter(({ kid }) => !before.some((key) => key.kid === kid));
    expect(fresh).not.toEqual([]);
    for (const { value } of fresh) expect(values(before).map((key) => key.value)).not.toContain(value);
    for (const key of before) expect(after).toContainEqual(key);
    suite.keys = { keys: after };
    await withClient({}, (suite) => run(suite, suite.known));
  },
};

const redirectModules = {
  'oidcc-ensure-redirect-uri-in-authorization-request': () =>
    withClient({ redirect_uris: [redirectUri, 'https://example.org/redirect'] }, (suite) =>
      expectNotRedirected(suite, undefined),
    ),
  'oidcc-redirect-uri-query-OK': () =>
    withClient({ redirect_uris: [`${redirectUri}?bar=foo`] }, async (suite) => {
      const { outcome } = await run(suite, suite.known);
      expect(outcome.target?.searchParams.get('bar')).toBe('foo');
    }),
  'oidcc-redirect-uri-query-mismatch': () =>
    withClient({ redirect_uris: [`${redirectUri}?bar=foo`] }, (suite) =>
      expectNotRedirected(suite, `${redirectUri}?foo=bar`),
    ),
  'oidcc-redirect-uri-query-added': () =>
    withClient({}, (suite) => expectNotRedirected(suite, `${redirectUri}?foo=bar`)),
  'oidcc-redirect-uri-regfrag': () =>
    expectNotRegistered({ redirect_uris: [`${redirectUri}#foobar`] }, 'invalid_redirect_uri'),
};

const registrationModules = {
  'oidcc-server': () => withClient({}, oidccModules['oidcc-server']),
  'oidcc-registration-logo-uri': () =>
    withClient({ logo_uri: 'https://app.example.com/logo.png' }, async (suite) => {
      expect(suite.client.metadata.logo_uri).toBe('https://app.example.com/logo.png');
      const { page } = await visit(suite, fresh(suite), requestOf(suite));
      expect(page.html).toContain('Conformance suite');
      expect(page.html).not.toMatch(/<img [^>]*src="https?:/);
    }),
  'oidcc-registration-policy-uri': () => expectLink('policy_uri'),
  'oidcc-registration-tos-uri': () => expectLink('tos_uri'),
  'oidcc-registration-jwks-uri': async () => {
    const key = await newKey('one');
    documents.set('/jwks', { keys: [key.jwk] });
    await withClient({ jwks: undefined, jwks_uri: `${origin}/jwks` }, (suite) =>
      run({ ...suite, client: { ...suite.client, key } }, suite.known),
    );
  },
  'oidcc-registration-sector-uri': async () => {
    documents.set('/sector', [redirectUri]);
    await withClient({ subject_type: 'pairwise', sector_identifier_uri: `${origin}/sector` }, async (suite) => {
      const { claims } = await run(suite, suite.known);
      expect(claims.sub).not.toBe((await run({ ...suite, client: suite.client2 }, suite.known)).claims.sub);
    });
  },
  'oidcc-registration-sector-bad': async () => {
    documents.set('/bad-sector', ['https://example.com/op']);
    const metadata = { subject_type: 'pairwise', sector_identifier_uri: `${origin}/bad-sector` };
    await expectNotRegistered(metadata, 'invalid_client_metadata');
  },
  'oidcc-refresh-token-rp-key-rotation': async () => {
    const [before, after] = [await newKey('before'), await newKey('after')];
    documents.set('/rotated', { keys: [before.jwk] });
    await withClient({ jwks: undefined, jwks_uri: `${origin}/rotated` }, async (suite) => {
      const client = { ...suite.client, key: before };
      const asked = { scope: 'openid offline_access', prompt: 'consent' };
      const { tokens, claims } = await run({ ...suite, client }, suite.known, asked);
      documents.set('/rotated', { keys: [after.jwk] });
      await later(61_000, async () => {
        const next = await refresh(suite, { ...client, key: after }, { refresh_token: tokens.refresh_token });
        expect(next.access_token).not.toBe(tokens.access_token);
        const old = refresh(suite, client, { refresh_token: next.refresh_token });
        await expect(old).rejects.toThrow(/invalid_client/);
        expect(claims.sub).toMatch(/./);
      });
    });
  },
};

const requestModules = {
  'oidcc-request-uri-unsigned': () => byReference(),
  'oidcc-request-uri-signed-rs256': () => byReference('RS256'),
  'oidcc-ensure-request-object-with-redirect-uri': () =>
    withClient({}, oidccModules['oidcc-ensure-request-object-with-redirect-uri']),
  'oidcc-refresh-token': () => oidccModules['oidcc-refresh-token'](suite),
  'oidcc-ensure-client-assertion-with-iss-aud-succeeds': () =>
    withClient({}, async (suite) => {
      const outcome = await follow(suite, suite.known, requestOf(suite));
      await take(suite, outcome, { audience: server.issuer });
    }),
};

planTests(
  'oidcc-dynamic-certification-test-plan',
  'code, private_key_jwt, SIGNING_ALGS=RS256,PS256,ES256',
  (moduleTest) => {
    const all = { ...signingModules, ...redirectModules, ...registrationModules, ...requestModules };
    for (const [module, test] of Object.entries(all)) moduleTest(module as keyof typeof all, test);
    moduleTest('oidcc-discovery-endpoint-verification', async () => {
      const { response_types_supported: types = [] } = await verifyDiscovery(server, { dynamic: true });
      expect(types).toEqual(expect.arrayContaining(['code', 'id_token']));
      expect(types).not.toContain('id_token token');
    });
  },
);
