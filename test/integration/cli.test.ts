import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Browser, password } from '../support/browser.ts';
import { makeCertificate } from '../support/certificates.ts';
import { eventually, signIn } from '../support/requests.ts';
import { freePort } from '../support/server.ts';

/** Each command is a process, which takes a second or more on a busy machine. */
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const cli = fileURLToPath(new URL('../../src/countersign.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'countersign-cli-'));
const dataDir = join(folder, 'data');
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

interface Run {
  child: ChildProcess;
  out(): string;
  ended: Promise<{ code: number | null; out: string; error: string }>;
}

const children: ChildProcess[] = [];
const start = (args: string[], settings: Record<string, string> = {}): Run => {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', DATA_DIR: dataDir, LOG_LEVEL: 'warn', RATE_LIMIT_FACTOR: '1000', ...settings },
  });
  children.push(child);
  let [out, error] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    error += chunk;
  });
  const ended = new Promise<{ code: number | null; out: string; error: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, out, error })),
  );
  return { child, out: () => out, ended };
};
const run = (args: string[], settings?: Record<string, string>) => start(args, settings).ended;
/** Runs a command that must succeed, and reads what it prints. */
const json = async (...args: string[]) => {
  const { code, out, error } = await run(args);
  expect([args[0], code, error]).toEqual([args[0], 0, '']);
  return JSON.parse(out);
};

let server: Run;
let port: number;
let issuer: string;
const serve = async () => {
  const settings = { PORT: String(port), JWT_ISSUER: issuer };
  const started = start(['serve'], settings);
  const exited = started.ended.then(({ error }) => Promise.reject(new Error(`the server ended: ${error}`)));
  await Promise.race([eventually(() => started.out().includes('/dev/mail'), 'a banner', 170_000), exited]);
  exited.catch(() => {});
  return started;
};

beforeAll(async () => {
  port = await freePort();
  issuer = `http://localhost:${port}`;
  server = await serve();
});
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

describe('while the server runs on the embedded database', () => {
  it('import keycloak reads a file of whoever typed it, and tells scripts what came over', async () => {
    const users = [
      { username: 'kay', email: 'kay@example.com', credentials: [{ type: 'password', value: password }] },
      { username: 'nobody' },
    ];
    file('acme.json', JSON.stringify({ realm: 'acme', users }));
    const dry = await run(['import', 'keycloak', 'acme.json', '--dry-run']);
    expect([dry.code, dry.error]).toEqual([2, '']);
    expect(dry.out).toMatch(/^Realm acme: what an import would do \(nothing was written\)\n/);
    const made = await run(['import', 'keycloak', 'acme.json', '--json']);
    expect([made.code, JSON.parse(made.out).counts.users]).toEqual([
      2,
      { created: 1, updated: 0, unchanged: 0, 'left out': 1 },
    ]);
    const again = await run(['import', 'keycloak', 'acme.json', '--json']);
    expect(JSON.parse(again.out).counts.users).toEqual({ created: 0, updated: 0, unchanged: 1, 'left out': 1 });
  });
  for (const [args, message] of [
    [['import', 'keycloak'], /name the file/],
    [['import', 'keycloak', 'nowhere.json'], /there is no such file or folder/],
    [['import', 'keycloak', 'a.json', 'b.json'], /one argument is enough/],
    [['import', 'auth0', 'a.json'], /no such command: import auth0/],
    [['import'], /no such command: import/],
    [['sync', 'keycloak'], /KEYCLOAK_SYNC_URL and what belongs to it are not set/],
  ] as const)
    it(`says what is wrong with: ${args.join(' ')}`, async () => {
      const { code, out, error } = await run([...args]);
      expect([code, out, error]).toEqual([1, '', expect.stringMatching(message)]);
    });

  it('its banner says where the demo and the mailbox are, and how the first administrator is made', async () => {
    const banner = server.out();
    expect(banner).toContain('do not use it for real accounts');
    for (const path of ['/demo', '/dev/mail']) {
      expect(banner).toContain(`${issuer}${path}\n`);
      expect((await fetch(issuer + path)).status).toBe(200);
    }
    const link = /http:\S+\/setup\?token=\S+/.exec(banner)?.[0] as string;
    expect((await fetch(link)).status).toBe(200);
  });

  it('its socket and its key are for their owner alone', () => {
    const mode = (path: string) => (statSync(join(dataDir, path)).mode & 0o777).toString(8);
    expect([mode('.'), mode('control.sock'), mode('master-key')]).toEqual(['700', '600', '600']);
  });

  it('create-admin makes an administrator who can sign in, and refuses a second of the same address', async () => {
    const args = ['create-admin', '--email', 'Root@Example.com', '--password', password];
    expect(await json(...args)).toMatchObject({ id: expect.any(String) });
    const page = await signIn(new Browser(issuer), 'root@example.com');
    expect(page.url.pathname).toBe('/account');
    const again = await run(args);
    expect(again).toMatchObject({
      code: 1,
      out: '',
      error: expect.stringContaining('Another account has this address'),
    });
  });

  it('seed finds nothing missing, and grant-role gives a role for a time', async () => {
    expect(await json('seed')).toEqual({ roles: [], permissions: [], teams: [], domains: [] });
    const args = ['--email', 'kay@example.com', '--role', 'moderator', '--expires', '2100-01-01T00:00:00Z'];
    expect(await json('grant-role', ...args)).toMatchObject({
      role: 'moderator',
      expiresAt: '2100-01-01T00:00:00.000Z',
    });
  });

  it('refusals are told in words, on standard error, with exit code 1', async () => {
    const refusals: [string[], RegExp][] = [
      [['create-admin'], /--email and --password are needed/],
      [
        ['create-admin', '--email', 'b@example.com', '--password', 'password1234'],
        /password: is one that many people use/,
      ],
      [['create-admin', '--mail', 'b@example.com'], /Unknown option '--mail'/],
      [['create-initial-access-token'], /--note/],
      [['create-initial-access-token', '--note', 'x', '--policy', 'none'], /softwarePolicy: there is no such policy/],
      [['grant-role', '--email', 'nobody@example.com', '--role', 'user'], /No such user/],
      [['grant-role', '--email', 'kay@example.com', '--role', 'nothing'], /role: is no role/],
      [['grant-role', '--email', 'kay@example.com'], /--role/],
      [['client', 'create'], /--file is needed/],
      [['client', 'rotate-secret'], /--id is needed/],
      [['client', 'rotate-secret', '--id', 'nobody'], /No such client/],
      [['client', 'delete', '--id', 'countersign-rest'], /follows the configuration/],
      [['client', 'create', '--file', 'nothing.json'], /nothing\.json/],
      [['client', 'create', '--file', file('broken.json', '{')], /JSON/],
      [['client', 'create', '--file', file('wrong.json', '{"redirect_uris":["nowhere"]}')], /redirect_uris/],
    ];
    await Promise.all(
      refusals.map(async ([args, expected]) => {
        const { code, out, error } = await run(args);
        expect([args, code, out]).toEqual([args, 1, '']);
        expect(error).toMatch(expected);
        expect(error).not.toMatch(/\n {4}at /);
      }),
    );
  });

  it('client create shows a secret once, and client list never', async () => {
    const metadata = { client_name: 'Acme', redirect_uris: ['https://app.example.com/callback'] };
    const client = await json('client', 'create', '--file', file('client.json', JSON.stringify(metadata)));
    expect(client).toMatchObject({ ...metadata, client_id: expect.any(String), client_secret: expect.any(String) });
    const { code, out } = await run(['client', 'list']);
    expect(code).toBe(0);
    expect(JSON.parse(out).map(({ client_id }: { client_id: string }) => client_id)).toContain(client.client_id);
    expect(out).not.toContain(client.client_secret);
    // The server knows it already.
    const token = await fetch(`${issuer}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${client.client_id}:${client.client_secret}`)}` },
      body: new URLSearchParams({ grant_type: 'authorization_code', code: 'x', redirect_uri: 'https://x' }),
    });
    expect(await token.json()).toMatchObject({ error: 'invalid_grant' });
  });

  it('create-initial-access-token shows a token once, with which a client registers itself', async () => {
    const { token, ...made } = await json('create-initial-access-token', '--note', 'For Acme', '--uses', '1');
    expect(made).toMatchObject({ note: 'For Acme', usesLeft: 1, createdBy: null });
    const register = () =>
      fetch(`${issuer}/oauth/register`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ redirect_uris: ['https://app.example.com/callback'] }),
      });
    expect([(await register()).status, (await register()).status]).toEqual([201, 401]);
  });

  it('client rotate-secret shows another secret once, and client delete ends it', async () => {
    const metadata = { grant_types: ['client_credentials'] };
    const client = await json('client', 'create', '--file', file('machine.json', JSON.stringify(metadata)));
    const id = client.client_id as string;
    const rotated = await json('client', 'rotate-secret', '--id', id, '--grace', '60');
    expect(rotated.previous_client_secret_expires_at).toBeGreaterThan(Date.now() / 1000);
    const status = async (secret: unknown) => {
      const headers = { authorization: `Basic ${btoa(`${id}:${secret}`)}` };
      const body = new URLSearchParams({ grant_type: 'client_credentials' });
      return (await fetch(`${issuer}/oauth/token`, { method: 'POST', headers, body })).status;
    };
    expect([await status(client.client_secret), await status(rotated.client_secret)]).toEqual([200, 200]);
    expect(await json('client', 'delete', '--id', id)).toEqual({ deleted: id });
    expect(await status(rotated.client_secret)).toBe(401);
  });

  it('policies deactivate is the way back for who is locked out, and policies list says what is in force', async () => {
    const call = (path: string, token: string, body?: object) =>
      fetch(`${issuer}${path}`, {
        method: body ? 'POST' : 'GET',
        headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
    const signedIn = await call('/auth/login', '', { email: 'root@example.com', password });
    const { accessToken } = (await signedIn.json()) as { accessToken: string };
    const rule = { effect: 'deny', resources: ['clients', 'keys'], actions: ['*'], condition: true };
    const made = await call('/policies', accessToken, { name: 'freeze', ...rule });
    const { id } = (await made.json()) as { id: string };
    const listed = async () => (await json('policies', 'list')) as { name: string; activeVersion: number | null }[];
    expect(await listed()).toEqual([expect.objectContaining({ id, name: 'freeze', activeVersion: null })]);
    expect((await call(`/policies/${id}/activate`, accessToken, { version: 1 })).status).toBe(200);
    expect(await listed()).toEqual([expect.objectContaining({ id, activeVersion: 1 })]);
    expect((await call('/clients', accessToken)).status).toBe(403);
    expect(await json('policies', 'deactivate', 'freeze')).toEqual({ deactivated: id });
    await eventually(async () => (await call('/clients', accessToken)).status === 200, 'it is in force no more');
    expect(await listed()).toEqual([expect.objectContaining({ id, activeVersion: null })]);
    for (const [args, message] of [
      [['policies', 'deactivate'], /name the policy/],
      [['policies', 'deactivate', 'nothing'], /No such policy/],
    ] as const) {
      const { code, out, error } = await run([...args]);
      expect([code, out, error]).toEqual([1, '', expect.stringMatching(message)]);
    }
  });

  it('rotate-keys is taken over by the server at once, and keeps the old keys published', async () => {
    // Of the keys that decrypt only the newest is published.
    const kids = async () => {
      const { keys } = (await (await fetch(`${issuer}/.well-known/jwks.json`)).json()) as {
        keys: { kid: string; use: string }[];
      };
      return keys.filter(({ use }) => use === 'sig').map(({ kid }) => kid);
    };
    const before = await kids();
    await json('rotate-keys', '--now');
    const after = await kids();
    expect(after).toEqual(expect.arrayContaining(before));
    expect(after.length).toBeGreaterThan(before.length);
  });

  it('migrate finds nothing to do', async () => {
    expect(await json('migrate')).toEqual({ migrated: [] });
  });

  it('a second server on its folder is refused', async () => {
    const { code, error } = await run(['serve'], { PORT: '0' });
    expect([code, error]).toEqual([1, expect.stringContaining('Another process has the database')]);
    expect((await fetch(`${issuer}/health/ready`)).status).toBe(200);
  });
});

describe('when the server is told to stop', () => {
  const opened = () =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket));
      socket.on('error', reject);
    });

  it('SIGTERM lets requests in flight finish, takes no new ones, and ends with 0', async () => {
    const socket = await opened();
    const idle = await opened();
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    const body = JSON.stringify({ email: 'slow@example.com', password, name: 'Slow' });
    socket.write(
      `POST /auth/register HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 20)}`,
    );
    // It is in flight once the server has read as much.
    await eventually(() => answer === 'HTTP/1.1 100 Continue\r\n\r\n', 'the server wants the rest');
    answer = '';
    server.child.kill('SIGTERM');
    server.child.kill('SIGTERM');
    await eventually(
      () =>
        opened().then(
          (extra) => void extra.destroy(),
          () => true,
        ) as Promise<boolean>,
      'new connections are refused',
    );
    expect([answer, server.child.exitCode]).toEqual(['', null]);
    socket.write(body.slice(20));
    const asked = Date.now();
    const { code, error } = await server.ended;
    expect([code, error]).toEqual([0, '']);
    // Nothing waits for a connection that was opened ahead of need.
    expect(Date.now() - asked).toBeLessThan(15_000);
    expect(answer).toMatch(/^HTTP\/1\.1 201 Created\r\n/);
    expect(answer).toContain('{"verificationSent":true}');
    idle.destroy();
  });

  it('the commands open the database themselves, and find what there was', async () => {
    expect(() => statSync(join(dataDir, 'control.sock'))).toThrow();
    expect(await json('migrate')).toEqual({ migrated: [] });
    expect((await json('client', 'list')).length).toBeGreaterThan(1);
  });

  it('rotate-keys says how it is done where the keys are in a file', async () => {
    const pem = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' });
    const { code, out } = await run(['rotate-keys'], { JWKS_PRIVATE_KEY_PATH: file('key.pem', String(pem)) });
    expect(code).toBe(0);
    expect(out).toMatch(/JWKS_PRIVATE_KEY_PATH[\s\S]*Append[\s\S]*Remove the old block/);
  });

  it('a socket left by a server that was killed is taken over', async () => {
    const killed = await serve();
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(statSync(join(dataDir, 'control.sock')).isSocket()).toBe(true);
    server = await serve();
    // An administrator is there already.
    expect(server.out()).not.toContain('/setup?token=');
    const page = await signIn(new Browser(issuer), 'root@example.com');
    expect(page.url.pathname).toBe('/account');
    server.child.kill('SIGINT');
    expect((await server.ended).code).toBe(0);
  });
});

const withTls = (cert: string, key = cert) => ({
  TLS_CERT_PATH: cert,
  TLS_KEY_PATH: key,
  JWT_ISSUER: 'https://localhost:1',
});

describe('settings', () => {
  it('that are wrong are told all at once, by name', async () => {
    const { code, out, error } = await run(['serve'], {
      PORT: 'x',
      JWT_ISSUER: 'nowhere',
      HASH_QUEUE: '-1',
      SMTP_URL: 'http://x',
      SESSION_TTL: 'soon',
    });
    expect([code, out]).toEqual([1, '']);
    for (const name of ['PORT', 'JWT_ISSUER', 'HASH_QUEUE', 'SMTP_URL', 'SESSION_TTL'])
      expect(error).toMatch(new RegExp(`^ {2}${name}: `, 'm'));
    expect(error).not.toMatch(/\n {4}at /);
  });

  it('of development are refused in production', async () => {
    const { code, error } = await run(['serve'], {
      NODE_ENV: 'production',
      ENCRYPTION_MASTER_KEY: 'change-me',
      JWT_ISSUER: 'http://id.example',
      OUTBOUND_ALLOW: 'localhost',
      AUTH_ALLOW_DEV_HEADERS: 'true',
      JWT_ACCESS_TTL: '1h',
    });
    expect(code).toBe(1);
    for (const name of [
      'ENCRYPTION_MASTER_KEY',
      'DATABASE_URL',
      'JWT_ISSUER',
      'OUTBOUND_ALLOW',
      'AUTH_ALLOW_DEV_HEADERS',
      'JWT_ACCESS_TTL',
    ])
      expect(error).toMatch(new RegExp(`^ {2}${name}: `, 'm'));
    expect(error).not.toContain('change-me');
  });

  it.each([
    [
      'a database that is away',
      () => ({ DATABASE_URL: 'postgres://u:s3cret@127.0.0.1:9/d' }),
      /^The database cannot be used\. postgres:\/\/127\.0\.0\.1:9\/d: .*ECONNREFUSED.*\n {2}Start PostgreSQL, or correct host and port in DATABASE_URL\.\n$/,
    ],
    [
      'a database that is away, for several processes',
      () => ({ DATABASE_URL: 'postgres://u:s3cret@127.0.0.1:9/d', WEB_CONCURRENCY: '2' }),
      /^The database cannot be used\. .*\n.*DATABASE_URL\.\n$/,
    ],
    [
      'a folder that cannot be made',
      () => ({ DATA_DIR: file('taken', '') }),
      /^The configuration is not valid:\n {2}DATA_DIR: EEXIST: .*taken'\n$/,
    ],
    [
      'a folder that cannot be made, with a master key',
      () => ({ DATA_DIR: file('taken', ''), ENCRYPTION_MASTER_KEY: randomBytes(32).toString('base64') }),
      /^DATA_DIR: EEXIST: .*taken'\n$/,
    ],
    [
      'an embedded database that is none',
      () => {
        mkdirSync(join(folder, 'spoilt', 'database'), { recursive: true });
        return { DATA_DIR: dirname(dirname(file('spoilt/database/PG_VERSION', 'none'))) };
      },
      /^The database cannot be used\. .*spoilt: .*\n {2}Give DATA_DIR .*\.\n$/,
    ],
    [
      'signing keys that are not there',
      () => ({ JWKS_PRIVATE_KEY_PATH: '/nowhere/keys.pem' }),
      /^JWKS_PRIVATE_KEY_PATH: .*'\/nowhere\/keys\.pem'\n$/,
    ],
    [
      'a signing key that is none',
      () => ({
        JWKS_PRIVATE_KEY_PATH: file('none.pem', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'),
      }),
      /^JWKS_PRIVATE_KEY_PATH: key 1 cannot be read \(.*\); it must be PEM without a passphrase\n$/,
    ],
    [
      'a certificate that is not there',
      () => withTls('/nowhere/cert.pem'),
      /^TLS_CERT_PATH: .*'\/nowhere\/cert\.pem'\n$/,
    ],
    [
      'a certificate that is none',
      () => withTls(file('empty.pem', 'nothing')),
      /^TLS_CERT_PATH: no certificate in .*empty\.pem: .*\n$/,
    ],
    [
      'a key that is of another certificate',
      () => withTls(file('cert.pem', makeCertificate().cert), file('key.pem', makeCertificate().key)),
      /^TLS_KEY_PATH: not the private key of that certificate in .*key\.pem: .*\n$/,
    ],
  ] as const)('what they lead to is told by their name: %s', async (_, settings, expected) => {
    const { code, error } = await run(['serve'], {
      DATA_DIR: join(folder, 'another'),
      PORT: String(await freePort()),
      ...settings(),
    });
    expect([code, error]).toEqual([1, expect.stringMatching(expected)]);
    expect(error).not.toContain('s3cret');
  });

  it('do not matter for help, and an unknown command is told', async () => {
    const [help, unknown] = await Promise.all([run(['--help'], { PORT: 'x' }), run(['dance'])]);
    expect([help.code, help.out.includes('countersign create-admin')]).toEqual([0, true]);
    expect([unknown.code, unknown.error.includes('no such command: dance')]).toEqual([1, true]);
  });
});
