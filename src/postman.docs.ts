/** The Postman collection (format 2.1), made of the OpenAPI document: a folder of flows to run, then every operation. */
import type { OpenApiDocument } from './http/openapi.ts';
import { flows } from './postman-flows.docs.ts';
import { type Flow, type Step, variables } from './postman-steps.docs.ts';

interface Media {
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}
interface Operation {
  operationId: string;
  tags: string[];
  summary: string;
  description?: string;
  security?: Record<string, string[]>[];
  parameters?: {
    name: string;
    in: string;
    required?: boolean;
    description?: string;
    example?: unknown;
    schema?: { examples?: unknown[] };
  }[];
  requestBody?: { content: Record<string, Media> };
}
interface Located {
  method: string;
  path: string;
  operation: Operation;
}

const form = 'application/x-www-form-urlencoded';

const operationsOf = (document: OpenApiDocument): Located[] =>
  Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(([path, item]) =>
    Object.entries(item)
      .filter(([method]) => ['get', 'post', 'put', 'patch', 'delete'].includes(method))
      .map(([method, operation]) => ({ method, path, operation })),
  );

const asText = (value: unknown): string =>
  typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);

/** `{id}` of OpenAPI is `:id` of Postman. */
const urlOf = ({ path, operation }: Located) => {
  const parameters = operation.parameters ?? [];
  const segments = path
    .slice(1)
    .replace(/\{(\w+)\}/g, ':$1')
    .split('/');
  const query = parameters
    .filter((parameter) => parameter.in === 'query')
    .map(({ name, required, description, example, schema }) => ({
      key: name,
      value: asText(example ?? schema?.examples?.[0]),
      ...(description ? { description } : {}),
      ...(required ? {} : { disabled: true }),
    }));
  const variable = parameters
    .filter((parameter) => parameter.in === 'path')
    .map(({ name, description, example }) => ({
      key: name,
      value: asText(example),
      ...(description ? { description } : {}),
    }));
  const sent = query.filter(({ disabled }) => !disabled).map(({ key, value }) => `${key}=${value}`);
  return {
    raw: `{{baseUrl}}/${segments.join('/')}${sent.length ? `?${sent.join('&')}` : ''}`,
    host: ['{{baseUrl}}'],
    path: segments,
    ...(query.length ? { query } : {}),
    ...(variable.length ? { variable } : {}),
  };
};

const bearer = (token: string) => ({ type: 'bearer', bearer: [{ key: 'token', value: token, type: 'string' }] });
const basic = (username: string, password: string) => ({
  type: 'basic',
  basic: [
    { key: 'username', value: username, type: 'string' },
    { key: 'password', value: password, type: 'string' },
  ],
});
const auths = {
  none: { type: 'noauth' },
  person: bearer('{{accessToken}}'),
  administrator: bearer('{{adminToken}}'),
  machine: bearer('{{machineToken}}'),
  apiKey: bearer('{{apiKey}}'),
  client: basic('{{clientId}}', '{{clientSecret}}'),
} as const;
export type Auth = keyof typeof auths;

const authOf = ({ security = [] }: Operation) =>
  security.some((one) => 'client' in one)
    ? auths.client
    : security.some((one) => 'bearer' in one)
      ? auths.person
      : auths.none;

const bodyOf = (type: string, value: unknown) =>
  type === form
    ? {
        mode: 'urlencoded',
        urlencoded: Object.entries(value as object).map(([key, text]) => ({ key, value: asText(text), type: 'text' })),
      }
    : { mode: 'raw', raw: JSON.stringify(value, null, 2), options: { raw: { language: 'json' } } };

const requestOf = (located: Located) => {
  const { operation, method } = located;
  const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  return {
    name: operation.summary,
    request: {
      method: method.toUpperCase(),
      auth: authOf(operation),
      header: type && type !== form ? [{ key: 'Content-Type', value: type }] : [],
      url: urlOf(located),
      ...(type && media ? { body: bodyOf(type, media.example) } : {}),
      ...(operation.description ? { description: operation.description } : {}),
    },
    response: [],
  };
};

const script = (listen: 'prerequest' | 'test', exec: readonly string[] | undefined) =>
  exec ? [{ listen, script: { type: 'text/javascript', exec } }] : [];

/** A step is an operation's request with what the flow wants of it. @throws Error for an operation that is not there */
const stepOf = (step: Step, operations: readonly Located[]) => {
  const { name, auth, params = {}, before, test } = step;
  const event = [...script('prerequest', before), ...script('test', test)];
  if ('get' in step) {
    const path = step.get.slice(1).split('/');
    const url = { raw: `{{baseUrl}}${step.get}`, host: ['{{baseUrl}}'], path };
    return { name, event, request: { method: 'GET', auth: auths.none, header: [], url }, response: [] };
  }
  const located = operations.find(({ operation }) => operation.operationId === step.operation);
  if (!located) throw new Error(`the flows name an operation that is not there: ${step.operation}`);
  const { request, response } = requestOf(located);
  const variable = request.url.variable?.map((one) => ({ ...one, value: params[one.key] ?? one.value }));
  const type = Object.keys(located.operation.requestBody?.content ?? {})[0];
  return {
    name,
    event,
    request: {
      ...request,
      ...(auth ? { auth: auths[auth] } : {}),
      url: { ...request.url, ...(variable ? { variable } : {}) },
      ...(step.body && type ? { body: bodyOf(type, step.body) } : {}),
    },
    response,
  };
};

const flowOf = ({ name, description, steps }: Flow, operations: readonly Located[]) => ({
  name,
  description,
  item: steps.map((step) => stepOf(step, operations)),
});

export const postmanCollection = (document: OpenApiDocument) => {
  const operations = operationsOf(document);
  return {
    info: {
      _postman_id: '6f1d2c7e-0b5a-4f8e-9c3d-2a7b41e85d90',
      name: document.info.title as string,
      description:
        'Generated from /openapi.json by `npm run docs`. "Core flows" runs from top to bottom against a development server ' +
        'with an administrator: set `adminEmail` and `adminPassword` to theirs.',
      schema: 'https://schema.getpostman.com/json/collection/v2.1.0/collection.json',
    },
    auth: auths.person,
    variable: Object.entries(variables).map(([key, value]) => ({ key, value, type: 'string' })),
    item: [
      {
        name: 'Core flows',
        description: 'Run this folder from top to bottom.',
        item: flows.map((flow) => flowOf(flow, operations)),
      },
      ...(document.tags as { name: string; description: string }[]).map(({ name, description }) => ({
        name,
        description,
        item: operations.filter(({ operation }) => operation.tags[0] === name).map(requestOf),
      })),
    ],
  };
};
