/**
 * The master key is rotated while the service runs: all that is sealed moves over, nothing that was derived changes, no request
 * fails, and the old key opens nothing afterwards. A column that is sealed and that the rotation does not know fails here.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { decodeJwt } from 'jose';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { askPerson } from '../../src/auth/backchannel.commands.ts';
import { createOneTimeCode } from '../../src/auth/one-time-codes.commands.ts';
import { commands } from '../../src/commands.ts';
import { sealProviderSecrets } from '../../src/federation/identity-providers.queries.ts';
import { openKey } from '../../src/keys/keys.commands.ts';
import { listKeys } from '../../src/keys/keys.queries.ts';
import { openSecrets } from '../../src/lasting-keys.ts';
import { listWaiting, rotateMasterKey, sealedColumns } from '../../src/master-key.commands.ts';
import { endEverything, forgetSealed } from '../../src/recovery.commands.ts';
import { createSecrets, lastingPurposes, type Secrets } from '../../src/secrets.ts';
import { openPii, phoneIndex, sealPii } from '../../src/users/pii.ts';
import { updateProfile } from '../../src/users/users.commands.ts';
import { type Authenticator, freshCode, setUpTotp } from '../support/authenticator.ts';
import { Browser, password, registerAccount } from '../support/browser.ts';
import { callerOf, type TestCaller } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { dumpTables } from '../support/dump.ts';
import { basic, post } from '../support/relying-party.ts';
import { eventually } from '../support/requests.ts';
import { defaultSettings, type RegisteredClient, startServer, type TestServer } from '../support/server.ts';
import { type Sibling, startSibling } from '../support/siblings.ts';
import { type Application, openApplication } from '../support/tokens.ts';

const oldKey = defaultSettings.ENCRYPTION_MASTER_KEY;
const newKey = randomBytes(32).toString('base64');
const withKeys = (key: string, accepted?: string) => ({
  ENCRYPTION_MASTER_KEY: key,
  ...(accepted ? { ENCRYPTION_MASTER_KEY_ACCEPTED: accepted } : {}),
});
const cli = fileURLToPath(new URL('../../src/countersign.js', import.meta.url));
/** How many people have something sealed: several batches. */
const crowd = 900;
const phone = '+4930901820';
const pairwiseMetadata = { subject_type: 'pairwise', first_party: true };
const upstreamSecrets = { client_secret: 'what the provider gave us' };

let server: TestServer;
let oldSecrets: Secrets;
let caller: TestCaller;
let authenticator: Authenticator;
let pairwise: Application;
/** Addresses of accounts, by what they are for. */
const people = { early: '', load: '', pairwise: '' };
let machine: RegisteredClient;
const crowdIds: string[] = [];
const codeSubject = uuid();
let code: string;

const rows = async <T>(sql: string, values: string[] = []): Promise<T[]> =>
  ((await server.database.db.raw(sql, values)) as { rows: T[] }).rows;

/** Something in every column that is sealed. */
const fill = async () => {
  const { db } = server.database;
  const { secrets } = server.app;
  caller = await callerOf(server);
  authenticator = await setUpTotp(server, caller);
  const pii = { phone_number: `${phone}00000`, birthdate: '1906-12-09' };
  await updateProfile(db, secrets, operator, caller.id, { name: 'Grace', locale: 'en', pii });
  for (let index = 0; index < crowd; index++) crowdIds.push(uuid());
  const { roleId } = await db('users').where({ id: caller.id }).first('roleId');
  const many = crowdIds.map((id, index) => ({
    ...{ id, email: `${id}@example.com`, name: 'One of many', roleId },
    ...sealPii(secrets, id, { phone_number: `${phone}${10_000 + index}` }),
  }));
  await db.batchInsert('users', many, 300);
  const providerId = 'upstream';
  await db('identityProviders').insert({
    ...{ id: providerId, metadata: '{}', rank: 1 },
    secretsEncrypted: sealProviderSecrets(secrets, providerId, upstreamSecrets),
  });
  code = await createOneTimeCode(db, secrets, {
    ...{ purpose: 'verify-phone', subject: codeSubject, userId: caller.id, channel: 'sms', destination: phone },
  });
  for (const name of ['early', 'load', 'pairwise'] as const) people[name] = await registerAccount(server);
  pairwise = await openApplication(server, pairwiseMetadata, { email: people.pairwise });
  machine = await server.client({ grant_types: ['client_credentials'], redirect_uris: [], scope: 'users:read:own' });
  await askPerson({ ...server.app.accounts, mayMail: async () => false }, operator, {
    ...{ userId: caller.id, client: { id: machine.client_id, name: 'A machine' } },
    details: { scope: 'openid' } as unknown as Parameters<typeof askPerson>[2]['details'],
    expiresAt: new Date(Date.now() + 600_000),
  });
  // An interaction that waits for its person.
  await new Browser(server.issuer).go('/account');
};

beforeAll(async () => {
  server = await startServer();
  oldSecrets = server.app.secrets;
  await fill();
}, 120_000);
afterAll(() => server.stop());

/** As a dump shows it, a ciphertext under a master key begins so. */
const tracesOf = ({ prefix }: Secrets): RegExp =>
  new RegExp(
    [`x${prefix.toString('hex')}`, prefix.toString('base64'), prefix.toString('base64url')]
      .map((text) => text.replace(/[+]/g, '\\$&'))
      .join('|'),
  );
const tablesWith = async (secrets: Secrets): Promise<string[]> => {
  const trace = tracesOf(secrets);
  const dump = await dumpTables(server.database.db);
  return Object.keys(dump).filter((table) => dump[table]?.some((row) => trace.test(row)));
};
const qualified = (table: string) => (table.includes('.') ? table : `public.${table}`);

it('knows every column that is sealed', async () => {
  expect(await tablesWith(oldSecrets)).toEqual(sealedColumns.map(({ table }) => qualified(table)).sort());
  const known = sealedColumns.flatMap(({ table, column, beside, inObject }) =>
    inObject ? [] : [`${table}.${column}`, ...(beside ? [`${table}.${beside}`] : [])],
  );
  const columns = await rows<{ name: string }>(
    `select table_name || '.' || column_name as name from information_schema.columns
     where table_schema = 'public' and data_type = 'bytea'`,
  );
  // A passkey's public key is no secret. What else is made of bytes is sealed, or this list says why not.
  expect(columns.map(({ name }) => name).sort()).toEqual([...known, 'passkeys.public_key'].sort());
});

it('derives what must last from keys that no master key leads to, and in an older database from what led to it', async () => {
  const { db } = server.database;
  const lasting = () => db('lastingKeys').select('purpose', 'keyEncrypted').orderBy('purpose');
  const before = await lasting();
  const index = phoneIndex(oldSecrets, phone);
  expect(phoneIndex(createSecrets(oldKey), phone)).not.toBe(index);
  expect(phoneIndex(await openSecrets(db, withKeys(newKey, oldKey)), phone)).toBe(index);

  // As it was before there were any.
  await db('lastingKeys').delete();
  await expect(openSecrets(db, withKeys(newKey, oldKey))).rejects.toThrow(
    /Start once with ENCRYPTION_MASTER_KEY as it/,
  );
  await expect(openSecrets(db, withKeys(newKey))).rejects.toThrow(/does not open this database: it was sealed under/);
  expect(await lasting()).toEqual([]);
  const [first, second] = await Promise.all([openSecrets(db, withKeys(oldKey)), openSecrets(db, withKeys(oldKey))]);
  for (const secrets of [first, second])
    expect(phoneIndex(secrets, phone)).toBe(phoneIndex(createSecrets(oldKey), phone));
  await db('lastingKeys').delete();
  await db('lastingKeys').insert(before);
});

it('refuses keys that are not those of the database, and says which they are', async () => {
  const { keyId } = oldSecrets;
  const wrong = randomBytes(32).toString('base64');
  const wrongIds = [newKey, wrong].map((key) => createSecrets(key).keyId).join(' and ');
  await expect(startSibling(server, withKeys(newKey, wrong))).rejects.toThrow(
    `ENCRYPTION_MASTER_KEY does not open this database: it was sealed under the master key ${keyId}; set are ${wrongIds}`,
  );
  expect(await rows("select 1 from audit_logs where action like 'master_key.%'")).toEqual([]);
});

/** Requests of each kind, each at another of the replicas that stand behind `addresses`; collects what fails. */
const load = (addresses: () => string[]) => {
  const failures: string[] = [];
  let requests = 0;
  let on = true;
  let next = 0;
  const at = () => {
    const all = addresses();
    next = (next + 1) % all.length;
    return all[next] as string;
  };
  const ask = async (path: string, init: RequestInit = {}): Promise<Record<string, unknown>> => {
    const response = await fetch(`${at()}${path}`, { redirect: 'manual', ...init });
    requests++;
    const text = await response.text();
    if (response.status !== 200) failures.push(`${path}: ${response.status} ${text.slice(0, 200)}`);
    return text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
  };
  const form = (fields: Record<string, string>, headers: Record<string, string>) => ({
    ...{ method: 'POST', body: new URLSearchParams(fields), headers },
  });
  const machines = async () => {
    const { access_token: token } = await ask(
      '/oauth/token',
      form({ grant_type: 'client_credentials' }, basic(machine)),
    );
    const { active } = await ask('/oauth/introspect', form({ token: String(token) }, basic(machine)));
    if (active !== true) failures.push('a token that is not active');
    await ask('/.well-known/jwks.json');
  };
  const person = async (email: string) => {
    const given = await ask('/auth/login', {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
      body: JSON.stringify({ email, password }),
    });
    const authorization = `Bearer ${given.accessToken}`;
    await ask('/auth/me', { headers: { authorization } });
  };
  /** Forms, whose token is of one replica, come to another; so do the cookies. */
  const pages = async (email: string) => {
    const browser = new Browser(server.issuer);
    const request = browser.request.bind(browser);
    browser.request = (url, init) => {
      Object.assign(browser, { address: at() });
      requests++;
      return request(url, init);
    };
    const page = await browser.submit(await browser.go('/account'), { email, password });
    if (page.status !== 200 || page.url.pathname !== '/account')
      failures.push(`a sign-in ended with ${page.status} at ${page.url}`);
    const again = await browser.go('/account/sessions');
    if (again.status !== 200 || again.url.pathname !== '/account/sessions')
      failures.push(`a session was lost at ${again.url}`);
  };
  const repeat = async (work: () => Promise<void>) => {
    while (on) await work().catch((error: Error) => failures.push(`${error.message} ${error.cause ?? ''}`));
  };
  const loops = Promise.all([repeat(machines), repeat(() => person(people.load)), repeat(() => pages(people.load))]);
  return {
    requests: () => requests,
    end: async () => {
      on = false;
      await loops;
      return failures;
    },
  };
};

/** What the rotation waits for in the middle of the crowd, so that whoever ends it is in time for that. */
const middleLock = 7_263_001;
const whileHeld = async (work: () => Promise<void>): Promise<void> => {
  const { db } = server.database;
  await db.raw(`create function wait_in_the_middle() returns trigger language plpgsql as $$
    begin perform pg_advisory_xact_lock_shared(${middleLock}); return new; end $$`);
  await db.raw(`create trigger wait_in_the_middle before update on users for each row
    when (new.id = '${crowdIds[crowd / 2]}') execute function wait_in_the_middle()`);
  try {
    await db.transaction(async (db) => {
      await db.raw('select pg_advisory_xact_lock(?)', [middleLock]);
      await work();
    });
  } finally {
    await db.raw('drop trigger wait_in_the_middle on users');
    await db.raw('drop function wait_in_the_middle()');
  }
};

/** The command of an operator, ended as with kill -9 when it says that it has come so far. */
const rotateAndKill = async (): Promise<void> => {
  if (!onPostgres) {
    const stop = (line: string) => {
      if (line === 'users.pii_key: 200') throw new Error('killed');
    };
    await expect(rotateMasterKey(siblings[0]?.app.accounts.db as never, secretsNow(), operator, stop)).rejects.toThrow(
      'killed',
    );
    return;
  }
  await whileHeld(runAndKill);
};

const runAndKill = async (): Promise<void> => {
  const child = spawn(process.execPath, [cli, 'rotate-master-key'], {
    env: {
      PATH: process.env.PATH ?? '',
      ...defaultSettings,
      ...withKeys(newKey, oldKey),
      DATABASE_URL: server.database.url ?? '',
      JWT_ISSUER: server.issuer,
    },
  });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
    if (said.includes('users.pii_key: 200')) child.kill('SIGKILL');
  });
  const [exit, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on('close', (...how) => resolve(how as [number | null, string | null])),
  );
  expect([exit, signal, said]).toEqual([null, 'SIGKILL', expect.stringContaining('users.pii_key')]);
};
let siblings: Sibling[] = [];
const secretsNow = () => siblings[0]?.app.secrets as Secrets;

it('moves everything over while two replicas serve, although it is killed in the middle', {
  timeout: 500_000,
}, async () => {
  const { db } = server.database;
  const subject = decodeJwt((await pairwise.tokens()).id_token).sub;
  // A browser that signed in before all this.
  const early = new Browser(server.issuer);
  await early.submit(await early.go('/account'), { email: people.early, password });
  // What was sealed before ciphertexts named their key.
  await db.raw('update jwks_keys set private_encrypted = substring(private_encrypted from 10)');

  // First both know the new key, then both seal under it; they are replaced one by one.
  siblings = [
    await startSibling(server, withKeys(oldKey, newKey)),
    await startSibling(server, withKeys(oldKey, newKey)),
  ];
  // The replicas that know one key alone are gone.
  await server.app.jobs.stop();
  const running = load(() => siblings.map(({ address }) => address));
  const served = async () => {
    const before = running.requests();
    await eventually(() => running.requests() - before > 20, 'more requests', 60_000);
  };
  await served();
  const roll = async (settings: Record<string, string>) => {
    for (const old of [...siblings]) {
      const fresh = await startSibling(server, settings);
      siblings = siblings.map((one) => (one === old ? fresh : one));
      await served();
      await old.stop();
    }
  };
  await roll(withKeys(newKey, oldKey));
  const command = commands['rotate-master-key'] as (typeof commands)[string];
  const run = (input: object) => command.run(siblings[0]?.app as never, input) as ReturnType<typeof rotateMasterKey>;
  const waiting = await run({ check: true });
  expect(command.exitCode?.(waiting)).toBe(2);
  expect(waiting.left).toContainEqual({ column: 'users.pii_key', masterKey: oldSecrets.keyId, rows: crowd + 1 });
  expect(waiting.left).toContainEqual({ column: 'jwks_keys.private_encrypted', rows: 4 });

  await rotateAndKill();
  const rest = await run({ check: true });
  expect(rest.left.find(({ column }) => column === 'users.pii_key')?.rows).toBeLessThan(crowd + 1);
  const finished = await run({});
  expect([finished.left, command.exitCode?.(finished)]).toEqual([[], 0]);
  expect(await run({})).toEqual({ masterKey: createSecrets(newKey).keyId, resealed: {}, left: [] });
  // A page is used once more: with that its cookies are signed anew.
  Object.assign(early, { address: siblings[0]?.address });
  expect((await early.go('/account')).url.pathname).toBe('/account');

  await served();
  const failures = await running.end();
  expect([...new Set(failures)]).toEqual([]);
  for (const sibling of siblings) await sibling.stop();

  // The old key is taken away.
  const last = await startSibling(server, withKeys(newKey));
  siblings = [last];
  const { secrets } = last.app;
  Object.assign(early, { address: last.address });
  expect((await early.go('/account')).url.pathname).toBe('/account');
  for (const key of await listKeys(db)) expect(openKey(secrets, key)).toHaveProperty('d');
  expect(phoneIndex(secrets, phone)).toBe(phoneIndex(oldSecrets, phone));
  const person = await db('users')
    .where({ phoneIndex: phoneIndex(secrets, `${phone}00000`) })
    .first('id', 'piiKey', 'piiEncrypted');
  expect([person.id, openPii(secrets, person)]).toEqual([
    caller.id,
    expect.objectContaining({ birthdate: '1906-12-09' }),
  ]);
  const validate = (value: string) =>
    fetch(`${last.address}/mfa/totp/validate`, {
      ...{ method: 'POST', body: JSON.stringify({ code: value }) },
      headers: { authorization: `Bearer ${caller.token}`, 'content-type': 'application/json' },
    });
  expect((await validate(await freshCode(server, caller.id, authenticator.secret))).status).toBe(200);
  expect((await validate(authenticator.backupCodes[0] as string)).status).toBe(200);
  const { matchOneTimeCode } = await import('../../src/auth/one-time-codes.commands.ts');
  const kept = (keys: Secrets) => matchOneTimeCode(db, keys, { purpose: 'verify-phone', subject: codeSubject, code });
  // Its hash is under the old key, which must be accepted for as long as a code lives.
  expect(await kept(secrets)).toBeUndefined();
  expect(await kept(await openSecrets(db, withKeys(newKey, oldKey)))).toMatchObject({ destination: phone });
  const again = { email: people.pairwise, address: last.address };
  const tokens = await (await openApplication(server, pairwiseMetadata, again)).tokens();
  expect(decodeJwt(tokens.id_token).sub).toBe(subject);
  await last.stop();
});

it('leaves nothing that the old key opens, with data keys of people that are new', async () => {
  const { db } = server.database;
  expect(await tablesWith(createSecrets(oldKey))).toEqual([]);
  expect((await listWaiting(db, createSecrets(newKey))).map(({ column }) => column)).toEqual([]);
  await expect(startSibling(server, withKeys(oldKey))).rejects.toThrow(
    `it was sealed under the master key ${createSecrets(newKey).keyId}; set is ${oldSecrets.keyId}`,
  );
});

it('is recorded: when it began, what waited, and when nothing was left', async () => {
  const events = await rows<{ action: string; targetId: string; meta: Record<string, unknown> }>(
    `select action, target_id, meta from audit_logs where action like 'master_key.%' order by id`,
  );
  const target = createSecrets(newKey).keyId;
  expect(events.map(({ action, targetId }) => [action, targetId])).toEqual([
    ['master_key.rotate', target],
    ['master_key.rotate', target],
    ['master_key.complete', target],
  ]);
  expect(events[2]?.meta).toMatchObject({ resealed: { 'users.pii_key': expect.any(Number) } });
});

it('has not happened where it cannot be recorded, like everything else that an operator does about keys', async () => {
  const { db } = server.database;
  const other = randomBytes(32).toString('base64');
  const lost = { ...server.app.config, ENCRYPTION_MASTER_KEY: other };
  const all = () => dumpTables(db, ['public']);
  const before = await all();
  await db.raw('alter table audit_logs add constraint broken check (false) not valid');
  try {
    await expect(rotateMasterKey(db, createSecrets(other, newKey), operator)).rejects.toThrow(/broken/);
    await expect(endEverything(db, operator)).rejects.toThrow(/broken/);
    await expect(forgetSealed(db, lost, operator)).rejects.toThrow(/broken/);
  } finally {
    await db.raw('alter table audit_logs drop constraint broken');
  }
  expect(await all()).toEqual(before);
});

it('ends what was given before a backup, and leaves nobody with less to show than they had', async () => {
  const { db } = server.database;
  const other = randomBytes(32).toString('base64');
  const lost = { ...server.app.config, ENCRYPTION_MASTER_KEY: other };
  const authorization = basic(machine);
  const ask = (path: string, fields: Record<string, string>) => post(server, path, fields, authorization);
  const { access_token: token } = (await ask('/oauth/token', { grant_type: 'client_credentials' })).body;
  const isActive = async () => (await ask('/oauth/introspect', { token: String(token) })).body.active;
  expect(await isActive()).toBe(true);
  const mfaUntil = new Date(Date.now() + 86_400_000);
  await db('knownDevices').insert({ userId: caller.id, deviceHash: uuid(), expiresAt: mfaUntil, mfaUntil });
  const ended = await endEverything(db, operator);
  expect([ended.refreshTokens, ended.rememberedBrowsers]).toEqual([expect.any(Number), 1]);
  expect(ended.refreshTokens).toBeGreaterThan(0);
  expect(await isActive()).toBe(false);

  const idOf = async (email: string): Promise<string> => (await db('users').where({ email }).first('id')).id;
  const [here, imported] = [await idOf(people.early), await idOf(people.load)];
  for (const [userId, userHandle] of [
    [here, null],
    [imported, 'as the other system had it'],
  ])
    await db('passkeys').insert({
      ...{ id: uuid(), userId, userHandle, credentialId: uuid(), publicKey: Buffer.from('key'), name: 'Key' },
      ...{ counter: 0, aaguid: uuid(), discoverable: true, backupEligible: true, backedUp: true },
    });
  expect(await forgetSealed(db, lost, operator)).toMatchObject({ personalData: crowd + 1, authenticatorApps: 1 });
  expect(await tablesWith(createSecrets(newKey))).toEqual([]);
  // Who has lost their second factor does not get in by a password that somebody may have stolen.
  const withPassword = db('users').whereNotNull('passwordHash').whereIn('id', [caller.id, here, imported]);
  expect(await withPassword.pluck('id')).toEqual([imported]);
  // No master key leads to a lasting key, the one that is set now included.
  const secrets = await openSecrets(db, lost);
  for (const purpose of lastingPurposes)
    expect(secrets.mac(purpose, 'x')).not.toBe(createSecrets(other).mac(purpose, 'x'));
});
