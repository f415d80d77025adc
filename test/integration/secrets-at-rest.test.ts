/**
 * A whole journey, and then nothing of what a thief could use is found in what it left behind: not in any row of the
 * database, not in a dump of it, not in the logs.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSetupToken } from '../../src/auth/administrators.commands.ts';
import { createLog } from '../../src/log.ts';
import { setUpTotp } from '../support/authenticator.ts';
import { Browser } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { dumpTables } from '../support/dump.ts';
import { findSecrets } from '../support/needles.ts';
import { basic, post, tampered } from '../support/relying-party.ts';
import { postForm, tokenOf } from '../support/requests.ts';
import { defaultSettings, startServer, type TestServer } from '../support/server.ts';
import { openApplication, redirectUri } from '../support/tokens.ts';

const email = 'grace.hopper@example.com';
const password = 'correct horse battery staple';
const person = {
  name: 'Grace Hopper',
  given_name: 'Gracilia-Brewster',
  phone_number: '+493090182055',
  birthdate: '1906-12-09',
  street_address: '1943 Cobol Boulevard',
  locality: 'Harvard-upon-Mark',
  postal_code: '10117-XQ',
};

let server: TestServer;
let lines: string[];
/** Value to name. */
const secrets = new Map<string, string>();
const keep = (name: string, value: unknown): string => {
  if (typeof value !== 'string' || !value) throw new Error(`the journey gave no ${name}`);
  secrets.set(value, name);
  return value;
};

const useKeys = async () => {
  const { db } = server.database;
  keep('the master key', defaultSettings.ENCRYPTION_MASTER_KEY);
  for (const { kid, alg, privateEncrypted } of await db('jwksKeys')) {
    const jwk = JSON.parse(server.app.secrets.open('signing-key', `jwks_keys:${kid}`, privateEncrypted).toString());
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi']) if (jwk[member]) keep(`${alg} ${member}`, jwk[member]);
  }
  for (const { kid, alg, privateEncrypted } of await db('jwksDecryptionKeys')) {
    const { secrets } = server.app;
    const jwk = JSON.parse(secrets.open('decryption-key', `jwks_decryption_keys:${kid}`, privateEncrypted).toString());
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi']) if (jwk[member]) keep(`${alg} ${member}`, jwk[member]);
  }
  const { id, piiKey } = await db('users').where({ email }).first('id', 'piiKey');
  const dataKey = server.app.secrets.open('user-data-key', `users:${id}`, piiKey);
  keep('the data key of a user', dataKey.toString('base64url'));
  keep('a set-up token', await createSetupToken(db));
};

const useAccount = async (browser: Browser) => {
  await postForm(browser, '/register', { email, password: keep('the password', password), name: person.name });
  const verify = keep('a verification token', tokenOf((await server.mail(email, /Confirm/)).links, 'verify'));
  await postForm(browser, '/verify', { token: verify });
  const failed = await browser.go('/account');
  await browser.submit(failed, { email, password: keep('a mistyped password', 'korrect hors batery stapel') });
  await browser.submit(await browser.go('/account'), { email, password });
  const { name: _, ...personal } = person;
  const saved = await postForm(browser, '/account/profile', { ...person });
  expect(saved.url.search).toBe('?notice=profileSaved');
  for (const [name, value] of Object.entries(personal)) keep(name, value);
  await postForm(new Browser(server.issuer), '/forgot', { email });
  keep('a reset token', tokenOf((await server.mail(email, /new password/)).links, 'reset'));
};

const useTokens = async (browser: Browser) => {
  const resource = { resource: `${server.issuer}/api`, scope: 'openid read' };
  const application = await openApplication(server, { scope: 'openid email profile phone read' }, { browser, email });
  const { client, post } = application;
  keep('the client secret', client.client_secret);
  keep('the client credentials', Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64'));
  const given: Record<string, string> = {};
  for (const [kind, asked] of Object.entries({ opaque: { scope: 'openid email phone' }, jwt: resource })) {
    const code = await application.code({
      ...asked,
      nonce: 'n-0S6_WzA2Mj',
      state: keep(`${kind}: state`, `state-of-${kind}`),
    });
    keep(`${kind}: code`, code.code);
    keep(`${kind}: verifier`, code.code_verifier);
    const { body } = await application.exchange(code);
    for (const [name, value] of Object.entries(body)) if (name.endsWith('_token')) keep(`${kind}: ${name}`, value);
    Object.assign(given, body);
    const { body: refreshed } = await application.refresh(body.refresh_token as string);
    for (const name of ['access_token', 'refresh_token'])
      given[name] = keep(`${kind}: refreshed ${name}`, refreshed[name]);
    expect(await application.isActive(refreshed.access_token as string)).toBe(true);
  }
  keep('the signature of a JWT', given.access_token?.split('.')[2]);
  await post('/oauth/revoke', { token: given.access_token as string });
  keep('a code that was not used', (await application.code()).code);
  // A replay, which ends a grant, and a wrong secret.
  const elsewhere = await openApplication(server, {}, { browser, email });
  const replayed = await elsewhere.code();
  keep('a replayed code', replayed.code);
  keep('a dead token', (await elsewhere.exchange(replayed)).body.access_token);
  await elsewhere.exchange(replayed);
  const wrong = keep('a wrong client secret', 'not-the-client-secret-at-all');
  await fetch(`${server.issuer}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'client_credentials', client_id: client.client_id, client_secret: wrong }),
  });

  const request = {
    client_id: client.client_id,
    response_type: 'code',
    scope: 'openid',
    redirect_uri: redirectUri,
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
  };
  const state = keep('the state of a pushed request', 'state-that-was-pushed');
  const pushed = await post('/oauth/par', { ...request, state, login_hint: email });
  keep('a pushed request', (pushed.body.request_uri as string).replace(/^urn.*:/, ''));
  // Waits for its person, with the session's cookie in it.
  const waiting = new URLSearchParams({ ...request, prompt: 'login', id_token_hint: given.id_token as string });
  expect((await browser.go(`/oauth/authorize?${waiting}`)).url.pathname).toMatch(/^\/interaction\//);
  // Posted, and not fetched yet.
  const posted = await browser.request('/oauth/authorize', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ ...request, state: keep('the state of a posted request', 'state-that-was-posted') }),
  });
  keep('a handle', new URL(posted.headers.get('location') as string, server.issuer).searchParams.get('posted'));

  const machine = await openApplication(
    server,
    { grant_types: ['client_credentials'], redirect_uris: [], token_endpoint_auth_method: 'client_secret_post' },
    { email },
  );
  keep('a secret for post', machine.client.client_secret);
};

/** An authenticator app, its codes, and a link that signs in. */
const useFactors = async () => {
  const caller = await callerOf(server);
  const { secret, backupCodes } = await setUpTotp(server, caller);
  const { secretEncrypted, id } = await server.database.db('totpDevices').where({ userId: caller.id }).first();
  keep('the key of an authenticator app', secret);
  const key = server.app.secrets.open('totp', id, secretEncrypted);
  keep('the same in hexadecimal', key.toString('hex'));
  keep('the same in base 64', key.toString('base64url'));
  for (const [index, code] of backupCodes.entries()) {
    keep(`backup code ${index}`, code);
    keep(`backup code ${index}, without dashes`, code.replaceAll('-', ''));
  }
  await caller.request('post', '/mfa/totp/validate', { code: backupCodes[0] });
  await caller.request('post', '/mfa/totp/validate', { code: keep('a mistyped backup code', 'aaaa-bbbb-cccc') });
  await caller.request('post', '/auth/magic-link', { email: caller.email });
  const { links } = await server.mail(caller.email, /^Sign in to/);
  keep('a sign-in link', tokenOf(links, 'sign-in-link'));
};

/** API keys and rotated secrets, with all that is done with them. */
const useMachines = async () => {
  const admin = await callerOf(server, { role: 'admin' });
  keep('the token of an administrator', admin.token);
  const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
  const metadata = { grant_types: [exchange, 'client_credentials'], scope: 'users:read:own' };
  const { json: client } = await admin.request('post', '/clients', { ...metadata, access_token_format: 'opaque' });
  keep('a secret that was rotated out', client.client_secret);
  const { json: rotated } = await admin.request('post', `/clients/${client.client_id}/secret`, {});
  keep('a secret that was rotated in', rotated.client_secret);
  const ask = async (form: Record<string, string>, { client_secret }: { client_secret: string }) =>
    post(server, '/oauth/token', form, basic({ client_id: client.client_id, client_secret }));
  for (const secret of [client, rotated])
    keep('a token of a machine', (await ask({ grant_type: 'client_credentials' }, secret)).body.access_token);

  const { json: made } = await admin.request('post', '/api-keys', { name: 'ci', scopes: ['users:read:own'] });
  const key = keep('an API key', made.key);
  const mistyped = keep('a mistyped API key', tampered(key, 20));
  const subject_token_type = 'urn:countersign:params:oauth:token-type:api_key';
  for (const subject_token of [key, mistyped]) {
    await fetch(`${server.issuer}/auth/me`, { headers: { authorization: `Bearer ${subject_token}` } });
    const { body } = await ask({ grant_type: exchange, subject_token, subject_token_type }, rotated);
    if (subject_token === key) keep('a token for an API key', body.access_token);
  }
};

beforeAll(async () => {
  lines = [];
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  server = await startServer({}, { log });
  const browser = new Browser(server.issuer);
  await useAccount(browser);
  await useTokens(browser);
  await useMachines();
  await useFactors();
  await useKeys();
  for (const line of browser.setCookies) {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    // An interaction's id stands in its page's address; what makes a cookie of it is the signature beside it.
    if (value.length >= 8 && !/^(interaction|resume)$/.test(name)) keep(`the cookie ${name}`, value);
  }
  const names = [...secrets.values()].join();
  for (const cookie of ['session', 'session.sig', 'interaction.sig', 'flow'])
    expect(names).toContain(`the cookie ${cookie}`);
});
afterAll(() => server.stop());

it('the search finds what is hidden in an encoding', () => {
  const secret = new Map([['s3cret-value-of-some-length', 'it']]);
  const value = [...secret.keys()][0] as string;
  for (const text of [value, `a ${value}`, `ab ${value} c`]) {
    for (const encoding of ['utf8', 'hex', 'base64', 'base64url'] as const)
      expect(findSecrets(Buffer.from(text).toString(encoding), secret)).toHaveLength(1);
  }
  expect(findSecrets('something else', secret)).toEqual([]);
});

describe('after a whole journey no secret is found', () => {
  it('in any row of any table of any schema', async () => {
    const dump = await dumpTables(server.database.db);
    const [tables, rows] = [Object.keys(dump), Object.values(dump).flat()];
    expect(tables).toEqual(expect.arrayContaining(['public.oidc_payloads', 'pgboss.job', 'public.audit_logs']));
    expect(rows.length).toBeGreaterThan(40);
    const found = Object.entries(dump).flatMap(([table, rows]) =>
      findSecrets(rows.join('\n'), secrets).map((what) => `${table}: ${what}`),
    );
    expect(found).toEqual([]);
  });

  it('because nothing was there: the journey has left something of every kind', async () => {
    const { db } = server.database;
    const models = await db('oidcPayloads').distinct('model').pluck('model');
    expect(models).toEqual(
      expect.arrayContaining([
        'AccessToken',
        'AuthorizationCode',
        'Interaction',
        'PostedRequest',
        'PushedAuthorizationRequest',
      ]),
    );
    for (const table of [
      'sessions',
      'grants',
      'refreshTokens',
      'consents',
      'actionTokens',
      'revokedTokens',
      'apiKeys',
      'totpDevices',
      'backupCodes',
      'pgboss.job',
    ])
      expect(await db(table).first(db.raw('1 as one')), table).toBeDefined();
  });

  it.runIf(onPostgres)('in what pg_dump writes', async ({ skip }) => {
    const dump = await promisify(execFile)('pg_dump', [server.database.url as string], { maxBuffer: 2 ** 28 }).catch(
      (error: Error & { code?: unknown; stderr?: string }) => {
        if (error.code === 'ENOENT' || error.stderr?.includes('version mismatch')) return undefined;
        throw error;
      },
    );
    if (!dump) return skip('no pg_dump for this server');
    expect(dump.stdout).toContain('COPY public.users');
    expect(findSecrets(dump.stdout, secrets)).toEqual([]);
  });

  it('in the logs, nor who it was', () => {
    expect(lines.length).toBeGreaterThan(30);
    expect(
      findSecrets(lines.join(''), new Map([...secrets, [email, 'the address'], [person.name, 'the name']])),
    ).toEqual([]);
  });
});
