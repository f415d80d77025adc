/**
 * What the OpenAPI document says of the endpoints that are no routes of ours: those of OAuth 2 and OpenID Connect, which
 * their standards describe better, and those for operation. A test compares the list with what is served.
 */
import { z } from 'zod';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';
import { elsewhere } from './openapi-elsewhere.ts';
import {
  badClient,
  body,
  byClient,
  json,
  lookup,
  oauth,
  oauthError,
  page,
  redirect,
  refusal,
  tooLarge,
} from './openapi-parts.ts';
import { Form, Health, IntrospectionResponse, TokenResponse, UserInfo } from './openapi-protocol-schemas.ts';
import { protectedResources, registration } from './openapi-registration.ts';
import { social } from './openapi-social.ts';
import { wellKnown } from './openapi-well-known.ts';

/** Paths of the protocol's endpoints. */
export type ProtocolPaths = Readonly<
  Record<
    | 'authorization'
    | 'token'
    | 'userinfo'
    | 'introspection'
    | 'revocation'
    | 'end_session'
    | 'pushed_authorization_request'
    | 'device_authorization'
    | 'code_verification'
    | 'backchannel_authentication'
    | 'jwks',
    string
  >
> & {
  /** Where client attestation is on. */
  readonly challenge?: string;
};

/** Scopes of OpenID Connect Core section 5.4 and 11, beside the permissions. */
export const identityScopes = {
  openid: 'Sign in: an id_token, and who the person is',
  profile: 'Name and the like',
  email: 'The mail address and whether it is verified',
  phone: 'The phone number',
  address: 'The postal address',
  roles: 'The names of one’s roles',
  permissions: 'What one may do',
  groups: 'The groups and teams that one is in',
  organizations: 'The organizations that one belongs to, with one’s roles there',
  offline_access: 'Refresh tokens that outlive the session',
} as const;

const authorize = (id: string, method: string): ZodOpenApiOperationObject => ({
  operationId: id,
  tags: [oauth],
  summary: `Begin a sign-in (${method})`,
  description:
    'RFC 6749 section 4.1 with PKCE (RFC 7636), OpenID Connect Core section 3.1.2. A browser goes here; whoever is not signed ' +
    'in sees the sign-in page, and everybody ends at the `redirect_uri` with `code` and `iss`, or with `error`.',
  security: [],
  responses: {
    '303': redirect('To a page of ours, or back to the application'),
    '400': refusal('The request is so wrong that the application must not hear of it: unknown client or redirect URI'),
    ...(method === 'POST' ? { '413': tooLarge } : {}),
  },
});

const authorization = (path: string): ZodOpenApiPathsObject => ({
  [path]: {
    get: { ...authorize('authorize', 'GET'), requestParams: { query: Form.authorization } },
    post: { ...authorize('authorizeByPost', 'POST'), requestBody: body(Form.authorization) },
  },
});

const tokens = (endpoints: ProtocolPaths): ZodOpenApiPathsObject => ({
  [endpoints.token]: {
    post: {
      operationId: 'token',
      tags: [oauth],
      summary: 'Exchange a code, a refresh token or credentials for tokens',
      description:
        'RFC 6749 section 3.2: `authorization_code`, `refresh_token`, `client_credentials`, and `password` for clients ' +
        'that are registered for it; token exchange (RFC 8693) and JWT bearer (RFC 7523) likewise.',
      security: byClient,
      requestBody: body(Form.token),
      responses: {
        '200': json('The tokens', TokenResponse),
        '400': oauthError('The grant is not valid, has expired or was used before', 'invalid_grant'),
        '401': badClient,
      },
    },
  },
  [endpoints.introspection]: {
    post: {
      operationId: 'introspect',
      tags: [oauth],
      summary: 'Ask whether a token is good now, and what it says',
      description:
        'RFC 7662, for JWTs as well. A token that is not good is `{"active": false}`, whatever the reason, and so is one that is no business of whoever asks: a client learns of its own tokens, that of a resource server (`introspects`) of tokens for it, one with the permission `tokens:introspect:any` of all. With `Accept: application/token-introspection+jwt` the answer is a signed JWT, encrypted where the client is registered for that (RFC 9701).',
      security: byClient,
      requestBody: body(Form.introspection),
      responses: {
        '200': {
          description: 'What the token says',
          content: {
            'application/json': { schema: IntrospectionResponse },
            'application/token-introspection+jwt': { schema: { type: 'string' }, example: 'eyJhbGciOiJSUzI1NiIs…' },
          },
        },
        '400': oauthError('The token is missing', 'invalid_request'),
        '401': badClient,
      },
    },
  },
  [endpoints.revocation]: {
    post: {
      operationId: 'revoke',
      tags: [oauth],
      summary: 'Revoke a token',
      description: 'RFC 7009. An access token ends alone; a refresh token ends its grant, with all tokens of it.',
      security: byClient,
      requestBody: body(Form.revocation),
      responses: {
        '200': { description: 'The token is not good any more, or never was' },
        '400': oauthError('The token is missing, or another client’s', 'invalid_request'),
        '401': badClient,
      },
    },
  },
  [endpoints.pushed_authorization_request]: {
    post: {
      operationId: 'pushAuthorizationRequest',
      tags: [oauth],
      summary: 'Hand in an authorization request beforehand',
      description: 'RFC 9126. Then send the browser to the authorization endpoint with `client_id` and `request_uri`.',
      security: byClient,
      requestBody: body(Form.pushed),
      responses: {
        '201': json(
          'Where the request is kept',
          z.object({
            request_uri: z.string().meta({ example: 'urn:ietf:params:oauth:request_uri:6fAc0Yb' }),
            expires_in: z.int(),
          }),
        ),
        '400': oauthError('The request is not valid', 'invalid_request'),
        '401': badClient,
      },
    },
  },
});

const person = (endpoints: ProtocolPaths): ZodOpenApiPathsObject => {
  const userinfo = (id: string, method: string): ZodOpenApiOperationObject => ({
    operationId: id,
    tags: [oauth],
    summary: `Who the token’s person is (${method})`,
    description: 'OpenID Connect Core section 5.3. For a token with the scope `openid`; other scopes add claims.',
    security: [{ oauth2: ['openid'] }, { bearer: [] }],
    responses: {
      '200': {
        description: 'The claims; signed, or encrypted too, where the client is registered for that',
        content: {
          'application/json': { schema: UserInfo },
          'application/jwt': { schema: { type: 'string' }, example: 'eyJhbGciOiJSUzI1NiIs…' },
        },
      },
      '401': oauthError('The token is not valid', 'invalid_token'),
      '403': oauthError('The token lacks the scope openid', 'insufficient_scope'),
    },
  });
  const logout = (id: string, method: string): ZodOpenApiOperationObject => ({
    operationId: id,
    tags: [oauth],
    summary: `Sign out (${method})`,
    description:
      'OpenID Connect RP-Initiated Logout 1.0. A browser goes here; the person is asked, and ends at the `post_logout_redirect_uri`.',
    security: [],
    responses: {
      '200': page('The question whether to sign out'),
      '303': redirect('Back to the application, or to the same request by GET'),
      '400': refusal('The request is not valid'),
      ...(method === 'POST' ? { '413': tooLarge } : {}),
    },
  });
  return {
    [endpoints.userinfo]: { get: userinfo('userinfo', 'GET'), post: userinfo('userinfoByPost', 'POST') },
    [endpoints.end_session]: {
      get: { ...logout('rpInitiatedLogout', 'GET'), requestParams: { query: Form.logout } },
      post: { ...logout('rpInitiatedLogoutByPost', 'POST'), requestBody: body(Form.logout) },
    },
  };
};

const challenge = (path: string): ZodOpenApiPathsObject => ({
  [path]: {
    post: {
      operationId: 'attestationChallenge',
      tags: [oauth],
      summary: 'Get the challenge that a client attestation’s proof of possession answers',
      description: 'OAuth 2.0 Attestation-Based Client Authentication, section 8.1.',
      security: [],
      responses: {
        '200': json(
          'The challenge',
          z.object({ attestation_challenge: z.string().meta({ example: 'AYjcyMzY3ZDhi' }) }),
        ),
      },
    },
  },
});

const operation = (): ZodOpenApiPathsObject => {
  const live = json('The process runs', Health);
  const readiness = (id: string, summary: string) => {
    const path = lookup(
      id,
      'Operation',
      summary,
      'Names what fails; send no requests while it answers 503.',
      json('Ready', Health),
    );
    const { responses } = path.get;
    return { get: { ...path.get, responses: { ...responses, '503': json('Not ready; `failing` says what', Health) } } };
  };
  const aliases = (...paths: string[]) => ({ 'x-aliases': paths });
  const alive = lookup('live', 'Operation', 'Whether the process runs', 'Also at `/healthz`.', live);
  const ready = readiness('ready', 'Whether it can do its work');
  return {
    '/health': lookup('health', 'Operation', 'Whether the process runs', 'It asks for nothing else.', live),
    '/health/live': { get: { ...alive.get, ...aliases('/healthz') } },
    '/health/ready': { get: { ...ready.get, ...aliases('/readyz', '/ready') } },
    '/metrics': lookup(
      'metrics',
      'Operation',
      'Measurements for Prometheus',
      'Unless PROMETHEUS_ENABLED is false. Meant for the inside of a network.',
      {
        description: 'The text format of Prometheus',
        content: { 'text/plain': { schema: { type: 'string' }, example: 'process_cpu_seconds_total 1.5\n' } },
      },
    ),
    '/openapi.json': lookup('openapi', 'Operation', 'This document', 'With an ETag; any site may fetch it.', {
      description: 'OpenAPI 3.1',
      content: { 'application/json': { schema: { type: 'object' }, example: { openapi: '3.1.0' } } },
    }),
  };
};

/** What every endpoint of the protocol refuses, unless it says more about it itself. */
const refusing = (paths: ZodOpenApiPathsObject): ZodOpenApiPathsObject => {
  const invalid = oauthError('The request is not valid', 'invalid_request');
  const tooLargeForm = oauthError('The body is too large', 'invalid_request');
  const complete = (operation: ZodOpenApiOperationObject): ZodOpenApiOperationObject => ({
    ...operation,
    responses: { '400': invalid, ...(operation.requestBody ? { '413': tooLargeForm } : {}), ...operation.responses },
  });
  return Object.fromEntries(
    Object.entries(paths).map(([path, { get, post }]) => [
      path,
      { ...(get ? { get: complete(get) } : {}), ...(post ? { post: complete(post) } : {}) },
    ]),
  );
};

/** None of these answers under /api/v1. */
const atIssuer = (issuer: string, paths: ZodOpenApiPathsObject): ZodOpenApiPathsObject =>
  Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, { servers: [{ url: issuer }], ...item }]));

export const protocolPaths = (issuer: string, endpoints: ProtocolPaths): ZodOpenApiPathsObject =>
  atIssuer(issuer, {
    ...refusing({
      ...authorization(endpoints.authorization),
      ...tokens(endpoints),
      ...person(endpoints),
      ...elsewhere(endpoints),
      ...social(),
      ...(endpoints.challenge ? challenge(endpoints.challenge) : {}),
    }),
    ...registration(),
    ...wellKnown(issuer, endpoints.jwks),
    ...protectedResources(),
    ...operation(),
  });
