/**
 * An application that gets itself tokens asks nothing of the database once it is known, and what is known of it is true: at once on
 * the replica that made a change, a second later on the others, and also where the channel that tells of changes is lost.
 */
import { randomUUID } from 'node:crypto';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createTokenReads } from '../../adapters/token-reads.ts';
import { connect, type Db } from '../../db/connect.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { createLog } from '../../src/log.ts';
import { createMeetings } from '../../src/resource-servers/meetings.ts';
import { createAccessCache } from '../../src/roles/access-cache.ts';
import { hashToken } from '../../src/secrets.ts';
import { onPostgres } from '../support/database.ts';
import { openRelay, type Relay } from '../support/relay.ts';
import { basic, post, type Reply } from '../support/relying-party.ts';
import { type Replica, startReplica } from '../support/replicas.ts';
import { eventually } from '../support/requests.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let db: Db;
const lines: { path?: string; level: number; status?: number }[] = [];
beforeAll(async () => {
  const log = createLog('info', { write: (line) => lines.push(JSON.parse(line)) });
  server = await startServer({}, { log });
  db = server.database.db;
});
afterAll(() => server.stop());

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const machine = (metadata: Record<string, unknown> = {}): Promise<RegisteredClient> =>
  server.client({
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: 'users:read:any ledger.read ledger.write',
    ...metadata,
  });

let servers = 0;
const resource = async (clientId: string, members: Record<string, unknown> = {}): Promise<string> => {
  const identifier = `https://ledger${++servers}.example.com/`;
  const [{ id }] = await db('resourceServers')
    .insert({
      id: randomUUID(),
      identifier,
      name: 'Ledger',
      scopes: JSON.stringify([{ name: 'ledger.read' }, { name: 'ledger.write' }]),
      allow: 'listed',
      rank: 0,
      ...members,
    })
    .returning('id');
  await db('resourceServerClients').insert({ resourceServerId: id, clientId });
  return identifier;
};

const ask = (issuer: string, client: RegisteredClient, form: Record<string, string> = {}): Promise<Reply> =>
  post({ issuer }, '/oauth/token', { grant_type: 'client_credentials', ...form }, basic(client));

describe('the way of a token', () => {
  it('asks nothing of the database, and has no line in the log', async () => {
    const plain = await machine();
    const other = await machine({ audience: 'https://own.example.com' });
    const identifier = await resource(plain.client_id);
    const dynamic = await machine();
    await db('clients').where({ clientId: dynamic.client_id }).update({ kind: 'dynamic', vouchedFor: true });
    const requests = [
      () => ask(server.issuer, plain),
      () => ask(server.issuer, plain, { scope: 'users:read:any' }),
      () => ask(server.issuer, plain, { resource: identifier, scope: 'ledger.read' }),
      () => ask(server.issuer, other),
      () => ask(server.issuer, dynamic),
    ];
    const all = () => Promise.all(requests.map((request) => request()));
    for (const { status, body } of await all()) expect([status, body.error]).toEqual([200, undefined]);
    await sleep(100);
    await all();
    lines.length = 0;
    const asked: string[] = [];
    const note = ({ sql }: { sql: string }) => asked.push(sql);
    // Now and then the service asks of its own accord, and for a token where the proof is late that it has heard of all changes.
    await vi.waitFor(
      async () => {
        asked.length = 0;
        db.on('query', note);
        try {
          for (let round = 0; round < 3; round++) for (const { status } of await all()) expect(status).toBe(200);
        } finally {
          db.removeListener('query', note);
        }
        expect(asked.filter((sql) => !/pgboss/.test(sql))).toEqual([]);
      },
      { timeout: 40_000, interval: 10 },
    );
    expect(lines.filter(({ path }) => path === '/oauth/token')).toEqual([]);
    // A refusal has one.
    expect((await ask(server.issuer, { ...plain, client_secret: 'wrong' })).status).toBe(401);
    expect(lines.filter(({ path }) => path === '/oauth/token')).toMatchObject([{ status: 401 }]);
  });

  it('goes on while keys are rotated: what began with the old ones verifies', async () => {
    const client = await machine();
    const answers: Promise<Reply>[] = [];
    for (let round = 0; round < 3; round++) {
      for (let count = 0; count < 20; count++) answers.push(ask(server.issuer, client));
      await rotateKeys(db, server.app.secrets, operator, { now: true });
      await server.app.provider.reload();
    }
    answers.push(ask(server.issuer, client));
    const tokens = (await Promise.all(answers)).map(({ body }) => body.access_token as string);
    const keys = createLocalJWKSet(
      (await (await fetch(`${server.issuer}/.well-known/jwks.json`)).json()) as JSONWebKeySet,
    );
    const kids = new Set<string | undefined>();
    for (const token of tokens)
      kids.add((await jwtVerify(token, keys, { issuer: server.issuer, typ: 'at+jwt' })).protectedHeader.kid);
    expect(kids.size).toBeGreaterThan(1);
  });
});

/** What is changed, what is asked, and what the answer is before and after. */
interface Change {
  change(client: RegisteredClient, identifier: string): Promise<unknown>;
  form?: (identifier: string) => Record<string, string>;
  metadata?: Record<string, unknown>;
  shown(reply: Reply, client: RegisteredClient): unknown;
  expected: unknown;
}
const row = (clientId: string) => db('clients').where({ clientId });
const error = ({ status, body }: Reply) => [status, body.error];
const ledger = (identifier: string) => ({ resource: identifier, scope: 'ledger.read' });

const changes: Record<string, Change> = {
  'another secret': {
    change: ({ client_id }) => row(client_id).update({ clientSecretHash: hashToken('another') }),
    shown: error,
    expected: [401, 'invalid_client'],
  },
  'a secret that is rotated out, and then over': {
    change: async ({ client_id, client_secret = '' }) => {
      const later = new Date(Date.now() + 60_000);
      await row(client_id).update({
        clientSecretHash: hashToken('another'),
        previousSecretHash: hashToken(client_secret),
        previousSecretExpiresAt: later,
      });
      await row(client_id).update({ previousSecretExpiresAt: new Date() });
    },
    shown: error,
    expected: [401, 'invalid_client'],
  },
  'the end of a secret that was rotated out, which nothing tells of': {
    metadata: {},
    change: ({ client_id, client_secret = '' }) =>
      row(client_id).update({
        clientSecretHash: hashToken('another'),
        previousSecretHash: hashToken(client_secret),
        previousSecretExpiresAt: new Date(Date.now() + 400),
      }),
    shown: error,
    expected: [401, 'invalid_client'],
  },
  'a client that is blocked': {
    change: ({ client_id }) => row(client_id).update({ kind: 'metadata-document', blockedAt: new Date() }),
    shown: error,
    expected: [401, 'invalid_client'],
  },
  'a client that is gone': {
    change: ({ client_id }) => row(client_id).delete(),
    shown: error,
    expected: [401, 'invalid_client'],
  },
  'a grant type that was taken away': {
    change: ({ client_id }) => row(client_id).update({ grantTypes: ['refresh_token'] }),
    shown: error,
    expected: [400, 'invalid_request'],
  },
  'a scope that was taken away': {
    change: ({ client_id }) => row(client_id).update({ scope: 'users:read:own' }),
    form: () => ({ scope: 'users:read:any' }),
    shown: error,
    expected: [400, 'invalid_scope'],
  },
  'another format of tokens': {
    change: ({ client_id }) => row(client_id).update({ accessTokenFormat: 'opaque' }),
    shown: ({ status, body }) => [status, String(body.access_token).includes('.')],
    expected: [200, false],
  },
  'a resource server that is gone': {
    change: (_client, identifier) => db('resourceServers').where({ identifier }).delete(),
    form: ledger,
    shown: error,
    expected: [400, 'invalid_target'],
  },
  'a resource server that lost a scope': {
    change: (_client, identifier) =>
      db('resourceServers')
        .where({ identifier })
        .update({ scopes: JSON.stringify([{ name: 'ledger.write' }]) }),
    form: ledger,
    shown: error,
    expected: [400, 'invalid_scope'],
  },
  'a client that is no longer listed': {
    change: ({ client_id }) => db('resourceServerClients').where({ clientId: client_id }).delete(),
    form: ledger,
    shown: error,
    expected: [400, 'invalid_target'],
  },
  'a client that is registered for less of a resource server': {
    change: ({ client_id }) => row(client_id).update({ scope: 'ledger.write' }),
    form: ledger,
    shown: error,
    expected: [400, 'invalid_scope'],
  },
  'a resource server of the name that a client has for an audience': {
    metadata: { audience: 'https://taken.example.com/' },
    change: () =>
      db('resourceServers').insert({
        id: randomUUID(),
        identifier: 'https://taken.example.com/',
        name: 'Taken',
        scopes: '[]',
        allow: 'listed',
        rank: 0,
      }),
    shown: error,
    expected: [400, 'invalid_target'],
  },
  'all tokens of a client revoked': {
    change: ({ client_id }) => row(client_id).increment('tokenGeneration', 1),
    shown: ({ body }) => JSON.parse(atob(String(body.access_token).split('.')[1] as string)).gen,
    expected: 1,
  },
};

describe('a change', () => {
  it('of a software policy is told, since people let its clients have what it lets them', async () => {
    const heard: string[] = [];
    const stop = await server.database.listen('access', (names) => heard.push(names));
    const policies = () => db('softwarePolicies').where({ name: 'told' });
    const steps = [
      () => db('softwarePolicies').insert({ name: 'told', grantTypes: ['client_credentials'], scope: 'ledger.read' }),
      () => policies().update({ scope: 'ledger.write' }),
      () => policies().delete(),
    ];
    for (const [at, step] of steps.entries()) {
      await step();
      await eventually(() => heard.filter((names) => names.includes('meeting:*')).length > at, 'a notification');
    }
    await stop();
  });

  let replica: Replica | undefined;
  let deaf: Replica | undefined;
  let relay: Relay | undefined;
  beforeAll(async () => {
    if (!onPostgres) return;
    replica = await startReplica(server);
    const listenUrl = new URL(server.database.url as string);
    relay = await openRelay(listenUrl.hostname, Number(listenUrl.port || 5432));
    Object.assign(listenUrl, { hostname: '127.0.0.1', port: String(relay.port) });
    deaf = await startReplica(server, { listenUrl: listenUrl.href });
  });
  afterAll(async () => {
    await deaf?.stop();
    await relay?.cut();
    await replica?.stop();
  });

  it('is in force at once where it was made, and everywhere within a second, heard of or not', async () => {
    const made = await Promise.all(
      Object.entries(changes).map(async ([name, { metadata, form = () => ({}), ...rest }]) => {
        const client = await machine(metadata);
        const identifier = await resource(client.client_id);
        return { name, client, identifier, form: form(identifier), ...rest };
      }),
    );
    const elsewhere = [replica, deaf].flatMap((one) => one?.address ?? []);
    const everywhere = [server.issuer, ...elsewhere];
    // Remembered there, all of them.
    for (let round = 0; round < 2; round++)
      for (const issuer of everywhere)
        for (const { name, client, form } of made)
          expect([name, issuer, error(await ask(issuer, client, form))]).toEqual([name, issuer, [200, undefined]]);
    await relay?.cut();
    for (const { name, client, identifier, form, change, shown, expected } of made) {
      await change(client, identifier);
      if (name.includes('nothing tells')) continue;
      expect([name, shown(await ask(server.issuer, client, form), client)]).toEqual([name, expected]);
    }
    await sleep(1000);
    for (const issuer of everywhere)
      for (const { name, client, form, shown, expected } of made)
        expect([name, issuer, shown(await ask(issuer, client, form), client)]).toEqual([name, issuer, expected]);
  });
});

it('what was looked for before a client came is not what is known of it', async () => {
  const channel = { isProven: () => true, prove: async () => true };
  const meetings = createMeetings(createAccessCache({ channel, clock: () => performance.now() }).shelf, db);
  const identifier = await resource((await machine()).client_id, { allow: 'any' });
  const clientId = randomUUID();
  const claims = { audience: identifier, clientId, scope: 'ledger.read', grantId: 'any' };
  expect(await meetings.isAudienceLive(claims, { openResources: false })).toBe(true);
  await row((await machine({ scope: 'ledger.read' })).client_id).update({ clientId });
  expect((await meetings.find(identifier, { clientId, alone: false }))?.allowed).toEqual(['ledger.read']);
});

it.runIf(onPostgres)('the reading of tokens is prepared, and goes on where the server has forgotten that', async () => {
  const database = await connect({ url: server.database.url as string, poolMax: 1 });
  const { read } = createTokenReads(database.db, 0);
  const ask = () => read({ model: 'AccessToken', hash: 'nobody' });
  const countPrepared = async () =>
    (await database.db.raw(`select from pg_prepared_statements where statement like 'select asked.at%'`)).rowCount;
  for (const forget of ['deallocate all', 'select 1']) {
    await ask();
    await ask();
    expect(await countPrepared()).toBe(1);
    await database.db.raw(forget);
    expect(await ask()).toBeUndefined();
  }
  await database.close();
});
