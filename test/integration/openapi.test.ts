/** The OpenAPI document: valid, complete, true, and every example as its schema wants it. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { createAdministrator } from '../../src/auth/administrators.commands.ts';
import type { OpenApiDocument } from '../../src/http/openapi.ts';
import { tags } from '../../src/http/openapi-texts.ts';
import { problemCodes } from '../../src/problem-codes.ts';
import { routes as oauth } from '../../src/provider/configuration.ts';
import { catalogue } from '../../src/roles/permissions.ts';
import { postJson } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

interface Media {
  schema: object;
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}
interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  schema: { example?: unknown; examples?: unknown[] };
  example?: unknown;
}
interface Operation {
  operationId: string;
  tags: string[];
  summary: string;
  description: string;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { $ref?: string; content?: Record<string, Media> }>;
  security: Record<string, string[]>[];
  'x-permission'?: string;
}
interface Located {
  name: string;
  method: string;
  path: string;
  operation: Operation;
}

let server: TestServer;
let document: OpenApiDocument;
let operations: Located[];

beforeAll(async () => {
  server = await startServer();
  const response = await fetch(`${server.issuer}/openapi.json`);
  document = (await response.json()) as OpenApiDocument;
  operations = Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(([path, item]) =>
    Object.entries(item)
      .filter(([method]) => method !== 'servers')
      .map(([method, operation]) => ({ name: `${method} ${path}`, method, path, operation })),
  );
});
afterAll(() => server.stop());

/** Everything that a document holds, with the path to it. */
const walk = function* (value: unknown, path = '#'): Generator<[path: string, value: Record<string, unknown>]> {
  if (value === null || typeof value !== 'object') return;
  if (!Array.isArray(value)) yield [path, value as Record<string, unknown>];
  for (const [name, member] of Object.entries(value)) yield* walk(member, `${path}/${name}`);
};

const resolve = (reference: string): unknown =>
  reference
    .slice(2)
    .split('/')
    .reduce<unknown>((node, name) => (node as Record<string, unknown>)?.[name.replaceAll('~1', '/')], document);

const mediaOf = ({ operation }: Located): Media[] =>
  [operation.requestBody?.content, ...Object.values(operation.responses).map(({ content }) => content)].flatMap(
    (content) => Object.values(content ?? {}),
  );

/** The path with an example in place of each parameter, and what must be asked. */
const exampleUrl = ({ path, operation }: Located): string => {
  const parameters = operation.parameters ?? [];
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String(parameters.find((one) => one.in === 'path' && one.name === name)?.example)),
  );
  const query = parameters.filter((one) => one.in === 'query' && one.required);
  return `${filled}?${new URLSearchParams(query.map(({ name, example }): [string, string] => [name, String(example)]))}`;
};

describe('the document', () => {
  it('is valid OpenAPI 3.1', async () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(await new Validator().validate(structuredClone(document))).toMatchObject({ valid: true });
  });
  it('has no reference that leads nowhere', () => {
    const references = [...walk(document)].flatMap(([, { $ref }]) => (typeof $ref === 'string' ? [$ref] : []));
    expect(references.length).toBeGreaterThan(20);
    expect(references.filter((reference) => resolve(reference) === undefined)).toEqual([]);
  });
  it('says what every tag means, and has none that is unused', () => {
    const used = new Set(operations.flatMap(({ operation }) => operation.tags));
    expect([...used].sort()).toEqual(Object.keys(tags).sort());
  });
  it('knows every permission as a scope', () => {
    const { flows } = document.components.securitySchemes.oauth2;
    for (const { scopes } of Object.values(flows as Record<string, { scopes: object }>))
      expect(Object.keys(scopes)).toEqual(expect.arrayContaining(Object.keys(catalogue)));
  });
  it('may be kept for a while, and fetched from anywhere', async () => {
    for (const path of ['/openapi.json', '/api/v1/openapi.json']) {
      const first = await fetch(`${server.issuer}${path}`, { headers: { origin: 'https://elsewhere.example' } });
      expect(first.headers.get('access-control-allow-origin')).toBe('*');
      expect(first.headers.get('cache-control')).toMatch(/^public, max-age=\d+$/);
      const etag = first.headers.get('etag') as string;
      const second = await fetch(`${server.issuer}${path}`, {
        // Otherwise fetch asks past every cache.
        headers: { 'if-none-match': etag, 'cache-control': 'max-age=0' },
      });
      expect([second.status, await second.text()]).toEqual([304, '']);
    }
  });
});

describe('operations', () => {
  it('have a name of their own each', () => {
    const names = operations.map(({ operation }) => operation.operationId);
    expect(names.filter((name, index) => names.indexOf(name) !== index || !/^[a-z][A-Za-z]+$/.test(name))).toEqual([]);
  });
  it('have a summary of one line, a description and one tag', () => {
    const wanting = operations.filter(
      ({ operation: { summary, description, tags } }) =>
        !summary || summary.length > 100 || /[.\n]$/.test(summary) || !description || tags.length !== 1,
    );
    expect(wanting.map(({ name }) => name)).toEqual([]);
  });
  it('declare every parameter of their path', () => {
    const wanting = operations.filter(({ path, operation }) =>
      [...path.matchAll(/\{(\w+)\}/g)].some(
        ([, name]) => !operation.parameters?.some((one) => one.in === 'path' && one.name === name),
      ),
    );
    expect(wanting.map(({ name }) => name)).toEqual([]);
  });
  it('have an example of everything that they take and answer', () => {
    const wanting = operations.flatMap((located) => [
      ...mediaOf(located)
        .filter(({ example, examples }) => example === undefined && !examples)
        .map(() => located.name),
      ...(located.operation.parameters ?? [])
        .filter(({ required, example }) => required && example === undefined)
        .map(({ name }) => `${located.name}: ${name}`),
    ]);
    expect(wanting).toEqual([]);
  });
  it('have no answer by chance: each documents success and, where it takes something, refusal', () => {
    const wanting = operations.filter(({ operation: { responses, requestBody, security } }) => {
      const statuses = Object.keys(responses);
      const refuses = statuses.some((status) => status.startsWith('4'));
      return !statuses.some((status) => /^[23]/.test(status)) || ((requestBody || security.length > 0) && !refuses);
    });
    expect(wanting.map(({ name }) => name)).toEqual([]);
  });
  it('with a permission name it, as a scope too', () => {
    const guarded = operations.filter(({ operation }) => operation['x-permission']);
    expect(guarded.length).toBeGreaterThan(0);
    for (const { operation } of guarded) {
      expect(operation.security).toContainEqual({ oauth2: [operation['x-permission']] });
      expect(operation.description).toContain(`\`${operation['x-permission']}\``);
    }
  });
});

describe('examples', () => {
  it('are as their schemas want them', () => {
    // Formats and `example` are of OpenAPI; what is unknown is no mistake of an example.
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    formats.default(ajv);
    ajv.addSchema({ $id: 'https://document/', components: document.components });
    const check = (where: string, schema: object, value: unknown): string[] => {
      const absolute = JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"https://document/#/')) as object;
      const validate = ajv.compile(absolute);
      return validate(value) ? [] : [`${where}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`];
    };
    const wrong = [...walk(document.paths), ...walk(document.components.responses)].flatMap(([where, node]) => {
      const { schema, example, examples } = node as Partial<Media>;
      if (!schema) return [];
      const listed = examples && !Array.isArray(examples) ? Object.values(examples).map(({ value }) => value) : [];
      const own = (schema as Parameter['schema']).examples ?? [];
      return [...(example === undefined ? [] : [example]), ...listed, ...own].flatMap((value) =>
        check(where, schema, value),
      );
    });
    expect(wrong).toEqual([]);
  });
});

describe('examples of requests', () => {
  it('are taken: nothing is wrong with them but what they are about', async () => {
    const email = 'admin@example.com';
    const password = 'seven wonders of a quiet harbour';
    await createAdministrator(server.app.accounts, operator, { email, password, name: 'Admin' });
    const { json } = await postJson(`${server.issuer}/auth/login`, { email, password });
    const refused: string[] = [];
    for (const located of operations.filter(({ operation }) => operation['x-permission'])) {
      const media = located.operation.requestBody?.content['application/json'];
      const response = await fetch(`${server.issuer}${exampleUrl(located)}`, {
        method: located.method.toUpperCase(),
        headers: { authorization: `Bearer ${json.accessToken}`, 'content-type': 'application/json' },
        ...(media ? { body: JSON.stringify(media.example) } : {}),
      });
      const text = await response.text();
      const isWrong = response.status === 400 && !/wrong_current_password|invalid_code|invalid_passkey/.test(text);
      if (isWrong) refused.push(`${located.name}: ${text}`);
      if (response.status === 401 || response.status >= 500) refused.push(`${located.name}: ${response.status}`);
    }
    expect(refused).toEqual([]);
  });
});

describe('problems', () => {
  it('have codes that are declared, with the status that they come with', () => {
    const known = problemCodes as Readonly<Record<string, Readonly<Record<number, string>>>>;
    const unknown = server.app.routes.flatMap(({ id, problems = {} }) =>
      Object.entries(problems).flatMap(([status, codes]) =>
        codes.filter((code) => !known[code]?.[Number(status)]).map((code) => `${id}: ${status} ${code}`),
      ),
    );
    expect(unknown).toEqual([]);
  });
});

describe('what is served is documented', () => {
  it('each route', () => {
    const documented = operations.map(({ name }) => name);
    const served = server.app.routes.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`);
    expect(served.filter((name) => !documented.includes(name))).toEqual([]);
  });
  it('each endpoint of the protocol that discovery names', async () => {
    const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    const metadata = (await response.json()) as Record<string, unknown>;
    const endpoints = Object.entries(metadata).filter(([name]) => /(_endpoint|_uri)$/.test(name));
    const paths = [...endpoints.map(([, url]) => new URL(String(url)).pathname), ...Object.values(oauth)];
    expect(endpoints.length).toBeGreaterThan(5);
    expect(paths.filter((path) => !document.paths[path])).toEqual([]);
    const { authorizationCode } = document.components.securitySchemes.oauth2.flows;
    expect(authorizationCode).toMatchObject({
      authorizationUrl: metadata.authorization_endpoint,
      tokenUrl: metadata.token_endpoint,
    });
    expect(Object.keys(authorizationCode.scopes)).toEqual(
      expect.arrayContaining(metadata.scopes_supported as string[]),
    );
  });
});

describe('what is documented is served', () => {
  it('each operation, and each under its other names', async () => {
    const unserved: string[] = [];
    for (const located of operations) {
      const { method, operation } = located;
      const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
      const form = new URLSearchParams(media?.example as Record<string, string>).toString();
      const aliases = (operation as { 'x-aliases'?: string[] })['x-aliases'] ?? [];
      for (const path of [located.path, ...aliases]) {
        const response = await fetch(`${server.issuer}${exampleUrl({ ...located, path })}`, {
          method: method.toUpperCase(),
          redirect: 'manual',
          ...(type && media
            ? {
                headers: { 'content-type': type },
                body: type === 'application/json' ? JSON.stringify(media.example) : form,
              }
            : {}),
        });
        const text = await response.text();
        const missing = response.status === 405 || (response.status === 404 && !/"code":"\w+_not_found"/.test(text));
        if (missing || response.status >= 500) unserved.push(`${method} ${path}: ${response.status}`);
      }
    }
    expect(unserved).toEqual([]);
  });
});
