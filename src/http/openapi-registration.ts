/** What the OpenAPI document says of clients that register themselves, and of this API's own metadata. */
import { z } from 'zod';
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi';
import { json, lookup, oauth, oauthError } from './openapi-parts.ts';

const registrationPath = '/oauth/register';
const clientId = 'Zk3v9QmT1xYb7LrW2sDf';
const token = 'kC0m2V1b3qHq7W3S5r9w1XvJdQy8TzZl4pN6fGh2aBc';

const metadata = {
  client_name: z.string().optional().meta({ description: 'Shown to people', example: 'Acme' }),
  redirect_uris: z
    .array(z.string())
    .meta({ description: 'https, loopback, or a scheme of one’s own', example: ['https://app.example.com/callback'] }),
  grant_types: z
    .array(z.string())
    .optional()
    .meta({
      description: '`authorization_code` (the default) and `refresh_token`; others where a software policy allows them',
      example: ['authorization_code', 'refresh_token'],
    }),
  token_endpoint_auth_method: z.string().optional().meta({ example: 'none' }),
  scope: z.string().optional().meta({ example: 'openid profile email' }),
};

const example = {
  client_name: 'Acme',
  redirect_uris: ['https://app.example.com/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
};
const Registration = z.looseObject(metadata).meta({ id: 'ClientRegistration', example });
const Change = z
  .looseObject({ client_id: z.string().meta({ description: 'The client’s own', example: clientId }), ...metadata })
  .meta({ id: 'ClientRegistrationChange', example: { client_id: clientId, ...example } });

const Information = z
  .looseObject({
    client_id: z.string().meta({ example: clientId }),
    client_id_issued_at: z.int().meta({ example: 1_798_761_599 }),
    client_secret: z
      .string()
      .optional()
      .meta({ description: 'Shown when it is made, and never again', example: token }),
    registration_access_token: z.string().meta({ description: 'Manages the registration', example: token }),
    registration_client_uri: z.url().meta({ example: `https://id.example.com${registrationPath}/${clientId}` }),
    ...metadata,
  })
  .meta({ id: 'ClientInformation' });

const ProtectedResource = z
  .looseObject({
    resource: z.url().meta({ example: 'https://id.example.com/api' }),
    authorization_servers: z.array(z.url()).meta({ example: ['https://id.example.com'] }),
    scopes_supported: z.array(z.string()).meta({ example: ['users:read:own'] }),
    bearer_methods_supported: z.array(z.string()).meta({ example: ['header'] }),
  })
  .meta({ id: 'ProtectedResourceMetadata' });

const jsonBody = (schema: z.ZodType) => ({ required: true, content: { 'application/json': { schema } } });
const badMetadata = oauthError('The metadata is not valid, or does not fit the rest', 'invalid_client_metadata');
const badToken = oauthError('The token is missing, wrong, expired or used up', 'invalid_token');
const tooMany = oauthError('Too many registrations, or too many wrong tokens', 'temporarily_unavailable');
const notJson = oauthError('The body is not sent as application/json', 'invalid_request');
const tooLarge = oauthError('The body is too large', 'invalid_request');
const parameters = {
  path: z.object({ client_id: z.string().meta({ description: 'The client’s own', example: clientId }) }),
};

const own = (
  operationId: string,
  summary: string,
  rest: Pick<ZodOpenApiOperationObject, 'description' | 'requestBody' | 'responses'>,
): ZodOpenApiOperationObject => ({
  operationId,
  tags: [oauth],
  summary,
  security: [{ bearer: [] }],
  requestParams: parameters,
  ...rest,
  responses: { ...rest.responses, '401': badToken, '429': tooMany },
});

/** RFC 7591 and RFC 7592. */
export const registration = (): ZodOpenApiPathsObject => ({
  [registrationPath]: {
    post: {
      operationId: 'registerClient',
      tags: [oauth],
      summary: 'Register a client, as the client itself',
      description:
        'RFC 7591, OpenID Connect Dynamic Client Registration 1.0. The setting DYNAMIC_REGISTRATION says whether anybody may, whoever has an initial ' +
        'access token, or nobody: then there is nothing at this address. What a client may not have is left out; the answer lists what was registered.',
      security: [{ bearer: [] }, {}],
      requestBody: jsonBody(Registration),
      responses: {
        '201': json('The client', Information),
        '400': badMetadata,
        '401': badToken,
        '413': tooLarge,
        '415': notJson,
        '429': tooMany,
      },
    },
  },
  [`${registrationPath}/{client_id}`]: {
    get: own('readOwnRegistration', 'See what one is registered with, as the client itself', {
      description: 'RFC 7592 section 2.1, with the registration access token. Secrets are not shown again.',
      responses: { '200': json('The client', Information) },
    }),
    put: own('replaceOwnRegistration', 'Replace one’s own metadata as a whole, as the client itself', {
      description:
        'RFC 7592 section 2.2. What people agreed to ends where it would be for something else: another name, more redirect URIs, other keys.',
      requestBody: jsonBody(Change),
      responses: {
        '200': json('The client', Information),
        '400': badMetadata,
        '413': tooLarge,
        '415': notJson,
      },
    }),
    delete: own('deleteOwnRegistration', 'Delete oneself, as the client itself', {
      description: 'RFC 7592 section 2.3. Grants, tokens and consents end with it.',
      responses: { '204': { description: 'It is gone' } },
    }),
  },
});

const resourceMetadata = (id: string, description: string) =>
  lookup(
    id,
    oauth,
    'Which tokens this API takes, and who gives them',
    description,
    json('The metadata', ProtectedResource),
  );

/** RFC 9728. */
export const protectedResources = (): ZodOpenApiPathsObject => ({
  '/.well-known/oauth-protected-resource/api': resourceMetadata(
    'protectedResourceMetadata',
    'RFC 9728. `WWW-Authenticate` of a refusal names this address. May be cached; any site may read it.',
  ),
  '/.well-known/oauth-protected-resource': resourceMetadata(
    'protectedResourceMetadataOfHost',
    'The same, for clients that know no more than the host.',
  ),
});
