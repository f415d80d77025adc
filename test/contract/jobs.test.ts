import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createJobs, type Jobs } from '../../adapters/jobs.ts';
import { connect, type Database } from '../../db/connect.ts';
import { createLog } from '../../src/log.ts';
import { createSecrets } from '../../src/secrets.ts';

const secrets = createSecrets(randomBytes(32).toString('base64'));
const log = createLog('silent');
const mail = {
  to: 'ada@example.com',
  subject: 'Sign in',
  text: 'https://id.example/magic?token=live-token-1',
  html: '',
};
const soon = { timeout: 30_000, interval: 20 };

interface Backend {
  name: string;
  make(): Promise<{ open(): Promise<Database>; remove(): Promise<void> }>;
}

const embedded: Backend = {
  name: 'PGlite',
  make: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'jobs-'));
    return { open: () => connect({ directory }), remove: () => rm(directory, { recursive: true }) };
  },
};

const server = process.env.TEST_DATABASE_URL;
const postgres: Backend = {
  name: 'PostgreSQL',
  make: async () => {
    const name = `jobs_test_${randomUUID().replaceAll('-', '')}`;
    const admin = await connect({ url: server });
    await admin.db.raw(`create database ${name}`);
    const url = new URL(server ?? '');
    url.pathname = `/${name}`;
    return {
      open: () => connect({ url: url.href, poolMax: 4 }),
      remove: async () => {
        await admin.db.raw(`drop database ${name} with (force)`);
        await admin.close();
      },
    };
  },
};

for (const backend of server ? [embedded, postgres] : [embedded]) {
  describe(`jobs on ${backend.name}`, () => {
    let place: Awaited<ReturnType<Backend['make']>>;
    let database: Database;
    let running: Jobs[];

    const create = (overrides: Partial<Parameters<typeof createJobs>[0]> = {}): Jobs => {
      const jobs = createJobs({ db: database.db, listen: database.listen, secrets, log, ...overrides });
      running.push(jobs);
      return jobs;
    };
    const rows = async () =>
      (await database.db.raw('select name, state, data, output, retry_count from pgboss.job order by created_on')).rows;

    beforeAll(async () => {
      place = await backend.make();
      database = await place.open();
    });
    afterAll(async () => {
      await database.close();
      await place.remove();
    });
    beforeEach(() => {
      running = [];
    });
    afterEach(async () => {
      await Promise.all(running.map((jobs) => jobs.stop()));
      await database.db.raw('drop schema if exists pgboss cascade');
    });

    // Time tells little on a busy machine: a worker that is not woken would sleep far beyond the end of the test.
    it('a commit wakes a worker, which gets the data', async () => {
      const jobs = create({ pollSeconds: 600 });
      const seen: unknown[] = [];
      await jobs.work('mail', async (data) => void seen.push(data));
      await jobs.start();
      await sleep(1500); // The workers have nothing to do and sleep.
      await jobs.send(database.db, 'mail', mail);
      await vi.waitFor(() => expect(seen).toEqual([mail]), soon);
    });

    it('without notifications workers look every second, however seldom they would with them', async () => {
      const jobs = create({ listen: undefined, pollSeconds: 600 });
      const seen: unknown[] = [];
      await jobs.work('mail', async (data) => void seen.push(data));
      await jobs.start();
      await sleep(500);
      await jobs.send(database.db, 'mail', mail);
      await vi.waitFor(() => expect(seen).toHaveLength(1), soon);
    });

    it('works through a backlog without a pause between jobs, each once', async () => {
      const jobs = create();
      const seen: string[] = [];
      await jobs.start();
      for (let count = 0; count < 40; count++)
        await jobs.send(database.db, 'mail', { ...mail, subject: String(count) });
      await jobs.work('mail', async ({ subject }) => void seen.push(subject));
      await vi.waitFor(() => expect(seen).toHaveLength(40), soon);
      expect(new Set(seen).size).toBe(40);
    });

    it('runs one job of a group at a time, while others go on', async () => {
      const jobs = create();
      const ran: string[] = [];
      let atOnce = 0;
      let most = 0;
      const { promise: isOver, resolve: end } = Promise.withResolvers<void>();
      await jobs.work('backchannel-logout', async ({ clientId }) => {
        if (clientId === 'slow') {
          most = Math.max(most, ++atOnce);
          await isOver;
          await sleep(100);
          atOnce--;
        }
        ran.push(clientId);
      });
      await jobs.start();
      for (let count = 0; count < 4; count++)
        await jobs.send(database.db, 'backchannel-logout', { clientId: 'slow', sub: 'a' }, 'slow');
      await jobs.send(database.db, 'backchannel-logout', { clientId: 'quick', sub: 'a' }, 'quick');
      await vi.waitFor(() => expect(ran).toEqual(['quick']), soon);
      end();
      await vi.waitFor(() => expect(ran).toHaveLength(5), soon);
      // Two that are taken in the same instant do not see each other.
      expect(most).toBeLessThanOrEqual(2);
    });

    it('does not try a job again whose failure is permanent', async () => {
      const jobs = create();
      let tries = 0;
      await jobs.start();
      await jobs.send(database.db, 'sms', { id: 'i', to: '+4930901820', text: 'a code', expiresAt: '' });
      await jobs.work('sms', async () => {
        tries++;
        throw Object.assign(new Error('no such number'), { code: 'twilio_21211', permanent: true });
      });
      await vi.waitFor(async () => expect((await rows())[0]).toMatchObject({ state: 'completed' }), soon);
      expect(tries).toBe(1);
      expect(JSON.stringify(await rows())).not.toMatch(/4930901820|a code/);
    });

    it('keeps the data unreadable, and an error out of the row', async () => {
      const jobs = create();
      await jobs.start();
      await jobs.send(database.db, 'mail', mail);
      expect(JSON.stringify(await rows())).not.toMatch(/live-token|ada@example|Sign in/);
      await jobs.work('mail', async ({ to }) => {
        throw new Error(`550 no such user ${to}`);
      });
      await vi.waitFor(async () => expect((await rows())[0]).toMatchObject({ state: 'retry' }), soon);
      expect(JSON.stringify(await rows())).not.toMatch(/live-token|ada@example|no such user/);
    });

    it('sends inside the transaction of the caller: nothing runs before the commit', async () => {
      const jobs = create();
      const seen: string[] = [];
      await jobs.work('mail', async ({ subject }) => void seen.push(subject));
      await jobs.start();
      await database.db.transaction(async (db) => {
        await jobs.send(db, 'mail', { ...mail, subject: 'committed' });
        await sleep(300);
        expect(seen).toEqual([]);
      });
      await vi.waitFor(() => expect(seen).toEqual(['committed']), soon);
    });

    it('never runs a job whose transaction rolls back', async () => {
      const jobs = create();
      const seen: string[] = [];
      await jobs.work('mail', async ({ subject }) => void seen.push(subject));
      await jobs.start();
      const rollback = database.db.transaction(async (db) => {
        await jobs.send(db, 'mail', { ...mail, subject: 'rolled back' });
        throw new Error('changed my mind');
      });
      await expect(rollback).rejects.toThrow('changed my mind');
      await jobs.send(database.db, 'mail', { ...mail, subject: 'after' });
      await vi.waitFor(() => expect(seen).toEqual(['after']), soon);
      expect(await rows()).toHaveLength(1);
    });

    it('tries a failed job again, later and later', async () => {
      const jobs = create();
      let attempts = 0;
      await jobs.start();
      await jobs.send(database.db, 'mail', mail);
      // Far beyond the end of the test.
      await database.db.raw('update pgboss.job set retry_delay = 1800');
      await jobs.work('mail', async () => {
        attempts++;
        if (attempts === 1) throw new Error('not now');
      });
      await vi.waitFor(() => expect(attempts).toBe(1), soon);
      await vi.waitFor(async () => expect((await rows())[0].state).toBe('retry'), soon);
      const { rows: settings } = await database.db.raw(
        'select retry_limit, retry_backoff, retry_delay_max, start_after > now() as later from pgboss.job',
      );
      expect(settings).toEqual([{ retryLimit: 10, retryBackoff: true, retryDelayMax: 3600, later: true }]);
      await database.db.raw('update pgboss.job set start_after = now()');
      await vi.waitFor(() => expect(attempts).toBe(2), soon);
      await vi.waitFor(async () => expect((await rows())[0].state).toBe('completed'), soon);
    });

    it('keeps a job that has failed too often', async () => {
      const jobs = create();
      await jobs.start();
      await jobs.send(database.db, 'backchannel-logout', { clientId: 'rp', sub: 'u1' });
      await database.db.raw('update pgboss.job set retry_limit = 0');
      await jobs.work('backchannel-logout', async () => {
        throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
      });
      await vi.waitFor(async () => expect((await rows())[0].state).toBe('failed'), soon);
      expect((await rows())[0].output).toMatchObject({ message: 'ECONNREFUSED' });
    });

    it('survives a restart: what one process sent, the next one runs', async () => {
      const first = create();
      await first.start();
      await first.send(database.db, 'mail', mail);
      await first.stop();
      await database.close();
      database = await place.open();
      const second = create();
      const seen: unknown[] = [];
      await second.work('mail', async (data) => void seen.push(data));
      await second.start();
      await vi.waitFor(() => expect(seen).toEqual([mail]), soon);
    });

    it('lets replicas start together, and gives each job to one of them', async () => {
      const replicas = Array.from({ length: 4 }, () => create());
      const seen: string[] = [];
      for (const jobs of replicas) await jobs.work('mail', async ({ subject }) => void seen.push(subject));
      await Promise.all(replicas.map((jobs) => jobs.start()));
      await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          replicas[index % 4]?.send(database.db, 'mail', { ...mail, subject: String(index) }),
        ),
      );
      await vi.waitFor(() => expect(seen).toHaveLength(20), soon);
      await sleep(300);
      expect(new Set(seen).size).toBe(20);
      expect(seen).toHaveLength(20);
    });

    it('runs a periodic job once per interval, whatever the number of replicas', async () => {
      let runs = 0;
      const begun = performance.now();
      for (const jobs of [create(), create()]) {
        await jobs.every('clean', 2, async () => void runs++);
        await jobs.start();
      }
      await vi.waitFor(() => expect(runs).toBeGreaterThanOrEqual(4), soon);
      // So many intervals lay in that time, whole or in part.
      expect(runs).toBeLessThanOrEqual((performance.now() - begun) / 2000 + 2);
    });

    it('waits for running handlers when it stops', async () => {
      const jobs = create();
      let ended = false;
      let begun = false;
      await jobs.work('mail', async () => {
        begun = true;
        await sleep(700);
        ended = true;
      });
      await jobs.start();
      await jobs.send(database.db, 'mail', mail);
      await vi.waitFor(() => expect(begun).toBe(true), soon);
      await jobs.stop();
      expect(ended).toBe(true);
      expect((await rows())[0].state).toBe('completed');
    });

    it('can start after a start that failed', async () => {
      const jobs = create();
      await database.db.raw('create schema pgboss');
      await database.db.raw('create view pgboss.version as select 1 as nothing');
      await expect(jobs.start()).rejects.toThrow();
      await database.db.raw('drop schema pgboss cascade');
      const seen: unknown[] = [];
      await jobs.work('mail', async (data) => void seen.push(data));
      await jobs.start();
      await jobs.send(database.db, 'mail', mail);
      await vi.waitFor(() => expect(seen).toEqual([mail]), soon);
    });

    it('changes nothing at a later start', async () => {
      await create().start();
      const before = (await database.db.raw('select name, updated_on from pgboss.queue order by name')).rows;
      await create().start();
      const after = (await database.db.raw('select name, updated_on from pgboss.queue order by name')).rows;
      expect(after).toEqual(before);
    });

    it('answers 503 to a send before the start', async () => {
      await expect(create().send(database.db, 'mail', mail)).rejects.toMatchObject({ status: 503 });
    });

    it('leaves no aborted transaction on a connection when a script of pg-boss fails', async () => {
      const jobs = create();
      await jobs.start();
      // The next start takes the schema for missing and fails to make it, which pg-boss overlooks.
      await database.db.raw('alter table pgboss.version rename to version_away');
      await create().start();
      const answers = await Promise.all(Array.from({ length: 8 }, () => database.db.raw('select 1 as one')));
      expect(answers.map(({ rows }) => rows[0].one)).toEqual(Array(8).fill(1));
    });
  });
}

describe.runIf(server)('jobs while PostgreSQL is away', () => {
  it('neither crash nor fill the log, and go on afterwards', async () => {
    const place = await postgres.make();
    const database = await place.open();
    const name = (await database.db.raw('select current_database() as name')).rows[0].name as string;
    const admin = await connect({ url: server });
    const lines: string[] = [];
    const jobs = createJobs({
      db: database.db,
      listen: database.listen,
      secrets,
      log: Object.assign(createLog('silent'), { error: (_: object, message: string) => void lines.push(message) }),
    });
    const seen: unknown[] = [];
    await jobs.work('mail', async (data) => void seen.push(data));
    await jobs.start();
    await admin.db.raw(`alter database ${name} allow_connections false`);
    await admin.db.raw('select pg_terminate_backend(pid) from pg_stat_activity where datname = ?', [name]);
    await sleep(6500);
    expect(lines.length).toBeGreaterThanOrEqual(1);
    expect(lines.length).toBeLessThanOrEqual(2);
    await admin.db.raw(`alter database ${name} allow_connections true`);
    await jobs.send(database.db, 'mail', mail);
    await vi.waitFor(() => expect(seen).toHaveLength(1), soon);
    await jobs.stop();
    await database.close();
    await admin.close();
    await place.remove();
  });
});
