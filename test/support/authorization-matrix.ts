/**
 * Who may do what to whose: two families of organizations with people in them, and tables that say what each of those people gets
 * for a thing of each place. `test/integration/authorization-matrix.test.ts` asks; `authorization-rows-*.ts` have the rows.
 */
import { v7 as uuid } from 'uuid';
import { createKey, displayPrefix } from '../../src/api-keys/api-key-format.ts';
import type { Route } from '../../src/http/route.ts';
import { hashToken } from '../../src/secrets.ts';
import { requester, type TestCaller } from './callers.ts';
import { addMember, type Family, grantPermission, grantRole, makeFamily } from './organizations.ts';
import type { Attempt } from './route-cases.ts';
import type { Account, World } from './route-world.ts';

/**
 * Where a thing lies: in A, in the organization beneath it, beside it or above it, in B, or in no organization. `A+B` is in both: only
 * accounts can be. `new` is for what has no place yet.
 */
export const places = ['A', 'child', 'sibling', 'parent', 'B', 'none', 'A+B'] as const;
export type Place = (typeof places)[number];

/** `key` is an API key of the manager of A with all that they have; `machine` has just what the route asks for, everywhere. */
export const subjects = [
  'nobody',
  'stranger',
  'user of A',
  'manager of A',
  'owner of A',
  'key',
  'manager of child',
  'manager of sibling',
  'manager of parent',
  'manager of B',
  'everything in A',
  'moderator',
  'admin',
  'super_admin',
  'machine',
] as const;
export type Subject = (typeof subjects)[number];

/**
 * What comes of it: it is done (`ok`), there is no token (401), not with what the caller holds (403), there is no such thing as far as the
 * caller can see (404), or it would break a rule for anybody (`rule`). Of a list: the thing is on it (`ok`), or it is not (`-`).
 */
export type Outcome = 'ok' | '-' | 'rule' | '401' | '403' | '404';
export type Table = Readonly<Record<Subject, Readonly<Partial<Record<Place, Outcome>>>>>;

/** Reads a table: places in the first line, then subjects (several with commas between them) and what each gets. Two blanks part cells. */
export const table = (text: string): Table => {
  const [head = '', ...lines] = text.split('\n').filter((line) => line.trim());
  const columns = head.trim().split(/\s{2,}/) as Place[];
  const rows = lines.flatMap((line) => {
    const [names = '', ...cells] = line.trim().split(/\s{2,}/);
    if (cells.length !== columns.length) throw new Error(`not ${columns.length} cells: ${line}`);
    const row = Object.fromEntries(columns.map((column, at) => [column, cells[at]]));
    return names.split(/,\s*/).map((name) => [name, row] as const);
  });
  const known = Object.fromEntries(rows) as Table;
  const wrong = [
    ...subjects.filter((subject) => !known[subject]).map((subject) => `nothing about ${subject}`),
    ...rows.map(([name]) => name).filter((name) => !subjects.includes(name as Subject)),
    ...columns.filter((column) => !places.includes(column)),
  ];
  if (wrong.length || rows.length !== subjects.length) throw new Error(`not a table: ${wrong.join(', ')} in ${text}`);
  return known;
};

export const columnsOf = (expected: Table): Place[] => Object.keys(expected.nobody) as Place[];

/** Some of its places, where another operation that is made of the same has all of them. */
export const only = (expected: Table, ...places: Place[]): Table =>
  Object.fromEntries(
    Object.entries(expected).map(([subject, cells]) => [
      subject,
      Object.fromEntries(Object.entries(cells).filter(([place]) => places.includes(place as Place))),
    ]),
  ) as Table;

/** What is not seen is not on a list. */
export const onList = (shown: Table): Table => JSON.parse(JSON.stringify(shown).replaceAll('"404"', '"-"')) as Table;

/** Another outcome for one subject, in every place. */
export const except = (expected: Table, subject: Subject, outcome: Outcome): Table => ({
  ...expected,
  [subject]: Object.fromEntries(Object.keys(expected[subject]).map((place) => [place, outcome])),
});

/** As it is compared, so that a difference shows as a table. */
export const render = (outcomes: Table): string =>
  [
    ['', ...columnsOf(outcomes)],
    ...subjects.map((subject) => [subject, ...columnsOf(outcomes).map((place) => outcomes[subject][place] ?? '?')]),
  ]
    .map((cells) =>
      cells
        .map((cell, at) => cell.padEnd(at ? 9 : 19))
        .join('')
        .trimEnd(),
    )
    .join('\n');

export interface Matrix {
  world: World;
  a: Family;
  b: Family;
  people: Readonly<Record<Exclude<Subject, 'machine'>, TestCaller>>;
  /** The organizations that a thing of the place lies in. */
  organizationsOf(place: Place): string[];
  /** The one; undefined for none. */
  organizationOf(place: Place): string | undefined;
  /** A new account that belongs to the place's organizations. */
  accountIn(place: Place, role?: string): Promise<Account>;
}

/** A request about one thing. */
export interface Single {
  /** Where an operation has several. */
  title?: string;
  table: Table;
  /** The request about a thing of that place; made anew for each that succeeds. */
  attempt(matrix: Matrix, place: Place): Promise<Attempt> | Attempt;
}

/** A list, and what is on it. */
export interface Listing {
  title?: string;
  table: Table;
  /** Makes a thing of that place. @returns its id, as the list tells it */
  listed(matrix: Matrix, place: Place): Promise<string>;
  /** What is asked, after all things were made. */
  attempt?(matrix: Matrix): Promise<Attempt> | Attempt;
  /** Of an item; else its `id`. */
  // biome-ignore lint/suspicious/noExplicitAny: items are of any list
  idOf?(item: any): string;
}

/**
 * What an operation has to do with organizations. `none`: nothing; it is about the caller, or about things that lie in no
 * organization. `routes.test.ts` covers it, and nobody gets anywhere with what they hold inside an organization alone.
 */
export type Row = 'none' | Single | Listing | readonly (Single | Listing)[];

/** Everything that somebody may be asked for, inside an organization and elsewhere. */
const everything = ['*:*:*'];

export const openMatrix = async (world: World): Promise<Matrix> => {
  const { server } = world;
  const [a, b] = [await makeFamily(server, 'A'), await makeFamily(server, 'B')];
  const places: Record<Place, string[]> = {
    A: [a.self],
    child: [a.child],
    sibling: [a.sibling],
    parent: [a.parent],
    B: [b.self],
    none: [],
    'A+B': [a.self, b.self],
  };
  const member = async (id: string, organizationId: string, what?: 'manager' | 'owner') => {
    await addMember(server, organizationId, id, { isOwner: what === 'owner' });
    if (what === 'manager') await grantRole(server, { userId: id }, 'manager', { organizationId });
  };
  /** Signed in after all was given: a token has no more than there was when it was made. */
  const signedIn = async (arrange: (id: string) => Promise<unknown>, role = 'user'): Promise<TestCaller> => {
    const { id, email } = await world.account(role);
    await arrange(id);
    return world.signIn({ id, email });
  };
  const manager = await signedIn((id) => member(id, a.self, 'manager'));
  // With every scope: what its owner holds is what limits it.
  const key = createKey();
  const stored = { keyHash: hashToken(key), prefix: displayPrefix(key), scopes: everything };
  await server.database.db('apiKeys').insert({ id: uuid(), userId: manager.id, name: 'a key', ...stored });
  const people: Matrix['people'] = {
    nobody: world.anybody,
    stranger: await world.person(),
    'user of A': await signedIn((id) => member(id, a.self)),
    'manager of A': manager,
    'owner of A': await signedIn((id) => member(id, a.self, 'owner')),
    key: { ...manager, token: key, request: requester(server, key) },
    'manager of child': await signedIn((id) => member(id, a.child, 'manager')),
    'manager of sibling': await signedIn((id) => member(id, a.sibling, 'manager')),
    'manager of parent': await signedIn((id) => member(id, a.parent, 'manager')),
    'manager of B': await signedIn((id) => member(id, b.self, 'manager')),
    'everything in A': await signedIn(async (id) => {
      await member(id, a.self);
      for (const permission of everything)
        await grantPermission(server, { userId: id }, permission, { organizationId: a.self });
    }),
    moderator: await world.person('moderator'),
    admin: await world.person('admin'),
    super_admin: await world.person('super_admin'),
  };
  return {
    world,
    a,
    b,
    people,
    organizationsOf: (place) => places[place],
    organizationOf: (place) => places[place][0],
    accountIn: async (place, role) => {
      const account = await world.account(role);
      for (const organizationId of places[place]) await addMember(server, organizationId, account.id);
      return account;
    },
  };
};

/** Whoever does it; a machine has just the permission of the route, for everything. */
export const callerFor = async ({ world, people }: Matrix, subject: Subject, { access }: Route): Promise<TestCaller> =>
  subject === 'machine' ? world.machineWith(access.replace(/:(own|organization)$/, ':any')) : people[subject];
