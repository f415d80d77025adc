/** What the protocol's endpoints take and answer, as far as a reader of the API wants it: the standards have the rest. */
import { z } from 'zod';
import { Address } from './schemas.ts';

const text = (description: string, example?: unknown) =>
  z.string().meta({ description, ...(example === undefined ? {} : { example }) });
const optional = (description: string) => z.string().optional().meta({ description });

/** How a client names itself, or authenticates, in the body; as registered. */
export const clientAuthentication = {
  client_id: text('Where the client does not authenticate otherwise', 'my-app').optional(),
  client_secret: optional('With `client_secret_post`'),
  client_assertion_type: z
    .literal('urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
    .optional()
    .meta({ description: 'With `private_key_jwt` (RFC 7523 section 2.2)' }),
  client_assertion: optional('The JWT that the client signs, with `aud` the issuer and a `jti` that is used once'),
};

/** OAuth 2.0 Multiple Response Type Encoding Practices and JARM; none has an access token in the URL. */
const responseTypes = ['code', 'code id_token', 'id_token', 'none'] as const;
const responseModes = ['query', 'fragment', 'form_post', 'jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'] as const;

const authorizationRequest = {
  client_id: text('The application', 'my-app'),
  response_type: z.enum(responseTypes).meta({ description: 'As registered', example: 'code' }),
  redirect_uri: text('One of those registered', 'https://app.example.com/callback'),
  scope: text('What is asked for', 'openid profile email'),
  state: text('Comes back unchanged', 'af0ifjsldkj'),
  nonce: text('Comes back in the id_token', 'n-0S6_WzA2Mj'),
  code_challenge: text('base64url(SHA-256(verifier))', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'),
  code_challenge_method: z.literal('S256'),
};

/** What may be asked for besides. */
const authorizationOptions = {
  response_mode: z
    .enum(responseModes)
    .optional()
    .meta({ description: 'Where the answer goes; signed with `jwt` (JARM)' }),
  prompt: optional('`none`, `login`, `consent` or `create`, separated by spaces'),
  max_age: optional('Seconds since the person signed in'),
  acr_values: optional('How strong a sign-in is wanted, in order of preference (RFC 9470)'),
  login_hint: optional('The mail address that the sign-in page begins with'),
  id_token_hint: optional('An id_token of the person who is expected'),
  organization: optional(
    'The id of an organization to sign in for, or `select` to have the person choose one of theirs',
  ),
  ui_locales: optional('Languages of the pages, in order of preference'),
  claims: optional('Single claims, as JSON (OpenID Connect Core section 5.5)'),
  resource: optional('The API that the access token is for (RFC 8707)'),
  authorization_details: optional('What exactly is asked for, as JSON (RFC 9396)'),
  dpop_jkt: optional('Thumbprint of the key that the code is bound to (RFC 9449 section 10)'),
  request: optional('The same parameters in a JWT that the client signs (RFC 9101)'),
};

/** RFC 8693 section 3. */
const tokenType = (name: string) => `urn:ietf:params:oauth:token-type:${name}`;

/** Forms, or queries, of requests. */
export const Form = {
  authorization: z
    .object({
      ...authorizationRequest,
      ...authorizationOptions,
      request_uri: optional('From the pushed authorization request'),
    })
    .partial()
    .required({ client_id: true })
    .meta({ id: 'AuthorizationRequest' }),
  pushed: z
    .object({ ...authorizationRequest, ...authorizationOptions, ...clientAuthentication })
    .meta({ id: 'PushedAuthorizationRequest' }),
  token: z
    .union([
      z.object({
        grant_type: z.literal('client_credentials'),
        scope: text('What of its permissions the token passes on', 'users:read:any'),
        ...clientAuthentication,
      }),
      z.object({
        grant_type: z.literal('authorization_code'),
        code: text('From the redirect', 'SplxlOBeZQQYbYS6WxSbIA'),
        redirect_uri: text('As in the authorization request', 'https://app.example.com/callback'),
        code_verifier: text('What the challenge was made of', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'),
        ...clientAuthentication,
      }),
      z.object({
        grant_type: z.literal('refresh_token'),
        refresh_token: text('The newest one', 'tGzv3JOkF0XG5Qx2TlKWIA'),
        ...clientAuthentication,
      }),
      z.object({
        grant_type: z.literal('urn:ietf:params:oauth:grant-type:device_code'),
        device_code: text('From the device authorization endpoint', 'w4mSxQ1nV8…'),
        ...clientAuthentication,
      }),
      z.object({
        grant_type: z.literal('urn:openid:params:grant-type:ciba'),
        auth_req_id: text('From the backchannel authentication endpoint', '1c266114…'),
        ...clientAuthentication,
      }),
      z.object({
        grant_type: z.literal('password'),
        username: text('The mail address', 'ada@example.com'),
        password: text('', 'correct horse battery staple'),
        mfa_code: optional('Of the second factor, where one is due'),
      }),
      z.object({
        grant_type: z.literal('urn:ietf:params:oauth:grant-type:token-exchange'),
        subject_token: text('An API key (RFC 8693)', 'cs_4fTq9ZxW2LmVb7RkY1sDnP8cJhG3eA5uQ0oT1Nq3Xy'),
        subject_token_type: z.literal('urn:countersign:params:oauth:token-type:api_key'),
        scope: optional('What of the key’s permissions the token passes on; without it those that the client may have'),
      }),
      z.object({
        grant_type: z.literal('urn:ietf:params:oauth:grant-type:token-exchange'),
        subject_token: text(
          'A person’s token that was issued here, as the client’s `token_exchange` allows',
          'eyJhbGciOi…',
        ),
        subject_token_type: z.enum([tokenType('access_token'), tokenType('id_token'), tokenType('jwt')]),
        actor_token: optional(
          'Of whoever acts for the person, who is then named in `act`: the client itself, or another person',
        ),
        actor_token_type: z.enum([tokenType('access_token'), tokenType('id_token'), tokenType('jwt')]).optional(),
        requested_token_type: z.enum([tokenType('access_token'), tokenType('jwt')]).optional(),
        resource: optional('The API that the token is for (RFC 8707); this one unless named'),
        audience: optional('The same, by the `aud` of its tokens'),
        scope: optional('Never more than the subject_token has'),
      }),
      z.object({
        grant_type: z.literal('urn:ietf:params:oauth:grant-type:jwt-bearer'),
        assertion: text(
          'A JWT that the client signs (RFC 7523 section 3): `iss` and `sub` its client_id, `aud` the issuer, `exp` at most five minutes ahead, a `jti` that is used once',
          'eyJhbGciOi…',
        ),
        scope: optional('What of its permissions the token passes on'),
      }),
    ])
    .meta({ id: 'TokenRequest' }),
  introspection: z
    .object({
      token: text('Of any kind', 'eyJhbGciOi…'),
      token_type_hint: optional('access_token or refresh_token'),
      ...clientAuthentication,
    })
    .meta({ id: 'IntrospectionRequest' }),
  revocation: z
    .object({
      token: text('Of any kind', 'eyJhbGciOi…'),
      token_type_hint: optional('access_token or refresh_token'),
      ...clientAuthentication,
    })
    .meta({ id: 'RevocationRequest' }),
  logout: z
    .object({
      id_token_hint: optional('An id_token of the session'),
      client_id: optional('The application'),
      post_logout_redirect_uri: optional('One of those registered'),
      state: optional('Comes back unchanged'),
    })
    .meta({ id: 'LogoutRequest', example: { client_id: 'my-app' } }),
};

export const OAuthError = z
  .looseObject({
    error: text('Of RFC 6749 section 5.2 and the standards that extend it', 'invalid_grant'),
    error_description: z
      .string()
      .optional()
      .meta({ description: 'For developers', example: 'grant request is invalid' }),
  })
  .meta({ id: 'OAuthError' });

export const TokenResponse = z
  .looseObject({
    access_token: text('For `Authorization: Bearer`', 'eyJhbGciOi…'),
    token_type: z.enum(['Bearer', 'DPoP']),
    expires_in: z.int().meta({ description: 'Seconds', example: 900 }),
    refresh_token: optional('For the next access token; every use replaces it'),
    id_token: optional('Who signed in (OpenID Connect)'),
    issued_token_type: optional('Of a token exchange: what `access_token` is (RFC 8693 section 2.2.1)'),
    scope: z.string().optional().meta({ example: 'openid profile email' }),
  })
  .meta({ id: 'OAuthTokens' });

export const IntrospectionResponse = z
  .looseObject({
    active: z.boolean(),
    sub: z.string().optional().meta({ example: '0199f0c1-7d2e-7c3a-9b55-3f6f0d1c2b4a' }),
    client_id: z.string().optional().meta({ example: 'my-app' }),
    scope: z.string().optional().meta({ example: 'users:read:own' }),
    exp: z.int().optional().meta({ description: 'Seconds since 1970', example: 1_772_615_100 }),
    act: z
      .looseObject({ sub: text('A person’s id, or a client_id', 'my-backend'), client_id: optional('The application') })
      .optional()
      .meta({ description: 'Who acts for the person (RFC 8693 section 4.1); nested in it is who did before' }),
  })
  .meta({ id: 'Introspection' });

export const UserInfo = z
  .looseObject({
    sub: text('The account, for good', '0199f0c1-7d2e-7c3a-9b55-3f6f0d1c2b4a'),
    name: z.string().optional().meta({ example: 'Ada Lovelace' }),
    email: Address.optional().meta({ example: 'ada@example.com' }),
    email_verified: z.boolean().optional(),
  })
  .meta({ id: 'UserInfo' });

const Jwk = z.looseObject({
  kty: text('', 'EC'),
  kid: text('', '2026-03-04'),
  use: z.enum(['sig', 'enc']),
  alg: text('Of a key that signs; one that others encrypt to serves several', 'ES256').optional(),
});
export const Jwks = z.object({ keys: z.array(Jwk) }).meta({ id: 'Jwks' });

export const Discovery = z
  .looseObject({
    issuer: z.url(),
    authorization_endpoint: z.url(),
    token_endpoint: z.url(),
    jwks_uri: z.url(),
  })
  .meta({ id: 'ProviderMetadata' });

const part = z.enum(['ok', 'failing']);
export const Health = z
  .object({
    status: part,
    timestamp: z.iso.datetime(),
    failing: z.array(z.string()).optional().meta({ description: 'The parts that fail', example: [] }),
    parts: z
      .record(z.string(), part)
      .optional()
      .meta({ example: { database: 'ok', server: 'ok' } }),
  })
  .meta({ id: 'Health' });
