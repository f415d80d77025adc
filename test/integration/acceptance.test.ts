/**
 * The acceptance list of the idm service, line by line, and the endpoints, tables and settings that it names: black
 * box, against a server started the way `npm start` starts it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { settings } from '../../src/settings.ts';
import { password } from '../support/browser.ts';
import { answerOf, eventually } from '../support/requests.ts';
import { freePort } from '../support/server.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const cli = join(root, 'src/countersign.js');
const folder = mkdtempSync(join(tmpdir(), 'countersign-acceptance-'));
const dataDir = join(folder, 'data');

let issuer: string;
let server: ChildProcess;
let consul: Server;
const consulRequests: { url: string; body: Record<string, unknown> }[] = [];

const environment = (more: Record<string, string> = {}) => ({
  PATH: process.env.PATH ?? '',
  DATA_DIR: dataDir,
  LOG_LEVEL: 'warn',
  ...more,
});

/** Runs a command of the service to its end, and reads what it prints. */
const command = (...args: string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...args], { cwd: folder, env: environment() });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += chunk;
      });
    child.on('close', (code) => (code === 0 ? resolve(output) : reject(new Error(output))));
  });

beforeAll(async () => {
  consul = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    consulRequests.push({ url: request.url ?? '', body: JSON.parse(body || '{}') });
    response.end();
  });
  await new Promise<void>((resolve) => consul.listen(0, '127.0.0.1', resolve));
  const port = await freePort();
  issuer = `http://localhost:${port}`;
  server = spawn(process.execPath, [cli, 'serve'], {
    cwd: folder,
    env: environment({
      PORT: String(port),
      RATE_LIMIT_FACTOR: '1000',
      CONSUL_ADDR: `http://127.0.0.1:${(consul.address() as AddressInfo).port}`,
    }),
  });
  await eventually(
    () =>
      fetch(`${issuer}/health/ready`).then(
        ({ ok }) => ok,
        () => false,
      ),
    'ready',
    170_000,
  );
});
afterAll(() => {
  server.kill('SIGKILL');
  consul.close();
  rmSync(folder, { recursive: true, force: true });
});

const send = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
  const form = body instanceof URLSearchParams;
  return answerOf(
    await fetch(`${issuer}${path}`, {
      method,
      headers: { ...(body && !form ? { 'content-type': 'application/json' } : {}), ...headers },
      ...(body ? { body: form ? body : JSON.stringify(body) } : {}),
    }),
  );
};
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** The token of the newest mail to an address, read from the mailbox of development as a person would. */
const mailedToken = async (email: string, page: string): Promise<string> => {
  let token: string | undefined;
  await eventually(async () => {
    const mailbox = await (await fetch(`${issuer}/dev/mail`)).text();
    const after = mailbox.slice(mailbox.indexOf(email));
    token = new RegExp(`/${page}\\?token=([\\w-]+)`).exec(after)?.[1];
    return mailbox.includes(email) && token !== undefined;
  }, `a mail to ${email}`);
  return token as string;
};

const person = async () => {
  const email = `${crypto.randomUUID()}@example.com`;
  await send('POST', '/auth/register', { email, password, name: 'Ada Lovelace' });
  await send('POST', '/auth/verify', { token: await mailedToken(email, 'verify') });
  const { json } = await send('POST', '/auth/login', { email, password });
  return {
    email,
    id: json.user.id as string,
    accessToken: json.accessToken as string,
    refreshToken: json.refreshToken as string,
  };
};
let admin: { accessToken: string };
const administrator = async () => {
  if (admin) return admin;
  const email = 'admin@example.com';
  await command('create-admin', '--email', email, '--password', password);
  admin = (await send('POST', '/auth/login', { email, password })).json;
  return admin;
};
const registerClient = async (metadata: Record<string, unknown>) =>
  (await send('POST', '/clients', metadata, bearer((await administrator()).accessToken))).json;
const basic = ({ client_id, client_secret }: Record<string, string>) => ({
  authorization: `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}`,
});

describe('Acceptance Criteria', () => {
  it('POST /auth/register — registers user; returns verificationSent flag', async () => {
    const body = { email: 'first@example.com', password, name: 'First' };
    const { status, json } = await send('POST', '/auth/register', body);
    expect([status, json]).toEqual([201, { verificationSent: true }]);
    expect(await mailedToken(body.email, 'verify')).toBeTruthy();
  });

  it('POST /auth/login — returns RS256-signed accessToken + refreshToken', async () => {
    const { accessToken, refreshToken } = await person();
    expect(decodeProtectedHeader(accessToken)).toMatchObject({ alg: 'RS256', kid: expect.any(String) });
    expect(refreshToken).toMatch(/^[\w-]{20,}$/);
  });

  it('GET /.well-known/jwks.json — serves JWKS', async () => {
    const { accessToken, id } = await person();
    const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));
    const { payload } = await jwtVerify(accessToken, keys, { issuer, audience: 'countersign-api', typ: 'at+jwt' });
    expect(payload.sub).toBe(id);
    const { json } = await send('GET', '/.well-known/jwks.json');
    for (const key of json.keys) expect(key).not.toHaveProperty('d');
  });

  it('POST /oauth/token — supports password, refresh_token, client_credentials', async () => {
    const client = await registerClient({
      client_name: 'A back end',
      grant_types: ['password', 'refresh_token', 'client_credentials'],
      response_types: [],
      scope: 'users:read:own',
    });
    const { email } = await person();
    const token = (fields: Record<string, string>) =>
      send('POST', '/oauth/token', new URLSearchParams(fields), basic(client));
    const byPassword = await token({ grant_type: 'password', username: email, password });
    const refreshed = await token({ grant_type: 'refresh_token', refresh_token: byPassword.json.refresh_token });
    const ofItself = await token({ grant_type: 'client_credentials' });
    for (const { status, json } of [byPassword, refreshed, ofItself])
      expect([status, json]).toMatchObject([
        200,
        { access_token: expect.any(String), token_type: 'Bearer', expires_in: 900 },
      ]);
  });

  it('RBAC enforcement example: GET /admin/users accessible only to Admin role', async () => {
    const { accessToken } = await person();
    expect((await send('GET', '/admin/users')).status).toBe(401);
    expect((await send('GET', '/admin/users', undefined, bearer(accessToken))).status).toBe(403);
    const { status, json } = await send('GET', '/admin/users', undefined, bearer((await administrator()).accessToken));
    expect([status, json.data.length > 0]).toEqual([200, true]);
  });

  it('Service registers with Consul if CONSUL_ADDR present or is K8s-discoverable', async () => {
    await eventually(
      () => consulRequests.some(({ url }) => url.startsWith('/v1/agent/service/register')),
      'a registration',
    );
    const { body } = consulRequests[0] as (typeof consulRequests)[number];
    expect(body).toMatchObject({ Name: 'countersign', Port: Number(new URL(issuer).port) });
  });

  it('docker-compose up --build runs the service + Postgres + Redis', () => {
    // No engine runs where the tests do: what the file asks for is all that is looked at.
    const compose = read('docker-compose.yml');
    for (const service of ['countersign', 'postgres', 'redis'])
      expect(compose).toMatch(new RegExp(`^ {2}${service}:$`, 'm'));
    expect(compose).toMatch(/build: \./);
    expect(existsSync(join(root, 'Dockerfile'))).toBe(true);
  });

  it('Unit + integration tests pass (npm test)', () => {
    const { scripts } = JSON.parse(read('package.json'));
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['test', 'test:unit', 'test:integration']));
  });

  it('README explains how to run, test, migrate DB, create admin user, rotate keys', () => {
    const readme = read('README.md');
    const commands = ['npm start', 'npm test', 'migrate-db', 'create-admin', 'rotate-keys'];
    const explained = (words: string) => readme.includes(words) || readme.includes(`npm run -s ${words}`);
    expect(commands.filter((words) => !explained(words))).toEqual([]);
  });
});

describe('Minimal OpenAPI Endpoints', () => {
  it('POST /auth/verify — { token }', async () => {
    expect((await send('POST', '/auth/verify', { token: 'nonsense' })).json.code).toBe('invalid_token');
  });

  it('POST /auth/logout — { refreshToken }', async () => {
    const { refreshToken, accessToken } = await person();
    expect((await send('POST', '/auth/logout', { refreshToken })).status).toBe(204);
    expect((await send('GET', '/auth/me', undefined, bearer(accessToken))).status).toBe(401);
    expect((await send('POST', '/auth/refresh', { refreshToken })).status).toBe(401);
  });

  it('GET /users/:id', async () => {
    const [one, two] = [await person(), await person()];
    const { status, json } = await send('GET', `/users/${one.id}`, undefined, bearer(one.accessToken));
    expect([status, json.email]).toEqual([200, one.email]);
    expect((await send('GET', `/users/${one.id}`, undefined, bearer(two.accessToken))).status).toBe(403);
    const asAdmin = await send('GET', `/users/${one.id}`, undefined, bearer((await administrator()).accessToken));
    expect(asAdmin.status).toBe(200);
  });

  it('POST /clients — register machine client', async () => {
    const client = await registerClient({
      client_name: 'Machine',
      grant_types: ['client_credentials'],
      response_types: [],
    });
    expect(client).toMatchObject({ client_id: expect.any(String), client_secret: expect.any(String) });
    const { json } = await send(
      'POST',
      '/oauth/token',
      new URLSearchParams({ grant_type: 'client_credentials' }),
      basic(client),
    );
    expect(json.access_token).toBeTruthy();
    const { accessToken } = await administrator();
    const again = await send('GET', `/clients/${client.client_id}`, undefined, bearer(accessToken));
    expect(again.json).not.toHaveProperty('client_secret');
  });

  it('GET /health, /ready, /metrics, /openapi.json', async () => {
    const { json } = await send('GET', '/health');
    expect(json).toMatchObject({ status: 'ok', timestamp: expect.any(String) });
    expect((await send('GET', '/ready')).status).toBe(200);
    expect((await send('GET', '/metrics')).text).toContain('http_request_duration_seconds');
    expect((await send('GET', '/openapi.json')).json.openapi).toMatch(/^3\.1\./);
  });

  it('admin-only route to rotate keys and revoke tokens', async () => {
    const { accessToken } = await administrator();
    const someone = await person();
    for (const [path, body] of [
      ['/admin/keys/rotate', {}],
      ['/admin/tokens/revoke', { userId: someone.id }],
    ] as const)
      expect([path, (await send('POST', path, body, bearer(someone.accessToken))).status]).toEqual([path, 403]);
    const before = (await send('GET', '/.well-known/jwks.json')).json.keys.length;
    expect((await send('POST', '/admin/keys/rotate', {}, bearer(accessToken))).status).toBe(200);
    expect((await send('GET', '/.well-known/jwks.json')).json.keys.length).toBeGreaterThan(before);
    expect((await send('POST', '/admin/tokens/revoke', { userId: someone.id }, bearer(accessToken))).status).toBe(200);
    expect((await send('GET', '/auth/me', undefined, bearer(someone.accessToken))).status).toBe(401);
  });

  it('every path again under /api/v1', async () => {
    const { accessToken, email } = await person();
    expect((await send('GET', '/api/v1/auth/me', undefined, bearer(accessToken))).json.email).toBe(email);
  });
});

it('Example DB Schema (core tables): users, roles, permissions, role_permissions, clients, refresh_tokens, jwks_keys, audit_logs', () => {
  const migrations = ['20261122000000_create_identity.ts', '20261122000100_create_provider.ts']
    .map((file) => read(`db/migrations/${file}`))
    .join('\n');
  for (const table of 'users roles permissions role_permissions clients refresh_tokens jwks_keys audit_logs'.split(' '))
    expect(migrations).toContain(`create table ${table} (`);
});

it('Environment Variables: each that the list names is a setting', () => {
  const names =
    'NODE_ENV PORT DATABASE_URL JWT_ISSUER JWT_AUD JWT_ACCESS_TTL JWT_REFRESH_TTL JWKS_PRIVATE_KEY_PATH JWKS_KEY_ID CONSUL_ADDR ENCRYPTION_MASTER_KEY PROMETHEUS_ENABLED';
  expect(Object.keys(settings.shape)).toEqual(expect.arrayContaining(names.split(' ')));
});
