/**
 * Whether the time that a refused sign-in takes tells why it was refused: `node bench/sign-in-timing.ts [tries]`.
 * A server in this process on a database of its own (DATABASE_URL: an empty PostgreSQL database, REDIS_URL: a Redis),
 * 200 tries of each kind over REST, one after the other, in turns of changing order. Aim: medians within 5 %. Beside the time
 * that passed it tells the processor's time, which other work on the machine disturbs less.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v7 as uuid } from 'uuid';
import { connect } from '../db/connect.ts';
import { migrate } from '../db/migrate.ts';
import { type App, createApp } from '../src/app.ts';
import { loadConfig } from '../src/config.ts';
import { close, listen } from '../src/http/server.ts';
import { createLog } from '../src/log.ts';
import { insertUser } from '../src/users/users.queries.ts';

const tries = Number(process.argv[2] ?? 200);
const password = 'correct horse battery staple';
/** Fewer than an account has before each further try must wait. */
const triesPerAccount = 8;

let machines = 0;
/** Every try is from another address, so that no limit of addresses is in the way. */
const address = () => `198.18.${Math.floor(++machines / 250)}.${(machines % 250) + 1}`;

const accountsOf = async (app: App, db: Parameters<typeof insertUser>[0], count: number, verified: boolean) => {
  const emails: string[] = [];
  for (let made = 0; made < count; made++) {
    const email = `${uuid()}@example.com`;
    const passwordHash = await app.accounts.passwords.hash(password);
    const emailVerifiedAt = verified ? new Date() : null;
    await insertUser(db, { id: uuid(), email, name: 'Ada', passwordHash, role: 'user', emailVerifiedAt });
    emails.push(email);
  }
  return emails;
};

/** Median and 95th percentile, in milliseconds. */
const summary = (times: number[]) => {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  return { median: at(0.5), p95: at(0.95) };
};

const shuffled = <T>(items: readonly T[]): T[] =>
  items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);

const directory = await mkdtemp(join(tmpdir(), 'countersign-bench-'));
const database = await connect(
  process.env.DATABASE_URL
    ? { url: process.env.DATABASE_URL, poolMax: 10 }
    : { directory: join(directory, 'database') },
);
await migrate(database.db);
const config = loadConfig({
  NODE_ENV: 'test',
  ENCRYPTION_MASTER_KEY: 'a bench has nothing to hide, at length',
  DATA_DIR: directory,
  TRUST_PROXY: '1',
  LOG_LEVEL: 'silent',
  ...(process.env.REDIS_URL ? { REDIS_URL: process.env.REDIS_URL, REDIS_KEY_PREFIX: `bench:${uuid()}:` } : {}),
});
const app = await createApp({ config, database, log: createLog('silent') });
const { server, port } = await listen(app.koa.callback(), 0, '127.0.0.1');

const perKind = Math.ceil(tries / triesPerAccount) + 2;
const right = await accountsOf(app, database.db, perKind, true);
const unverified = await accountsOf(app, database.db, perKind, false);
const [locked = ''] = await accountsOf(app, database.db, 1, true);
for (let count = 0; count < 100; count++)
  await app.accounts.guesses.begin({ email: locked, address: address(), device: { kind: 'unknown' } });

const pick = (emails: string[], turn: number) => emails[turn % emails.length] as string;
const kinds: Record<string, (turn: number) => { email: string; password: string }> = {
  'unknown user': () => ({ email: `${uuid()}@example.com`, password }),
  'wrong password': (turn) => ({ email: pick(right, turn), password: 'not the password, but as long' }),
  unverified: (turn) => ({ email: pick(unverified, turn), password }),
  locked: () => ({ email: locked, password }),
};

/** How long one try took, in milliseconds. */
const attempt = async (body: object): Promise<{ wall: number; cpu: number }> => {
  const cpuBefore = process.cpuUsage();
  const started = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': address() },
    body: JSON.stringify(body),
  });
  await response.text();
  const wall = performance.now() - started;
  const { user, system } = process.cpuUsage(cpuBefore);
  if (response.status !== 401) throw new Error(`a try was answered ${response.status}`);
  return { wall, cpu: (user + system) / 1000 };
};

const times = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, [] as Awaited<ReturnType<typeof attempt>>[]]));
const warmUpTurns = 10;
for (let turn = 0; turn < tries + warmUpTurns; turn++) {
  for (const [kind, make] of shuffled(Object.entries(kinds))) {
    const took = await attempt(make(turn));
    if (turn >= warmUpTurns) times[kind]?.push(took);
  }
}

const milliseconds = (value: number) => `${value.toFixed(2)} ms`.padStart(10);
for (const clock of ['wall', 'cpu'] as const) {
  console.log(`${clock === 'wall' ? 'Time that passed' : 'Time of the processor'}, ${tries} tries each`);
  const results = Object.entries(times).map(([kind, all]) => ({ kind, ...summary(all.map((one) => one[clock])) }));
  const reference = results[0]?.median ?? 1;
  for (const { kind, median, p95 } of results) {
    const ratio = (median / reference).toFixed(3);
    console.log(`  ${kind.padEnd(14)}  median${milliseconds(median)}  p95${milliseconds(p95)}  ratio ${ratio}`);
  }
  const medians = results.map(({ median }) => median);
  const spread = (Math.max(...medians) / Math.min(...medians) - 1) * 100;
  console.log(`  spread of the medians ${spread.toFixed(1)} % (aim: 5 %)`);
}

app.drain();
await close(server);
await app.stop();
await database.close();
await rm(directory, { recursive: true, force: true });
