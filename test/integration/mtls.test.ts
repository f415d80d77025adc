/** Mutual TLS (RFC 8705): certificates shown to us, and to a proxy that passes them on. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { decodeJwt, exportJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { close, listen } from '../../src/http/server.ts';
import { createLog } from '../../src/log.ts';
import { serve } from '../../src/main.ts';
import { type Certified, makeCertificate } from '../support/certificates.ts';
import { makeProver } from '../support/dpop.ts';
import { basic, bearer, type Reply, send } from '../support/relying-party.ts';
import { defaultSettings, freePort, startServer, type TestServer } from '../support/server.ts';
import { sendTls } from '../support/tls.ts';
import { openApplication } from '../support/tokens.ts';

const authority = makeCertificate({
  subject: [
    ['O', 'Acme'],
    ['CN', 'Acme CA'],
  ],
  authority: true,
});
const subject = [
  ['C', 'DE'],
  ['O', 'Acme'],
  ['CN', 'app'],
] as const;
const app = makeCertificate({
  subject,
  issuer: authority,
  purpose: 'client',
  alternatives: [
    ['dns', 'app.example.com'],
    ['uri', 'https://app.example.com/'],
    ['ip', '192.0.2.1'],
    ['email', 'app@example.com'],
  ],
});
const other = makeCertificate({ subject: [['CN', 'other']], issuer: authority, purpose: 'client' });
const own = makeCertificate({ subject: [['CN', 'self']] });

/** A way in which certificates reach the service. */
interface Way {
  server: TestServer;
  /** Where they do. */
  origin: string;
  ask(
    certified: Certified | undefined,
    path: string,
    init?: { body?: string; headers?: Record<string, string>; method?: string },
  ): Promise<Reply>;
}

let directory: string;
let direct: Way & { stop(): Promise<void> };
let proxied: Way;

const files = async () => {
  const [cert, key, ca] = ['server.pem', 'server.key', 'ca.pem'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const site = makeCertificate({
    subject: [['CN', 'localhost']],
    issuer: authority,
    purpose: 'server',
    alternatives: [
      ['dns', 'localhost'],
      ['ip', '127.0.0.1'],
    ],
  });
  await writeFile(cert, site.cert);
  await writeFile(key, site.key);
  await writeFile(ca, `The authority of our clients\n${authority.cert}`);
  return { TLS_CERT_PATH: cert, TLS_KEY_PATH: key, TLS_CLIENT_CA_PATH: ca };
};

const openDirect = async (): Promise<typeof direct> => {
  const [port, mtlsPort] = [await freePort(), await freePort()];
  const settings = { ...(await files()), JWT_ISSUER: `https://localhost:${port}`, MTLS_PORT: String(mtlsPort) };
  const server = await startServer(settings);
  const { TLS_CERT_PATH: certPath, TLS_KEY_PATH: keyPath } = settings;
  const log = createLog('silent');
  const listener = await listen(server.app.koa.callback(), mtlsPort, '127.0.0.1', {
    certPath,
    keyPath,
    asksCertificate: true,
    log,
  });
  const origin = `https://localhost:${mtlsPort}`;
  return {
    server,
    origin,
    ask: (certified, path, { body, headers = {}, method = body === undefined ? 'GET' : 'POST' } = {}) =>
      sendTls(`${origin}${path}`, { method, headers, authority, certified, ...(body === undefined ? {} : { body }) }),
    stop: async () => {
      await close(listener.server);
      await server.stop();
    },
  };
};

const openProxied = async (settings: Record<string, string> = {}): Promise<Way> => {
  const server = await startServer({
    TLS_CLIENT_CA_PATH: join(directory, 'ca.pem'),
    MTLS_PROXY_HEADER: 'Client-Cert',
    TRUST_PROXY: '1',
    TRUST_PROXY_ADDRESSES: '127.0.0.1,::1',
    ...settings,
  });
  return {
    server,
    origin: server.issuer,
    ask: (certified, path, { body, headers = {}, method = body === undefined ? 'GET' : 'POST' } = {}) =>
      send(`${server.issuer}${path}`, {
        method,
        headers: {
          ...headers,
          ...(certified ? { 'client-cert': `:${certified.certificate.raw.toString('base64')}:` } : {}),
        },
        ...(body === undefined ? {} : { body }),
      }),
  };
};

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-mtls-'));
  direct = await openDirect();
  proxied = await openProxied();
});
afterAll(async () => {
  await direct.stop();
  await proxied.server.stop();
  await rm(directory, { recursive: true, force: true });
});

const form = { 'content-type': 'application/x-www-form-urlencoded' };
const machine = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] };

const tokenOf = (
  way: Way,
  certified: Certified | undefined,
  fields: Record<string, string>,
  headers: Record<string, string> = {},
) =>
  way.ask(certified, '/oauth/token', {
    body: new URLSearchParams({ grant_type: 'client_credentials', ...fields }).toString(),
    headers: { ...form, ...headers },
  });
const outcome = ({ status, body }: Reply) => (status === 200 ? 200 : `${status} ${body.error ?? body.code}`);

const jwksOf = async (...certified: Certified[]) => ({
  keys: await Promise.all(
    certified.map(async ({ certificate }) => ({
      ...(await exportJWK(certificate.publicKey)),
      x5c: [certificate.raw.toString('base64')],
    })),
  ),
});

for (const [name, way] of [
  ['with TLS terminated here', () => direct],
  ['behind a proxy', () => proxied],
] as const) {
  describe(name, () => {
    describe('tls_client_auth (section 2.1)', () => {
      const register = async (member: string, value: string) =>
        (await way().server.client({ ...machine, token_endpoint_auth_method: 'tls_client_auth', [member]: value }))
          .client_id;

      for (const [member, right, wrong] of [
        ['tls_client_auth_subject_dn', 'CN=app,O=Acme,C=DE', 'CN=app,O=Acme'],
        ['tls_client_auth_san_dns', 'app.example.com', 'example.com'],
        ['tls_client_auth_san_uri', 'https://app.example.com/', 'https://app.example.com'],
        ['tls_client_auth_san_ip', '192.0.2.1', '192.0.2.2'],
        ['tls_client_auth_san_email', 'app@example.com', 'ap@example.com'],
      ] as const)
        it(`by ${member}`, async () => {
          const [good, bad] = [await register(member, right), await register(member, wrong)];
          expect(outcome(await tokenOf(way(), app, { client_id: good }))).toBe(200);
          expect(outcome(await tokenOf(way(), other, { client_id: good }))).toBe('401 invalid_client');
          expect(outcome(await tokenOf(way(), app, { client_id: bad }))).toBe('401 invalid_client');
        });

      const stranger = makeCertificate({
        subject: [
          ['O', 'Acme'],
          ['CN', 'Acme CA'],
        ],
        authority: true,
      });
      const middle = makeCertificate({ subject: [['CN', 'Middle']], issuer: authority, authority: true });
      for (const [what, certified] of [
        ['none', undefined],
        ['one that it has issued itself', makeCertificate({ subject })],
        ['one of another authority of the same name', makeCertificate({ subject, issuer: stranger })],
        ['one of somebody whom the authority has certified', makeCertificate({ subject, issuer: other })],
        ['one of an authority that is not listed', makeCertificate({ subject, issuer: middle })],
        ['one that has expired', makeCertificate({ subject, issuer: authority, from: -48, until: -24 })],
        ['one that is not valid yet', makeCertificate({ subject, issuer: authority, from: 24, until: 48 })],
        ['a server’s', makeCertificate({ subject, issuer: authority, purpose: 'server' })],
      ] as const)
        it(`not with ${what}`, async () => {
          const client_id = await register('tls_client_auth_subject_dn', 'CN=app,O=Acme,C=DE');
          expect(outcome(await tokenOf(way(), certified, { client_id }))).toBe('401 invalid_client');
        });

      it('not by name alone, whatever else is sent', async () => {
        const client_id = await register('tls_client_auth_subject_dn', 'CN=app,O=Acme,C=DE');
        expect(outcome(await tokenOf(way(), app, { client_id, client_secret: 'x' }))).toBe('401 invalid_client');
        expect(outcome(await tokenOf(way(), app, {}))).toBe('400 invalid_request');
      });
    });

    it('self_signed_tls_client_auth (section 2.2) with a certificate that the client has registered', async () => {
      const metadata = {
        ...machine,
        token_endpoint_auth_method: 'self_signed_tls_client_auth',
        jwks: await jwksOf(own),
      };
      const { client_id } = await way().server.client(metadata);
      expect(outcome(await tokenOf(way(), own, { client_id }))).toBe(200);
      const sameKey = makeCertificate({ subject: [['CN', 'self']], keyOf: own });
      for (const certified of [undefined, app, makeCertificate({ subject: [['CN', 'self']] }), sameKey])
        expect(outcome(await tokenOf(way(), certified, { client_id }))).toBe('401 invalid_client');
      const old = makeCertificate({ from: -48, until: -24 });
      const expired = await way().server.client({ ...metadata, jwks: await jwksOf(old) });
      expect(outcome(await tokenOf(way(), old, { client_id: expired.client_id }))).toBe('401 invalid_client');
    });

    describe('tokens bound to a certificate (section 3)', () => {
      it('say so, and are worth nothing to anybody else', async () => {
        const client = await way().server.client({ ...machine, tls_client_certificate_bound_access_tokens: true });
        expect(outcome(await tokenOf(way(), undefined, {}, basic(client)))).toBe('400 invalid_grant');
        // Any certificate will do for this (section 3.1): the secret says who the client is.
        const { body } = await tokenOf(way(), own, {}, basic(client));
        const thumbprint = Buffer.from(own.certificate.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
        expect([body.token_type, decodeJwt(body.access_token).cnf]).toEqual(['Bearer', { 'x5t#S256': thumbprint }]);

        const introspected = await way().ask(undefined, '/oauth/introspect', {
          body: new URLSearchParams({ token: body.access_token }).toString(),
          headers: { ...form, ...basic(client) },
        });
        expect(introspected.body).toMatchObject({ active: true, cnf: { 'x5t#S256': thumbprint } });

        const me = (certified?: Certified) => way().ask(certified, '/auth/me', { headers: bearer(body.access_token) });
        expect((await me(own)).body.id).toBe(client.client_id);
        expect(outcome(await me())).toBe('401 invalid_token');
        expect(outcome(await me(app))).toBe('401 invalid_token');
        // Nor where no certificates are asked for.
        expect((await send(`${way().server.address}/auth/me`, { headers: bearer(body.access_token) })).status).toBe(
          401,
        );
      });

      it('are refreshed by a public client with the same certificate alone, and userinfo asks for it', async () => {
        const application = await openApplication(way().server, {
          token_endpoint_auth_method: 'none',
          first_party: true,
          tls_client_certificate_bound_access_tokens: true,
          scope: 'openid email offline_access',
        });
        const { client_id } = application.client;
        const code = await application.code({ scope: 'openid email offline_access', prompt: 'consent' });
        const grant = { client_id, grant_type: 'authorization_code', ...code };
        const { body: tokens } = await tokenOf(way(), own, grant);
        const userinfo = async (certified?: Certified) =>
          (await way().ask(certified, '/oauth/userinfo', { headers: bearer(tokens.access_token) })).status;
        expect([await userinfo(own), await userinfo(app), await userinfo()]).toEqual([200, 401, 401]);
        const again = { client_id, grant_type: 'refresh_token', refresh_token: tokens.refresh_token };
        for (const certified of [undefined, app])
          expect(outcome(await tokenOf(way(), certified, again))).toBe('400 invalid_grant');
        expect(outcome(await tokenOf(way(), own, again))).toBe(200);
      });

      it('are not bound to a key as well', async () => {
        const client = await way().server.client({ ...machine, tls_client_certificate_bound_access_tokens: true });
        const dpop = await (await makeProver()).proof({ url: `${way().origin}/oauth/token` });
        expect(outcome(await tokenOf(way(), own, {}, { ...basic(client), dpop }))).toBe('400 invalid_request');
      });
    });

    it('discovery says so', async () => {
      const { body } = await send(`${way().server.address}/.well-known/openid-configuration`);
      for (const endpoint of ['token', 'introspection', 'revocation'])
        expect(body[`${endpoint}_endpoint_auth_methods_supported`]).toEqual(
          expect.arrayContaining(['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth']),
        );
      expect(body.tls_client_certificate_bound_access_tokens).toBe(true);
      if (way() === proxied) expect(body).not.toHaveProperty('mtls_endpoint_aliases');
      else
        expect(body.mtls_endpoint_aliases).toMatchObject({
          token_endpoint: `${direct.origin}/oauth/token`,
          introspection_endpoint: `${direct.origin}/oauth/introspect`,
          userinfo_endpoint: `${direct.origin}/oauth/userinfo`,
        });
    });
  });
}

describe('the origin where certificates are asked for', () => {
  it('has the endpoints that take them and our API, and no pages', async () => {
    for (const path of [
      '/',
      '/account',
      '/oauth/authorize',
      '/.well-known/openid-configuration',
      '/.well-known/jwks.json',
    ])
      expect([path, (await direct.ask(undefined, path)).status]).toEqual([path, 404]);
    expect((await direct.ask(undefined, '/auth/me')).status).toBe(401);
  });

  it('is what a DPoP proof and an assertion for it name', async () => {
    const client = await direct.server.client(machine);
    const prover = await makeProver();
    for (const [origin, expected] of [
      [direct.origin, 200],
      [direct.server.issuer, '400 invalid_dpop_proof'],
    ]) {
      const dpop = await prover.proof({ url: `${origin}/oauth/token` });
      expect(outcome(await tokenOf(direct, undefined, {}, { ...basic(client), dpop }))).toBe(expected);
    }
    const dpop = await prover.proof({ url: `${direct.origin}/oauth/token` });
    const { access_token: token } = (await tokenOf(direct, undefined, {}, { ...basic(client), dpop })).body;
    const proof = await prover.proof({ method: 'GET', url: `${direct.origin}/auth/me`, token });
    const me = await direct.ask(undefined, '/auth/me', { headers: { authorization: `DPoP ${token}`, dpop: proof } });
    expect(me.status).toBe(200);
  });

  it('sends people to the issuer’s own page', async () => {
    const grant_type = 'urn:ietf:params:oauth:grant-type:device_code';
    const client = await direct.server.client({ ...machine, grant_types: [grant_type], scope: 'openid' });
    const { body } = await direct.ask(undefined, '/oauth/device', {
      body: 'scope=openid',
      headers: { ...form, ...basic(client) },
    });
    expect(body.verification_uri).toBe(`${direct.server.issuer}/device`);
    expect(body.verification_uri_complete).toMatch(`${direct.server.issuer}/device?user_code=`);
  });

  it('resumes no session: each connection proves that its client holds the key', async () => {
    const open = (session?: Buffer) =>
      new Promise<{ reused: boolean; session: Buffer | undefined }>((resolve, reject) => {
        const { port } = new URL(direct.origin);
        let kept: Buffer | undefined;
        const socket = connect(
          {
            port: Number(port),
            host: 'localhost',
            ca: authority.cert,
            cert: app.cert,
            key: app.key,
            ...(session ? { session } : {}),
          },
          async () => {
            socket.write('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n');
            await sleep(200);
            resolve({ reused: socket.isSessionReused(), session: kept });
            socket.destroy();
          },
        );
        socket.on('session', (given) => {
          kept = given;
        });
        socket.on('error', reject);
      });
    const first = await open();
    expect((await open(first.session)).reused).toBe(false);
  });
});

describe('a certificate in a header', () => {
  it('counts from a proxy of ours alone', async () => {
    const outside = await openProxied({ TRUST_PROXY_ADDRESSES: '192.0.2.1' });
    try {
      const metadata = {
        ...machine,
        token_endpoint_auth_method: 'tls_client_auth',
        tls_client_auth_san_dns: 'app.example.com',
      };
      const { client_id } = await outside.server.client(metadata);
      expect(outcome(await tokenOf(outside, app, { client_id }))).toBe('401 invalid_client');
    } finally {
      await outside.server.stop();
    }
  });

  it('is not taken where we ask for certificates ourselves', async () => {
    const { client_id } = await direct.server.client({
      ...machine,
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'app.example.com',
    });
    const header = { 'client-cert': `:${app.certificate.raw.toString('base64')}:` };
    expect(outcome(await tokenOf(direct, undefined, { client_id }, header))).toBe('401 invalid_client');
  });

  it('may be URL-encoded PEM, as nginx writes it', async () => {
    const { client_id } = await proxied.server.client({
      ...machine,
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'app.example.com',
    });
    const header = { 'client-cert': encodeURIComponent(app.cert) };
    expect(outcome(await tokenOf(proxied, undefined, { client_id }, header))).toBe(200);
  });
});

describe('a service without mutual TLS', () => {
  it('registers nobody who needs it, and gives nobody plain tokens for bound ones', async () => {
    const plain = await startServer();
    try {
      for (const metadata of [
        { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'app.example.com' },
        { token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks: await jwksOf(own) },
        { tls_client_certificate_bound_access_tokens: true },
      ])
        await expect(plain.client({ ...machine, ...metadata })).rejects.toMatchObject({
          code: 'invalid_client_metadata',
        });
      // Registered while there was mutual TLS.
      const client = await plain.client(machine);
      await plain.database
        .db('clients')
        .where({ clientId: client.client_id })
        .update({ tlsClientCertificateBoundAccessTokens: true });
      const reply = await send(`${plain.issuer}/oauth/token`, {
        method: 'POST',
        headers: { ...form, ...basic(client) },
        body: 'grant_type=client_credentials',
      });
      expect(reply.status).toBeGreaterThanOrEqual(400);
      expect(reply.body).not.toHaveProperty('access_token');
    } finally {
      await plain.stop();
    }
  });
});

describe('the service by itself', () => {
  const serial = (port: number) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({ port, host: 'localhost', ca: authority.cert }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.on('error', reject);
    });

  it('takes a renewed certificate without a restart, and half of one not', async () => {
    vi.useFakeTimers({ toFake: ['setInterval'] });
    const { TLS_CERT_PATH: certPath, TLS_KEY_PATH: keyPath } = await files();
    const options = { certPath, keyPath, asksCertificate: true, log: createLog('silent') };
    const { server, port } = await listen((_request, response) => response.end(), 0, '127.0.0.1', options);
    try {
      const before = await serial(port);
      await writeFile(certPath, makeCertificate().cert);
      vi.advanceTimersByTime(30_000);
      expect(await serial(port)).toBe(before);
      await files();
      vi.advanceTimersByTime(30_000);
      expect(await serial(port)).not.toBe(before);
    } finally {
      vi.useRealTimers();
      await close(server);
    }
  });

  it('speaks TLS on both ports, and asks for certificates on one', async () => {
    const [port, mtlsPort] = [await freePort(), await freePort()];
    const ports = { PORT: String(port), MTLS_PORT: String(mtlsPort) };
    const settings = { ...defaultSettings, ...ports, ...(await files()), DATA_DIR: join(directory, 'data') };
    await mkdir(settings.DATA_DIR);
    const running = await serve(loadConfig(settings), createLog('silent'));
    try {
      const { body } = await sendTls(`https://localhost:${port}/.well-known/openid-configuration`, { authority });
      expect([body.issuer, body.mtls_endpoint_aliases.token_endpoint]).toEqual([
        `https://localhost:${port}`,
        `https://localhost:${mtlsPort}/oauth/token`,
      ]);
      // Whoever comes without one is served all the same.
      for (const certified of [undefined, app, own])
        expect((await sendTls(`https://localhost:${mtlsPort}/auth/me`, { authority, certified })).status).toBe(401);
      await expect(send(`http://localhost:${port}/`)).rejects.toThrow();
    } finally {
      await running.stop();
    }
  }, 90_000);
});
