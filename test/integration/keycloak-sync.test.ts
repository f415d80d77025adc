/** `countersign sync keycloak`, against a Keycloak that answers as it documents, and one that misbehaves. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createKeycloakAdmin } from '../../adapters/keycloak-admin.ts';
import { createOperatorFetch } from '../../adapters/outbound.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { commands } from '../../src/commands.ts';
import { type ProvisionReport, provisionKeycloak } from '../../src/keycloak/provision.commands.ts';
import { sealPii } from '../../src/users/pii.ts';
import { dumpTables } from '../support/dump.ts';
import { type KeycloakPeer, peerClient, peerRealm, startKeycloakPeer } from '../support/keycloak-peer.ts';
import { eventually } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let peer: KeycloakPeer;
beforeAll(async () => {
  peer = await startKeycloakPeer();
  server = await startServer({
    KEYCLOAK_SYNC_URL: `${peer.url}/`,
    KEYCLOAK_SYNC_REALM: peerRealm,
    KEYCLOAK_SYNC_CLIENT_ID: peerClient.id,
    KEYCLOAK_SYNC_CLIENT_SECRET: peerClient.secret,
  });
});
afterAll(async () => {
  await server.stop();
  await peer.stop();
});

const db = () => server.database.db;
beforeEach(async () => {
  peer.reset();
  await db()('externalReferences').delete();
  await db()('users').delete();
});

const person = async (members: object = {}) => {
  const id = randomUUID();
  const row = {
    id,
    email: `${id.slice(0, 8)}@example.com`,
    name: 'Ada King Lovelace',
    emailVerifiedAt: new Date(),
    roleId: db()('roles').where({ name: 'user' }).select('id'),
    ...members,
  };
  await db()('users').insert(row);
  return { id, email: row.email };
};
const change = (id: string, members: object) =>
  db()('users')
    .where({ id })
    .update({ ...members, updatedAt: db().raw('now()') });

const command = commands['sync keycloak'] as NonNullable<(typeof commands)[string]>;
const sync = async (...flags: string[]): Promise<ProvisionReport> =>
  (await command.run(
    server.app,
    command.read(Object.fromEntries(flags.map((flag) => [flag, true]))),
  )) as ProvisionReport;

const waits: number[] = [];
/** The same, without waiting between tries. */
const syncQuickly = (members: { clientSecret?: string; realm?: string } = {}, until?: number) =>
  provisionKeycloak(
    {
      db: db(),
      secrets: server.app.secrets,
      system: `keycloak-sync:${peer.url}/realms/${peerRealm}`,
      keycloak: createKeycloakAdmin({
        url: peer.url,
        realm: peerRealm,
        clientId: peerClient.id,
        clientSecret: peerClient.secret,
        fetch: createOperatorFetch(peer.url),
        wait: async (ms) => {
          waits.push(ms);
        },
        ...members,
      }),
    },
    operator,
    { dryRun: false, ...(until === undefined ? {} : { until }) },
  );

const counts = ({ counts }: ProvisionReport) => Object.fromEntries(Object.entries(counts).filter(([, n]) => n));
const there = () => [...peer.users.values()];

describe('somebody who is new', () => {
  it('is created with name, address and language, enabled and without a password', async () => {
    const id = randomUUID();
    const email = 'ada@example.com';
    const pii = sealPii(server.app.secrets, id, { given_name: 'Ada', family_name: 'King', birthdate: '1815-12-10' });
    await person({ id, email, locale: 'de', ...pii });
    expect(counts(await sync())).toEqual({ created: 1 });
    expect(there()).toEqual([
      {
        id: expect.any(String),
        username: email,
        email,
        emailVerified: true,
        enabled: true,
        firstName: 'Ada',
        lastName: 'King',
        attributes: { countersign_id: [id], locale: ['de'] },
      },
    ]);
    expect(await db()('auditLogs').where({ action: 'keycloak.provision', targetId: id })).toEqual([
      expect.objectContaining({ actorType: 'operator', meta: { outcome: 'created' } }),
    ]);
  });

  it('waits until the address is verified, and is not created when the account is shut', async () => {
    const late = await person({ emailVerifiedAt: null });
    await person({ status: 'deactivated' });
    expect([counts(await sync()), peer.requests]).toEqual([{}, []]);
    await change(late.id, { emailVerifiedAt: new Date() });
    expect(counts(await sync())).toEqual({ created: 1 });
  });

  for (const [name, found, expected] of [
    ['has proven the address there too', {}, { adopted: 1 }],
    ['has not proven the address there: it could be anybody', { emailVerified: false }, { conflict: 1 }],
    ['is disabled there', { enabled: false }, { conflict: 1 }],
  ] as const)
    it(`409: somebody ${name}`, async () => {
      const { email } = await person();
      const before = peer.add({ username: 'ada', email, firstName: 'A', attributes: { team: ['x'] }, ...found });
      const report = await sync();
      expect(counts(report)).toEqual(expected);
      if ('conflict' in expected) {
        expect([there(), command.exitCode?.(report)]).toEqual([[before], 2]);
        return;
      }
      expect(there()).toEqual([
        expect.objectContaining({ id: before.id, username: 'ada', firstName: 'Ada King', lastName: 'Lovelace' }),
      ]);
      expect(there()[0]?.attributes).toMatchObject({ team: ['x'] });
      expect(counts(await sync())).toEqual({});
    });

  it('409: somebody who says that this service made them, and has not proven the address there', async () => {
    const { id, email } = await person();
    const before = peer.add({ username: 'eve', email, emailVerified: false, attributes: { countersign_id: [id] } });
    expect(counts(await sync())).toEqual({ conflict: 1 });
    expect(there()).toEqual([before]);
  });

  it('409: whoever has proven the address there is not taken for an account whose address is no longer proven here', async () => {
    const { id, email } = await person();
    await sync();
    peer.users.clear();
    const address = `new-${email}`;
    const before = peer.add({ username: 'ada', email: address });
    await change(id, { email: address, emailVerifiedAt: null });
    expect(counts(await sync())).toEqual({ conflict: 1 });
    expect(there()).toEqual([before]);
  });

  it('409: the address is somebody’s username', async () => {
    const { email } = await person();
    peer.add({ username: email, email: 'other@example.com' });
    expect((await sync()).users).toEqual([expect.objectContaining({ outcome: 'conflict' })]);
  });

  it('whose answer was lost is found again, and not made twice', async () => {
    await person();
    let lost = false;
    peer.misdeed = ({ method, path }) => {
      if (lost || method !== 'POST' || !path.startsWith('/admin')) return undefined;
      lost = true;
      return 'after';
    };
    expect(counts(await syncQuickly())).toEqual({ adopted: 1 });
    expect(there()).toHaveLength(1);
  });
});

describe('somebody who changed', () => {
  it('is changed there, and what Keycloak has besides stays; nobody else is looked at', async () => {
    const ada = await person();
    await person();
    await sync();
    const [first] = there().filter(({ email }) => email === ada.email);
    if (!first) throw new Error('not created');
    peer.users.set(first.id, {
      ...first,
      requiredActions: ['CONFIGURE_TOTP'],
      attributes: { ...first.attributes, team: ['x'] },
    });
    peer.requests.length = 0;
    await change(ada.id, { name: 'Ada Byron', email: 'byron@example.com' });
    expect(counts(await sync())).toEqual({ updated: 1 });
    expect(peer.users.get(first.id)).toMatchObject({
      firstName: 'Ada',
      lastName: 'Byron',
      email: 'byron@example.com',
      username: ada.email,
      requiredActions: ['CONFIGURE_TOTP'],
      attributes: { team: ['x'], countersign_id: [ada.id] },
    });
    expect(peer.requests.filter((line) => line.includes('/users'))).toHaveLength(2);
    peer.requests.length = 0;
    expect([counts(await sync()), peer.requests]).toEqual([{}, []]);
  });

  it('in a way that Keycloak knows nothing of is not sent', async () => {
    const { id } = await person();
    await sync();
    peer.requests.length = 0;
    await change(id, { passwordHash: 'x' });
    expect([counts(await sync()), peer.requests]).toEqual([{ unchanged: 1 }, []]);
    expect(counts(await sync())).toEqual({});
  });

  for (const status of ['deactivated', 'closed'])
    it(`is disabled there when ${status} here`, async () => {
      const { id, email } = await person();
      await sync();
      await change(id, status === 'closed' ? { status, email: `${id}@closed.invalid`, name: '' } : { status });
      expect(counts(await sync())).toEqual({ disabled: 1 });
      expect(there()).toEqual([expect.objectContaining({ enabled: false, email, firstName: 'Ada King' })]);
      if (status === 'closed') return;
      await change(id, { status: 'active' });
      expect(counts(await sync())).toEqual({ updated: 1 });
      expect(there()).toEqual([expect.objectContaining({ enabled: true })]);
    });

  it('and was deleted there is made anew; one who left here too is let be', async () => {
    const [ada, bob] = [await person(), await person()];
    await sync();
    peer.users.clear();
    await change(ada.id, { name: 'Ada Byron' });
    await change(bob.id, { status: 'deactivated' });
    expect(counts(await sync())).toEqual({ created: 1, gone: 1 });
    expect(counts(await sync())).toEqual({});
  });

  it('to an address that is somebody else’s there is a conflict, again and again until it is solved', async () => {
    const ada = await person();
    await sync();
    const other = peer.add({ username: 'other', email: 'taken@example.com' });
    await change(ada.id, { email: 'taken@example.com' });
    for (let run = 0; run < 2; run++) expect(counts(await sync())).toEqual({ conflict: 1 });
    peer.users.delete(other.id);
    expect(counts(await sync())).toEqual({ updated: 1 });
  });
});

describe('a dry run', () => {
  it('says what a run would do, and changes nothing here or there', async () => {
    const [ada, bob] = [await person(), await person()];
    await sync();
    await change(ada.id, { name: 'Ada Byron' });
    await change(bob.id, { status: 'deactivated' });
    await person();
    const known = await person();
    peer.add({ username: 'known', email: known.email });
    const [before, users] = [await dumpTables(db(), ['public']), there()];
    const report = await sync('dry-run');
    expect(counts(report)).toEqual({ updated: 1, disabled: 1, created: 1, adopted: 1 });
    expect([await dumpTables(db(), ['public']), there()]).toEqual([before, users]);
    expect(peer.requests.slice(-20).filter((line) => /^PUT/.test(line))).toEqual([]);
    expect(command.show?.(report, {})).toContain(`${ada.id} updated`);
    expect(counts(await sync())).toEqual(counts(report));
  });
});

describe('a Keycloak that misbehaves', () => {
  it('is asked again after 500, 503 and silence, later each time and as Retry-After says', async () => {
    await person();
    waits.length = 0;
    peer.misdeed = ({ path, count }, response) => {
      if (!path.startsWith('/admin') || count > 5) return undefined;
      if (count === 3) response.writeHead(503, { 'retry-after': '7' }).end();
      else if (count === 4) response.destroy();
      else response.writeHead(500).end('<html>');
      return 'answered';
    };
    expect(counts(await syncQuickly())).toEqual({ created: 1 });
    expect(waits).toHaveLength(4);
    expect(waits.some((ms) => ms === 7000)).toBe(true);
    expect(waits[3]).toBeGreaterThan(waits[0] as number);
  });

  it('that ends tokens midway is asked for another one, once for all', async () => {
    for (let made = 0; made < 30; made++) await person();
    let ended = false;
    peer.misdeed = ({ path }) => {
      if (!ended && path.startsWith('/admin') && peer.users.size === 15) {
        ended = true;
        peer.endTokens();
      }
      return undefined;
    };
    expect(counts(await syncQuickly())).toEqual({ created: 30 });
    expect([there().length, peer.tokens]).toEqual([30, 2]);
    expect(peer.busiest).toBeLessThanOrEqual(4);
  });

  it('that fails for one person does not stop the others, who are not looked at again', async () => {
    const people = [await person(), await person(), await person()];
    const bad = people[1]?.email ?? '';
    let failing = true;
    const original = peer.misdeed;
    peer.misdeed = original;
    const refuse = createKeycloakAdmin({
      url: peer.url,
      realm: peerRealm,
      clientId: peerClient.id,
      clientSecret: peerClient.secret,
      fetch: createOperatorFetch(peer.url),
    });
    const deps = {
      db: db(),
      secrets: server.app.secrets,
      system: 'keycloak-sync:one',
      keycloak: {
        ...refuse,
        create: async (user: Parameters<typeof refuse.create>[0]) => {
          if (failing && user.email === bad) throw new Error('Keycloak answered 400 to a new user');
          return refuse.create(user);
        },
      },
    };
    const report = await provisionKeycloak(deps, operator, { dryRun: false });
    expect(counts(report)).toEqual({ created: 2, failed: 1 });
    expect(report.users.find(({ outcome }) => outcome === 'failed')?.reason).toContain('400');
    failing = false;
    expect(counts(await provisionKeycloak(deps, operator, { dryRun: false }))).toEqual({ created: 1 });
  });

  it('that is down is given up soon, and the next run goes on where this one stopped', async () => {
    for (let made = 0; made < 40; made++) await person();
    peer.misdeed = ({ path }, response) => {
      if (!path.startsWith('/admin') || peer.users.size < 10) return undefined;
      response.writeHead(500).end();
      return 'answered';
    };
    await expect(syncQuickly()).rejects.toThrow(/500/);
    const known = there().length;
    expect(known).toBeLessThan(20);
    peer.misdeed = () => undefined;
    expect(counts(await syncQuickly()).created).toBe(40 - known);
  });

  for (const [name, members, message] of [
    ['the secret is wrong', { clientSecret: 'wrong' }, /gives no token \(401, unauthorized_client\)/],
    ['there is no such realm', { realm: 'other' }, /gives no token|no realm/],
  ] as const)
    it(`says so at once when ${name}`, async () => {
      await person();
      await person();
      await expect(syncQuickly(members)).rejects.toThrow(message);
      expect(peer.requests.length).toBeLessThanOrEqual(2);
    });

  it('says so at once when the service account may not', async () => {
    await person();
    peer.misdeed = ({ path }, response) => {
      if (!path.startsWith('/admin')) return undefined;
      response.writeHead(403, { 'content-type': 'application/json' }).end('{"error":"HTTP 403 Forbidden"}');
      return 'answered';
    };
    await expect(syncQuickly()).rejects.toThrow(/manage-users/);
  });

  it('is not followed elsewhere, and told nobody’s secret', async () => {
    await person();
    peer.misdeed = (_request, response) => {
      response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end();
      return 'answered';
    };
    await expect(syncQuickly()).rejects.toThrow(/gives no token \(307\)/);
    await expect(syncQuickly()).rejects.not.toThrow(peerClient.secret);
  });

  it('is left when the time is over', async () => {
    await person();
    expect(await syncQuickly({}, Date.now() - 1)).toMatchObject({ complete: false, users: [] });
  });
});

describe('KEYCLOAK_SYNC_EVERY', () => {
  it('does it as a job', async () => {
    const scheduled = await startServer({
      KEYCLOAK_SYNC_URL: peer.url,
      KEYCLOAK_SYNC_REALM: peerRealm,
      KEYCLOAK_SYNC_CLIENT_ID: peerClient.id,
      KEYCLOAK_SYNC_CLIENT_SECRET: peerClient.secret,
      KEYCLOAK_SYNC_EVERY: '1h',
    });
    try {
      const { db } = scheduled.database;
      await eventually(async () => (await db('pgboss.job').where({ name: 'every-keycloak-sync' })).length > 0, 'a job');
    } finally {
      await scheduled.stop();
    }
  });
});
