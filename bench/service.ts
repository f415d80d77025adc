/** The product as its operator runs it: a child process, on a database of its own, with an application and people in it. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { v7 as uuid } from 'uuid';
import { migrate } from '../db/migrate.ts';
import { createApp } from '../src/app.ts';
import { operator } from '../src/audit/logs.commands.ts';
import { createClient, operatorPowers } from '../src/clients/clients.commands.ts';
import { loadConfig } from '../src/config.ts';
import { createLog } from '../src/log.ts';
import { openDatabase } from '../src/main.ts';
import { insertUser } from '../src/users/users.queries.ts';
import { openConnection } from './http-connection.ts';
import { memoryMbOf, processTree, startNode, stopChild } from './processes.ts';
import { clientIdOf, emailOf, secretOf } from './seed-rows.ts';
import { signIn } from './sign-in.ts';
import { type Person, redirectUri, scopes, type Target } from './targets.ts';

/** A database next to that of DATABASE_URL, or a folder for the embedded one. */
export interface BenchDatabase {
  /** Undefined: embedded. */
  url?: string;
  directory: string;
  /** What is known of the rows that were put into it. */
  seed?: SeedContents;
  drop(): Promise<void>;
}

/** What `seed.ts` leaves in the database for those who use it. */
export interface SeedContents {
  masterKey: string;
  /** How many there are; left out while it is being filled. */
  users?: number;
  clients?: number;
}

/** Has the server of DATABASE_URL do something, or tell. @returns how many rows it answers */
export const administer = async (statement: string): Promise<number> => {
  const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  const { rows } = await client.query(statement).finally(() => client.end());
  return rows.length;
};

/** The URL of a database next to that of DATABASE_URL; undefined without that. */
export const urlOf = (name: string): string | undefined => {
  if (!process.env.DATABASE_URL) return undefined;
  const url = new URL(process.env.DATABASE_URL);
  url.pathname = `/${name}`;
  return url.href;
};

/** Makes a database that is empty. */
export const createDatabase = async (): Promise<BenchDatabase> => {
  const directory = await mkdtemp(join(tmpdir(), 'countersign-bench-'));
  const name = `countersign_bench_${randomBytes(6).toString('hex')}`;
  const url = urlOf(name);
  if (url) await administer(`create database ${name}`);
  return {
    ...(url ? { url } : {}),
    directory,
    drop: async () => {
      if (url) await administer(`drop database if exists ${name} with (force)`);
      await rm(directory, { recursive: true, force: true });
    },
  };
};

/** What `seed.ts` has made, which stays. @throws when there is no such database */
export const openSeeded = async (name: string): Promise<BenchDatabase> => {
  const url = urlOf(name);
  if (!url) throw new Error('DATABASE_URL: the PostgreSQL database next to which that one is');
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query('select contents from bench_seed').finally(() => client.end());
  const directory = await mkdtemp(join(tmpdir(), 'countersign-bench-'));
  return {
    url,
    directory,
    seed: (rows as { contents: SeedContents }[])[0]?.contents as SeedContents,
    drop: () => rm(directory, { recursive: true, force: true }),
  };
};

/** A port that is free now. */
export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

/**
 * The environment of the service: production's, but for limits, which would stop the load. The embedded database is refused in
 * production, so there it is as near as can be.
 */
const environmentOf = (database: BenchDatabase, port: number, workers: number): Record<string, string> => ({
  PATH: process.env.PATH ?? '',
  NODE_ENV: database.url ? 'production' : 'test',
  // As `npm start` and the image have it.
  NODE_OPTIONS: '--max-semi-space-size=32',
  PORT: String(port),
  HOST: '127.0.0.1',
  JWT_ISSUER: `http://localhost:${port}`,
  ENCRYPTION_MASTER_KEY: database.seed?.masterKey ?? randomBytes(32).toString('base64'),
  DATA_DIR: database.directory,
  RATE_LIMIT_FACTOR: '100000',
  WEB_CONCURRENCY: String(workers),
  ...(database.url ? { DATABASE_URL: database.url } : {}),
  ...(process.env.REDIS_URL
    ? { REDIS_URL: process.env.REDIS_URL, REDIS_KEY_PREFIX: `bench:${randomBytes(6).toString('hex')}:` }
    : {}),
});

const password = 'correct horse battery staple';

/** Some of those that `seed.ts` has made, from all over the tables. */
const amongSeeded = (users: number, clients: number, people: number): Pick<Target, 'machine' | 'web' | 'people'> => {
  const clientOf = (number: number) => ({ id: clientIdOf(number), secret: secretOf(number) });
  const web = randomInt(clients / 2) * 2;
  return {
    machine: clientOf(web + 1),
    web: clientOf(web),
    people: Array.from({ length: people }, () => ({ email: emailOf(randomInt(users)), password })),
  };
};

/** Puts an application of each kind and some people into the database, as the product's own commands do. */
const prepare = async (
  environment: Record<string, string>,
  people: number,
  seed: SeedContents | undefined,
): Promise<Pick<Target, 'machine' | 'web' | 'people'>> => {
  const config = loadConfig(environment);
  const database = await openDatabase(config);
  await migrate(database.db);
  if (seed?.users && seed.clients) {
    await database.close();
    return amongSeeded(seed.users, seed.clients, people);
  }
  const app = await createApp({ config, database, log: createLog('silent') });
  const { db } = database;
  const register = async (metadata: object) => {
    const client = await createClient(db, operator, operatorPowers, metadata, app.provider.validateClient);
    return { id: client.client_id as string, secret: client.client_secret as string };
  };
  const machine = await register({
    client_name: 'Machine',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: scopes.machine,
  });
  const web = await register({
    client_name: 'Web',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    scope: `${scopes.web} offline_access`,
    first_party: true,
  });
  const passwordHash = await app.accounts.passwords.hash(password);
  const made: Person[] = [];
  while (made.length < people) {
    const email = `${uuid()}@example.com`;
    const person = { id: uuid(), email, name: 'Ada Lovelace', passwordHash, role: 'user' };
    await insertUser(db, { ...person, emailVerifiedAt: new Date() });
    made.push({ email, password });
  }
  await app.stop();
  await database.close();
  return { machine, web, people: made };
};

/** Asks until it is ready. @returns how many milliseconds that took @throws when it ends, or takes a minute */
const untilReady = async (child: ChildProcess, port: number): Promise<number> => {
  const started = performance.now();
  while (performance.now() - started < 60_000) {
    if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}`);
    const answer = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.status === 200) return performance.now() - started;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('the service was not ready within a minute');
};

export interface Service {
  child: ChildProcess;
  target: Target;
  /** From the start of the process to the first answer that it is ready. */
  readyMs: number;
  /** The memory of all its processes together, a second after that. */
  idleMb: number;
  stop(): Promise<void>;
}

export interface ServiceOptions {
  database: BenchDatabase;
  workers: number;
  cores: readonly number[];
  /** Refresh tokens are made for so many connections, each of somebody else. */
  connections: number;
  settings?: Record<string, string>;
}

/** Signs everybody in once, so that there are tokens. */
export const signInAll = async (
  target: Pick<Target, 'address' | 'origin' | 'web' | 'people'>,
): Promise<Pick<Target, 'accessToken' | 'jwt' | 'refreshTokens'>> => {
  const connection = await openConnection(target.address);
  const refreshTokens: string[] = [];
  let accessToken = '';
  for (const person of target.people) {
    const tokens = await signIn(connection, target, person, new Map());
    refreshTokens.push(tokens.refresh_token);
    accessToken ||= tokens.access_token;
  }
  const resource = `${target.origin}/api`;
  const { access_token: jwt } = await signIn(connection, target, target.people[0] as Person, new Map(), resource);
  connection.close();
  return { accessToken, jwt, refreshTokens };
};

/** Starts it, and signs people in. */
export const startService = async ({
  database,
  workers,
  cores,
  connections,
  settings = {},
}: ServiceOptions): Promise<Service> => {
  const port = await freePort();
  const environment = { ...environmentOf(database, port, workers), ...settings };
  const prepared = await prepare(environment, connections, database.seed);
  const child = startNode('../src/countersign.js', {
    args: ['serve'],
    cores,
    cwd: database.directory,
    env: environment,
    output: 'dropped',
  });
  try {
    const readyMs = await untilReady(child, port);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const idleMb = Math.round(processTree(child.pid as number).reduce((sum, pid) => sum + memoryMbOf(pid), 0));
    const target = { address: `http://127.0.0.1:${port}`, origin: `http://localhost:${port}`, ...prepared };
    return {
      child,
      target: { ...target, ...(await signInAll(target)) },
      readyMs,
      idleMb,
      stop: () => stopChild(child),
    };
  } catch (error) {
    await stopChild(child);
    throw error;
  }
};
