/**
 * Decisions per second, cached and uncached: `npm run bench:authz [-- --rounds=7 --ms=700]`. In a PostgreSQL database of its own next to
 * that of DATABASE_URL: 10,000 users, 1,000 groups six deep, 200 policies. The limits are measured in turns with them, over the same
 * questions in the same order: a look-up of the person in an `lru-cache` of all of them, and the bare SQL by the driver. Aims:
 * cached within 5 times a look-up, uncached within 3 times the SQL. Each number is the median of the rounds.
 */
import { randomBytes } from 'node:crypto';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { LRUCache } from 'lru-cache';
import pg from 'pg';
import { v7 as uuid } from 'uuid';
import { connect, type Db } from '../db/connect.ts';
import { migrate } from '../db/migrate.ts';
import { createCachedAccess } from '../src/cached-access.ts';
import { createLog } from '../src/log.ts';
import { createActivePolicies } from '../src/policies/active-policies.ts';
import { decide, type Facts, noPolicies, type Question } from '../src/policies/decide.ts';
import { accessOf, findUserAccess, type UserAccess } from '../src/roles/access.queries.ts';
import { createSecrets } from '../src/secrets.ts';
import { median } from './numbers.ts';
import { createDatabase } from './service.ts';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '7' }, ms: { type: 'string', default: '700' } },
});
const rounds = Number(options.rounds);
const roundMs = Number(options.ms);
const sizes = { users: 10_000, groups: 1000, depth: 6, roles: 60, organizations: 200, policies: 200 };
/** How many questions are put at once, between two looks at the clock: few, so that most are not interrupted. */
const batchSize = 50;
const aims = { cached: 5, uncached: 3 };

const types = Array.from({ length: 40 }, (_, at) => `type_${'abcdefghij'[at % 10]}${'abcd'[Math.floor(at / 10)]}`);
/** Most policies are about changes, and most questions about reading. */
const changes = ['write', 'approve', 'remove'];
const actions = ['read', ...changes];
const scopes = ['own', 'organization', 'any'];
const one = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T;
const several = <T>(count: number, items: readonly T[]): T[] => [
  ...new Set(Array.from({ length: count }, () => one(items))),
];

/** Conditions as people write them. */
const conditions: (() => object)[] = [
  () => ({ '!': { in_network: [{ var: 'context.address' }, '10.0.0.0/8', '192.0.2.0/24'] } }),
  () => ({ '!': { '<=': ['00:00', { time_of_day: 'Europe/Berlin' }, '23:59'] } }),
  () => ({
    and: [{ '!==': [{ var: 'resource.owner' }, { var: 'subject.id' }] }, { '>=': [{ var: 'context.risk' }, 90] }],
  }),
  () => ({ overlaps: [{ var: 'subject.roles' }, ['nobody', 'has', 'these']] }),
];

const insertAll = async (db: Db, table: string, rows: readonly object[]) => {
  for (let at = 0; at < rows.length; at += 1000) await db(table).insert(rows.slice(at, at + 1000));
};

const fill = async (db: Db) => {
  const ids = (count: number) => Array.from({ length: count }, () => uuid());
  const permissions = types.flatMap((type) =>
    actions.flatMap((action) => scopes.map((scope) => ({ id: uuid(), name: `${type}:${action}:${scope}` }))),
  );
  await insertAll(db, 'permissions', permissions);
  const roles = ids(sizes.roles).map((id, at) => ({ id, name: `bench-${at}`, rank: at }));
  await insertAll(db, 'roles', roles);
  await insertAll(
    db,
    'rolePermissions',
    roles.flatMap(({ id }) =>
      several(3, permissions).map((permission) => ({ roleId: id, permissionId: permission.id })),
    ),
  );
  await insertAll(
    db,
    'roleInheritance',
    roles.slice(1).map(({ id }, at) => ({ roleId: id, parentId: roles[Math.floor(at / 8)]?.id })),
  );
  const organizations = ids(sizes.organizations);
  for (const [at, id] of organizations.entries())
    await db('organizations').insert({ id, name: `Bench ${at}`, parentId: at < 20 ? null : organizations[at % 20] });
  const groups = ids(sizes.groups);
  // Chains of six: each group but the first of its chain hangs beneath the one before.
  for (const [at, id] of groups.entries())
    await db('groups').insert({ id, name: `Bench ${at}`, parentId: at % sizes.depth ? groups[at - 1] : null });
  await insertAll(
    db,
    'roleGrants',
    groups.map((groupId) => ({ id: uuid(), groupId, roleId: one(roles).id })),
  );
  const userIds = ids(sizes.users);
  const memberships = userIds.map((userId) => ({ userId, organizationId: one(organizations) }));
  const { id: roleId } = await db('roles').where({ name: 'user' }).first('id');
  await insertAll(
    db,
    'users',
    userIds.map((id) => ({ id, email: `${id}@example.com`, name: 'Ada', roleId, status: 'active' })),
  );
  await insertAll(
    db,
    'groupMembers',
    userIds.map((userId) => ({ userId, groupId: one(groups) })),
  );
  await insertAll(db, 'organizationMembers', memberships);
  // Every third holds a role in their organization.
  await insertAll(
    db,
    'roleGrants',
    memberships.filter((_, at) => at % 3 === 0).map((place) => ({ id: uuid(), ...place, roleId: one(roles).id })),
  );
  for (let at = 0; at < sizes.policies; at++) {
    const [id, effect] = [uuid(), at % 4 === 3 ? 'allow' : 'deny'];
    await db('policies').insert({ id, name: `bench-${at}` });
    await db('policyVersions').insert({
      policyId: id,
      version: 1,
      effect,
      resources: [types[at % types.length]],
      actions: [at % 5 ? one(changes) : 'read'],
      condition: JSON.stringify((conditions[at % conditions.length] as () => object)()),
    });
    await db('policies').where({ id }).update({ activeVersion: 1, activatedRank: 100, activatedAt: new Date() });
  }
  await db.raw('analyze');
  return { userIds, organizations };
};

/** Of twenty requests one comes from elsewhere, and one looks risky. */
const time = new Date().toISOString();
const contexts = Array.from({ length: 20 }, (_, at) => ({
  time,
  address: at === 0 ? '203.0.113.9' : '10.1.2.3',
  risk: at === 1 ? 95 : 12,
}));

/** Seven of ten read; half are about what the person may do at least somewhere, the others about anything. */
const questionOf = (
  id: string,
  people: LRUCache<string, UserAccess>,
  userIds: readonly string[],
  organizations: readonly string[],
  places: ReadonlyMap<string, string[][]>,
): Question => {
  const person = people.peek(id) as UserAccess;
  const own = person.organizations.map((one) => one.id);
  const wanted = Math.random() < 0.7 ? ['read'] : changes;
  const names = [...person.permissions, ...person.organizations.flatMap(({ permissions }) => permissions)]
    .map((name) => name.split(':'))
    .filter(([type, action]) => types.includes(type as string) && wanted.includes(action as string));
  const [type, action] = Math.random() < 0.5 && names.length ? one(names) : [one(types), one(wanted)];
  return {
    subject: { type: 'user', id },
    action: action as string,
    resource: {
      type: type as string,
      owner: Math.random() < 0.3 ? id : one(userIds),
      organizations:
        Math.random() < 0.6
          ? (places.get(Math.random() < 0.7 && own.length ? one(own) : one(organizations)) ?? [])
          : [],
    },
    context: one(contexts),
  };
};

const made = await createDatabase();
if (!made.url) throw new Error('DATABASE_URL: a PostgreSQL database, next to which this makes one of its own');
const database = await connect({ url: made.url, poolMax: 4 });
const bare = new pg.Client({ connectionString: made.url });
try {
  await migrate(database.db);
  const { userIds, organizations } = await fill(database.db);
  await bare.connect();
  const config = { REDIS_KEY_PREFIX: `bench:${randomBytes(6).toString('hex')}:` } as Parameters<
    typeof createCachedAccess
  >[0]['config'];
  const secrets = createSecrets('a bench has nothing to hide, at length');
  const access = await createCachedAccess({ config, database, secrets, log: createLog('silent'), count: () => {} });
  const active = await createActivePolicies(database.db, database.listen);

  const lookups = new LRUCache<string, UserAccess>({ max: sizes.users, ttl: 60_000 });
  for (let at = 0; at < userIds.length; at += 500)
    for (const [id, one] of await access.ofMany(userIds.slice(at, at + 500))) lookups.set(id, one);
  await access.of(userIds.at(-1) as string);
  const held = userIds.filter((id) => access.peek(id));
  console.log(`${held.length} of ${userIds.length} people are in the cache`);
  const places = new Map(organizations.map((id) => [id, [[id]]]));
  // A service has its question at hand: what questions are made of is no more than it must be, and they are asked again and again.
  const made = held.map((id) => questionOf(id, lookups, userIds, organizations, places));
  const asked = Array.from({ length: 50_000 }, () => one(made));
  const { policiesFor } = await active.current();
  const sql = accessOf('$1');

  const withPolicies = asked.filter(({ resource: { type }, action }) => policiesFor(type, action).length);

  let kept: unknown;
  let notCached = 0;
  const lookUp = ({ subject }: Question) => {
    kept = lookups.get(subject.id);
  };
  const peek = ({ subject }: Question) => {
    const found = access.peek(subject.id);
    if (found) kept = found;
    else notCached++;
  };
  const decideCached = (policiesFor: Facts['policiesFor']) => (question: Question) => {
    const subject = access.peek(question.subject.id);
    if (subject) kept = decide(question, { subject, policiesFor });
    else notCached++;
  };
  const cached = decideCached(policiesFor);
  const synchronous: Record<string, { run: (question: Question) => void; of: readonly Question[] }> = {
    'look-up': { run: lookUp, of: asked },
    'remembered access': { run: peek, of: asked },
    cached: { run: cached, of: asked },
    'cached, no policies': { run: decideCached(noPolicies), of: asked },
    'cached, by policies': { run: cached, of: withPolicies },
  };
  const asynchronous = {
    sql: async ({ subject }: Question) => {
      kept = (await bare.query({ name: 'access', text: sql, values: [subject.id] })).rows;
    },
    uncached: async (question: Question) => {
      const subject = await findUserAccess(database.db, question.subject.id);
      if (subject) kept = decide(question, { subject, policiesFor });
    },
  };

  const perSecond: Record<string, number[]> = {};
  const record = (kind: string, count: number, ms: number) => {
    perSecond[kind] = [...(perSecond[kind] ?? []), (count / ms) * 1000];
  };
  // Everything that is asked is asked once before: what decisions look things up by is made then. And it is counted.
  const shares = new Map<string, number>();
  for (const [at, question] of asked.entries()) {
    if (at % 200 === 0) await access.of(held[0] as string);
    const subject = access.peek(question.subject.id);
    if (!subject) continue;
    const { allowed, because } = decide(question, { subject, policiesFor });
    const about = 'permission' in because ? because.permission.split(':')[2] : '';
    const kind = `${allowed ? 'allowed' : 'refused'} by ${because.rule} ${about}`.trim();
    shares.set(kind, (shares.get(kind) ?? 0) + 1);
  }
  for (let round = -1; round < rounds; round++) {
    const start = Math.floor(Math.random() * asked.length);
    for (const [kind, { run, of }] of Object.entries(synchronous).sort(() => Math.random() - 0.5)) {
      const started = performance.now();
      const batches: number[] = [];
      for (let at = start; performance.now() - started < roundMs; ) {
        // The cache is used while it is certain, and whoever asks has it made so: what that takes is part of no batch.
        await access.of(held[0] as string);
        const begun = performance.now();
        const before = notCached;
        for (const end = at + batchSize; at < end; at++) run(of[at % of.length] as Question);
        // Who has no answer is quick with it.
        if (notCached === before) batches.push(performance.now() - begun);
      }
      // Whatever else the machine does at a moment makes a batch longer, and is left out that way.
      if (round >= 0) record(kind, batchSize, median(batches));
    }
    for (const [kind, run] of Object.entries(asynchronous).sort(() => Math.random() - 0.5)) {
      const started = performance.now();
      let count = 0;
      for (; performance.now() - started < roundMs; count++)
        await run(asked[(start + count) % asked.length] as Question);
      if (round >= 0) record(kind, count, performance.now() - started);
    }
  }

  const rate = (kind: string) => median(perSecond[kind] ?? []);
  const ratio = (limit: string, kind: string) =>
    median((perSecond[limit] ?? []).map((per, at) => per / (perSecond[kind]?.[at] ?? Number.NaN)));
  const share = (part: number, whole: number) => `${((part / whole) * 100).toFixed(1).padStart(5)} %`;
  console.log(
    `of the questions ${share(withPolicies.length, asked.length)} meet policies; ${notCached} answers were not in the cache`,
  );
  for (const [kind, count] of [...shares].sort(([, a], [, b]) => b - a))
    console.log(`  ${share(count, asked.length)} ${kind}`);
  const line = (kind: string, limit: string, aim = '') => {
    const times = ratio(limit, kind);
    const perS = Math.round(rate(kind)).toLocaleString('en').padStart(12);
    console.log(`${kind.padEnd(22)} ${perS} per second ${times.toFixed(2).padStart(8)} times a ${limit}${aim}`);
    return times;
  };
  let cachedTimes = Number.NaN;
  for (const kind of Object.keys(synchronous)) {
    const times = line(kind, 'look-up', kind === 'cached' ? ` (aim: ${aims.cached})` : '');
    if (kind === 'cached') cachedTimes = times;
  }
  line('sql', 'sql');
  const uncachedTimes = line('uncached', 'sql', ` (aim: ${aims.uncached})`);
  console.log(
    `load of the machine: ${loadavg()
      .map((load) => load.toFixed(1))
      .join(', ')}`,
  );
  if (kept === undefined || cachedTimes > aims.cached || uncachedTimes > aims.uncached) process.exitCode = 1;
  await active.stop();
  await access.close();
} finally {
  await bare.end();
  await database.close();
  await made.drop();
}
