/** The rows that `bench/lists.ts` fills a database with. Everything follows from numbers, so that each run has the same. */
import { createHash } from 'node:crypto';
import pg from 'pg';
import { copyInto, type Value } from './copy.ts';
import { createRandom } from './numbers.ts';

/** How many of each. */
export interface Sizes {
  users: number;
  organizations: number;
  memberships: number;
  groups: number;
  groupMembers: number;
  roleGrants: number;
  permissionGrants: number;
  domains: number;
  clients: number;
  /** API keys, sessions, sign-ins and entries of the audit log, each. */
  logs: number;
}

export const full: Sizes = {
  users: 1_000_000,
  organizations: 10_000,
  memberships: 200_000,
  groups: 20_000,
  groupMembers: 200_000,
  roleGrants: 60_000,
  permissionGrants: 30_000,
  domains: 500,
  clients: 20_000,
  logs: 300_000,
};

/** How many of each there are at least. */
export const sizeMin = 200;

/** A part of all; 1 is all. */
export const scaled = (share: number): Sizes =>
  Object.fromEntries(
    Object.entries(full).map(([name, size]) => [name, Math.max(sizeMin, Math.round(size * share))]),
  ) as unknown as Sizes;

/** Whole numbers below others, the same in each run. */
const createChoice = (seed: number) => {
  const random = createRandom(seed);
  return (below: number): number => Math.floor(random() * below);
};

/** As `gen_random_uuid()`: in no order. */
export const randomId = (kind: string, number: number): string =>
  createHash('md5')
    .update(`${kind} ${number}`)
    .digest('hex')
    .replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');

const start = Date.UTC(2025, 0, 1);
/** As uuid v7: in the order in which things were made, one a second. */
export const timedId = (number: number): string => {
  const time = (start + number * 1000).toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${number.toString(16).padStart(12, '0')}`;
};
const timeOf = (number: number) => new Date(start + number * 1000);

const firstNames = [
  'Ada',
  'Grace',
  'Alan',
  'Edsger',
  'Barbara',
  'Donald',
  'Frances',
  'Ken',
  'Radia',
  'Niklaus',
  'Élodie',
  'Øyvind',
];
const lastNames = [
  'Lovelace',
  'Hopper',
  'Turing',
  'Dijkstra',
  'Liskov',
  'Knuth',
  'Allen',
  'Thompson',
  'Perlman',
  'Wirth',
];
const nameOf = (number: number) =>
  `${firstNames[number % firstNames.length]} ${lastNames[Math.floor(number / 7) % lastNames.length]} ${number % 9973}`;
/** In no alphabetical order. */
export const emailOf = (number: number): string =>
  `${createHash('md5').update(`mail ${number}`).digest('hex').slice(0, 8)}.${number}@${number % 3 ? 'example.com' : 'example.org'}`;

/** The organization above: one tree has a tenth of all and is wide, the others have ten each. */
export const parentOf = (number: number, organizations: number): number | undefined => {
  const large = Math.floor(organizations / 10);
  if (number === 0) return undefined;
  if (number < large) return Math.floor((number - 1) / 9);
  const place = (number - large) % 10;
  return place === 0 ? undefined : number - place + Math.floor((place - 1) / 3);
};

/** Distinct pairs. */
function* pairs(count: number, random: (below: number) => number, first: () => number, second: number) {
  const seen = new Set<number>();
  while (seen.size < count) {
    const [one, other] = [first(), random(second)];
    const key = one * second + other;
    if (seen.has(key)) continue;
    seen.add(key);
    yield [one, other] as const;
  }
}

function* range<T>(count: number, make: (number: number) => T): Generator<T> {
  for (let number = 0; number < count; number++) yield make(number);
}

/** Fills a database that has been migrated, and has nobody in it. @returns in seconds how long each table took */
export const fill = async (url: string, sizes: Sizes): Promise<Record<string, number>> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const took: Record<string, number> = {};
  const copy = async (table: string, columns: string, rows: Iterable<readonly Value[]>) => {
    const began = performance.now();
    await copyInto(client, table, columns.split(' '), rows);
    took[table] = (took[table] ?? 0) + (performance.now() - began) / 1000;
  };
  try {
    // It is thrown away after: nothing is lost with it.
    await client.query('set synchronous_commit = off');
    const idsOf = async (table: string) =>
      new Map(
        (await client.query(`select name, id from ${table}`)).rows.map(({ name, id }) => [
          name as string,
          id as string,
        ]),
      );
    const roles = await idsOf('roles');
    const roleId = (name: string) => roles.get(name) as string;
    const permissions = [...(await idsOf('permissions')).values()];
    await people(copy, sizes, roleId);
    await places(copy, sizes);
    await grants(copy, sizes, roleId, permissions);
    await logs(copy, sizes);
    const began = performance.now();
    await client.query('vacuum analyze');
    took['vacuum analyze'] = (performance.now() - began) / 1000;
  } finally {
    await client.end();
  }
  return took;
};

type Copy = (table: string, columns: string, rows: Iterable<readonly Value[]>) => Promise<void>;

const people = (copy: Copy, { users }: Sizes, roleId: (name: string) => string) => {
  const statusOf = (number: number) => (number % 100 === 7 ? 'closed' : number % 50 === 3 ? 'deactivated' : 'active');
  const roleOf = (number: number) =>
    number % 1000 === 1 ? 'moderator' : number % 200 === 2 ? 'partner' : number % 500 === 3 ? 'manager' : 'user';
  return copy(
    'users',
    'id email email_verified_at name role_id status locale created_at updated_at',
    range(users, (number) => [
      timedId(number),
      emailOf(number),
      number % 10 ? timeOf(number) : null,
      nameOf(number),
      roleId(roleOf(number)),
      statusOf(number),
      number % 2 ? 'en' : null,
      timeOf(number),
      timeOf(number),
    ]),
  );
};

const places = async (copy: Copy, { users, organizations, memberships, groups, groupMembers, domains }: Sizes) => {
  const random = createChoice(1);
  const organizationId = (number: number) => randomId('organization', number);
  const groupId = (number: number) => randomId('group', number);
  const domainId = (number: number) => randomId('domain', number);
  await copy(
    'organizations',
    'id parent_id kind name created_at updated_at',
    range(organizations, (number) => {
      const parent = parentOf(number, organizations);
      return [
        organizationId(number),
        parent === undefined ? null : organizationId(parent),
        number % 4 ? 'organization' : 'company',
        `${lastNames[number % lastNames.length]} ${number}`,
        timeOf(number),
        timeOf(number),
      ];
    }),
  );
  // An owner is in each; of all others, a tenth belongs to the first organization itself.
  let next = 0;
  const chosen = () => {
    if (next < organizations) return next++;
    return random(10) === 0 ? 0 : random(organizations);
  };
  const places = [...pairs(memberships, random, chosen, users)];
  const owned = new Set<number>();
  await copy(
    'organization_members',
    'organization_id user_id is_owner created_at',
    places.map(([organization, user]) => {
      const isOwner = !owned.has(organization);
      owned.add(organization);
      return [organizationId(organization), timedId(user), isOwner, timeOf(user)];
    }),
  );
  // Half of the groups are of no organization, in trees six deep; the others are of one, and so are their members.
  const free = Math.floor(groups / 2);
  await copy(
    'groups',
    'id parent_id organization_id kind name created_at updated_at',
    range(groups, (number) => [
      groupId(number),
      number < free && number % 6 ? groupId(number - 1) : null,
      number < free ? null : organizationId(number % organizations),
      number % 3 ? 'group' : 'team',
      `${firstNames[number % firstNames.length]} ${number}`,
      timeOf(number),
      timeOf(number),
    ]),
  );
  const inGroups = pairs(groupMembers / 2, random, () => random(free), users);
  const byOrganization = new Map<number, number[]>();
  for (const [organization, user] of places)
    byOrganization.set(organization, [...(organization === 0 ? [] : (byOrganization.get(organization) ?? [])), user]);
  const inTheirs = range(groups - free, (number) => {
    const members = byOrganization.get((number + free) % organizations) ?? [];
    return members.slice(0, 10).map((user) => [number + free, user] as const);
  });
  await copy(
    'group_members',
    'group_id user_id created_at',
    [...inGroups, ...[...inTheirs].flat()].map(([group, user]) => [groupId(group), timedId(user), timeOf(user)]),
  );
  await copy(
    'domains',
    'id parent_id key name created_at updated_at',
    range(domains, (number) => [
      domainId(number),
      number < 10 ? null : domainId(Math.floor(number / 10)),
      `area-${number}`,
      `Area ${number}`,
      timeOf(number),
      timeOf(number),
    ]),
  );
  await copy(
    'domain_members',
    'domain_id user_id created_at',
    [...pairs(groupMembers / 2, random, () => random(domains), users)].map(([domain, user]) => [
      domainId(domain),
      timedId(user),
      timeOf(user),
    ]),
  );
};

const grants = async (
  copy: Copy,
  { users, organizations, groups, roleGrants, permissionGrants }: Sizes,
  roleId: (name: string) => string,
  permissions: readonly string[],
) => {
  const random = createChoice(2);
  const later = new Date(Date.now() + 86_400_000);
  // 7919 is a prime, so that nobody comes twice.
  const subject = (number: number) =>
    number % 10
      ? [timedId((number * 7919) % users), null]
      : [null, randomId('group', Math.floor(number / 10) % groups)];
  const place = (number: number) => (number % 2 ? randomId('organization', random(organizations)) : null);
  await copy(
    'role_grants',
    'user_id group_id role_id organization_id expires_at',
    range(roleGrants, (number) => [
      ...subject(number),
      roleId(number % 2 ? 'manager' : 'partner'),
      place(number),
      number % 5 ? null : later,
    ]),
  );
  await copy(
    'permission_grants',
    'user_id group_id permission_id organization_id effect expires_at',
    range(permissionGrants, (number) => [
      ...subject(number + 3),
      permissions[number % permissions.length] as string,
      place(number),
      number % 9 ? 'allow' : 'deny',
      number % 5 ? null : later,
    ]),
  );
};

const logs = async (copy: Copy, { users, clients, logs }: Sizes) => {
  const random = createChoice(3);
  const whose = () => timedId(random(users));
  await copy(
    'clients',
    'client_id client_name redirect_uris rank created_at updated_at',
    range(clients, (number) => [
      randomId('client', number),
      `Application ${number}`,
      ['https://app.example.com/callback'],
      0,
      timeOf(number),
      timeOf(number),
    ]),
  );
  await copy(
    'api_keys',
    'id user_id name prefix key_hash scopes created_at',
    range(logs, (number) => [
      timedId(number),
      whose(),
      `Key ${number}`,
      'cs_000000',
      randomId('key', number),
      ['users:read:own'],
      timeOf(number),
    ]),
  );
  const inAMonth = new Date(Date.now() + 30 * 86_400_000);
  await copy(
    'sessions',
    'id_hash uid user_id payload started_at last_seen_at expires_at',
    range(logs, (number) => [
      randomId('session', number),
      randomId('uid', number),
      whose(),
      {},
      timeOf(number),
      timeOf(number),
      inAMonth,
    ]),
  );
  await copy(
    'sign_ins',
    'id user_id outcome score factors created_at',
    range(logs, (number) => [timedId(number), whose(), 'allow', 0, {}, timeOf(number)]),
  );
  const actions = ['session.start', 'session.end', 'user.update', 'authorization.refuse', 'client.update'];
  await copy(
    'audit_logs',
    'id at actor_type actor_id action target_type target_id',
    range(logs, (number) => [
      timedId(number),
      timeOf(number),
      'user',
      whose(),
      actions[number % actions.length] as string,
      'user',
      whose(),
    ]),
  );
};
