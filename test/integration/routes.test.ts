/**
 * Every REST operation is refused alike: what the checks are follows from what the route declares, and a row of
 * `route-cases.ts` says how it succeeds. A route without a row fails here.
 */
import { afterAll, describe, expect, it } from 'vitest';
import type { Route } from '../../src/http/route.ts';
import type { TestCaller } from '../support/callers.ts';
import { callerOf } from '../support/callers.ts';
import { digestTables, settleJobs } from '../support/dump.ts';
import { createAnswerCheck, operationsOf } from '../support/openapi-answers.ts';
import type { Answer } from '../support/requests.ts';
import { type Attempt, type RouteCase, routeCases, twilioSettings } from '../support/route-cases.ts';
import { openRouteWorld } from '../support/route-world.ts';
import { startServer } from '../support/server.ts';

// Before the tests are collected: the routes say which there are.
const server = await startServer({ ...twilioSettings, MFA_REQUIRED_ROLES: 'moderator' });
const world = await openRouteWorld(server);
const { db } = server.database;
const document = await server.app.createDocument();
const operations = operationsOf(document);
const checkAnswer = createAnswerCheck(document);
const admin = await callerOf(server, { role: 'admin' });
afterAll(() => server.stop());

interface Schema {
  $ref?: string;
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
}
const resolve = (schema: Schema = {}): Schema =>
  schema.$ref ? document.components.schemas[schema.$ref.split('/').at(-1) as string] : schema;

/** The members of the body that the operation takes, with their schemas. */
const membersOf = ({ id }: Route): [name: string, schema: Schema][] => {
  const content = Object.values(operations.get(id)?.requestBody?.content ?? {});
  return Object.entries(resolve(content[0]?.schema as Schema).properties ?? {}).map(([name, schema]) => [
    name,
    resolve(schema),
  ]);
};
const queryOf = ({ id }: Route) => (operations.get(id)?.parameters ?? []).filter((one) => one.in === 'query');

const urlOf = ({ path }: Route, { params = {}, query = {} }: Attempt): string => {
  const filled = path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
  const search = new URLSearchParams(query).toString();
  return search ? `${filled}?${search}` : filled;
};
const typeOf = ({ consumes = 'application/json' }: Route) => consumes;
const write = (route: Route, body: Record<string, unknown>): string =>
  route.consumes ? new URLSearchParams(body as Record<string, string>).toString() : JSON.stringify(body);

const isGuarded = ({ access }: Route) => access !== 'public' && access !== 'optional';
const hasPermission = ({ access }: Route) => access.includes(':');
/** What is the caller's own needs no privilege: an ordinary user has it. */
const holderOf = ({ access }: Route) => (access.endsWith(':own') ? 'user' : 'superAdmin');

/** Somebody who may call the route, with nothing to spare. */
const rightCaller = async (route: Route): Promise<TestCaller> => {
  if (!isGuarded(route)) return world.anybody;
  return hasPermission(route) ? world.narrowed(holderOf(route), route.access) : world.thirdParty;
};
const send = async (
  route: Route,
  attempt: Attempt,
  { prefix = '', text, headers }: { prefix?: string; text?: string; headers?: Record<string, string | undefined> } = {},
): Promise<Answer> => {
  const caller = attempt.caller ?? (await rightCaller(route));
  const body = text ?? (attempt.body && write(route, attempt.body));
  return caller.request(route.method, `${prefix}${urlOf(route, attempt)}`, body, {
    ...(body === undefined ? {} : { 'content-type': typeOf(route) }),
    ...attempt.headers,
    ...headers,
  });
};

/** Makes requests that must change nothing. Each answer is held against its documentation. */
const refused = async (route: Route, ask: () => Promise<Answer>, documented = true): Promise<Answer> => {
  await settleJobs(db);
  const before = await digestTables(db);
  const answer = await ask();
  await settleJobs(db);
  expect([answer.status, await digestTables(db)]).toEqual([answer.status, before]);
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  if (documented) expect(checkAnswer(route.id, answer)).toEqual([]);
  return answer;
};
const outcome = ({ status, json }: Answer): [number, string] => [status, json?.code];
const refusals = () =>
  db('auditLogs').where({ action: 'authorization.refuse' }).orderBy('id').select('actorId', 'meta');

it('has a row for every operation, and none for another', () => {
  expect(Object.keys(routeCases).sort()).toEqual(server.app.routes.map(({ id }) => id).sort());
});

const malformedIds = ['x', '%00', '%', '%ff', 'a%00b', '%2e%2e%2f', '00000000-0000-0000-0000-00000000000g', "'--"];
const methods = ['get', 'post', 'put', 'patch', 'delete'];

/** An attempt that is never meant to succeed, so that one is enough. */
const samples = new Map<RouteCase, Promise<Attempt>>();
const sampleOf = (row: RouteCase): Promise<Attempt> => {
  const sample = samples.get(row) ?? Promise.resolve(row.attempt(world));
  samples.set(row, sample);
  return sample;
};

for (const route of server.app.routes) {
  const row = routeCases[route.id];
  if (!row) continue;
  const members = membersOf(route);
  const strings = members.filter(([name, { type }]) => type === 'string' && !row.opaque?.includes(name));

  describe(`${route.method.toUpperCase()} ${route.path} (${route.id})`, () => {
    if (isGuarded(route)) {
      it('refuses nobody', async () => {
        const attempt = { ...(await sampleOf(row)), caller: world.anybody };
        for (const prefix of ['', '/api/v1']) {
          const answer = await refused(route, () => send(route, attempt, { prefix }));
          expect(outcome(answer)).toEqual([401, 'unauthenticated']);
          expect(answer.headers.get('www-authenticate')).toBe('Bearer');
        }
      });
    }

    if (route.access !== 'public') {
      it('refuses a token that is none', async () => {
        const attempt = { ...(await sampleOf(row)), caller: world.anybody };
        const { token } = world.superAdmin;
        for (const value of [
          'Bearer nonsense',
          'Bearer cs_nonsense',
          `Bearer ${token}x`,
          'Bearer',
          'Basic eDp5',
          token,
        ]) {
          const answer = await refused(route, () => send(route, attempt, { headers: { authorization: value } }));
          expect(outcome(answer)).toEqual([401, 'invalid_token']);
          expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
        }
      });
    }

    if (hasPermission(route)) {
      // What is one's own is a person's; whoever owns something needs another permission for anybody else's.
      const permission = route.access.replace(/own$/, route.owner ? 'any' : 'own');
      const wrong = {
        'another role': () => (route.access.endsWith(':own') ? world.machine : world.user),
        'a scope without the permission': () => world.thirdParty,
      };
      for (const [title, caller] of Object.entries(wrong)) {
        if (title === 'another role' && route.owner) continue;
        it(`refuses ${title}, and writes that down`, async () => {
          const before = (await refusals()).length;
          const attempt = { ...(await sampleOf(row)), caller: caller() };
          const answer = await refused(route, () => send(route, attempt, { prefix: '/api/v1' }));
          expect(outcome(answer)).toEqual([403, 'missing_permission']);
          expect(answer.headers.get('www-authenticate')).toBe(
            `Bearer error="insufficient_scope", scope="${permission}"`,
          );
          expect((await refusals()).slice(before)).toEqual([
            { actorId: caller().id, meta: { operation: route.id, permission } },
          ]);
        });
      }
    }

    const { others, outranked } = row;
    if (others) {
      it('refuses what is somebody else’s', async () => {
        const attempt = { ...(await others.attempt(world)), caller: world.user };
        const answer = await refused(route, () => send(route, attempt));
        const code = others.status === 403 ? 'missing_permission' : expect.stringMatching(/^\w+_not_found$/);
        expect(outcome(answer)).toEqual([others.status, code]);
      });
    }
    if (outranked) {
      it('refuses what concerns somebody who ranks higher', async () => {
        const attempt = { ...(await outranked(world)), caller: admin };
        expect(outcome(await refused(route, () => send(route, attempt)))).toEqual([403, 'rank_too_low']);
      });
    }

    if (route.path.includes(':')) {
      it('refuses an id that is none', async () => {
        const attempt = await sampleOf(row);
        const [before = '', after = ''] = route.path.split(/:\w+/);
        const caller = attempt.caller ?? (await rightCaller(route));
        for (const id of [...malformedIds, 'x'.repeat(3000)]) {
          const ask = () => caller.request(route.method, `${before}${id}${after}`, attempt.body);
          // A guess at somebody else's id, as long as it is not looked at.
          expect(outcome(await refused(route, ask))).toEqual([
            expect.toSatisfy((status) => [400, 403, 404].includes(status)),
            expect.stringMatching(/^(invalid_request|missing_permission|\w*not_found)$/),
          ]);
        }
      });
    }

    if (queryOf(route).length) {
      it('refuses parameters that are sent twice, and names them all', async () => {
        const names = queryOf(route).map(({ name }) => name);
        const caller = (await sampleOf(row)).caller ?? (await rightCaller(route));
        const query = names.map((name) => `${name}=1&${name}=1`).join('&');
        const answer = await refused(route, () => caller.request(route.method, `${urlOf(route, {})}?${query}`));
        expect(answer.status).toBe(400);
        expect(new Set(answer.json.errors.map(({ field }: { field: string }) => field.split('.')[0]))).toEqual(
          new Set(names),
        );
      });
      it('refuses NUL and numbers out of bounds in the query', async () => {
        const attempt = await sampleOf(row);
        for (const { name } of queryOf(route)) {
          for (const value of name === 'limit' ? ['0', '201', '-1', '1.5', 'x', '1e999'] : ['a\0b']) {
            const query = { ...attempt.query, [name]: value };
            const { status, json } = await refused(route, () => send(route, { ...attempt, query }));
            expect([status, json.errors?.[0].field]).toEqual([400, name]);
          }
        }
      });
    }

    if (route.body) {
      const code = route.invalidInput ?? 'invalid_request';
      if (!route.consumes) {
        it('refuses what is not JSON, or no object', async () => {
          const attempt = await sampleOf(row);
          for (const text of ['{"a":', '{', "{'a': 1}", '{"a":1}}', '\0', 'NaN', 'null', '1', '"x"']) {
            const answer = await refused(route, () => send(route, attempt, { text }));
            expect(outcome(answer)).toEqual([400, 'invalid_json']);
          }
          expect(outcome(await refused(route, () => send(route, attempt, { text: '[]' })))).toEqual([400, code]);
        });
      }
      it('refuses a body that is too large', async () => {
        const attempt = await sampleOf(row);
        const body = { ...attempt.body, padding: 'x'.repeat(110_000) };
        const answer = await refused(route, () => send(route, { ...attempt, body }));
        expect(outcome(answer)).toEqual([413, 'request_too_large']);
      });
      it('refuses another content type', async () => {
        const attempt = await sampleOf(row);
        const text = write(route, attempt.body ?? {});
        const form = 'application/x-www-form-urlencoded';
        for (const type of ['text/plain', 'application/xml', route.consumes ? 'application/json' : form, 'nonsense']) {
          const answer = await refused(route, () => send(route, attempt, { text, headers: { 'content-type': type } }));
          expect(outcome(answer)).toEqual([415, 'unsupported_media_type']);
        }
      });
      it('refuses wrong types, and names every field', async () => {
        const attempt = await sampleOf(row);
        const body = Object.fromEntries(members.map(([name, { type }]) => [name, type === 'object' ? 'x' : {}]));
        if (!members.length) return;
        const answer = await refused(route, () => send(route, { ...attempt, body }));
        expect(outcome(answer)).toEqual([400, code]);
        expect(new Set(answer.json.errors.map(({ field }: { field: string }) => field.split('.')[0]))).toEqual(
          new Set(members.map(([name]) => name)),
        );
      });
      it('refuses NUL in text', async () => {
        const attempt = await sampleOf(row);
        for (const [name] of strings) {
          const body = { ...attempt.body, [name]: 'a\0b' };
          const { status, json } = await refused(route, () => send(route, { ...attempt, body }));
          expect([name, status, json.errors?.map(({ field }: { field: string }) => field)]).toEqual([
            name,
            400,
            [name],
          ]);
        }
        for (const [name] of members.filter(([, { type, items }]) => type === 'array' && items?.type === 'string')) {
          const body = { ...attempt.body, [name]: ['a\0b'] };
          const answer = await refused(route, () => send(route, { ...attempt, body }));
          expect([name, ...outcome(answer)]).toEqual([name, 400, expect.stringMatching(/^invalid_/)]);
        }
      });
      for (const name of row.opaque ?? []) {
        it(`takes NUL in ${name} for what it is`, async () => {
          const attempt = await row.attempt(world);
          const answer = await send(route, {
            ...attempt,
            body: { ...attempt.body, [name]: 'a phrase that\0nobody has' },
          });
          expect(checkAnswer(route.id, answer)).toEqual([]);
        });
      }
    }

    it('refuses another method', async () => {
      const attempt = await sampleOf(row);
      const served = server.app.routes.filter(({ path }) => path === route.path).map(({ method }) => method);
      for (const method of methods.filter((method) => !served.includes(method as 'get'))) {
        const ask = () => world.superAdmin.request(method, urlOf(route, attempt));
        const answer = await refused(route, ask, false);
        expect(outcome(answer)).toEqual([405, 'method_not_allowed']);
        const allowed = new Set(answer.headers.get('allow')?.toLowerCase().split(', '));
        expect([...allowed].filter((name) => name !== 'head').sort()).toEqual([...served].sort());
      }
    });

    it(`answers with ${route.status}, as it is documented`, async () => {
      const answer = await send(route, await row.attempt(world));
      expect([answer.status, checkAnswer(route.id, answer)]).toEqual([route.status, []]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expect(answer.headers.get('x-request-id')).toBeTruthy();
    });

    it('answers alike under /api/v1, whatever else is sent along', async () => {
      const attempt = await row.attempt(world);
      const surplus = route.consumes ? {} : { body: { ...attempt.body, unknown: { a: [1] }, constructor: 'x', id: 1 } };
      const answer = await send(
        route,
        { ...attempt, ...(route.body ? surplus : {}), query: { ...attempt.query, unknown: 'x', constructor: 'x' } },
        { prefix: '/api/v1' },
      );
      expect([answer.status, checkAnswer(route.id, answer)]).toEqual([route.status, []]);
    });

    if (hasPermission(route) && !route.access.endsWith(':own')) {
      it('answers an application that has the permission by itself', async () => {
        const attempt = { ...(await row.attempt(world)), caller: await world.machineWith(route.access) };
        const answer = await send(route, attempt);
        expect([answer.status, checkAnswer(route.id, answer)]).toEqual([route.status, []]);
      });
    }
    if (route.access === 'public') {
      it('looks at no token', async () => {
        const answer = await send(route, await row.attempt(world), { headers: { authorization: 'Bearer nonsense' } });
        expect(answer.status).toBe(route.status);
      });
    }
  });
}
