/** What the OpenAPI document says of the documents at `/.well-known/` by which clients find their way. */
import { z } from 'zod';
import type { ZodOpenApiPathsObject } from 'zod-openapi';
import { json, lookup, oauth, oauthError } from './openapi-parts.ts';
import { Discovery, Jwks } from './openapi-protocol-schemas.ts';

/** RFC 7033 section 4.4. */
const WebFinger = z
  .object({
    subject: z.string().meta({ description: 'The resource that was asked for' }),
    links: z.array(z.object({ rel: z.string(), href: z.url() })).meta({ description: 'Empty when `rel` names others' }),
  })
  .meta({ id: 'WebFinger' });

/** W3C, "A Well-Known URL for Relying Party Passkey Endpoints". */
const PasskeyEndpoints = z
  .object({
    enroll: z.url().meta({ description: 'Where a passkey is added' }),
    manage: z.url().meta({ description: 'Where they are named and removed' }),
  })
  .meta({ id: 'PasskeyEndpoints' });

/** RFC 7033 section 4.1. */
const webfingerQuery = (host: string) =>
  z.object({
    resource: z
      .string()
      .meta({ description: 'An `acct:` URI at the issuer’s host, or a URL there', example: `acct:ada@${host}` }),
    rel: z
      .string()
      .optional()
      .meta({ description: 'Only links of this kind', example: 'http://openid.net/specs/connect/1.0/issuer' }),
  });

/** A document that has an ETag. */
const cached = ({ get }: ReturnType<typeof lookup>) => ({
  get: {
    ...get,
    responses: { ...get.responses, '304': { description: 'It is still what `If-None-Match` names' } },
  },
});

const discovery = (jwks: string): ZodOpenApiPathsObject => ({
  '/.well-known/openid-configuration': cached(
    lookup(
      'openidConfiguration',
      oauth,
      'What this provider can do, and where',
      'OpenID Connect Discovery 1.0. May be cached; any site may read it.',
      json('The metadata', Discovery),
    ),
  ),
  '/.well-known/oauth-authorization-server': cached(
    lookup(
      'authorizationServerMetadata',
      oauth,
      'The same for clients of OAuth 2',
      'RFC 8414. May be cached; any site may read it.',
      json('The metadata', Discovery),
    ),
  ),
  [jwks]: cached(
    lookup(
      'jwks',
      oauth,
      'The public keys that tokens are signed with',
      'RFC 7517. May be cached, and any site may read it; keys are published long before they sign.',
      { description: 'The keys', content: { 'application/jwk-set+json': { schema: Jwks } } },
    ),
  ),
});

const passkeyEndpoints: ZodOpenApiPathsObject = {
  '/.well-known/passkey-endpoints': lookup(
    'passkeyEndpoints',
    oauth,
    'Where people add and keep their passkeys',
    'For password managers and browsers. Any site may read it.',
    json('The pages', PasskeyEndpoints),
  ),
};

/** OpenID AuthZEN Authorization API 1.0 section 9.1. */
const AuthzenMetadata = z
  .object({
    policy_decision_point: z.url(),
    access_evaluation_endpoint: z.url(),
    access_evaluations_endpoint: z.url(),
  })
  .meta({ id: 'AuthzenMetadata' });

const authzenConfiguration: ZodOpenApiPathsObject = {
  '/.well-known/authzen-configuration': lookup(
    'authzenConfiguration',
    oauth,
    'Where a policy decision point answers',
    'OpenID AuthZEN Authorization API 1.0 section 9. Any site may read it. There are no search APIs.',
    json('The metadata', AuthzenMetadata),
  ),
};

const webfinger = (issuer: string): ZodOpenApiPathsObject => {
  const { get } = lookup(
    'webfinger',
    oauth,
    'Which issuer signs a person in',
    'RFC 7033, OpenID Connect Discovery section 2. The answer is the same whether there is such an account or not.',
    {
      description: 'The link to the issuer',
      content: { 'application/jrd+json': { schema: WebFinger } },
    },
  );
  return {
    '/.well-known/webfinger': {
      get: {
        ...get,
        requestParams: { query: webfingerQuery(new URL(issuer).hostname) },
        responses: {
          ...get.responses,
          '400': oauthError('resource is missing or malformed', 'invalid_request'),
          '404': oauthError('The resource is somebody else’s', 'not_found'),
        },
      },
    },
  };
};

export const wellKnown = (issuer: string, jwks: string): ZodOpenApiPathsObject => ({
  ...discovery(jwks),
  ...webfinger(issuer),
  ...passkeyEndpoints,
  ...authzenConfiguration,
});
