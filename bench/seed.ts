/**
 * A database of the size that a service may grow to: `npm run bench:seed -- [--name NAME] [--users 1000000] [--clients 10000]
 * [--refresh-tokens 5000000] [--audit 10000000] [--factor 0.01]`. It is made next to that of DATABASE_URL and stays; one of the
 * name is dropped first. An application is registered and somebody signs in, and the rows that the product writes for that are the
 * templates: everybody has a password that is known, clients have secrets that are, refresh tokens and their sessions work.
 * `npm run bench -- --seeded NAME` compares requests on it with requests on an empty one.
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { copyLines } from './copy.ts';
import { openConnection, requestText } from './http-connection.ts';
import {
  clientIdOf,
  clientOfFamily,
  columnsOf,
  emailOf,
  familySize,
  grantIdOf,
  hashOf,
  lines,
  refreshTokenOf,
  type Sizes,
  secretOf,
  sessionUidOf,
  type Template,
  userIdOf,
  userOfFamily,
} from './seed-rows.ts';
import { administer, type BenchDatabase, openSeeded, startService, urlOf } from './service.ts';
import { assertStatus, basic } from './sign-in.ts';
import { hostOf, paths, type Target } from './targets.ts';

const { values: options } = parseArgs({
  options: {
    name: { type: 'string', default: 'countersign_bench_seeded' },
    users: { type: 'string', default: '1000000' },
    clients: { type: 'string', default: '10000' },
    'refresh-tokens': { type: 'string', default: '5000000' },
    audit: { type: 'string', default: '10000000' },
    factor: { type: 'string', default: '1' },
  },
});

const scaled = (text: string, least: number): number =>
  Math.max(least, Math.round(Number(text) * Number(options.factor)));
const sizes: Sizes = {
  users: scaled(options.users, 100),
  clients: Math.ceil(scaled(options.clients, 10) / 2) * 2,
  refreshTokens: scaled(options['refresh-tokens'], 100),
  audit: scaled(options.audit, 100),
};
const families = Math.ceil(sizes.refreshTokens / familySize);

const now = Date.now();
const day = 86_400_000;
const ago = (milliseconds: number): string => new Date(now - milliseconds).toISOString();
/** In the order in which they were made, over the last ninety days. */
const spread = (number: number, count: number): string => ago(90 * day * (1 - (number + 1) / count));

interface Templates {
  user: Template;
  web: Template;
  machine: Template;
  grant: Template;
  session: Template;
  refreshToken: Template;
  signIn: Template;
  audit: Template[];
}

/** What the product has written for somebody who signed in. */
const readTemplates = async (client: pg.Client, { web, machine, people }: Target): Promise<Templates> => {
  const rowsOf = async (table: string, where: string, ...values: string[]): Promise<Template[]> =>
    (await client.query(`select to_jsonb(t) as row from ${table} t where ${where}`, values)).rows.map(({ row }) => row);
  const one = async (table: string, where: string, ...values: string[]): Promise<Template> => {
    const [row] = await rowsOf(table, where, ...values);
    if (!row) throw new Error(`the product has written nothing into ${table}`);
    return row;
  };
  const user = await one('users', 'email = $1', people[0]?.email ?? '');
  const id = String(user.id);
  const refreshToken = await one('refresh_tokens', 'user_id = $1', id);
  const grant = await one('grants', 'id = $1', String(refreshToken.grant_id));
  return {
    user,
    refreshToken,
    grant,
    web: await one('clients', 'client_id = $1', web.id),
    machine: await one('clients', 'client_id = $1', machine.id),
    session: await one('sessions', 'uid = $1', String(grant.session_uid)),
    signIn: await one('sign_ins', 'session_uid = $1', String(grant.session_uid)),
    audit: await rowsOf('audit_logs', 'actor_id = $1', id),
  };
};

type Copy = (table: string, template: Template, count: number, ...rest: MakesOf) => Promise<void>;
type MakesOf = Parameters<typeof lines> extends [unknown, unknown, unknown, ...infer Rest] ? Rest : never;

const copyPeople = async (copy: Copy, { user, web, machine, signIn }: Templates): Promise<void> => {
  const { users, clients } = sizes;
  const made = (number: number) => spread(number, users);
  await copy('users', user, users, {
    id: userIdOf,
    email: emailOf,
    created_at: made,
    updated_at: made,
    last_sign_in_at: made,
  });
  for (const [template, odd] of [
    [web, 0],
    [machine, 1],
  ] as const)
    await copy('clients', template, clients / 2, {
      client_id: (number) => clientIdOf(number * 2 + odd),
      client_secret_hash: (number) => hashOf(secretOf(number * 2 + odd)),
    });
  await copy('sign_ins', signIn, users, {
    id: (number) => userIdOf(number),
    user_id: (number) => userIdOf((number * 7919) % users),
    session_uid: (number) => sessionUidOf(number % families),
    client_id: (number) => clientIdOf((number % (clients / 2)) * 2),
    token_hash: (number) => hashOf(`sign-in ${number}`),
    created_at: made,
  });
};

const copyTokens = async (copy: Copy, { user, web, grant, session, refreshToken }: Templates): Promise<void> => {
  const userOf = (family: number) => userIdOf(userOfFamily(family, sizes));
  const clientOf = (family: number) => clientIdOf(clientOfFamily(family, sizes));
  const inTexts = {
    [String(user.id)]: userOf,
    [String(web.client_id)]: clientOf,
    [String(grant.id)]: grantIdOf,
    [String(grant.session_uid)]: sessionUidOf,
  };
  const common = { user_id: userOf, created_at: (family: number) => spread(family, families) };
  const future = ago(-20 * day);
  await copy(
    'grants',
    grant,
    families,
    { ...common, id: grantIdOf, client_id: clientOf, session_uid: sessionUidOf },
    inTexts,
  );
  await copy(
    'sessions',
    session,
    families,
    {
      user_id: userOf,
      uid: sessionUidOf,
      id_hash: (family) => hashOf(`cookie ${family}`),
      started_at: common.created_at,
      last_seen_at: common.created_at,
      expires_at: () => future,
    },
    inTexts,
  );
  const familyOf = (number: number) => Math.floor(number / familySize);
  const tokenHash = (number: number) => hashOf(refreshTokenOf(familyOf(number), number % familySize));
  const byFamily = (make: (family: number) => string) => (number: number) => make(familyOf(number));
  await copy(
    'refresh_tokens',
    refreshToken,
    families * familySize,
    {
      token_hash: tokenHash,
      parent_hash: (number) => (number % familySize ? tokenHash(number - 1) : null),
      user_id: byFamily(userOf),
      client_id: byFamily(clientOf),
      grant_id: byFamily(grantIdOf),
      consumed_at: (number) => (number % familySize === familySize - 1 ? null : spread(familyOf(number), families)),
      created_at: byFamily(common.created_at),
      expires_at: () => future,
    },
    Object.fromEntries(Object.entries(inTexts).map(([marker, make]) => [marker, byFamily(make)])),
  );
};

const copyAudit = async (copy: Copy, { audit, user }: Templates): Promise<void> => {
  for (const [kind, template] of audit.entries()) {
    const count = Math.ceil(sizes.audit / audit.length);
    const userOf = (number: number) => userIdOf((number * 7919) % sizes.users);
    await copy(
      'audit_logs',
      template,
      count,
      {
        id: (number) => userIdOf(number * audit.length + kind + 10_000_000),
        at: (number) => spread(number, count),
        request_id: (number) => hashOf(`request ${kind} ${number}`).slice(0, 21),
        address: (number) => `198.${18 + ((number >> 16) & 1)}.${(number >> 8) & 255}.${number & 255}`,
      },
      { [String(user.id)]: userOf },
    );
  }
};

/** Tables that are filled before their indexes are made, which takes a fraction of the time. */
const large = ['users', 'grants', 'sessions', 'refresh_tokens', 'sign_ins', 'audit_logs'];

/** Takes indexes away, but for those that foreign keys rest on. @returns the statements that bring them back */
const dropIndexes = async (client: pg.Client): Promise<string[]> => {
  const constraints = await client.query(
    `select conrelid::regclass as table, conname as name, pg_get_constraintdef(oid) as definition from pg_constraint c
     where contype in ('p', 'u') and conrelid = any($1::regclass[])
       and not exists (select from pg_constraint f where f.contype = 'f' and f.conindid = c.conindid)`,
    [large],
  );
  for (const { table, name } of constraints.rows) await client.query(`alter table ${table} drop constraint ${name}`);
  const indexes = await client.query(
    `select indexname as name, indexdef as definition from pg_indexes
     where schemaname = 'public' and tablename = any($1)
       and indexname not in (select conname from pg_constraint where contype in ('p', 'u'))`,
    [large],
  );
  for (const { name } of indexes.rows) await client.query(`drop index ${name}`);
  return [
    ...constraints.rows.map(
      ({ table, name, definition }) => `alter table ${table} add constraint ${name} ${definition}`,
    ),
    ...indexes.rows.map(({ definition }) => definition as string),
  ];
};

const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
  const began = performance.now();
  const result = await work();
  console.log(`${what.padEnd(40)} ${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s`);
  return result;
};

const fill = async (url: string, target: Target): Promise<void> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    // Nothing is lost with it: what went wrong half-way is made anew.
    await client.query(`set synchronous_commit = off; set maintenance_work_mem = '1GB'`);
    // Who may turn foreign keys off saves their checks; to anybody else they apply.
    await client.query('set session_replication_role = replica').catch(() => {});
    const templates = await readTemplates(client, target);
    const indexes = await dropIndexes(client);
    const copy: Copy = async (table, template, count, ...rest) => {
      const columns = await columnsOf(client, table);
      const names = columns.map(({ name }) => name);
      await timed(`${table}: ${count} rows`, () =>
        copyLines(client, table, names, lines(columns, template, count, ...rest)),
      );
    };
    await copyPeople(copy, templates);
    await copyTokens(copy, templates);
    await copyAudit(copy, templates);
    await timed(`${indexes.length} indexes`, async () => {
      for (const definition of indexes) await client.query(definition);
    });
    await timed('vacuum analyze', () => client.query('vacuum analyze'));
    const { rows } = await client.query(
      `select relname as table, reltuples::bigint as rows, pg_size_pretty(pg_table_size(oid)) as size,
         pg_size_pretty(pg_indexes_size(oid)) as indexes
       from pg_class where relname = any($1) order by pg_total_relation_size(oid) desc`,
      [[...large, 'clients']],
    );
    console.table(rows);
  } finally {
    await client.end();
  }
};

/** What was made is of use: a client in the middle gets a token, and so does who holds a refresh token in the middle. */
const tryOut = async (database: BenchDatabase): Promise<void> => {
  const service = await startService({ database, workers: 1, cores: [], connections: 1 });
  try {
    const connection = await openConnection(service.target.address);
    const ask = async (client: number, body: string) => {
      const headers = {
        Host: hostOf(service.target),
        Authorization: basic({ id: clientIdOf(client), secret: secretOf(client) }),
        'Content-Type': 'application/x-www-form-urlencoded',
      };
      return connection.send(requestText('POST', paths.token, headers, body));
    };
    assertStatus(await ask((sizes.clients >> 2) * 2 + 1, 'grant_type=client_credentials'), 200, 'a seeded client');
    const family = families >> 1;
    const token = refreshTokenOf(family, familySize - 1);
    const refreshed = await ask(clientOfFamily(family, sizes), `grant_type=refresh_token&refresh_token=${token}`);
    assertStatus(refreshed, 200, 'a seeded refresh token');
    connection.close();
    console.log('a client, a refresh token and somebody with a password were tried: they work');
  } finally {
    await service.stop();
  }
};

const run = async (): Promise<void> => {
  const { name } = options;
  const url = urlOf(name);
  if (!url) throw new Error('DATABASE_URL: a PostgreSQL database, next to which this makes one');
  if (!/^[a-z][a-z0-9_]{0,40}$/.test(name)) throw new Error(`not a name for a database: ${name}`);
  await administer(`drop database if exists ${name} with (force)`);
  await administer(`create database ${name}`);
  const masterKey = randomBytes(32).toString('base64');
  const contents = { masterKey, ...sizes };
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('create table bench_seed (contents jsonb not null)');
  await client.query('insert into bench_seed values ($1)', [{ masterKey }]);
  const fresh = await openSeeded(name);
  const service = await startService({ database: fresh, workers: 1, cores: [], connections: 1 });
  await service.stop();
  await fill(url, service.target);
  await client.query('update bench_seed set contents = $1', [contents]);
  await client.end();
  await fresh.drop();
  const database = await openSeeded(name);
  await tryOut(database).finally(database.drop);
};

await timed('altogether', run);
