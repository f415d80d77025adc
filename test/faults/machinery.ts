/** A PostgreSQL and a Redis of a script's own, which it may stop, freeze and fill without harm to anybody. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { chownSync, cpSync, mkdirSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { connect } from '../../db/connect.ts';
import { migrate } from '../../db/migrate.ts';
import { freePort } from '../support/ports.ts';
import { Skipped, type Trial, until } from './frame.ts';

/** A server process that can be taken away and given back. */
export interface Machine {
  url: string;
  port: number;
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  /** Freezes it, connections and all: nothing is refused and nothing is answered. */
  pause(): void;
  resume(): void;
}

export interface Postgres extends Machine {
  /** Asks the database beside the service, as its superuser. */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>;
}

const programs = (): string => {
  for (const version of readdirSync('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a))) {
    const bin = `/usr/lib/postgresql/${version}/bin`;
    if (statSync(`${bin}/initdb`, { throwIfNoEntry: false })) return bin;
  }
  throw new Skipped('PostgreSQL is not installed');
};

/** initdb and postgres refuse to run as root. */
const databaseUser = (): { uid: number; gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
};

/** The processes whose parent is that one. */
const childrenOf = (parent: number): number[] =>
  readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      // The name of the program stands in brackets, and may hold anything.
      const [, ppid] = /^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? [];
      return Number(ppid) === parent ? [Number(name)] : [];
    } catch {
      return [];
    }
  });

const send = (process_: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(process_, signal);
  } catch {
    // It is gone already.
  }
};

/** Starts a program, and knows how to stop, freeze and restart it. */
const machine = (
  t: Trial,
  port: number,
  url: string,
  run: () => ChildProcess,
  isUp: () => Promise<boolean>,
): Machine => {
  let child: ChildProcess | undefined;
  let exited: Promise<unknown> = Promise.resolve();
  const all = () => (child?.pid ? [child.pid, ...childrenOf(child.pid)] : []);
  const self: Machine = {
    url,
    port,
    start: async () => {
      child = run();
      const started = child;
      exited = new Promise((resolve) => started.once('exit', resolve));
      await until(`port ${port} answers`, 60, () => isUp().catch(() => false));
    },
    stop: async (signal = 'SIGINT') => {
      if (child?.pid) send(child.pid, signal);
      await exited;
      child = undefined;
    },
    pause: () => {
      for (const one of all()) send(one, 'SIGSTOP');
    },
    resume: () => {
      for (const one of all().reverse()) send(one, 'SIGCONT');
    },
  };
  t.later(async () => {
    self.resume();
    await self.stop('SIGQUIT');
  });
  return self;
};

/** What a crash of the machine would lose does not matter here; what kill -9 of a process loses does, and is the same with this. */
const options = [
  'fsync=off',
  'full_page_writes=off',
  'max_connections=120',
  'shared_buffers=32MB',
  'listen_addresses=127.0.0.1',
];

/** Makes a data folder with a migrated database in it. Takes seconds, so that `run.ts` has it done once for all scripts. */
export const prepareTemplate = async (t: Trial): Promise<string> => {
  const bin = programs();
  const user = databaseUser();
  const data = join(t.directory, 'template');
  mkdirSync(data, { mode: 0o700 });
  if (user) chownSync(data, user.uid, user.gid);
  execFileSync(
    `${bin}/initdb`,
    ['-D', data, '--username=postgres', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync'],
    { stdio: 'ignore', cwd: '/', ...user },
  );
  const postgres = await runPostgres(t, data);
  const database = await connect({ url: postgres.url });
  await migrate(database.db);
  await database.close();
  await postgres.stop();
  return data;
};

const runPostgres = async (t: Trial, data: string): Promise<Postgres> => {
  const bin = programs();
  const port = await freePort();
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const log = openSync(join(t.directory, `postgres-${port}.log`), 'a');
  const settings = [...options, `unix_socket_directories=`].flatMap((option) => ['-c', option]);
  const query: Postgres['query'] = async <Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []) => {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000, application_name: 'faults' });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query<Row>(sql, values)).rows;
    } finally {
      await client.end();
    }
  };
  const postgres = machine(
    t,
    port,
    url,
    () =>
      spawn(`${bin}/postgres`, ['-D', data, '-p', String(port), ...settings], {
        stdio: ['ignore', log, log],
        cwd: '/',
        ...databaseUser(),
      }),
    async () => (await query('select 1')).length === 1,
  );
  await postgres.start();
  return { ...postgres, query };
};

/** Starts a PostgreSQL with a migrated database. */
export const startPostgres = async (t: Trial): Promise<Postgres> => {
  const template = process.env.FAULTS_TEMPLATE || (await prepareTemplate(t));
  const data = join(t.directory, 'postgres');
  cpSync(template, data, { recursive: true, preserveTimestamps: true });
  const user = databaseUser();
  if (user) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, data]);
  execFileSync('chmod', ['700', data]);
  return runPostgres(t, data);
};

export interface RedisMachine extends Machine {
  /** Runs redis-cli. It must not hold up the clients, which are in this process. */
  command(...words: string[]): Promise<string>;
}

/** Starts a Redis that keeps nothing. @param settings such as `--maxmemory`, `2mb` */
export const startRedis = async (t: Trial, ...settings: string[]): Promise<RedisMachine> => {
  const port = await freePort();
  const log = openSync(join(t.directory, 'redis.log'), 'a');
  const command = async (...words: string[]) => {
    const { stdout } = await promisify(execFile)('redis-cli', ['-p', String(port), ...words]);
    return stdout;
  };
  const redis = machine(
    t,
    port,
    `redis://127.0.0.1:${port}`,
    () => {
      const child = spawn(
        'redis-server',
        ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no', ...settings],
        { stdio: ['ignore', log, log], cwd: t.directory },
      );
      child.on('error', () => {});
      return child;
    },
    async () => (await command('ping')).trim() === 'PONG',
  );
  await redis.start();
  return { ...redis, command };
};
