/**
 * Who may do what to whose, of every REST operation: a table of subjects by places, over two families of organizations. An
 * operation without a row fails here, so that nobody adds one without thinking of organizations.
 */
import { afterAll, describe, expect, it } from 'vitest';
import type { Route } from '../../src/http/route.ts';
import {
  callerFor,
  columnsOf,
  type Listing,
  type Outcome,
  openMatrix,
  type Place,
  render,
  type Single,
  type Subject,
  subjects,
  type Table,
} from '../support/authorization-matrix.ts';
import { authorizationRows } from '../support/authorization-rows.ts';
import { digestTables, settleJobs } from '../support/dump.ts';
import type { Answer } from '../support/requests.ts';
import { type Attempt, routeCases, twilioSettings } from '../support/route-cases.ts';
import { openRouteWorld } from '../support/route-world.ts';
import { startServer } from '../support/server.ts';

const server = await startServer(twilioSettings);
const matrix = await openMatrix(await openRouteWorld(server));
const { db } = server.database;
afterAll(() => server.stop());

const urlOf = ({ path }: Route, { params = {}, query = {} }: Attempt): string => {
  const filled = path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
  const search = new URLSearchParams(query).toString();
  return search ? `${filled}?${search}` : filled;
};

const ask = async (route: Route, subject: Subject, attempt: Attempt): Promise<Answer> => {
  const caller = await callerFor(matrix, subject, route);
  return caller.request(route.method, urlOf(route, attempt), attempt.body, attempt.headers);
};

/** A table is a hundred requests and more. */
const tableMs = 60_000;

/** What an answer says about who may. */
const outcomeOf = ({ status, json, text }: Answer, expected: number): Outcome => {
  if (status === expected) return 'ok';
  if (status === 409) return 'rule';
  if ((status === 401 && json.code === 'unauthenticated') || status === 403 || status === 404)
    return String(status) as Outcome;
  // What may not be named in a body is as if it were not there.
  if (status === 400 && json.errors?.some(({ code }: { code: string }) => code === 'unknown')) return '404';
  throw new Error(`neither done nor refused: ${status} ${text}`);
};

const collect = async (
  expected: Table,
  outcome: (subject: Subject, place: Place) => Promise<Outcome>,
  of: (wanted: Outcome | undefined) => boolean = () => true,
): Promise<Table> => {
  const seen: Record<string, Record<string, Outcome | undefined>> = {};
  for (const subject of subjects) {
    seen[subject] = {};
    for (const place of columnsOf(expected)) {
      const wanted = expected[subject][place];
      seen[subject][place] = of(wanted) ? await outcome(subject, place) : wanted;
    }
  }
  return seen as Table;
};

/** Of a list that everything is on which was made for it; a page of 200 must hold all that anybody sees. */
const checkList = (route: Route, { title = 'tells each what they may see', table, listed, attempt, idOf }: Listing) =>
  it(
    title,
    async () => {
      const ids = new Map<Place, string>();
      for (const place of columnsOf(table)) ids.set(place, await listed(matrix, place));
      const answers = new Map<Subject, Answer>();
      for (const subject of subjects) {
        const asked = await attempt?.(matrix);
        const query = route.query ? { limit: '200', ...asked?.query } : {};
        answers.set(subject, await ask(route, subject, { ...asked, query }));
      }
      const actual = await collect(table, async (subject, place) => {
        const answer = answers.get(subject) as Answer;
        const outcome = outcomeOf(answer, route.status);
        if (outcome !== 'ok') return outcome;
        const { data, nextCursor = null } = answer.json;
        expect(nextCursor).toBeNull();
        return data.some((item: { id: string }) => (idOf ? idOf(item) : item.id) === ids.get(place)) ? 'ok' : '-';
      });
      expect(render(actual)).toBe(render(table));
    },
    tableMs,
  );

const checkSingle = (route: Route, { title = 'does it for those who may', table, attempt }: Single) =>
  it(
    `${title}, and refuses others without a change`,
    async () => {
      const things = new Map<Place, Attempt>();
      for (const place of columnsOf(table)) things.set(place, await attempt(matrix, place));
      for (const subject of subjects) await callerFor(matrix, subject, route);
      const done = async (subject: Subject, place: Place) => {
        // What only reads leaves the thing as it was for the next.
        const thing = route.method === 'get' ? things.get(place) : await attempt(matrix, place);
        return outcomeOf(await ask(route, subject, thing ?? {}), route.status);
      };
      const refused = async (subject: Subject, place: Place) =>
        outcomeOf(await ask(route, subject, things.get(place) ?? {}), route.status);
      await settleJobs(db);
      const before = await digestTables(db);
      const first = await collect(table, refused, (wanted) => wanted !== 'ok');
      await settleJobs(db);
      const after = await digestTables(db);
      const second = await collect(table, done, (wanted) => wanted === 'ok');
      const actual = Object.fromEntries(
        subjects.map((subject) => [
          subject,
          Object.fromEntries(
            columnsOf(table).map((place) => [place, (table[subject][place] === 'ok' ? second : first)[subject][place]]),
          ),
        ]),
      ) as Table;
      expect(render(actual)).toBe(render(table));
      expect(after).toEqual(before);
    },
    tableMs,
  );

/** Who holds everything inside an organization holds nothing for what lies in none, and nothing that is somebody's own. */
const checkNone = (route: Route): (() => void)[] => {
  const { attempt, others } = routeCases[route.id] ?? {};
  const limited = ['everything in A', 'manager of A', 'key'] as const;
  const expectRefused = async (sent: Attempt, status: number) => {
    for (const subject of limited) {
      const { status: answered } = await ask(route, subject, sent);
      // An API key is refused for being one before anything is looked for.
      expect([subject, subject === 'key' && answered === 403 ? status : answered]).toEqual([subject, status]);
    }
  };
  return [
    ...(route.access.endsWith(':any') && attempt
      ? [
          () =>
            it('is for nobody who may do it inside an organization alone', async () =>
              expectRefused(await attempt(matrix.world), 403)),
        ]
      : []),
    ...(others
      ? [
          () =>
            it('is for nobody else, whatever they may do inside an organization', async () =>
              expectRefused(await others.attempt(matrix.world), others.status)),
        ]
      : []),
  ];
};

it('has a row for every operation, and none for another', () => {
  expect(Object.keys(authorizationRows).sort()).toEqual(server.app.routes.map(({ id }) => id).sort());
});

for (const route of server.app.routes) {
  const row = authorizationRows[route.id];
  // Of a route that is about the caller there may be nothing to ask, and then there is no group of tests.
  const checks: (() => void)[] =
    row === 'none' || !row
      ? checkNone(route)
      : [row]
          .flat()
          .map((one: Single | Listing) => () => ('listed' in one ? checkList(route, one) : checkSingle(route, one)));
  if (!checks.length) continue;
  describe(`${route.method.toUpperCase()} ${route.path} (${route.id})`, () => {
    for (const check of checks) check();
  });
}
