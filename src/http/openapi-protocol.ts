/**
 * What the OpenAPI document says of the endpoints that are no routes of ours: those of OAuth 2 and OpenID Connect, which
 * their standards describe better, and those for operation. A test compares the list with what is served.
 */
import { z } from 'zod';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject, ZodOpenApiResponseObject } from 'zod-openapi';
import {
  Discovery,
  Form,
  Health,
  IntrospectionResponse,
  Jwks,
  OAuthError,
  TokenResponse,
  UserInfo,
} from './openapi-protocol-schemas.ts';

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
    | 'jwks',
    string
  >
>;

/** Scopes of OpenID Connect Core section 5.4 and 11, beside the permissions. */
export const identityScopes = {
  openid: 'Sign in: an id_token, and who the person is',
  profile: 'Name and the like',
  email: 'The mail address and whether it is verified',
  phone: 'The phone number',
  address: 'The postal address',
  offline_access: 'Refresh tokens that outlive the session',
} as const;

const oauth = 'OAuth and OpenID Connect';
const form = 'application/x-www-form-urlencoded';

const json = (description: string, schema: z.ZodType): ZodOpenApiResponseObject => ({
  description,
  content: { 'application/json': { schema } },
});
const oauthError = (description: string, error: string): ZodOpenApiResponseObject => ({
  description,
  content: { 'application/json': { schema: OAuthError, example: { error, error_description: description } } },
});
const redirect = (description: string): ZodOpenApiResponseObject => ({
  description,
  headers: { Location: { description: 'Where to go on', schema: { type: 'string' } } },
});
const page = (description: string): ZodOpenApiResponseObject => ({
  description,
  content: { 'text/html': { schema: { type: 'string' }, example: '<!doctype html>…' } },
});
/** A page for browsers; programs that do not ask for HTML are answered in JSON. */
const refusal = (description: string): ZodOpenApiResponseObject => ({
  description,
  content: { ...page(description).content, ...oauthError(description, 'invalid_request').content },
});
const tooLarge = refusal('The body is too large');
const body = (schema: z.ZodType) => ({ required: true, content: { [form]: { schema } } });

/** Client authentication; what is left out is in the body (`client_id`, `client_assertion`) or not needed. */
const byClient: Record<string, string[]>[] = [{ client: [] }, {}];
const badClient = oauthError('Client authentication failed', 'invalid_client');

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
        'that are registered for it.',
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
      description: 'RFC 7662, for JWTs as well. A token that is not good is `{"active": false}`, whatever the reason.',
      security: byClient,
      requestBody: body(Form.introspection),
      responses: {
        '200': json('What the token says', IntrospectionResponse),
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
      '200': json('The claims', UserInfo),
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

const lookup = (id: string, tag: string, summary: string, description: string, answer: ZodOpenApiResponseObject) => ({
  get: { operationId: id, tags: [tag], summary, description, security: [], responses: { '200': answer } },
});

const discovery = (endpoints: ProtocolPaths): ZodOpenApiPathsObject => ({
  '/.well-known/openid-configuration': lookup(
    'openidConfiguration',
    oauth,
    'What this provider can do, and where',
    'OpenID Connect Discovery 1.0. May be cached.',
    json('The metadata', Discovery),
  ),
  '/.well-known/oauth-authorization-server': lookup(
    'authorizationServerMetadata',
    oauth,
    'The same for clients of OAuth 2',
    'RFC 8414. May be cached.',
    json('The metadata', Discovery),
  ),
  [endpoints.jwks]: lookup(
    'jwks',
    oauth,
    'The public keys that tokens are signed with',
    'RFC 7517. May be cached; keys are published long before they sign.',
    { description: 'The keys', content: { 'application/jwk-set+json': { schema: Jwks } } },
  ),
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
      ...discovery(endpoints),
    }),
    ...operation(),
  });
