/** The code in docs/examples does what the documentation says: each file is run, against a whole service. */
import { execFile, spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose';
import { transformWithOxc } from 'vite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAsk } from '../../docs/examples/ask-about-token.ts';
import { createMachineToken } from '../../docs/examples/machine-token.ts';
import { createAuth, type Settings, type User } from '../../docs/examples/pkce.ts';
import { type Session, signIn } from '../../docs/examples/rest-session.ts';
import { createVerifier } from '../../docs/examples/verify-token.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { authorize, Browser, password, registerAccount } from '../support/browser.ts';
import { mailCount, postJson } from '../support/requests.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
const examples = `${docs}examples/`;
const audience = 'countersign-api';
const run = promisify(execFile);

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Lets time pass for the example alone: the service shares the process, so only what is asked in between sees it. */
const later = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });

/** Requests that were sent, whoever sent them. */
const watchRequests = () => {
  const spy = vi.spyOn(globalThis, 'fetch');
  return (path: string) => spy.mock.calls.filter(([url]) => String(url).includes(path)).length;
};

const machineClient = (metadata: Record<string, unknown> = {}): Promise<RegisteredClient> =>
  server.client({ redirect_uris: [], grant_types: ['client_credentials'], scope: 'orders:read', ...metadata });
const credentials = ({ client_id: clientId, client_secret: clientSecret = '' }: RegisteredClient) => ({
  issuer: server.issuer,
  clientId,
  clientSecret,
});

describe('docs/verify-tokens.md', () => {
  it('shows the files of docs/examples as they are', () => {
    const text = readFileSync(`${docs}verify-tokens.md`, 'utf8');
    const shown = [...text.matchAll(/<!-- (examples\/[\w.-]+) -->\n\n```\w+\n([\s\S]*?)```/g)];
    expect(shown.map(([, name]) => name)).toEqual(['examples/verify-token.ts', 'examples/ask-about-token.ts']);
    for (const [, name, code] of shown) expect(code).toBe(readFileSync(docs + name, 'utf8'));
  });
});

describe('docs/README.md', () => {
  it('leads to everything in docs, and its links lead somewhere', () => {
    const text = readFileSync(`${docs}README.md`, 'utf8');
    const links = [...text.matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, to = '']) => to).filter((to) => !/^\w+:/.test(to));
    const files = (readdirSync(docs, { recursive: true, withFileTypes: true }) as import('node:fs').Dirent[])
      .filter((entry) => entry.isFile() && entry.name !== 'README.md' && !/\.pyc$/.test(entry.name))
      .map((entry) => `${entry.parentPath}/${entry.name}`.replace(/\/+/g, '/').slice(docs.length));
    expect(files.filter((file) => !links.includes(file))).toEqual([]);
    for (const link of links) expect(() => readdirSync(new URL(link, `file://${docs}`)), link).not.toThrow(/ENOENT/);
  });
});

describe('verify-token.ts', () => {
  const issuer = 'https://id.example.com';
  const signers: Record<string, { alg: string; privateKey: CryptoKey; publicKey: CryptoKey; jwk: JWK }> = {};
  let published: JWK[] = [];
  let cacheControl = 'public, max-age=300';
  let broken = false;
  let requests = 0;
  let jwksServer: Server;
  let jwksUrl = '';

  beforeAll(async () => {
    for (const [kid, alg] of [
      ['r1', 'RS256'],
      ['e1', 'ES256'],
      ['d1', 'EdDSA'],
      ['p1', 'PS256'],
      ['r2', 'RS256'],
    ] as const) {
      const pair = await generateKeyPair(alg, { extractable: true });
      signers[kid] = { alg, ...pair, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg, use: 'sig' } };
    }
    jwksServer = createServer((_request, response) => {
      requests += 1;
      response.writeHead(broken ? 500 : 200, { 'content-type': 'application/json', 'cache-control': cacheControl });
      response.end(JSON.stringify({ keys: published }));
    });
    await new Promise<void>((resolve) => jwksServer.listen(0, '127.0.0.1', resolve));
    jwksUrl = `http://127.0.0.1:${(jwksServer.address() as AddressInfo).port}/jwks`;
  });
  afterAll(() => jwksServer.close());
  beforeEach(() => {
    published = ['r1', 'e1', 'd1', 'p1'].map((kid) => signers[kid]?.jwk as JWK);
    cacheControl = 'public, max-age=300';
    broken = false;
    requests = 0;
  });

  const verifier = () => createVerifier({ issuer, audience, jwksUrl });
  const now = () => Math.floor(Date.now() / 1000);
  const claims = () => ({ iss: issuer, aud: audience, sub: 'u1', client_id: 'c1', iat: now(), exp: now() + 900 });
  const sign = (
    { kid = 'r1', ...change }: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
  ): Promise<string> => {
    const { alg, privateKey } = signers[kid as string] as (typeof signers)[string];
    return new SignJWT({ ...claims(), ...change })
      .setProtectedHeader({ alg, kid: kid as string, typ: 'at+jwt', ...header })
      .sign(privateKey);
  };
  const unsigned = (header: object, payload: object, signature = '') =>
    `${[header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.${signature}`;

  for (const kid of ['r1', 'e1', 'd1', 'p1']) {
    it(`takes a token signed by ${kid}`, async () =>
      expect(await verifier()(await sign({ kid }))).toMatchObject({ sub: 'u1' }));
  }
  it('takes one of several audiences, a little clock skew, and the scope it asks for', async () => {
    const token = await sign({ aud: ['other', audience], exp: now() - 10, nbf: now() + 10, scope: 'a orders:read' });
    expect(await verifier()(token, 'orders:read')).toMatchObject({ scope: 'a orders:read' });
  });

  const refusals: { name: string; token: () => string | Promise<string>; says: RegExp; code?: string }[] = [
    { name: 'an expired token', token: () => sign({ exp: now() - 31 }), says: /expired/ },
    { name: 'a token that never expires', token: () => sign({ exp: undefined }), says: /expired/ },
    { name: 'a token of tomorrow', token: () => sign({ nbf: now() + 86_400 }), says: /not valid yet/ },
    { name: 'a token whose nbf is no number', token: () => sign({ nbf: 'soon' }), says: /not valid yet/ },
    { name: 'a token for another API', token: () => sign({ aud: 'https://other.example.com' }), says: /another API/ },
    { name: 'a token for nobody', token: () => sign({ aud: undefined }), says: /another API/ },
    { name: 'a token of another issuer', token: () => sign({ iss: `${issuer}/` }), says: /another issuer/ },
    { name: 'an id_token', token: () => sign({}, { typ: 'JWT' }), says: /not an access token/ },
    { name: 'a token without a type', token: () => sign({}, { typ: undefined }), says: /not an access token/ },
    { name: 'a token without a client', token: () => sign({ client_id: undefined }), says: /incomplete/ },
    { name: 'a token without a key id', token: () => sign({}, { kid: undefined }), says: /header/ },
    { name: 'an extension that it must understand', token: () => withCrit(), says: /header/ },
    {
      name: 'a token that was tampered with',
      token: async () => {
        const [head, , signature] = (await sign()).split('.');
        return `${head}.${unsigned({}, { ...claims(), sub: 'admin' }).split('.')[1]}.${signature}`;
      },
      says: /signature/,
    },
    { name: 'a key that another kid names', token: () => sign({ kid: 'r2' }, { kid: 'r1' }), says: /signature/ },
    { name: 'a key of another algorithm', token: () => sign({ kid: 'e1' }, { kid: 'r1' }), says: /signature/ },
    { name: 'no signature', token: async () => `${(await sign()).replace(/[^.]*$/, '')}`, says: /signature/ },
    {
      name: 'alg none',
      token: () => unsigned({ alg: 'none', kid: 'r1', typ: 'at+jwt' }, claims()),
      says: /not signed as/,
    },
    {
      name: 'HS256 with the public key as the secret',
      token: async () =>
        new SignJWT(claims())
          .setProtectedHeader({ alg: 'HS256', kid: 'r1', typ: 'at+jwt' })
          .sign(new TextEncoder().encode(await exportSPKI(signers.r1?.publicKey as CryptoKey))),
      says: /not signed as/,
    },
    { name: 'an opaque token', token: () => 'q2Zk'.repeat(10), says: /not a JWT/ },
    { name: 'nothing', token: () => '', says: /not a JWT/ },
    { name: 'five parts', token: async () => `${await sign()}.a.b`, says: /not signed as/ },
    { name: 'a payload that is no object', token: () => payloadOf('[]'), says: /not a JWT/ },
    { name: 'something very long', token: async () => sign({ filler: 'x'.repeat(9000) }), says: /not a JWT/ },
    {
      name: 'a token without the scope',
      token: () => sign({ scope: 'orders:reader' }),
      says: /orders:read is missing/,
      code: 'insufficient_scope',
    },
  ];
  const withCrit = () =>
    new SignJWT(claims())
      .setProtectedHeader({ alg: 'RS256', kid: 'r1', typ: 'at+jwt', crit: ['b64'], b64: true })
      .sign(signers.r1?.privateKey as CryptoKey);
  const payloadOf = async (payload: string) => {
    const head = unsigned({ alg: 'RS256', kid: 'r1', typ: 'at+jwt' }, {}).split('.')[0];
    const body = `${head}.${Buffer.from(payload).toString('base64url')}`;
    const { privateKey } = signers.r1 as (typeof signers)[string];
    const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', privateKey, Buffer.from(body));
    return `${body}.${Buffer.from(signature).toString('base64url')}`;
  };
  for (const { name, token, says, code = 'invalid_token' } of refusals) {
    it(`refuses ${name}`, async () => {
      const refusal = verifier()(await token(), 'orders:read');
      await expect(refusal).rejects.toThrow(says);
      await expect(refusal).rejects.toMatchObject({ code });
    });
  }

  it('fetches the keys once for many, and again when their time is over', async () => {
    // From here on time passes by being told to alone.
    later(0);
    const verify = verifier();
    await Promise.all(Array.from({ length: 20 }, async () => verify(await sign())));
    expect(requests).toBe(1);
    later(299_000);
    await verify(await sign());
    expect(requests).toBe(1);
    later(2000);
    await verify(await sign());
    expect(requests).toBe(2);
  });

  it('fetches no more than twice a minute, whatever ids are made up', async () => {
    const verify = verifier();
    await verify(await sign());
    for (let guess = 0; guess < 20; guess++)
      await expect(verify(await sign({}, { kid: randomUUID() }))).rejects.toThrow(/signature/);
    expect(requests).toBe(1);
    later(31_000);
    for (let guess = 0; guess < 20; guess++)
      await expect(verify(await sign({}, { kid: randomUUID() }))).rejects.toThrow(/signature/);
    expect(requests).toBe(2);
  });

  it('picks up a key that signs ahead of its time, and forgets one that was withdrawn', async () => {
    const verify = verifier();
    await verify(await sign());
    published = [signers.r2?.jwk as JWK];
    later(31_000);
    expect(await verify(await sign({ kid: 'r2' }))).toMatchObject({ sub: 'u1' });
    await expect(verify(await sign())).rejects.toThrow(/signature/);
  });

  it('goes on with the keys it has while the issuer is away, for an hour', async () => {
    const verify = verifier();
    await verify(await sign());
    broken = true;
    later(310_000);
    expect(await verify(await sign())).toMatchObject({ sub: 'u1' });
    later(3_600_000);
    await expect(verify(await sign())).rejects.toMatchObject({ name: 'Error', cause: expect.any(Error) });
    broken = false;
    later(31_000);
    expect(await verify(await sign())).toMatchObject({ sub: 'u1' });
  });

  it('respects a longer max-age, and no-store down to the floor', async () => {
    cacheControl = 'max-age=7200';
    const patient = verifier();
    await patient(await sign());
    later(7_000_000);
    await patient(await sign());
    expect(requests).toBe(1);
    cacheControl = 'no-store';
    const hasty = verifier();
    await hasty(await sign());
    await hasty(await sign());
    expect(requests).toBe(2);
    later(31_000);
    await hasty(await sign());
    expect(requests).toBe(3);
  });

  it('verifies what the service signs, across a rotation of its keys', async () => {
    const verify = createVerifier({ issuer: server.issuer, audience });
    const email = await registerAccount(server);
    const token = async () => (await signIn(server.issuer, { email, password })).accessToken();
    const first = await verify(await token(), 'users:read:own');
    expect(first).toMatchObject({ roles: ['user'], client_id: 'countersign-rest' });
    const old = await token();
    await rotateKeys(server.database.db, server.app.secrets, operator, { now: true });
    await server.app.provider.reload();
    const next = await token();
    expect(next.split('.')[0]).not.toBe(old.split('.')[0]);
    later(31_000);
    expect((await verify(next)).sub).toBe(first.sub);
    expect((await verify(old)).sub).toBe(first.sub);
  });
});

describe('rest-session.ts', () => {
  let session: Session;
  beforeEach(async () => {
    session = await signIn(server.issuer, { email: await registerAccount(server), password });
  });
  const isValid = async (token: string): Promise<boolean> =>
    (await postJson(`${server.issuer}/auth/validate`, { token })).json.valid;

  it('signs in, keeps one token while it is good, and signs out', async () => {
    const token = await session.accessToken();
    expect([session.user.role, await isValid(token), await session.accessToken()]).toEqual(['user', true, token]);
    await session.signOut();
    expect(await isValid(token)).toBe(false);
  });

  it('refreshes once for all who wait', async () => {
    const token = await session.accessToken();
    const sent = watchRequests();
    later(880_000);
    const tokens = await Promise.all(Array.from({ length: 10 }, () => session.accessToken()));
    expect(sent('/auth/refresh')).toBe(1);
    expect([new Set(tokens).size, tokens[0] === token]).toEqual([1, false]);
    later(880_000);
    expect(tokens).not.toContain(await session.accessToken());
  });

  it('tells problems by their code', async () => {
    await expect(signIn(server.issuer, { email: session.user.email, password: 'wrong' })).rejects.toMatchObject({
      status: 401,
      code: 'invalid_credentials',
    });
    await session.signOut();
    later(880_000);
    await expect(session.accessToken()).rejects.toMatchObject({ code: 'invalid_refresh_token' });
  });
});

describe('machine-token.ts', () => {
  it('asks once while the token is good', async () => {
    const token = createMachineToken({ ...credentials(await machineClient()), scope: 'orders:read' });
    const sent = watchRequests();
    const tokens = await Promise.all([token(), token(), token()]);
    expect([new Set(tokens).size, sent('/oauth/token')]).toEqual([1, 1]);
    later(820_000);
    await Promise.all([token(), token()]);
    expect(sent('/oauth/token')).toBe(2);
  });
  it('says why there is none, and tries again', async () => {
    const token = createMachineToken({ ...credentials(await machineClient()), scope: 'orders:write' });
    for (const _ of [1, 2]) await expect(token()).rejects.toThrow('invalid_scope');
  });
});

describe('ask-about-token.ts', () => {
  it('learns of a revocation within the time that answers are kept', async () => {
    const client = await machineClient();
    const token = await createMachineToken({ ...credentials(client), scope: 'orders:read' })();
    const asker = await server.client({ redirect_uris: [], grant_types: [], scope: 'tokens:introspect:any' });
    const ask = createAsk({ ...credentials(asker), audience });
    const sent = watchRequests();
    expect(await Promise.all([ask(token), ask(token)])).toMatchObject([{ active: true }, { scope: 'orders:read' }]);
    expect(sent('/oauth/introspect')).toBe(1);
    await fetch(`${server.issuer}/oauth/revoke`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${client.client_id}:${client.client_secret}`)}` },
      body: new URLSearchParams({ token }),
    });
    expect((await ask(token)).active).toBe(true);
    later(11_000);
    expect(await ask(token)).toEqual({ active: false });
  });
  it('takes opaque tokens, and none that is meant for another API', async () => {
    const asker = credentials(
      await server.client({ redirect_uris: [], grant_types: [], scope: 'tokens:introspect:any' }),
    );
    const other = 'https://orders.example.com';
    const opaque = await machineClient({ access_token_format: 'opaque', audience: other });
    const token = await createMachineToken({ ...credentials(opaque), scope: 'orders:read' })();
    expect(token).not.toContain('.');
    expect((await createAsk({ ...asker, audience: other })(token)).active).toBe(true);
    expect((await createAsk({ ...asker, audience })(token)).active).toBe(false);
  });
  it('gives no verdict when it is refused itself', async () => {
    const asker = credentials(
      await server.client({ redirect_uris: [], grant_types: [], scope: 'tokens:introspect:any' }),
    );
    await expect(createAsk({ ...asker, clientSecret: 'wrong', audience })('x')).rejects.toThrow('401');
  });
});

describe('pkce.ts', () => {
  const redirectUri = 'https://app.example.com/callback';
  const afterSignOut = 'https://app.example.com/bye';
  let browser: Browser;
  let email: string;
  let settings: Settings;
  let changes: (User | undefined)[];
  let stored: Map<string, string>;
  beforeEach(async () => {
    const { client_id: clientId } = await server.client({
      client_name: 'Acme',
      redirect_uris: [redirectUri],
      post_logout_redirect_uris: [afterSignOut],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'none',
      scope: 'openid email orders:read',
    });
    email = await registerAccount(server);
    browser = new Browser(server.issuer);
    changes = [];
    stored = new Map();
    settings = {
      issuer: server.issuer,
      clientId,
      redirectUri,
      afterSignOut,
      scope: 'openid orders:read',
      resource: `${server.issuer}/api`,
      store: {
        getItem: (key) => stored.get(key) ?? null,
        setItem: (key, value) => stored.set(key, value),
        removeItem: (key) => stored.delete(key),
      },
      onChange: (user) => changes.push(user),
    };
  });
  const comeBack = async (url: URL) => authorize(browser, url, email);

  it('signs in, gives a token for the API, and keeps nothing that a script could carry off', async () => {
    const auth = createAuth(settings);
    const callback = await comeBack(await auth.begin());
    const user = await auth.complete(callback);
    expect([stored.size, changes, auth.user()]).toEqual([0, [user], user]);
    const verify = createVerifier({ issuer: server.issuer, audience });
    expect(await verify((await auth.accessToken()) as string, 'orders:read')).toMatchObject({ sub: user.sub });
    // React's StrictMode completes twice; the code must not be sent twice.
    const sent = watchRequests();
    expect([await auth.complete(callback), sent('/oauth/token')]).toEqual([user, 0]);
  });

  it('asks userinfo with the token that no resource was named for', async () => {
    const { resource: _, ...plain } = settings;
    const auth = createAuth({ ...plain, scope: 'openid email' });
    await auth.complete(await comeBack(await auth.begin()));
    const headers = { authorization: `Bearer ${await auth.accessToken()}` };
    const userinfo = await (await fetch(`${server.issuer}/oauth/userinfo`, { headers })).json();
    expect(userinfo).toMatchObject({ sub: auth.user()?.sub, email });
  });

  it('refreshes once for all who wait, and is signed out when the session has ended', async () => {
    const auth = createAuth(settings);
    await auth.complete(await comeBack(await auth.begin()));
    const first = await auth.accessToken();
    const sent = watchRequests();
    later(880_000);
    const tokens = await Promise.all([auth.accessToken(), auth.accessToken(), auth.accessToken()]);
    expect([new Set(tokens).size, tokens[0] === first, sent('/oauth/token')]).toEqual([1, false, 1]);
    const { db } = server.database;
    await db('sessions')
      .where({ userId: auth.user()?.sub as string })
      .delete();
    later(880_000);
    expect([await auth.accessToken(), auth.user(), changes.at(-1)]).toEqual([undefined, undefined, undefined]);
  });

  it('after a reload comes back without a question', async () => {
    const before = createAuth(settings);
    await before.complete(await comeBack(await before.begin()));
    const after = createAuth(settings);
    expect(await after.accessToken()).toBeUndefined();
    const callback = (await browser.go(await after.begin({ prompt: 'none' }))).url;
    expect(await after.complete(callback)).toMatchObject({ sub: before.user()?.sub });
  });

  it('signs out here and there', async () => {
    const auth = createAuth(settings);
    await auth.complete(await comeBack(await auth.begin()));
    const page = await browser.go(auth.signOut());
    const end = await browser.submit(page, { logout: 'yes' });
    expect([end.url.href.split('?')[0], await auth.accessToken()]).toEqual([afterSignOut, undefined]);
    const silent = await browser.go(await auth.begin({ prompt: 'none' }));
    await expect(auth.complete(silent.url)).rejects.toMatchObject({ code: 'login_required' });
  });

  for (const { name, change, says } of [
    { name: 'a state that it did not send', change: { state: 'x' }, says: /not begun here/ },
    { name: 'another issuer', change: { iss: 'https://evil.example.com' }, says: /not from the issuer/ },
    { name: 'a code that is not its own', change: { code: 'x'.repeat(43) }, says: /grant/ },
  ]) {
    it(`refuses an answer with ${name}`, async () => {
      const auth = createAuth(settings);
      const callback = await comeBack(await auth.begin());
      for (const [key, value] of Object.entries(change)) callback.searchParams.set(key, value);
      await expect(auth.complete(callback)).rejects.toThrow(says);
      expect([auth.user(), stored.size]).toEqual([undefined, 0]);
    });
  }
});

for (const file of ['auth-provider.tsx', 'use-auth.ts']) {
  it(`${file} parses, and takes from pkce.ts what is there`, async () => {
    const source = readFileSync(`${examples}${file}`, 'utf8');
    const { code } = await transformWithOxc(source, file, { jsx: { runtime: 'automatic' } });
    expect(code).toMatch(/from "\.\/pkce\.ts"/);
    const auth = createAuth({ issuer: '', clientId: '', redirectUri: '', scope: '', store: sessionStore });
    const used = [...source.matchAll(/\bauth\s*\.(\w+)/g)].map(([, name = '']) => name);
    expect(used.length).toBeGreaterThan(3);
    expect(used.filter((name) => !(name in auth))).toEqual([]);
  });
}
const sessionStore = { getItem: () => null, setItem: () => {}, removeItem: () => {} };

const missing = (...command: [string, ...string[]]) => spawnSync(command[0], command.slice(1)).status !== 0;

describe('walk.sh', () => {
  const skipped = missing('bash', '--version') || missing('curl', '--version');
  it.skipIf(skipped)(`walks the whole way${skipped ? ' (skipped: bash or curl is missing)' : ''}`, async () => {
    const client = await machineClient();
    const env = { BASE_URL: server.issuer, CLIENT_ID: client.client_id, CLIENT_SECRET: client.client_secret as string };
    const { stdout } = await run(`${examples}walk.sh`, { env: { ...process.env, ...env, SCOPE: 'orders:read' } });
    const answers = stdout.split(/^# (.*)\n/m).slice(1);
    const answer = (title: RegExp) => answers[answers.findIndex((text) => title.test(text)) + 1] ?? '';
    expect(JSON.parse(answer(/^Register/))).toEqual({ verificationSent: true });
    expect(JSON.parse(answer(/^Verify/))).toEqual({ verified: true });
    expect(JSON.parse(answer(/^Who/))).toMatchObject({ name: 'Ada Walker', emailVerified: true });
    expect(JSON.parse(answer(/^Refresh/))).toMatchObject({ valid: true });
    expect(JSON.parse(answer(/^Sign out/))).toMatchObject({ valid: false });
    expect(JSON.parse(answer(/^A machine/))).toMatchObject({ active: true, scope: 'orders:read' });
  });
  it.skipIf(skipped)('stops at a refusal and shows it', async () => {
    const env = { ...process.env, BASE_URL: server.issuer, EMAIL: 'nobody' };
    const refusal = (await run(`${examples}walk.sh`, { env }).catch((error) => error)) as {
      code: number;
      stdout: string;
    };
    expect([refusal.code, refusal.stdout]).toEqual([22, expect.stringContaining('"field":"email"')]);
    expect(mailCount(server, 'nobody')).toBe(0);
  });
});

describe('Python', () => {
  const interpreter = process.env.PYTHON ?? 'python3';
  const noPython = missing(interpreter, '-c', 'import sys; assert sys.version_info >= (3, 9)');
  const recent = 'import jwt, cryptography; assert [int(n) for n in jwt.__version__.split(".")[:2]] >= [2, 8]';
  const noJwt = noPython || missing(interpreter, '-c', recent);
  const python = async (program: string, env: Record<string, string>) => {
    const { stdout } = await run(interpreter, ['-B', '-c', program], {
      env: { ...process.env, PYTHONPATH: examples, BASE_URL: server.issuer, ...env },
    });
    return JSON.parse(stdout);
  };
  const machineEnv = async (metadata: Record<string, unknown> = {}) => {
    const { client_id: ID, client_secret: SECRET = '' } = await machineClient(metadata);
    return { ID, SECRET };
  };

  it.skipIf(noPython)(
    `countersign.py signs in, reads, refreshes, validates, signs out, and is a machine${noPython ? ' (skipped: no python3)' : ''}`,
    async () => {
      const email = await registerAccount(server);
      const result = await python(
        `
import json, os, countersign as c
base, id, secret = os.environ['BASE_URL'], os.environ['ID'], os.environ['SECRET']
session = c.sign_in(base, os.environ['EMAIL'], os.environ['PASSWORD'])
first = session.access_token()
session._expires_at = 0
second = session.access_token()
me = session.get('/auth/me')
session.sign_out()
machine = c.machine_token(base, id, secret, 'orders:read')
asking = c.machine_token(base, id, secret, 'authz:check:any')['access_token']
decided = c.check(base, asking, [{'subject': me['id'], 'action': 'users:read:' + s} for s in ('own', 'any')])
try:
    c.sign_in(base, os.environ['EMAIL'], 'wrong')
except c.Problem as problem:
    refusal = [problem.status, problem.code]
print(json.dumps({'email': me['email'], 'renewed': first != second, 'after': c.validate(base, second),
  'introspected': c.introspect(base, id, secret, machine['access_token']), 'refusal': refusal,
  'decided': [one['allowed'] for one in decided]}))`,
        { ...(await machineEnv({ scope: 'orders:read authz:check:any' })), EMAIL: email, PASSWORD: password },
      );
      expect(result).toMatchObject({
        email,
        renewed: true,
        after: { valid: false },
        introspected: { active: true, scope: 'orders:read' },
        refusal: [401, 'invalid_credentials'],
        decided: [true, false],
      });
    },
  );

  it.skipIf(noJwt)(
    `verify_token.py verifies what the service signs and refuses the rest${noJwt ? ' (skipped: no python3 with PyJWT 2.8)' : ''}`,
    async () => {
      const token = await createMachineToken({ ...credentials(await machineClient()), scope: 'orders:read' })();
      const [head, body = '', signature] = token.split('.');
      const text = Buffer.from(body, 'base64url').toString().replace('orders:read', 'orders:all');
      const forged = `${head}.${Buffer.from(text).toString('base64url')}.${signature}`;
      const none = `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${body}.`;
      const id = await new SignJWT({})
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .sign(createHash('sha256').digest());
      const outcomes = await python(
        `
import json, os, verify_token as v
good = v.Verifier(os.environ['BASE_URL'], '${audience}')
other = v.Verifier(os.environ['BASE_URL'], 'https://other.example.com')
fetches = []
fetch = good._client.fetch_data
good._client.fetch_data = lambda: fetches.append(1) or fetch()
def outcome(verifier, token, scope=None):
    try:
        return verifier.verify(token, scope)['scope']
    except Exception as error:
        return type(error).__name__
tokens = json.loads(os.environ['TOKENS'])
print(json.dumps([outcome(good, tokens[0], 'orders:read'), outcome(good, tokens[0], 'orders'), outcome(other, tokens[0]),
  *[outcome(good, token) for token in tokens[1:]], len(fetches)]))`,
        { TOKENS: JSON.stringify([token, forged, none, id, 'opaque', token.replace(/^[^.]*/, unknownKid)]) },
      );
      expect(outcomes).toEqual([
        'orders:read',
        'InsufficientScope',
        'InvalidAudienceError',
        'InvalidSignatureError',
        'InvalidTokenError',
        'InvalidTokenError',
        'DecodeError',
        'InvalidTokenError',
        1,
      ]);
    },
  );
  const unknownKid = Buffer.from('{"alg":"RS256","typ":"at+jwt","kid":"made-up"}').toString('base64url');
});
