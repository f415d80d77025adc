/** What can go wrong with a route, as OpenAPI responses: what follows from its declaration, and what it says itself. */
import { z } from 'zod';
import type { ZodOpenApiResponseObject, ZodOpenApiResponsesObject } from 'zod-openapi';
import { problemCodes } from '../problem-codes.ts';
import type { Route } from './route.ts';

/** RFC 9457, with what we add. */
export const Problem = z
  .looseObject({
    type: z.literal('about:blank').meta({ description: 'The code says it, and `docs/errors.md` what it means' }),
    title: z.string().meta({ description: 'For developers; it may change', example: 'The request is not valid' }),
    status: z.int().min(400).max(599).meta({ description: 'The HTTP status', example: 400 }),
    code: z
      .string()
      .regex(/^[a-z][a-z0-9_]*$/)
      .meta({ description: 'Stable; programs switch on it', example: 'invalid_request' }),
    requestId: z
      .string()
      .meta({ description: 'Also in `X-Request-Id` and in the log', example: '0199f0c1-7d2e-7c3a-9b55-3f6f0d1c2b4a' }),
    errors: z
      .array(
        z.object({
          field: z.string().meta({ description: 'Path of the field, with dots', example: 'email' }),
          code: z.string().meta({ example: 'invalid_format' }),
          message: z.string().meta({ description: 'For developers; it may change', example: 'Invalid email address' }),
        }),
      )
      .optional()
      .meta({ description: 'Every field that was refused' }),
  })
  .meta({ id: 'Problem', description: 'What went wrong (RFC 9457)' });

const statusNames: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Not authenticated',
  403: 'Not allowed',
  404: 'Not found',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition failed',
  413: 'Too large',
  415: 'Unsupported media type',
  422: 'Unprocessable',
  423: 'Locked',
  429: 'Too many requests',
  502: 'Bad gateway',
  503: 'Unavailable',
};

const header = (name: string) => ({ $ref: `#/components/headers/${name}` });

const headersOf: Readonly<Record<number, readonly string[]>> = {
  401: ['WWW-Authenticate'],
  403: ['WWW-Authenticate'],
  429: ['Retry-After', 'RateLimit', 'RateLimit-Policy'],
  503: ['Retry-After'],
};

const meaningOf = (status: number, code: string): string =>
  (problemCodes as Readonly<Record<string, Readonly<Record<number, string>>>>)[code]?.[status] ?? '';

const nameOf = (status: number): string => statusNames[status] ?? 'A problem';

/** A problem as it may look, its members in the order in which they are sent. */
const sample = (status: number, code: string): Record<string, unknown> => ({
  type: 'about:blank',
  title: nameOf(status),
  status,
  code,
  requestId: '0199f0c1-7d2e-7c3a-9b55-3f6f0d1c2b4a',
  ...(code === 'invalid_request'
    ? { errors: [{ field: 'email', code: 'invalid_format', message: 'Invalid email address' }] }
    : {}),
});

const respondWith = (status: number, codes: readonly string[]): ZodOpenApiResponseObject => ({
  description: [nameOf(status), ...codes.map((code) => `- \`${code}\`: ${meaningOf(status, code)}`)].join('\n'),
  headers: Object.fromEntries(['X-Request-Id', ...(headersOf[status] ?? [])].map((name) => [name, header(name)])),
  content: {
    'application/problem+json': {
      schema: {
        allOf: [
          { $ref: '#/components/schemas/Problem' },
          { type: 'object', properties: { status: { const: status }, code: { enum: [...codes] } } },
        ],
      },
      examples: Object.fromEntries(codes.map((code) => [code, { value: sample(status, code) }])),
    },
  },
});

/** Responses that many operations share. */
const shared = {
  InvalidRequest: [400, ['invalid_request']],
  InvalidBody: [400, ['invalid_request', 'invalid_json']],
  Unauthenticated: [401, ['unauthenticated', 'invalid_token', 'invalid_dpop_proof', 'use_dpop_nonce']],
  InvalidToken: [401, ['invalid_token', 'invalid_dpop_proof', 'use_dpop_nonce']],
  Forbidden: [403, ['missing_permission']],
  TooLarge: [413, ['request_too_large']],
  UnsupportedMediaType: [415, ['unsupported_media_type']],
  TooManyRequests: [429, ['too_many_requests']],
  Unavailable: [503, ['overloaded', 'database_unavailable']],
} as const satisfies Record<string, readonly [status: number, codes: readonly string[]]>;

export const sharedResponses: Record<string, ZodOpenApiResponseObject> = Object.fromEntries(
  Object.entries(shared).map(([name, [status, codes]]) => [name, respondWith(status, codes)]),
);

/** What follows from a route's declaration. */
const implied = (route: Route): (keyof typeof shared)[] => {
  const { access, params, query, body, consumes, limited } = route;
  const json = body !== undefined && consumes === undefined;
  return [
    ...(json ? ['InvalidBody' as const] : params || query || body ? ['InvalidRequest' as const] : []),
    ...(access === 'public' ? [] : access === 'optional' ? ['InvalidToken' as const] : ['Unauthenticated' as const]),
    ...(access.includes(':') ? ['Forbidden' as const] : []),
    ...(body ? ['TooLarge' as const, 'UnsupportedMediaType' as const] : []),
    ...(limited === false ? [] : ['TooManyRequests' as const]),
    'Unavailable',
  ];
};

/** The codes that an operation can answer with, by status. */
export const problemsOf = (route: Route): Map<number, string[]> => {
  const codes = new Map<number, string[]>();
  const add = (status: number, more: readonly string[]) =>
    codes.set(status, [...new Set([...(codes.get(status) ?? []), ...more])]);
  for (const name of implied(route)) add(shared[name][0], shared[name][1]);
  if (route.invalidInput) add(400, [route.invalidInput]);
  if (route.external) add(503, ['issuer_unavailable']);
  for (const [status, more] of Object.entries(route.problems ?? {})) add(Number(status), more);
  return new Map([...codes].sort(([a], [b]) => a - b));
};

/** The same as responses, by reference where nothing is peculiar to the operation. */
export const problemResponses = (route: Route): ZodOpenApiResponsesObject =>
  Object.fromEntries(
    [...problemsOf(route)].map(([status, codes]) => {
      const name = Object.entries(shared).find(
        ([, [known, usual]]) =>
          known === status && usual.length === codes.length && usual.every((code, i) => code === codes[i]),
      )?.[0];
      return [status, name ? { $ref: `#/components/responses/${name}` } : respondWith(status, codes)];
    }),
  );
