/**
 * Marked secrets are pushed through every endpoint, where they belong and where they do not, also while the database fails; and then
 * none of them is found in the log at its most talkative, in the audit log, or in a trace.
 */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createLog } from '../../src/log.ts';
import { routes as protocol } from '../../src/provider/configuration.ts';
import { callerOf } from '../support/callers.ts';
import { findPlainSecrets, findSecrets } from '../support/needles.ts';
import { startServer, type TestServer } from '../support/server.ts';

/** Value to name. */
const needles = new Map<string, string>();
const needle = (name: string, prefix = ''): string => {
  const value = `${prefix}${randomBytes(18).toString('base64url')}`;
  needles.set(value, name);
  return value;
};

const lines: string[] = [];
const traces: string[] = [];
const collector = createServer((request, response) => {
  request.on('data', (chunk) => void traces.push(String(chunk)));
  request.on('end', () => response.end('{}'));
});
let server: TestServer;
let audit: string[];
let asked = 0;

/** Members of bodies and queries that hold secrets somewhere, or somebody's data. */
const members = [
  ...[
    'password',
    'currentPassword',
    'newPassword',
    'code',
    'mfaCode',
    'mfaToken',
    'token',
    'refreshToken',
    'idToken',
    'access_token',
  ],
  ...[
    'client_secret',
    'client_assertion',
    'code_verifier',
    'refresh_token',
    'id_token_hint',
    'login_hint',
    'assertion',
    'request',
  ],
  ...[
    'subject_token',
    'actor_token',
    'user_code',
    'username',
    'state',
    'nonce',
    'binding_message',
    'phoneNumber',
    'email',
  ],
  ...['secret', 'key', 'privateKey', 'registration_access_token', 'device_code', 'auth_req_id'],
];
const filled = (where: string) =>
  Object.fromEntries(
    members.map((name) => [name, needle(`${name} in ${where}`, name === 'email' ? 'n@x.example/' : '')]),
  );

const headers = (kind: 'bearer' | 'basic'): Record<string, string> => {
  const secret = needle(`${kind} credentials`);
  const basic = needle('a basic password');
  return {
    authorization:
      kind === 'bearer' ? `Bearer ${secret}` : `Basic ${Buffer.from(`client:${basic}`).toString('base64')}`,
    cookie: `session=${needle('a session')}; session.sig=${needle('its signature')}; device=${needle('a device')}`,
    dpop: needle('a proof'),
    'x-api-key': needle('a key'),
    'idempotency-key': needle('an idempotency key'),
    referer: `http://elsewhere.example/?code=${needle('a referer')}`,
  };
};

const ask = async (method: string, path: string, type: 'json' | 'form', authorization: Record<string, string>) => {
  const body = filled(`a ${type} body`);
  const query = new URLSearchParams({ ...filled('a query'), ...(type === 'form' ? { grant_type: 'password' } : {}) });
  const hasBody = !['GET', 'HEAD'].includes(method);
  asked++;
  const response = await fetch(`${server.issuer}${path}?${query}`, {
    method,
    redirect: 'manual',
    headers: {
      ...authorization,
      ...(hasBody
        ? { 'content-type': type === 'json' ? 'application/json' : 'application/x-www-form-urlencoded' }
        : {}),
    },
    ...(hasBody ? { body: type === 'json' ? JSON.stringify(body) : new URLSearchParams(body) } : {}),
  });
  await response.arrayBuffer();
  return response.status;
};

/** Some at a time. */
const all = async (work: (() => Promise<unknown>)[]): Promise<void> => {
  const left = [...work];
  await Promise.all(
    Array.from({ length: 12 }, async () => {
      for (let next = left.shift(); next; next = left.shift()) await next();
    }),
  );
};

const pages = [
  '/account',
  '/account/profile',
  '/forgot',
  '/reset',
  '/register',
  '/verify',
  '/setup',
  '/interaction/x',
  '/device',
  '/demo',
  '/sign-in-link',
  '/auth/social/x/callback',
  '/nothing-here',
];

beforeAll(async () => {
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const log = createLog('trace', { write: (line) => void lines.push(line) });
  server = await startServer(
    { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}` },
    { log },
  );
  const admin = await callerOf(server, { role: 'super_admin' });
  needles.set(admin.token, 'the token of an administrator');
  const id = '01a20538-0000-7000-8000-000000000000';
  const rest = server.app.routes.map(({ method, path }) => [method.toUpperCase(), path.replace(/:\w+/g, id)] as const);
  const own = { authorization: `Bearer ${admin.token}` };
  await all([
    ...rest.map(
      ([method, path]) =>
        () =>
          ask(method, path, 'json', own),
    ),
    ...rest
      .filter((_, index) => index % 4 === 0)
      .map(
        ([method, path]) =>
          () =>
            ask(method, path, 'json', headers('bearer')),
      ),
    ...Object.values(protocol).flatMap((path) =>
      ['GET', 'POST'].map((method) => () => ask(method, path, 'form', headers('basic'))),
    ),
    ...pages.flatMap((path) => ['GET', 'POST'].map((method) => () => ask(method, path, 'form', headers('bearer')))),
  ]);
  // What nobody foresees: the driver's errors quote rows and values.
  const { db } = server.database;
  const gone = ['users', 'clients', 'sessions', 'oidc_payloads'];
  for (const table of gone) await db.raw(`alter table ${table} rename to ${table}_gone`);
  const failing = ['/auth/login', '/auth/register', '/auth/password/forgot', ...Object.values(protocol)];
  await all(
    failing.map((path) => () => ask('POST', path, path.startsWith('/auth/') ? 'json' : 'form', headers('basic'))),
  );
  for (const table of gone) await db.raw(`alter table ${table}_gone rename to ${table}`);
  audit = (await db('auditLogs').select('*')).map((row) => JSON.stringify(row));
  await server.stop();
  collector.close();
}, 120_000);
afterAll(() => collector.close());

const found = (text: string) => [...new Set(findSecrets(text, needles))];

it('there was something to find', () => {
  expect(needles.size).toBeGreaterThan(5000);
  expect(lines.length).toBeGreaterThan(asked);
  expect(traces.join('').length).toBeGreaterThan(100_000);
  expect(audit.length).toBeGreaterThan(10);
  expect(lines.some((line) => JSON.parse(line).level === 50)).toBe(true);
});

for (const [what, text] of [
  ['the log', () => lines.join('')],
  ['the audit log', () => audit.join('\n')],
  ['the traces', () => traces.join('')],
] as const) {
  it(`nothing is found in ${what}`, () => {
    // By their own letters first: to look for each in every encoding would take minutes.
    const plain = text();
    expect(findPlainSecrets(plain, needles)).toEqual([]);
    const sample = new Map([...needles].filter((_, index) => index % 40 === 0));
    expect([...new Set(findSecrets(plain.slice(0, 2_000_000), sample))]).toEqual([]);
  });
}

it('the search finds what is there', () => {
  const [value, name] = [...needles][0] as [string, string];
  expect(found(`{"a":"${value}"}`)).toEqual([`${name}, as ${value}`]);
  expect(findPlainSecrets(`{"a":"${value}"}`, needles)).toEqual([name]);
});
