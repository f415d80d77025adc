/**
 * Whether memory and tables stay level: `npm run bench:soak -- [--minutes 30] [--rate 40] [--backlog 100000] [--json FILE]`. Mixed
 * traffic as in `load.ts`, with tokens that live for five minutes, so that after a while as many end as are made. Each minute it
 * tells memory, heap, rows and sizes of what grows, and in the middle of each minute it runs the cleaner, which the service itself runs
 * more rarely: first on a backlog of expired rows. Beside the slowest answers while it ran are those of the rest of the minute: it must
 * not make anybody wait. At the end, how fast memory has grown in the second half.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { cleanExpired } from '../db/clean.ts';
import { connect } from '../db/connect.ts';
import { drive } from './drive.ts';
import { createOperations, usualMix } from './load-operations.ts';
import { percentile } from './numbers.ts';
import { divideCores, memoryMbOf, pinSelf, processTree } from './processes.ts';
import { countErrors, type Sample } from './samples.ts';
import { createDatabase, type Service, signInAll, startService } from './service.ts';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    /** Of a minute, for those who only want to see that it works. */
    seconds: { type: 'string', default: '60' },
    rate: { type: 'string', default: '40' },
    people: { type: 'string', default: '100' },
    backlog: { type: 'string', default: '100000' },
    json: { type: 'string' },
  },
});
const minutes = Number(options.minutes);
const seconds = Number(options.seconds);

const metricsToken = 'only-the-bench-knows-this-token';
const tables = ['oidc_payloads', 'refresh_tokens', 'grants', 'sessions', 'sign_ins', 'consumed_tokens', 'audit_logs'];

interface Minute {
  rssMb: number;
  heapMb: number;
  answered: number;
  errors: number;
  p99: number;
  /** While the cleaner ran, and for how long it did. */
  p99Cleaning: number;
  cleaningMs: number;
  deleted: number;
  rows: Record<string, number>;
  databaseMb: number;
}

/** Rows that have expired: more than a cleaner finds that runs often. */
const addBacklog = async (client: pg.Client, count: number): Promise<void> => {
  await client.query(
    `insert into oidc_payloads (model, id_hash, payload, expires_at)
     select 'AccessToken', 'backlog' || n, '{"kind":"AccessToken"}', now() - interval '1 hour' from generate_series(1, $1::int) n`,
    [count],
  );
  await client.query(
    `insert into refresh_tokens (token_hash, user_id, client_id, grant_id, payload, expires_at)
     select 'backlog' || n, user_id, client_id, 'backlog' || n, payload, now() - interval '1 hour'
     from (select * from refresh_tokens limit 1) one, generate_series(1, $1::int) n`,
    [count],
  );
};

const readHeapMb = async ({ target }: Service): Promise<number> => {
  const answer = await fetch(`${target.address}/metrics`, { headers: { authorization: `Bearer ${metricsToken}` } });
  const sizes = [...(await answer.text()).matchAll(/^nodejs_heap_size_used_bytes(?:\{[^}]*\})? (\S+)/gm)];
  return sizes.reduce((sum, [, bytes]) => sum + Number(bytes), 0) / 2 ** 20;
};

const countRows = async (client: pg.Client): Promise<Pick<Minute, 'rows' | 'databaseMb'>> => {
  const rows: Record<string, number> = {};
  for (const table of tables) rows[table] = Number((await client.query(`select count(*) from ${table}`)).rows[0].count);
  const size = await client.query('select pg_database_size(current_database()) as bytes');
  return { rows, databaseMb: Number(size.rows[0].bytes) / 2 ** 20 };
};

const p99 = (samples: readonly Sample[]): number =>
  percentile(
    samples.map(({ latency }) => latency).toSorted((a, b) => a - b),
    99,
  );

/** Of a line through the values, by least squares: how much they grow from one to the next. */
const slope = (values: readonly number[]): number => {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const above = values.reduce((sum, value, index) => sum + (index - middle) * (value - mean), 0);
  return above / values.reduce((sum, _, index) => sum + (index - middle) ** 2, 0);
};

const heading = `minute   RSS MB  heap MB  answered  errors  p99 ms  cleaning: p99 ms   ms  rows  database MB  ${tables.join('  ')}`;
/** There is none where nothing was under way. */
const milliseconds = (value: number): string => (Number.isNaN(value) ? '-' : value.toFixed(0));

const line = (number: number, one: Minute): string =>
  [
    String(number).padStart(6),
    one.rssMb.toFixed(0).padStart(8),
    one.heapMb.toFixed(0).padStart(8),
    String(one.answered).padStart(9),
    String(one.errors).padStart(7),
    milliseconds(one.p99).padStart(7),
    milliseconds(one.p99Cleaning).padStart(17),
    one.cleaningMs.toFixed(0).padStart(5),
    String(one.deleted).padStart(5),
    one.databaseMb.toFixed(0).padStart(12),
    ...tables.map((table) => String(one.rows[table]).padStart(table.length + 1)),
  ].join(' ');

const soak = async (service: Service, client: pg.Client, url: string): Promise<Minute[]> => {
  const operations = createOperations(service.target);
  const cleaner = await connect({ url, poolMax: 1 });
  const measured: Minute[] = [];
  console.log(heading);
  for (let minute = 1; minute <= minutes; minute++) {
    // Those that are only looked at live no longer than the others.
    const { accessToken, jwt } = await signInAll({ ...service.target, people: service.target.people.slice(0, 1) });
    Object.assign(service.target, { accessToken, jwt });
    const begun = performance.now();
    const driving = drive(operations, Number(options.rate), seconds, usualMix, minute);
    await sleep(seconds * 300);
    const from = performance.now() - begun;
    const deleted = await cleanExpired(cleaner.db);
    const until = performance.now() - begun;
    const samples = await driving;
    const meanwhile = samples.filter(({ scheduled, latency }) => scheduled < until && scheduled + latency > from);
    const pids = processTree(service.child.pid as number);
    const one: Minute = {
      rssMb: pids.reduce((sum, pid) => sum + memoryMbOf(pid), 0),
      heapMb: await readHeapMb(service),
      answered: samples.filter(({ error }) => error === undefined).length,
      errors: samples.filter(({ error }) => error !== undefined).length,
      p99: p99(samples.filter((sample) => !meanwhile.includes(sample))),
      p99Cleaning: p99(meanwhile),
      cleaningMs: until - from,
      deleted: Object.values(deleted).reduce((sum, count) => sum + count, 0),
      ...(await countRows(client)),
    };
    measured.push(one);
    console.log(line(minute, one));
    for (const error of countErrors(samples).keys()) console.log(`       ${error}`);
  }
  operations.close();
  await cleaner.close();
  return measured;
};

const cores = divideCores(1);
pinSelf(cores.load);
const database = await createDatabase();
if (!database.url) throw new Error('DATABASE_URL: a PostgreSQL database, next to which this makes one of its own');
const client = new pg.Client({ connectionString: database.url });
try {
  const settings = { JWT_ACCESS_TTL: '5m', JWT_REFRESH_TTL: '5m', METRICS_TOKEN: metricsToken };
  const connections = Number(options.people);
  const service = await startService({ database, workers: 1, cores: cores.server, connections, settings });
  try {
    await client.connect();
    if (Number(options.backlog)) await addBacklog(client, Number(options.backlog));
    const measured = await soak(service, client, database.url);
    const half = measured.slice(Math.floor(measured.length / 2));
    if (half.length > 1)
      console.log(
        `second half: ${slope(half.map(({ rssMb }) => rssMb)).toFixed(2)} MB RSS, ` +
          `${slope(half.map(({ heapMb }) => heapMb)).toFixed(2)} MB heap a minute`,
      );
    if (options.json) await writeFile(options.json, `${JSON.stringify(measured, null, 2)}\n`);
    if (measured.some(({ errors }) => errors)) process.exitCode = 2;
  } finally {
    await service.stop();
  }
} finally {
  await client.end();
  await database.drop();
}
