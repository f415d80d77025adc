/** The database, and what lies in it. Runs on a connection of its own, or in the process that has the embedded one open. */
import type { Database, Db } from '../../db/connect.ts';
import { compareMigrations } from '../../db/migrate.ts';
import type { Config } from '../config.ts';
import { loadKeySet } from '../keys/key-set.ts';
import { openSecrets } from '../lasting-keys.ts';
import { listKeyStates } from '../metrics/samples.queries.ts';
import { workersOf } from '../process-settings.ts';
import { reportClock } from './clock.ts';
import type { Check, Report } from './findings.ts';

/** PostgreSQL 15, as `server_version_num` counts. */
const oldestVersion = 150_000;
const slowMs = 50;
const listenMs = 2000;
const dayMs = 86_400_000;

interface Facts {
  version: string;
  number: number;
  connections: number;
  isReplica: boolean;
  readOnly: boolean;
  now: Date;
}

const readFacts = async (db: Db): Promise<Facts> => {
  const { rows } = (await db.raw(
    `select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as connections,
       pg_is_in_recovery() as is_replica, current_setting('transaction_read_only') = 'on' as read_only,
       clock_timestamp() as now`,
  )) as { rows: [Facts] };
  return rows[0];
};

const reportServer = async (db: Db, config: Config, report: Report): Promise<void> => {
  await db.raw('select 1');
  const asked = performance.now();
  const facts = await readFacts(db);
  const ms = performance.now() - asked;
  const name = config.DATABASE_URL ? 'PostgreSQL' : 'embedded PostgreSQL';
  if (facts.number < oldestVersion)
    report('failure', `${name} ${facts.version} is too old`, 'Take PostgreSQL 15 or newer');
  else report('ok', `${name} ${facts.version} answers in ${ms.toFixed(1)} ms`);
  if (ms > slowMs)
    report(
      'warning',
      `it takes ${Math.round(ms)} ms to answer`,
      'Run it near the service: a request may ask it several times',
    );
  if (facts.isReplica || facts.readOnly)
    report('failure', 'it takes no writes: a replica, or read-only', 'Point DATABASE_URL at the primary');
  if (config.DATABASE_URL) {
    // One beside the pool listens.
    const wanted = workersOf(config) * (config.DATABASE_POOL_MAX + 1);
    const text = `${wanted} connections at most from this machine, of ${facts.connections} that it has`;
    const advice = 'Lower DATABASE_POOL_MAX or WEB_CONCURRENCY, or raise max_connections; every replica takes as many';
    if (wanted > facts.connections) report('failure', text, advice);
    else report(wanted > facts.connections * 0.8 ? 'warning' : 'ok', text, advice);
  }
  reportClock('the database’s', facts.now.getTime(), report);
};

const reportMigrations = async (db: Db, report: Report): Promise<void> => {
  const { pending, ahead } = await compareMigrations(db);
  if (pending.length)
    report('failure', `${pending.length} migrations have not run, the first ${pending[0]}`, 'Run `npm run migrate-db`');
  if (ahead.length)
    report('warning', `the schema is ${ahead.length} migrations ahead of this version`, 'Upgrade this replica as well');
  if (!pending.length && !ahead.length) report('ok', 'the schema is up to date');
};

const reportListening = async ({ listen, catchUp }: Pick<Database, 'listen' | 'catchUp'>, report: Report) => {
  const stop = await listen('countersign_doctor', () => {});
  const heard = await catchUp(listenMs);
  await stop();
  if (heard) report('ok', 'notifications are heard (LISTEN)');
  else
    report(
      'failure',
      'notifications are not heard: changes show late and nothing is cached',
      'A pooler that hands connections around by transaction breaks LISTEN: set DATABASE_LISTEN_URL to PostgreSQL itself',
    );
};

const reportKeys = async (db: Db, config: Config, report: Report): Promise<void> => {
  if (!(await db.schema.hasTable('jwks_keys'))) return report('skipped', 'the database has no tables yet');
  const stored = config.JWKS_PRIVATE_KEY_PATH ? [] : await listKeyStates(db);
  if (!config.JWKS_PRIVATE_KEY_PATH && !stored.length) return report('ok', 'keys are made at the first start');
  const { algs } = await loadKeySet(config, db, await openSecrets(db, config));
  report('ok', `the master key opens them; ${algs.join(', ')} can be signed`);
  const missing = config.SIGNING_ALGS.filter((alg) => !algs.includes(alg));
  if (missing.length && !config.JWKS_PRIVATE_KEY_PATH)
    report('warning', `no key signs ${missing.join(', ')} yet`, 'It is made when the service starts');
  const signing = stored.filter(({ state }) => state === 'signing').map(({ since }) => since.getTime());
  const oldest = signing.length ? Math.floor((Date.now() - Math.min(...signing)) / dayMs) : 0;
  const rotation = config.KEY_ROTATION ?? 0;
  const limitDays = rotation > 0 ? rotation / 86_400 + 7 : 400;
  if (oldest > limitDays)
    report(
      'warning',
      `the oldest has signed for ${oldest} days`,
      'Run `npm run rotate-keys` (docs/operations/alerts.md)',
    );
  else if (signing.length) report('ok', `the oldest has signed for ${oldest} days`);
};

/** What can be told of a database that is open. */
export const databaseChecks = (database: Pick<Database, 'db' | 'listen' | 'catchUp'>, config: Config): Check[] => {
  const { db } = database;
  return [
    { name: 'database', advice: 'See docs/deployment.md', run: (report) => reportServer(db, config, report) },
    { name: 'migrations', advice: 'Run `npm run migrate-db`', run: (report) => reportMigrations(db, report) },
    { name: 'notifications', advice: 'Set DATABASE_LISTEN_URL', run: (report) => reportListening(database, report) },
    {
      name: 'keys',
      advice: 'ENCRYPTION_MASTER_KEY must be the one that this database was made with',
      run: (report) => reportKeys(db, config, report),
    },
  ];
};
