import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOidcAdapter } from '../../adapters/oidc.ts';
import { createTokenReads } from '../../adapters/token-reads.ts';
import { connect, type Database } from '../../db/connect.ts';
import { createMeetings } from '../../src/resource-servers/meetings.ts';
import { createSecrets } from '../../src/secrets.ts';
import { createTestDatabase, onPostgres, type TestDatabase } from '../support/database.ts';
import { knownClients, unremembered } from '../support/known-clients.ts';
import { openRelay, type Relay } from '../support/relay.ts';
import { describeOidcAdapter } from './oidc-adapter.ts';

describeOidcAdapter(onPostgres ? 'PostgreSQL' : 'PGlite', () => createTestDatabase(30), onPostgres);

const calls = {
  Client: ['find'],
  Grant: ['find', 'upsert', 'destroy'],
  Session: ['find', 'findByUid', 'upsert', 'destroy'],
  RefreshToken: ['find', 'consume', 'upsert', 'destroy', 'revokeByGrantId'],
  AuthorizationCode: ['find', 'consume', 'upsert', 'destroy', 'revokeByGrantId'],
  DeviceCode: ['findByUserCode'],
  ReplayDetection: ['upsert'],
} as const;

const storageOf = (db: Database['db']) => ({
  db,
  findClientMetadata: knownClients(db),
  meetings: createMeetings(unremembered, db),
  reads: createTokenReads(db, 10),
  secrets: createSecrets('a key for this test alone'),
  refreshTokenGraceSeconds: 10,
  accessTokenMaxSeconds: 900,
  ownAudience: 'countersign-api',
  openResources: false,
  findJwt: () => Promise.resolve(undefined),
});

describe.runIf(onPostgres)('an outage', () => {
  let database: TestDatabase;
  let relay: Relay;
  let connected: Database;
  beforeAll(async () => {
    database = await createTestDatabase();
    const url = new URL(database.url as string);
    relay = await openRelay(url.hostname, Number(url.port || 5432));
    url.hostname = '127.0.0.1';
    url.port = String(relay.port);
    connected = await connect({ url: url.href, poolMax: 4 });
    await connected.db.raw('select 1');
    await relay.cut();
  });
  afterAll(async () => {
    await connected.close();
    await database.close();
    await database.drop();
  });

  for (const [model, methods] of Object.entries(calls))
    for (const method of methods)
      it(`is a 503 from ${model}.${method}, never an absence`, async () => {
        const call = createOidcAdapter(storageOf(connected.db))(model)[method](
          'an id',
          { accountId: '00000000-0000-4000-8000-000000000000', clientId: 'acme', grantId: 'g', uid: 'u' } as never,
          60,
        );
        await expect(call).rejects.toMatchObject({ error: 'temporarily_unavailable', status: 503, statusCode: 503 });
      });

  it('ends when the database is back', async () => {
    await relay.restore();
    expect(await createOidcAdapter(storageOf(connected.db))('Client').find('nobody')).toBeUndefined();
    await relay.cut();
  });
});

it('a pool that is closed answers with an error as well', async () => {
  const database = await createTestDatabase();
  await database.close();
  for (const model of Object.keys(calls))
    await expect(createOidcAdapter(storageOf(database.db))(model).find('an id')).rejects.toThrow();
  await database.drop();
});
