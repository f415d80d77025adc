/**
 * Every REST operation refuses alike: which checks there are follows from what the route declares, and a row of
 * `route-cases.ts` says how it succeeds. An operation without a row fails here.
 */
import { afterAll, describe, expect, it } from 'vitest';
import type { Route } from '../../src/http/route.ts';
import type { TestCaller } from '../support/callers.ts';
import { digestTables, settleJobs } from '../support/dump.ts';
import { createAnswerCheck, operationsOf } from '../support/openapi-answers.ts';
import type { Answer } from '../support/requests.ts';
import { type Attempt, type RouteCase, routeCases, twilioSettings } from '../support/route-cases.ts';
import { openRouteWorld } from '../support/route-world.ts';
import { startServer } from '../support/server.ts';

// Before the tests are collected: the routes say which there are.
const server = await startServer(twilioSettings);
const world = await openRouteWorld(server);
const { db } = server.database;
const document = await server.app.createDocument();
const operations = operationsOf(document);
const checkAnswer = createAnswerCheck(document);
const admin = await world.person('admin');
afterAll(() => server.stop());

interface Schema {
  $ref?: string;
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
}
const resolve = (schema: Schema = {}): Schema =>
  schema.$ref ? document.components.schemas[schema.$ref.split('/').at(-1) as string] : schema;

/** The members of the body that the operation takes, with their schemas. */
const membersOf = ({ id }: Route): [name: string, schema: Schema][] => {
  const [media] = Object.values(operations.get(id)?.requestBody?.content ?? {});
  const { properties = {} } = resolve(media?.schema);
  return Object.entries(properties).map(([name, schema]) => [name, resolve(schema)]);
};
const queryOf = ({ id }: Route): string[] =>
  (operations.get(id)?.parameters ?? []).filter((one) => one.in === 'query').map(({ name }) => name);

const urlOf = ({ path }: Route, { params = {}, query = {} }: Attempt): string => {
  const filled = path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
  const search = new URLSearchParams(query).toString();
  return search ? `${filled}?${search}` : filled;
};
const write = ({ consumes }: Route, body: Record<string, unknown>): string =>
  consumes ? new URLSearchParams(body as Record<string, string>).toString() : JSON.stringify(body);

const isGuarded = ({ access }: Route): boolean => access !== 'public' && access !== 'optional';
const hasPermission = ({ access }: Route): boolean => access.includes(':');

/** All that it takes. */
const scopeOf = ({ id, access }: Route): string => [access, ...(routeCases[id]?.needs ?? [])].join(' ');

/** Somebody who may call the route, with nothing to spare. What is the caller's own, an ordinary user may. */
const rightCaller = async (route: Route): Promise<TestCaller> => {
  if (!isGuarded(route)) return world.anybody;
  if (!hasPermission(route)) return world.thirdParty;
  return world.narrowed(route.access.endsWith(':own') ? 'user' : 'superAdmin', scopeOf(route));
};
type Ready = Attempt & { caller: TestCaller };
const ready = async (route: Route, attempt: Promise<Attempt> | Attempt): Promise<Ready> => ({
  caller: await rightCaller(route),
  ...(await attempt),
});

const send = (
  route: Route,
  { caller, ...attempt }: Ready,
  { prefix = '', text, headers }: { prefix?: string; text?: string; headers?: Record<string, string> } = {},
): Promise<Answer> => {
  const body = text ?? (attempt.body && write(route, attempt.body));
  return caller.request(route.method, `${prefix}${urlOf(route, attempt)}`, body, {
    ...(body === undefined ? {} : { 'content-type': route.consumes ?? 'application/json' }),
    ...attempt.headers,
    ...headers,
  });
};
const outcome = ({ status, json }: Answer): [number, string] => [status, json?.code];
/** The outermost names of the fields that were refused. */
const fieldsOf = ({ json }: Answer): Set<string> =>
  new Set(json.errors?.map(({ field }: { field: string }) => field.split('.')[0]));

/** An attempt that is refused, so that one is enough for all checks. */
const samples = new Map<RouteCase, Promise<Attempt>>();
const sampleOf = (row: RouteCase): Promise<Attempt> => {
  const sample = samples.get(row) ?? Promise.resolve(row.attempt(world));
  samples.set(row, sample);
  return sample;
};

/** A test of requests that are refused as it is documented, and that change nothing but the audit log. */
const refuses = (
  title: string,
  route: Route,
  arrange: () => Promise<Attempt> | Attempt,
  check: (attempt: Ready, refused: (answer: Promise<Answer>) => Promise<Answer>) => Promise<void>,
) =>
  it(`refuses ${title}`, async () => {
    const attempt = await ready(route, arrange());
    await settleJobs(db);
    const before = await digestTables(db);
    await check(attempt, async (asked) => {
      const answer = await asked;
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      // Not that of the operation, but of its address.
      if (answer.status !== 405) expect(checkAnswer(route.id, answer)).toEqual([]);
      return answer;
    });
    await settleJobs(db);
    expect(await digestTables(db)).toEqual(before);
  });

/** RFC 9728 section 5.1. */
const where = () => `resource_metadata="${server.issuer}/.well-known/oauth-protected-resource/api"`;

const refusedCallers = (route: Route, row: RouteCase) => {
  const byAnybody = async () => ({ ...(await sampleOf(row)), caller: world.anybody });
  if (isGuarded(route)) {
    refuses('nobody', route, byAnybody, async (attempt, refused) => {
      for (const prefix of ['', '/api/v1']) {
        const answer = await refused(send(route, attempt, { prefix }));
        expect(outcome(answer)).toEqual([401, 'unauthenticated']);
        expect(answer.headers.get('www-authenticate')).toBe(`Bearer ${where()}`);
      }
    });
  }
  if (route.access !== 'public') {
    refuses('a token that is none', route, byAnybody, async (attempt, refused) => {
      const { token } = world.superAdmin;
      for (const authorization of ['Bearer x', 'Bearer cs_x', `Bearer ${token}x`, 'Bearer', 'Basic eDp5', token]) {
        const answer = await refused(send(route, attempt, { headers: { authorization } }));
        expect(outcome(answer)).toEqual([401, 'invalid_token']);
        expect(answer.headers.get('www-authenticate')).toBe(`Bearer error="invalid_token", ${where()}`);
      }
    });
  }
  if (!hasPermission(route)) return;
  // What is one's own is a person's; for somebody else's a wider permission is needed.
  const permission = route.access.replace(/own$/, route.owner && route.params ? 'any' : 'own');
  const wrong = {
    // With a wider scope an application reaches what a person reaches by their own.
    ...(route.owner || (route.reach && route.access.endsWith(':own'))
      ? {}
      : { 'another role': route.access.endsWith(':own') ? world.machine : world.user }),
    'a scope without the permission': world.thirdParty,
  };
  for (const [title, caller] of Object.entries(wrong)) {
    const arrange = async () => ({ ...(await sampleOf(row)), caller });
    // The others come through this API or are applications themselves.
    const via = caller === world.thirdParty ? { via: { clientId: expect.any(String) } } : {};
    refuses(`${title}, and writes that down`, route, arrange, async (attempt, refused) => {
      const events = db('auditLogs').where({ action: 'authorization.refuse' }).orderBy('id').select('actorId', 'meta');
      const before = (await events.clone()).length;
      const answer = await refused(send(route, attempt, { prefix: '/api/v1' }));
      expect(outcome(answer)).toEqual([403, 'missing_permission']);
      expect(answer.headers.get('www-authenticate')).toBe(
        `Bearer error="insufficient_scope", scope="${permission}", ${where()}`,
      );
      expect((await events.clone()).slice(before)).toEqual([
        { actorId: caller.id, meta: { operation: route.id, permission, ...via } },
      ]);
    });
  }
};

const refusedThings = (route: Route, row: RouteCase) => {
  const { others, outranked } = row;
  if (others) {
    const arrange = async () => ({ ...(await others.attempt(world)), caller: world.user });
    refuses('what is somebody else’s', route, arrange, async (attempt, refused) => {
      const code = others.status === 403 ? 'missing_permission' : expect.stringMatching(/^\w+_not_found$/);
      expect(outcome(await refused(send(route, attempt)))).toEqual([others.status, code]);
    });
  }
  if (outranked) {
    const arrange = async () => ({ ...(await outranked(world)), caller: admin });
    refuses('what concerns somebody who ranks higher', route, arrange, async (attempt, refused) => {
      expect(outcome(await refused(send(route, attempt)))).toEqual([403, 'rank_too_low']);
    });
  }
  if (!route.path.includes(':')) return;
  refuses(
    'an id that is none',
    route,
    () => sampleOf(row),
    async ({ caller, body }, refused) => {
      const ids = ['x', '%00', '%', '%ff', 'a%00b', '%2e%2e%2f', `${'0'.repeat(8)}-x`, "'--", 'x'.repeat(3000)];
      for (const id of ids) {
        const answer = await refused(
          caller.request(
            route.method,
            route.path.replace(/:\w+/, () => id),
            body,
          ),
        );
        // 403: whatever is not the caller's own id could be somebody else's.
        expect([400, 403, 404]).toContain(answer.status);
        expect(answer.json.code).toMatch(/^(invalid_request|missing_permission|\w*not_found)$/);
      }
    },
  );
};

const refusedQueries = (route: Route, row: RouteCase) => {
  const names = queryOf(route);
  if (!names.length) return;
  refuses(
    'parameters that are sent twice, and names them all',
    route,
    () => sampleOf(row),
    async (attempt, refused) => {
      const query = names.map((name) => `${name}=1&${name}=1`).join('&');
      const url = urlOf(route, { params: attempt.params ?? {} });
      const answer = await refused(attempt.caller.request(route.method, `${url}?${query}`));
      expect([answer.status, fieldsOf(answer)]).toEqual([400, new Set(names)]);
    },
  );
  refuses(
    'NUL, and numbers out of bounds, in the query',
    route,
    () => sampleOf(row),
    async (attempt, refused) => {
      for (const name of names) {
        for (const value of name === 'limit' ? ['0', '201', '-1', '1.5', 'x', '1e999'] : ['a\0b']) {
          const answer = await refused(send(route, { ...attempt, query: { ...attempt.query, [name]: value } }));
          expect([answer.status, fieldsOf(answer)]).toEqual([400, new Set([name])]);
        }
      }
    },
  );
};

const refusedBodies = (route: Route, row: RouteCase) => {
  if (!route.body) return;
  const form = 'application/x-www-form-urlencoded';
  const code = route.invalidInput ?? 'invalid_request';
  const members = membersOf(route);
  if (!route.consumes) {
    refuses(
      'what is not JSON, or no object',
      route,
      () => sampleOf(row),
      async (attempt, refused) => {
        for (const text of [
          '{"a":',
          '{',
          "{'a': 1}",
          '{"a":1}}',
          '{"__proto__":{"a":1}}',
          '\0',
          'NaN',
          'null',
          '1',
          '"x"',
        ])
          expect(outcome(await refused(send(route, attempt, { text })))).toEqual([400, 'invalid_json']);
        expect(outcome(await refused(send(route, attempt, { text: '[]' })))).toEqual([400, code]);
      },
    );
  }
  refuses(
    'a body that is too large',
    route,
    () => sampleOf(row),
    async (attempt, refused) => {
      const body = { ...attempt.body, padding: 'x'.repeat(route.bodyLimit ? 1_100_000 : 110_000) };
      expect(outcome(await refused(send(route, { ...attempt, body })))).toEqual([413, 'request_too_large']);
    },
  );
  refuses(
    'another content type',
    route,
    () => sampleOf(row),
    async (attempt, refused) => {
      const text = write(route, attempt.body ?? {});
      for (const type of ['text/plain', 'application/xml', route.consumes ? 'application/json' : form, 'nonsense']) {
        const answer = await refused(send(route, attempt, { text, headers: { 'content-type': type } }));
        expect(outcome(answer)).toEqual([415, 'unsupported_media_type']);
      }
    },
  );
  if (!members.length) return;
  refuses(
    'wrong types, and names every field',
    route,
    () => sampleOf(row),
    async (attempt, refused) => {
      const takesObjects = ({ type, anyOf }: Schema) =>
        type === 'object' || anyOf?.some((one) => one.type === 'object');
      const body = Object.fromEntries(members.map(([name, schema]) => [name, takesObjects(schema) ? 'x' : {}]));
      const answer = await refused(send(route, { ...attempt, body }));
      expect([...outcome(answer), fieldsOf(answer)]).toEqual([400, code, new Set(members.map(([name]) => name))]);
    },
  );
  refuses(
    'NUL in text',
    route,
    () => sampleOf(row),
    async (attempt, refused) => {
      for (const [name, { type, items }] of members) {
        const isText = type === 'string' && !row.opaque?.includes(name);
        if (!isText && items?.type !== 'string') continue;
        const body = { ...attempt.body, [name]: isText ? 'a\0b' : ['a\0b'] };
        const answer = await refused(send(route, { ...attempt, body }));
        expect([name, answer.status]).toEqual([name, 400]);
        if (isText) expect(fieldsOf(answer)).toContain(name);
      }
    },
  );
};

const refusedMethods = (route: Route, row: RouteCase) =>
  refuses(
    'another method',
    route,
    () => sampleOf(row),
    async (attempt, refused) => {
      // Also of one whose parameter takes the path's last part.
      const isServed = ({ path }: Route) => new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`).test(route.path);
      const served: string[] = [...new Set(server.app.routes.filter(isServed).map(({ method }) => method))];
      for (const method of ['get', 'post', 'put', 'patch', 'delete'].filter((method) => !served.includes(method))) {
        const answer = await refused(world.superAdmin.request(method, urlOf(route, attempt)));
        expect(outcome(answer)).toEqual([405, 'method_not_allowed']);
        const allowed = answer.headers.get('allow')?.toLowerCase().split(', ') ?? [];
        expect(allowed.filter((name) => name !== 'head').sort()).toEqual([...served].sort());
      }
    },
  );

const answers = (route: Route, row: RouteCase) => {
  const succeed = async (attempt: Promise<Attempt> | Attempt, options: Parameters<typeof send>[2] = {}) => {
    const answer = await send(route, await ready(route, attempt), options);
    expect([answer.status, checkAnswer(route.id, answer)]).toEqual([route.status, []]);
    return answer;
  };
  it(`answers with ${route.status} and what is documented`, async () => {
    const { headers } = await succeed(row.attempt(world));
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-request-id')).toMatch(/^[\w-]{36}$/);
  });
  it('answers alike under /api/v1, whatever else is sent along', async () => {
    const { body, query, ...attempt } = await row.attempt(world);
    const surplus = { unknown: { a: [1] }, constructor: 'x' };
    await succeed(
      {
        ...attempt,
        query: { ...query, unknown: 'x', constructor: 'x' },
        ...(body ? { body: route.consumes ? body : { ...surplus, ...body } } : {}),
      },
      { prefix: '/api/v1' },
    );
  });
  if (hasPermission(route) && !route.access.endsWith(':own') && !row.byPerson) {
    it('answers an application that has the permission by itself', async () => {
      await succeed({ ...(await row.attempt(world)), caller: await world.machineWith(scopeOf(route)) });
    });
  }
  if (route.access === 'public') {
    it('looks at no token', async () => {
      await succeed(row.attempt(world), {
        headers: { authorization: 'Bearer x', ...(await row.attempt(world)).headers },
      });
    });
  }
  for (const name of row.opaque ?? []) {
    it(`compares ${name} with NUL in it as it is`, async () => {
      const { body, ...attempt } = await row.attempt(world);
      const text = 'a phrase that\0nobody else has';
      const answer = await send(route, await ready(route, { ...attempt, body: { ...body, [name]: text } }));
      expect(checkAnswer(route.id, answer)).toEqual([]);
      expect(answer.status).toBeLessThan(500);
    });
  }
};

it('has a row for every operation, and none for another', () => {
  expect(Object.keys(routeCases).sort()).toEqual(server.app.routes.map(({ id }) => id).sort());
});

for (const route of server.app.routes) {
  const row = routeCases[route.id];
  if (!row) continue;
  describe(`${route.method.toUpperCase()} ${route.path} (${route.id})`, () => {
    refusedCallers(route, row);
    refusedThings(route, row);
    refusedQueries(route, row);
    refusedBodies(route, row);
    refusedMethods(route, row);
    answers(route, row);
  });
}

it('has paths of which case matters (RFC 3986 section 6.2.2.1), as rules of a proxy in front take it', async () => {
  for (const path of ['/auth/ME', '/authz/CHECK', '/Auth/me'])
    expect([path, (await admin.request('get', path)).status]).toEqual([path, 404]);
  for (const path of ['/auth/me', '/auth/me/'])
    expect([path, (await admin.request('get', path)).status]).toEqual([path, 200]);
});
