/**
 * How long lists and questions of access take with a million users and 10,000 organizations: `node bench/lists.ts [--share=0.01]
 * [--runs=20] [--only=listUsers] [--keep]`. It fills a PostgreSQL database of its own next to that of DATABASE_URL by COPY, asks each
 * list over HTTP, and has PostgreSQL explain every query that was made. A scan of a large table, or a 95th percentile above 50 ms,
 * fails. `--share` is for fewer rows, `--keep` leaves the database for the next run.
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { connect } from '../db/connect.ts';
import { migrate } from '../db/migrate.ts';
import { type App, createApp } from '../src/app.ts';
import { loadConfig } from '../src/config.ts';
import { close, listen } from '../src/http/server.ts';
import { createLog } from '../src/log.ts';
import { findPaths } from '../src/organizations/paths.queries.ts';
import { findUserAccess } from '../src/roles/access.queries.ts';
import { findGiftsOfAccount } from '../src/roles/accounts-of-others.ts';
import { fill, randomId, scaled, sizeMin, timedId } from './lists-data.ts';
import { asks } from './lists-questions.ts';
import { percentile } from './numbers.ts';
import { explain, type Statement } from './query-plans.ts';
import { administer, urlOf } from './service.ts';

const msMax = 50;
/** A table of fewer rows, of all, may be read from end to end. */
const rowsOfSmallTable = 2000;
/** Of smaller parts than this PostgreSQL rightly reads tables whole; it is then asked what it would do instead. */
const shareOfLargeTables = 0.1;

const { values: options } = parseArgs({
  options: {
    share: { type: 'string', default: '1' },
    runs: { type: 'string', default: '20' },
    only: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const share = Number(options.share);
const sizes = scaled(share);
const runs = Number(options.runs);
const password = 'correct horse battery staple';

const name = options.keep ? `countersign_bench_${sizes.users}` : `countersign_bench_${randomBytes(6).toString('hex')}`;
const url = urlOf(name);
if (!url) throw new Error('DATABASE_URL: a PostgreSQL database, next to which this makes one of its own');

/** People to ask as; what they hold was given by the rows. */
const signInAs = async (app: App, address: string, number: number, role?: string): Promise<string> => {
  const id = timedId(number);
  const { db } = app.accounts;
  await db('users')
    .where({ id })
    .update({
      passwordHash: await app.accounts.passwords.hash(password),
      emailVerifiedAt: new Date(),
      status: 'active',
      ...(role ? { roleId: db('roles').where({ name: role }).select('id') } : {}),
    });
  const { email } = await db('users').where({ id }).first('email');
  const response = await fetch(`${address}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password }),
  });
  const { accessToken, code } = (await response.json()) as { accessToken?: string; code?: string };
  if (!accessToken) throw new Error(`no sign-in: ${response.status} ${code}`);
  return accessToken;
};

const known = await administer(`select from pg_database where datname = '${name}'`);
if (!known) await administer(`create database ${name}`);
const database = await connect({ url, poolMax: 10 });
const explaining = new pg.Client({ connectionString: url });
await explaining.connect();
let failed = 0;
try {
  await migrate(database.db);
  if (!known) {
    console.log(`filling ${name}:`, sizes);
    const took = await fill(url, sizes);
    for (const [table, seconds] of Object.entries(took)) console.log(`  ${table.padEnd(24)} ${seconds.toFixed(1)} s`);
  }
  const config = loadConfig({
    NODE_ENV: 'test',
    ENCRYPTION_MASTER_KEY: 'bXkgdGVzdHMgYXJlIG5vdCBzZWNyZXQgYXQgYWxsISE=',
    RATE_LIMIT_FACTOR: '100000',
    LOG_LEVEL: 'silent',
    JWT_ISSUER: 'http://localhost:4999',
  });
  const app = await createApp({ config, database, log: createLog('silent') });
  const { server: http } = await listen(app.koa.callback(), 0, '127.0.0.1');
  const { port } = http.address() as { port: number };
  const address = `http://127.0.0.1:${port}`;
  const { db } = database;
  // Signing in may send mail. What jobs ask is not the lists'.
  await app.jobs.start();

  // The owner of the first organization, which a tenth of all is beneath, and of one that nothing is beneath.
  const ownerOf = async (organization: number): Promise<number> => {
    const organizationId = randomId('organization', organization);
    const { userId } = await db('organizationMembers').where({ organizationId }).whereRaw('is_owner').first('userId');
    return Number.parseInt(String(userId).slice(-12), 16);
  };
  const [large, small] = [await ownerOf(0), await ownerOf(sizes.organizations - 1)];
  const member = await db('groupMembers').orderBy('userId').first('userId');
  const people = {
    super_admin: await signInAs(app, address, 11, 'super_admin'),
    large: await signInAs(app, address, large),
    small: await signInAs(app, address, small),
    user: await signInAs(app, address, Number.parseInt(String(member.userId).slice(-12), 16), 'user'),
  };
  await app.jobs.stop();

  let statements: Statement[] | undefined;
  db.on('query', ({ sql, bindings }: Statement) => statements?.push({ sql, bindings: bindings ?? [] }));
  if (share < shareOfLargeTables) await explaining.query('set enable_seqscan = off');
  const smallTables = new Set(
    (
      await explaining.query(
        `select relname from pg_class where relkind = 'r' and reltuples < ${Math.max(sizeMin, rowsOfSmallTable * share)}`,
      )
    ).rows.map(({ relname }) => relname as string),
  );

  const measure = async (title: string, once: () => Promise<unknown>) => {
    // The first finds caches and plans cold, and tells what is asked.
    statements = [];
    await once();
    const asked = statements;
    statements = undefined;
    const times: number[] = [];
    for (let run = 0; run < runs; run++) {
      const began = performance.now();
      await once();
      times.push(performance.now() - began);
    }
    const sorted = times.toSorted((a, b) => a - b);
    const [p50, p95] = [percentile(sorted, 50), percentile(sorted, 95)];
    const plans = await explain(explaining, asked, smallTables);
    const scans = [...new Set(plans.flatMap(({ scans }) => scans))];
    const indexes = [...new Set(plans.flatMap(({ indexes }) => indexes))];
    const isFine = p95 <= msMax && !scans.length;
    if (!isFine) failed++;
    console.log(
      `${isFine ? '    ' : 'FAIL'} ${title.padEnd(74)} ${p50.toFixed(1).padStart(7)} ${p95.toFixed(1).padStart(7)}  ${scans.length ? `SCANS ${scans.join(', ')}; ` : ''}${indexes.join(', ')}`,
    );
  };

  console.log(`\n     ${'who asks what'.padEnd(74)}  p50 ms  p95 ms  indexes`);
  const lists = app.routes.filter(
    ({ method, query }) => method === 'get' && query && 'shape' in query && 'cursor' in (query.shape as object),
  );
  for (const { id, path } of lists) {
    if (options.only && options.only !== id) continue;
    const known = asks(sizes)[id];
    if (!known) {
      failed++;
      console.log(`FAIL ${id}: nothing is asked of this list`);
      continue;
    }
    for (const { as, params = {}, query = {} } of known) {
      const filled = path.replace(/:(\w+)/g, (_, parameter: string) => params[parameter] ?? '');
      const search = new URLSearchParams({ limit: '50', ...query }).toString();
      await measure(
        `${as}: ${path}${Object.keys(query).length ? `?${new URLSearchParams(query)}` : ''}`.slice(0, 74),
        async () => {
          const response = await fetch(`${address}${filled}?${search}`, {
            headers: { authorization: `Bearer ${people[as]}` },
          });
          const text = await response.text();
          if (response.status !== 200) throw new Error(`${id}: ${response.status} ${text}`);
        },
      );
    }
  }
  if (!options.only) {
    const everybody = [large, small, 11, 7919, 15_838];
    let turn = 0;
    const next = () => timedId(everybody[turn++ % everybody.length] as number);
    await measure('what somebody may do (findUserAccess)', () => findUserAccess(db, next()));
    await measure('what an account gives (findGiftsOfAccount)', () => findGiftsOfAccount(db, next()));
    await measure('where somebody is (findPaths)', () => findPaths(db, 'user', next()));
    const deepest = randomId('organization', Math.floor(sizes.organizations / 10) - 1);
    await measure('where an organization is (findPaths)', () => findPaths(db, 'organization', deepest));
  }
  app.drain();
  await close(http);
  await app.stop();
} finally {
  await explaining.end();
  await database.close();
  if (!options.keep) await administer(`drop database if exists ${name} with (force)`);
}
console.log(
  failed ? `\n${failed} of them scan a large table or take longer than ${msMax} ms` : '\nall within the limits',
);
process.exitCode = failed ? 1 : 0;
