/**
 * The OpenAPI 3.1 document, made of the routes themselves: what validates, authorizes and strips is what is described.
 * The protocol's endpoints, which have no `route()`, come from `openapi-protocol.ts`.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject } from 'zod-openapi';
import { catalogue } from '../roles/permissions.ts';
import { aliasesOf } from './aliases.ts';
import { addExamples, type Schemas } from './openapi-examples.ts';
import { Problem, problemResponses, sharedResponses } from './openapi-problems.ts';
import { identityScopes, type ProtocolPaths, protocolPaths } from './openapi-protocol.ts';
import { introduction, headers as responseHeaderTexts, tags } from './openapi-texts.ts';
import type { Route } from './route.ts';

export interface OpenApiOptions {
  routes: readonly Route[];
  /** Where the protocol's endpoints are. */
  endpoints: ProtocolPaths;
  issuer: string;
  brand: string;
}

// biome-ignore lint/suspicious/noExplicitAny: any JSON; readers narrow what they look at
export type OpenApiDocument = Record<string, any>;

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const methods = ['get', 'post', 'put', 'patch', 'delete'] as const;

const pathOf = (route: Route): string => route.path.replace(/:(\w+)/g, '{$1}');

/** Who may call, in words and for programs. */
const accessOf = (route: Route) => {
  const { access, owner, reach, within } = route;
  const oauth2 = (scopes: string[]): Record<string, string[]>[] => [{ oauth2: scopes }, { bearer: [] }, { apiKey: [] }];
  if (access === 'public') return { text: 'Needs no token.', security: [] };
  if (access === 'optional')
    return { text: 'Needs no token; one that is sent must be valid.', security: [{}, ...oauth2([])] };
  if (access === 'signed-in') return { text: 'Needs a token, of whatever scope.', security: oauth2([]) };
  const wider = access.replace(/own$/, 'any');
  const inside = within ? `, or \`${access.replace(/[^:]+$/, 'organization')}\` in its organization or one above` : '';
  const text = owner
    ? `Needs the permission \`${access}\` for what is the caller’s own, and \`${wider}\` for anything else${inside}.`
    : `Needs the permission \`${access}\`${inside}${reach ? ', or the same with another scope for as much as that reaches' : ''}.`;
  return { text, security: oauth2([access]), permission: access };
};

const isOptional = (schema: z.ZodType): boolean => schema.safeParse(undefined).success;

/** A body that may be left out is described as what it is when it is sent. */
const bare = (schema: z.ZodType): z.ZodType =>
  schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? bare(schema.unwrap() as z.ZodType) : schema;

const responseHeaders = ({ returns, limited }: Route) => {
  const isList = returns !== undefined && 'shape' in returns && 'nextCursor' in (returns.shape as object);
  const names = [
    'X-Request-Id',
    ...(limited !== undefined ? [] : ['RateLimit', 'RateLimit-Policy']),
    ...(isList ? ['Link'] : []),
  ];
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
};

/** The beginning of a stream, as far as its type says. */
const streamExample = (type: string): unknown => {
  if (type === 'application/json') return { account: { id: '0199f0c1-…' } };
  return type.startsWith('text/csv')
    ? 'id,createdAt\r\n0199f0c1-…,2026-03-04T09:05:00.000Z\r\n'
    : '{"id":"0199f0c1-…"}\n';
};

const successOf = (route: Route) => {
  const { status, returns, streams, summary } = route;
  if (streams) {
    // One JSON document is an object; rows of a file are text.
    const schemaOf = (type: string) => ({
      type: type === 'application/json' ? ('object' as const) : ('string' as const),
    });
    return {
      description: summary,
      content: Object.fromEntries(
        streams.map((type) => [type, { schema: schemaOf(type), example: streamExample(type) }]),
      ),
    };
  }
  if (!returns) return { description: status === 204 ? 'Done' : summary };
  return { description: summary, content: { 'application/json': { schema: returns } } };
};

const operationOf = (route: Route): ZodOpenApiOperationObject => {
  const { id, tag, summary, description, params, query, body, consumes = 'application/json', status, headers } = route;
  const { text, security, permission } = accessOf(route);
  const aliases = aliasesOf(route.path).map((path) => path.replace(/:(\w+)/g, '{$1}'));
  const alsoAt = aliases.length ? `Also at ${aliases.map((path) => `\`${path}\``).join(', ')}.` : undefined;
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: [description, text, alsoAt].filter(Boolean).join('\n\n'),
    security,
    ...(permission ? { 'x-permission': permission } : {}),
    ...(aliases.length ? { 'x-aliases': aliases } : {}),
    ...(params || query
      ? {
          requestParams: {
            ...(params ? { path: params as z.ZodObject } : {}),
            ...(query ? { query: query as z.ZodObject } : {}),
          },
        }
      : {}),
    ...(headers ? { parameters: headers.map((name) => ({ name, in: 'header', schema: { type: 'string' } })) } : {}),
    ...(body ? { requestBody: { required: !isOptional(body), content: { [consumes]: { schema: bare(body) } } } } : {}),
    responses: {
      [String(status) as '200']: { ...successOf(route), headers: responseHeaders(route) },
      ...problemResponses(route),
    },
  };
};

/** Bodies and answers without a name get one from their operation, so that each is a component of its own. */
const nameSchemas = (routes: readonly Route[]): Record<string, z.ZodType> => {
  const names = new Map<z.ZodType, string>();
  const add = (schema: z.ZodType | undefined, name: string) => {
    if (schema && !schema.meta()?.id && !names.has(schema)) names.set(schema, name);
  };
  for (const { id, body, returns } of routes) {
    const name = `${id.charAt(0).toUpperCase()}${id.slice(1)}`;
    add(body && bare(body), `${name}Request`);
    add(returns, `${name}Response`);
  }
  return Object.fromEntries([...names].map(([schema, name]) => [name, schema]));
};

const pathsOf = (routes: readonly Route[]): ZodOpenApiPathsObject => {
  const paths: ZodOpenApiPathsObject = {};
  for (const route of routes) {
    const path = pathOf(route);
    paths[path] = { ...paths[path], [route.method]: operationOf(route) };
  }
  return paths;
};

const securitySchemes = (issuer: string, endpoints: ProtocolPaths) => {
  const tokenUrl = `${issuer}${endpoints.token}`;
  const scopes = { ...identityScopes, ...catalogue };
  return {
    bearer: {
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'JWT (RFC 9068)',
      description:
        'An access token, from `POST /auth/login` or the token endpoint. One that is bound to a key is sent as `Authorization: DPoP` with a `DPoP` header (RFC 9449), and one that is bound to a certificate over mutual TLS (RFC 8705).',
    },
    apiKey: {
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'cs_…',
      description: 'An API key, sent as a bearer token. It does what its scope and its owner may.',
    },
    oauth2: {
      type: 'oauth2',
      description:
        'Each permission is a scope. A token passes on those of its owner’s permissions that its scope names.',
      flows: {
        authorizationCode: {
          authorizationUrl: `${issuer}${endpoints.authorization}`,
          tokenUrl,
          refreshUrl: tokenUrl,
          scopes,
        },
        clientCredentials: { tokenUrl, scopes: { ...catalogue } },
      },
    },
    client: {
      type: 'http',
      scheme: 'basic',
      description:
        'A client’s id and secret. `client_secret_post`, `private_key_jwt` and, for public clients, `client_id` alone work in the body, as registered.',
    },
    clientCertificate: {
      type: 'mutualTLS',
      description:
        'A client’s certificate (RFC 8705), for `tls_client_auth` and `self_signed_tls_client_auth`; with `client_id` in the body. See `mtls_endpoint_aliases` of the discovery document.',
    },
  } as const;
};

/** The whole document, for the service whose issuer is given. */
export const createOpenApi = ({ routes, endpoints, issuer, brand }: OpenApiOptions): OpenApiDocument => {
  const document: OpenApiDocument = createDocument({
    openapi: '3.1.0',
    info: {
      title: `${brand} API`,
      version,
      description: introduction(brand),
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [
      { url: issuer, description: 'The issuer' },
      { url: `${issuer}/api/v1`, description: 'The same routes once more' },
    ],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    security: [],
    paths: { ...pathsOf(routes), ...protocolPaths(issuer, endpoints) },
    components: {
      schemas: { Problem, ...nameSchemas(routes) },
      responses: sharedResponses,
      headers: responseHeaderTexts,
      securitySchemes: securitySchemes(issuer, endpoints),
    },
  });
  const schemas = document.components.schemas as Schemas;
  for (const item of Object.values(document.paths as Record<string, Record<string, object>>)) {
    for (const method of methods) if (item[method]) addExamples(item[method], schemas);
  }
  return document;
};
