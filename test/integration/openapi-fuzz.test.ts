/**
 * Every operation of the OpenAPI document, with inputs made of its own schemas: there is never a 5xx, never an answer that is
 * not documented, and a refusal changes nothing. A run makes a few of them, others each time: FUZZ_RUNS says how many requests
 * each caller makes to each operation (`npm run test:fuzz`: many), FUZZ_SEED repeats a run that failed.
 */
import fc from 'fast-check';
import { v7 as uuid } from 'uuid';
import { afterAll, describe, expect, it } from 'vitest';
import type { TestCaller } from '../support/callers.ts';
import { digestTables, settleJobs } from '../support/dump.ts';
import { createAnswerCheck, type Operation, operationsOf } from '../support/openapi-answers.ts';
import { openRouteWorld } from '../support/route-world.ts';
import { type InputContext, type InputSchema, inputOf, nearly, oddText, oddValue } from '../support/schema-inputs.ts';
import { startServer } from '../support/server.ts';

const runs = Number(process.env.FUZZ_RUNS ?? 4);
const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Of so many requests one is watched for what it changes. */
const watchedEvery = 5;

// Before the tests are collected: the document says which there are.
const server = await startServer();
const world = await openRouteWorld(server);
const { db } = server.database;
const document = await server.app.createDocument();
const checkAnswer = createAnswerCheck(document);
/** Our own, which answer with problem documents; the others are the engine's. */
const routes = new Set(server.app.routes.map(({ id }) => id));
afterAll(() => server.stop());

const times = <T>(count: number, make: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, make));

/** What the `id` of a path is of. */
const idsOf = async ({ path }: Operation, accounts: readonly string[]): Promise<string[]> => {
  if (path.startsWith('/sessions')) return [(await world.person()).sessionId];
  return path.startsWith('/api-keys') ? times(4, () => world.apiKey(accounts[0] as string)) : [...accounts];
};

/** Things that are there, and are none of whoever makes the requests. */
const openContext = async (operation: Operation): Promise<InputContext> => {
  const unverified = await world.account('user', false);
  const accounts = await times(5, () => world.account());
  const emails = accounts.slice(3).map(({ email }) => email);
  const clients = (await times(3, () => world.client())).map((client) => client.client_id);
  const userIds = accounts.map(({ id }) => id);
  const cursor = (key: string) => Buffer.from(key).toString('base64url');
  const passwords = ['correct horse battery staple', 'another horse battery staple'];
  const free = Array.from({ length: 12 }, () => `${uuid()}@example.com`);
  const { refreshToken } = await world.person();
  return {
    schemas: document.components.schemas as Record<string, InputSchema>,
    usual: ['redirect_uris', 'password', 'email'],
    known: {
      id: await idsOf(operation, userIds),
      userId: [...userIds, world.stranger.id.toUpperCase()],
      client_id: [...clients, 'countersign-account'],
      clientId: [...clients, 'countersign-account'],
      email: [...emails, unverified.email, ...free],
      password: passwords,
      currentPassword: passwords,
      newPassword: passwords,
      role: ['user', 'moderator', 'super_admin'],
      scopes: ['users:read:own', '*:*:*', 'api_keys:write:own'],
      scope: ['openid email', 'users:read:any', '*:*:*'],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials', 'password'],
      response_types: ['code', 'none'],
      redirect_uris: ['https://app.example.com/callback'],
      token_endpoint_auth_method: ['none', 'client_secret_basic', 'private_key_jwt'],
      id_token_signed_response_alg: ['RS256', 'ES256', 'none'],
      token: [world.stranger.token, world.stranger.token.slice(1)],
      refreshToken: [refreshToken, refreshToken.slice(1)],
      code: ['000000', '12 34-56'],
      phoneNumber: ['+4930901820'],
      locale: ['de', 'pt-BR', null],
      cursor: ['', unverified.id, '\0', `${Date.now()}.x`, '99999999999999.x', 'x'].map(cursor),
      action: ['session.*', 'user.close,client.create'],
      reason: ['INC-1'],
    },
  };
};

interface Attempt {
  path: Record<string, string>;
  query: [name: string, value: string][];
  body?: { text: string; type: string };
}

const text = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));

const pathsOf = ({ parameters = [] }: Operation, context: InputContext): fc.Arbitrary<Record<string, string>> =>
  fc.record(
    Object.fromEntries(
      parameters
        .filter((one) => one.in === 'path')
        .map(({ name, schema }) => [
          name,
          fc
            .oneof({ arbitrary: inputOf(schema as InputSchema, context, name), weight: 4 }, oddValue)
            .map((value) => text(value).toWellFormed().slice(0, 2000))
            // These would be another address.
            .filter((part) => !['', '.', '..'].includes(part)),
        ]),
    ),
  );

const queriesOf = ({ parameters = [] }: Operation, context: InputContext): fc.Arbitrary<Attempt['query']> => {
  const own = parameters.filter((one) => one.in === 'query');
  const valid = own.map(({ name, schema }) =>
    inputOf(schema as InputSchema, context, name).map((value): [string, string] => [name, text(value)]),
  );
  const some = fc
    .tuple(fc.tuple(...valid), fc.subarray([...own.keys()], { maxLength: Math.min(3, own.length) }))
    .map(([pairs, chosen]) => chosen.map((at) => pairs[at] as [string, string]));
  const name = fc.constantFrom(...own.map(({ name }) => name), '__proto__', 'constructor', 'unknown', '', 'limit[]');
  const odd = fc.tuple(
    name,
    oddValue.map((value) => text(value).slice(0, 1000)),
  );
  return fc.oneof(
    { arbitrary: some, weight: 3 },
    {
      arbitrary: fc.tuple(some, odd).map(([pairs, one]) => [...pairs.filter(([name]) => name !== one[0]), one]),
      weight: 3,
    },
    // Some of them twice.
    {
      arbitrary: fc.tuple(some, fc.array(odd, { maxLength: 4 })).map(([pairs, more]) => [...pairs, ...more]),
      weight: 1,
    },
  );
};

const bodiesOf = ({ operationId, requestBody }: Operation, context: InputContext): fc.Arbitrary<Attempt['body']> => {
  if (!requestBody) return fc.constant(undefined);
  const [[type, { schema }] = ['', { schema: {} }]] = Object.entries(requestBody.content);
  const write = (value: unknown): string =>
    type === 'application/json'
      ? (JSON.stringify(value) ?? '')
      : new URLSearchParams(
          Object.entries(Object(value)).map(([name, value]): [string, string] => [name, text(value)]),
        ).toString();
  const { $ref, ...own } = schema as InputSchema;
  const { properties = {} } = { ...context.schemas[$ref?.split('/').at(-1) ?? ''], ...own };
  const valid = inputOf(schema as InputSchema, context);
  // What is posted to the engine as anything but a form is no request of the protocol.
  const others = routes.has(operationId) ? [`${type}; charset=utf-8`, `${type}; charset=x`, 'text/plain', ''] : [];
  const types = fc.constantFrom(type, type, type, ...others);
  return fc.oneof(
    { arbitrary: valid.map((value) => ({ text: write(value), type })), weight: 4 },
    { arbitrary: nearly(valid, Object.keys(properties)).map((value) => ({ text: write(value), type })), weight: 5 },
    { arbitrary: oddValue.map((value) => ({ text: write(value), type })), weight: 1 },
    { arbitrary: fc.record({ text: oddText, type: types }), weight: 1 },
    ...(requestBody.required ? [] : [{ arbitrary: fc.constant(undefined), weight: 1 }]),
  );
};

const attemptsOf = (operation: Operation, context: InputContext): fc.Arbitrary<Attempt> =>
  fc
    .tuple(pathsOf(operation, context), queriesOf(operation, context), bodiesOf(operation, context))
    .map(([path, query, body]) => ({ path, query, ...(body ? { body } : {}) }));

const send = ({ method, path }: Operation, caller: TestCaller, attempt: Attempt) => {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(attempt.path[name] ?? ''));
  const query = attempt.query
    .map((pair) => pair.map((part) => encodeURIComponent(part.toWellFormed())).join('='))
    .join('&')
    .slice(0, 8000);
  return caller.request(method, `${filled}${query && `?${query}`}`, attempt.body?.text, {
    'content-type': attempt.body?.type,
  });
};

/** What the requests change at all, they change before they are answered or in a job. */
const stateOf = async () => {
  await settleJobs(db);
  return digestTables(db);
};

let count = 0;
const holds = (operation: Operation, caller: TestCaller) => async (attempt: Attempt) => {
  const watched = ++count % watchedEvery === 0;
  const before = watched ? await stateOf() : undefined;
  const answer = await send(operation, caller, attempt).catch((error: Error) => {
    // What is far too large need not be read to its end.
    if ((attempt.body?.text.length ?? 0) > 100_000 && /ECONNRESET|EPIPE/.test(String(error.cause))) return undefined;
    throw error;
  });
  if (!answer) return;
  if (answer.status >= 500) throw new Error(`${answer.status}: ${answer.text.slice(0, 300)}`);
  expect(checkAnswer(operation.operationId, answer)).toEqual([]);
  if (before && answer.status >= 400) expect(await stateOf()).toEqual(before);
};

type Callers = Record<string, () => Promise<TestCaller> | TestCaller>;
const callers: Callers = {
  // New ones for each operation: what they do may concern themselves.
  'a super_admin': () => world.person('super_admin'),
  'a user': () => world.person(),
  'an application': () => world.machine,
  nobody: () => world.anybody,
};
/** Of the protocol's own endpoints, which know clients rather than people. */
const protocolCallers: Callers = {
  'a client': async () => {
    const { client_id: id, client_secret: secret } = await world.client();
    const authorization = `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
    const { request } = world.anybody;
    return {
      ...world.anybody,
      request: (method, path, body, headers) => request(method, path, body, { authorization, ...headers }),
    };
  },
  nobody: () => world.anybody,
};

/** New keys take a while to make, and many to publish. */
const slow: Readonly<Record<string, number>> = { rotateKeys: 3 };

describe(`FUZZ_SEED=${seed}`, () => {
  for (const operation of operationsOf(document).values()) {
    const { operationId, method, path } = operation;
    it(`${method.toUpperCase()} ${path} (${operationId})`, { timeout: 60_000 + runs * 2000 }, async () => {
      const context = await openContext(operation);
      for (const [index, [name, make]] of Object.entries(
        routes.has(operationId) ? callers : protocolCallers,
      ).entries()) {
        const caller = await make();
        // Super_admins leave themselves alone, or they could soon do nothing any more.
        const id = name === 'a user' ? [...(context.known.id ?? []), caller.id, caller.id] : (context.known.id ?? []);
        const attempts = attemptsOf(operation, { ...context, known: { ...context.known, id } });
        const property = fc.asyncProperty(attempts, holds(operation, caller));
        const numRuns = Math.min(runs, slow[operationId] ?? runs);
        await fc.assert(property, { numRuns, seed: seed + index, endOnFailure: true }).catch((error: Error) => {
          throw new Error(`as ${name}, FUZZ_SEED=${seed}: ${error.message}`, { cause: error.cause });
        });
      }
    });
  }
});
