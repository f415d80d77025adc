/** Each metric that is declared is moved by what it is about, nobody can make new series, and not everybody may read them. */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import { executeSql } from '../../db/connect.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { catalogue, declared, type MetricName } from '../../src/metrics/catalogue.ts';
import { takeSamples } from '../../src/metrics/samples.commands.ts';
import { cacheStates, listenStates } from '../../src/observing.ts';
import { password, registerAccount } from '../support/browser.ts';
import { callerOf, machineOf, nobody } from '../support/callers.ts';
import { administer, onPostgres } from '../support/database.ts';
import { administrator } from '../support/federation.ts';
import { openRelay, type Relay } from '../support/relay.ts';
import { basic, post } from '../support/relying-party.ts';
import { eventually, postJson } from '../support/requests.ts';
import { freePort, type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

const redisUrl = process.env.TEST_REDIS_URL;

let server: TestServer;
let email: string;
let client: RegisteredClient;
let relay: Relay | undefined;
const breaches = createServer((_, response) => response.end(''));

const exposition = async (of: TestServer = server): Promise<string> => (await of.app.metrics.expose()).body;

/** The sum of a metric's series, of a histogram how often it was observed; undefined without any. */
const read = async (name: MetricName, having = ''): Promise<number | undefined> => {
  const series = declared(name).type === 'histogram' ? `${name}_count` : name;
  const lines = (await exposition())
    .split('\n')
    .filter((line) => /^\w+/.exec(line)?.[0] === series && line.includes(having));
  return lines.length ? lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0) : undefined;
};

const signIn = (secret = password) => postJson(`${server.issuer}/auth/login`, { email, password: secret });
const token = () => post(server, '/oauth/token', { grant_type: 'client_credentials' }, basic(client));
const sample = async () => {
  await takeSamples(server.database.db);
  server.app.metrics.refreshSamples();
};

/** More hashes at a time than the queue has room for: one runs, four wait, and the others are refused. */
const flood = () => Promise.allSettled(Array.from({ length: 12 }, () => server.app.accounts.passwords.hash(password)));

/** Looks while hashes run and wait, which may be over before it does. */
const seesHashes = async (name: MetricName) => {
  const sees = async () => {
    const done = flood();
    const seen = (await read(name)) ?? 0;
    await done;
    return seen > 0;
  };
  await eventually(sees, `${name} shows`);
  expect(await read(name)).toBe(0);
};

/** While connections are held, as many as there are. */
const whileHolding = async (count: number, look: () => Promise<void>) => {
  const { db } = server.database;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const began: Promise<void>[] = [];
  const running = Array.from({ length: count }, () => {
    let begin = () => {};
    began.push(
      new Promise((resolve) => {
        begin = resolve;
      }),
    );
    return db.transaction(async (db) => {
      await db.raw('select 1');
      begin();
      await held;
    });
  });
  await Promise.all(began);
  try {
    await look();
  } finally {
    release();
    await Promise.all(running);
  }
};

/** On PostgreSQL the connection is cut, and comes back; the embedded database has none that could be. */
const losesListening = async (name: 'db_listening' | 'cache_trusted') => {
  expect(await read(name)).toBe(1);
  const point = name === 'db_listening' ? listenStates : cacheStates;
  if (onPostgres && name === 'db_listening') {
    const database = new URL(server.database.url as string).pathname.slice(1);
    await administer(
      process.env.TEST_DATABASE_URL as string,
      `alter database ${database} with allow_connections false`,
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}' and application_name = 'countersign listen'`,
    );
    await eventually(async () => (await read(name)) === 0, 'the loss shows');
    await administer(process.env.TEST_DATABASE_URL as string, `alter database ${database} with allow_connections true`);
  } else {
    point.tell?.(false);
    expect(await read(name)).toBe(0);
    point.tell?.(true);
  }
  await eventually(async () => (await read(name)) === 1, 'and that it is over');
};

interface Row {
  /** Does what the metric tells of; it must be more afterwards. */
  does?: () => Promise<unknown>;
  /** … of the series that say this. */
  having?: string | readonly string[];
  /** Where that is not enough: looks for itself. */
  looks?: () => Promise<unknown>;
  needsRedis?: true;
}

/** A metric that has no row fails. */
const rows: Record<MetricName, Row> = {
  http_request_duration_seconds: { does: () => fetch(`${server.issuer}/health`) },
  http_requests_total: { does: () => fetch(`${server.issuer}/health`), having: 'route="health"' },
  http_requests_in_flight: {
    looks: async () => {
      expect(await read('http_requests_in_flight')).toBe(0);
      // The one that asks is on its way itself.
      expect(await (await fetch(`${server.issuer}/metrics`)).text()).toMatch(/^http_requests_in_flight 1$/m);
    },
  },
  // Of what is shed, and when, the tests of load shedding tell.
  requests_shed_total: { does: async () => server.app.metrics.countShed('memory') },
  rate_limited_total: {
    does: async () => {
      const machine = await machineOf(server, 'users:read:any');
      for (let tries = 0; tries < 25; tries++) await machine.request('GET', '/auth/me');
    },
    having: 'limit="role:client"',
  },
  rate_limit_counts_total: { does: () => signIn() },
  sign_ins_total: {
    does: async () => {
      await signIn();
      const granted = { grant_type: 'password', username: email, password };
      expect((await post(server, '/oauth/token', granted, basic(client))).status).toBe(200);
    },
    having: ['rest', 'token'].map(
      (surface) => `sign_ins_total{method="password",surface="${surface}",outcome="signed_in"}`,
    ),
  },
  federated_sign_ins_total: {
    does: async () => {
      const caller = await administrator(server);
      const made = await caller.request('POST', '/identity-providers', {
        ...{
          id: 'gone',
          preset: 'oidc',
          name: 'Gone',
          client_id: 'c',
          client_secret: 's',
          issuer: 'http://127.0.0.1:9',
        },
      });
      expect(made.status, made.text).toBe(201);
      expect((await fetch(`${server.issuer}/auth/social/gone`)).status).toBe(503);
    },
  },
  sessions_active: {
    does: async () => {
      await callerOf(server);
      await sample();
    },
  },
  password_hashes_running: { looks: () => seesHashes('password_hashes_running') },
  password_hashes_waiting: { looks: () => seesHashes('password_hashes_waiting') },
  password_hash_wait_seconds: { does: flood },
  password_hash_duration_seconds: { does: () => signIn() },
  password_hashes_refused_total: { does: flood },
  tokens_issued_total: { does: token, having: 'grant_type="client_credentials"' },
  cache_requests_total: { does: async () => (await callerOf(server)).request('GET', '/auth/me') },
  cache_trusted: { looks: () => losesListening('cache_trusted') },
  db_query_duration_seconds: { does: () => signIn(), having: 'operation="select",table="users"' },
  db_query_errors_total: { does: () => server.database.db.raw('select 1 / 0').catch(() => {}) },
  db_pool_connections: {
    looks: () =>
      whileHolding(1, async () => expect(await read('db_pool_connections', 'state="used"')).toBeGreaterThanOrEqual(1)),
  },
  db_pool_size: { looks: async () => expect(await read('db_pool_size')).toBe(onPostgres ? 4 : 1) },
  db_pool_waiting: {
    looks: async () => {
      // What the service asks of its own accord may wait as well.
      await eventually(async () => (await read('db_pool_waiting')) === 0, 'nobody waits');
      let waited: Promise<unknown> | undefined;
      await whileHolding(onPostgres ? 4 : 1, async () => {
        waited = server.database.db.raw('select 1').then();
        await eventually(async () => ((await read('db_pool_waiting')) ?? 0) > 0, 'one waits');
      });
      await waited;
    },
  },
  db_listening: { looks: () => losesListening('db_listening') },
  db_migrations_pending: {
    looks: async () => {
      const { db } = server.database;
      await sample();
      expect(await read('db_migrations_pending')).toBe(0);
      const row = await db('schemaMigrations').orderBy('name', 'desc').first();
      await db('schemaMigrations').where({ name: row.name }).delete();
      server.app.metrics.refreshSamples();
      expect(await read('db_migrations_pending')).toBe(1);
      await db('schemaMigrations').insert(row);
    },
  },
  db_rows_cleaned_total: {
    does: async () => {
      const { db } = server.database;
      await db('consumedTokens').insert({ tokenHash: randomBytes(32).toString('base64url'), expiresAt: new Date(0) });
      await cleanExpired(db);
    },
    having: 'table="consumed_tokens"',
  },
  redis_command_duration_seconds: { does: () => signIn(), needsRedis: true },
  redis_errors_total: {
    does: async () => {
      await relay?.cut();
      await signIn();
    },
    needsRedis: true,
  },
  redis_up: {
    looks: async () => {
      await relay?.cut().catch(() => {});
      await eventually(async () => (await read('redis_up', 'limits')) === 0, 'away');
      await relay?.restore();
      await eventually(async () => (await read('redis_up', 'limits')) === 1, 'back');
    },
    needsRedis: true,
  },
  outbound_request_duration_seconds: {
    does: () => registerAccount(server),
    having: 'purpose="breached-passwords",outcome="2xx"',
  },
  signing_key_age_seconds: {
    looks: async () => {
      await sample();
      const before = (await read('signing_key_age_seconds', 'RS256')) as number;
      await eventually(async () => {
        server.app.metrics.refreshSamples();
        return ((await read('signing_key_age_seconds', 'RS256')) as number) > before;
      }, 'it ages');
    },
  },
  signing_key_next_change_seconds: {
    looks: async () => {
      await sample();
      expect(await read('signing_key_next_change_seconds')).toBeUndefined();
      const { database, app } = server;
      await rotateKeys(database.db, app.secrets, operator, { signing: ['RS256'], now: false, revoke: false });
      await sample();
      expect(await read('signing_key_next_change_seconds', 'RS256')).toBeGreaterThan(60);
    },
  },
  jwks_keys: {
    does: async () => {
      const { database, app } = server;
      await rotateKeys(database.db, app.secrets, operator, { signing: ['ES256'], now: true, revoke: false });
      await sample();
    },
    having: 'state="retired"',
  },
  jobs_total: { does: () => registerAccount(server), having: 'queue="mail",outcome="done"' },
  job_duration_seconds: { does: () => registerAccount(server), having: 'queue="mail"' },
  jobs_waiting: { looks: () => seesWaitingJob() },
  jobs_oldest_seconds: { looks: () => seesWaitingJob() },
  samples_age_seconds: {
    looks: async () => {
      await sample();
      const before = (await read('samples_age_seconds')) as number;
      await eventually(async () => ((await read('samples_age_seconds')) as number) > before, 'it ages');
      await sample();
      expect(await read('samples_age_seconds')).toBeLessThan(60);
    },
  },
  mails_total: { does: () => registerAccount(server), having: 'outcome="sent"' },
  sms_total: {
    does: async () => {
      const expiresAt = new Date(Date.now() + 60_000).toISOString();
      const sms = { id: crypto.randomUUID(), to: '+4930901820', text: 'hello', expiresAt };
      await server.app.jobs.send(server.database.db, 'sms', sms);
      await eventually(async () => ((await read('sms_total')) ?? 0) > 0, 'it is sent');
    },
  },
  audit_events_total: { does: () => signIn(), having: 'thing="session"' },
  build_info: { looks: async () => expect(await read('build_info', `node="${process.versions.node}"`)).toBe(1) },
};

/** A job that is due, which only its own transaction sees. */
const seesWaitingJob = async () => {
  await sample();
  expect(await read('jobs_waiting', 'ciba-ping')).toBe(0);
  await server.database.db.transaction(async (db) => {
    await executeSql(
      db,
      `insert into pgboss.job (name, data, start_after) values ($1, '{}', now() - interval '1 minute')`,
      ['ciba-ping'],
    );
    await takeSamples(db);
    await executeSql(db, 'delete from pgboss.job where name = $1', ['ciba-ping']);
  });
  server.app.metrics.refreshSamples();
  expect(await read('jobs_waiting', 'ciba-ping')).toBe(1);
  expect(await read('jobs_oldest_seconds', 'ciba-ping')).toBeGreaterThanOrEqual(60);
};

beforeAll(async () => {
  await new Promise<void>((resolve) => breaches.listen(0, '127.0.0.1', resolve));
  const target = redisUrl ? new URL(redisUrl) : undefined;
  relay = target && (await openRelay(target.hostname, Number(target.port)));
  server = await startServer(
    {
      HASH_CONCURRENCY: '1',
      HASH_QUEUE: '4',
      RATE_LIMITS: 'anonymous=9999,user=9999,super_admin=9999,client=1',
      RATE_LIMIT_FACTOR: '20',
      PASSWORD_BREACH_URL: `http://127.0.0.1:${(breaches.address() as AddressInfo).port}/range/`,
      ...(relay ? { REDIS_URL: `redis://127.0.0.1:${relay.port}` } : {}),
    },
    { poolMax: 4 },
  );
  email = await registerAccount(server);
  client = await server.client({
    redirect_uris: [],
    response_types: [],
    grant_types: ['client_credentials', 'password'],
  });
});
afterAll(async () => {
  await server.stop();
  breaches.close();
  await relay?.cut().catch(() => {});
});

describe('each metric moves', () => {
  for (const name of Object.keys(catalogue) as MetricName[]) {
    const { does, having = '', looks, needsRedis } = rows[name];
    it.skipIf(needsRedis && !redisUrl)(name, async () => {
      if (looks) await looks();
      if (!does) return;
      const series = await Promise.all(
        [having].flat().map(async (having) => ({ having, before: (await read(name, having)) ?? 0 })),
      );
      await does();
      for (const { having, before } of series)
        await eventually(async () => ((await read(name, having)) ?? 0) > before, `more of ${name} ${having}`);
    });
  }

  it('and there is none that is not declared, those of Node and of the process aside', async () => {
    const names = (await exposition()).match(/(?<=^# TYPE )\w+/gm) ?? [];
    expect(names.filter((name) => !(name in catalogue) && !/^(nodejs|process)_/.test(name))).toEqual([]);
    expect(names).toEqual(expect.arrayContaining([...Object.keys(catalogue), 'nodejs_eventloop_lag_p99_seconds']));
  });
});

describe('names', () => {
  it('follow the conventions of Prometheus', () => {
    for (const name of Object.keys(catalogue) as MetricName[]) {
      const { type, help, labels = [] } = declared(name);
      expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
      expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
      if (type === 'histogram') expect(name).toMatch(/_seconds$/);
      expect(help).toMatch(/^[A-Z0-9].*[^.]$/);
      for (const label of labels) expect(label).not.toMatch(/^(le|quantile|job|instance)$/);
    }
  });
});

it('five hundred odd requests make no series that the first ones did not make', async () => {
  const odd = async (count: number) => {
    const kinds = [
      (made: string) => fetch(`${server.issuer}/${made}`),
      (made: string) => fetch(`${server.issuer}/oauth/${made}?client_id=${made}`),
      (made: string) => fetch(`${server.issuer}/users/${made}`, { headers: { authorization: `Bearer ${made}` } }),
      (made: string) => fetch(`${server.issuer}/account/${made}`, { method: `X${made.slice(0, 5).toUpperCase()}` }),
      (made: string) => post(server, '/oauth/token', { grant_type: made, client_id: made, client_secret: made }),
    ];
    for (let at = 0; at < count; at += 25)
      await Promise.all(
        Array.from({ length: 25 }, async (_, index) => {
          const answer = await kinds[index % kinds.length]?.(randomBytes(8).toString('hex'));
          if (answer instanceof Response) await answer.text();
        }),
      );
  };
  const series = async () =>
    (await exposition())
      .split('\n')
      .filter((line) => line && !line.startsWith('#'))
      .map((line) => line.slice(0, line.lastIndexOf(' ')));
  const known = new Set<string>();
  const added = async (count: number) => {
    await odd(count);
    // What the clockwork does meanwhile is its own.
    const fresh = (await series()).filter(
      (name) => !known.has(name) && !/queue="every-|^db_|^job_|^nodejs_/.test(name),
    );
    for (const name of fresh) known.add(name);
    return fresh;
  };
  await added(50);
  let last = await added(500);
  // A busy machine has something new to tell of, but not each time.
  for (let again = 0; last.length && again < 2; again++) last = await added(500);
  expect(last).toEqual([]);
}, 240_000);

describe('who may read them', () => {
  const get = async (of: TestServer, headers: Record<string, string> = {}, port?: number) => {
    const url = new URL('/metrics', of.address);
    if (port) url.port = String(port);
    return (await fetch(url, { headers })).status;
  };

  it('whoever asks directly from inside, and nobody by way of a proxy', async () => {
    expect(await get(server)).toBe(200);
    const added = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-port', 'x-real-ip', 'x-envoy-external-address'];
    for (const header of [...added, 'cf-connecting-ip', 'true-client-ip', 'x-amzn-trace-id'])
      expect([header, await get(server, { [header]: '198.51.100.7' })]).toEqual([header, 404]);
    expect(await get(server, { 'x-forwarded-for': '' })).toBe(404);
  });

  it('with METRICS_TOKEN whoever has it, from wherever', async () => {
    const other = await startServer({ METRICS_TOKEN: 'a-token-of-some-length' });
    try {
      expect(await get(other)).toBe(401);
      expect(await get(other, { authorization: 'Bearer a-token-of-some-lengths' })).toBe(401);
      const right = { authorization: 'Bearer a-token-of-some-length' };
      expect(await get(other, right)).toBe(200);
      expect(await get(other, { ...right, 'x-forwarded-for': '198.51.100.7' })).toBe(200);
    } finally {
      await other.stop();
    }
  });

  it('with METRICS_PORT they are there alone', async () => {
    const port = await freePort();
    const other = await startServer({ METRICS_PORT: String(port) });
    const { close, listen } = await import('../../src/http/server.ts');
    const { server: own } = await listen(other.app.koa.callback(), port, '127.0.0.1');
    try {
      expect(await get(other)).toBe(404);
      expect(await get(other, {}, port)).toBe(200);
      for (const path of ['/account', '/oauth/authorize', '/users'])
        expect([path, (await fetch(`http://127.0.0.1:${port}${path}`)).status]).toEqual([path, 404]);
      // A probe may ask here as well.
      expect((await fetch(`http://127.0.0.1:${port}/health/live`)).status).toBe(200);
    } finally {
      await close(own);
      await other.stop();
    }
  });
});

it('nobody watches any more once the service has stopped', async () => {
  const other = await startServer();
  const before = await exposition(other);
  await other.stop();
  await token();
  expect((await exposition(other)).match(/^tokens_issued_total.*/gm)).toEqual(before.match(/^tokens_issued_total.*/gm));
  expect((await nobody(server).request('get', '/health')).status).toBe(200);
});
