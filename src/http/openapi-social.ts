/** What the OpenAPI document says of the two addresses at which a browser goes to an identity provider and comes back. */
import { z } from 'zod';
import type { ZodOpenApiPathsObject, ZodOpenApiResponseObject } from 'zod-openapi';
import { form, json, page, redirect } from './openapi-parts.ts';
import { Problem } from './openapi-problems.ts';

const text = (description: string, example: string) => z.string().meta({ description, example });
/** A page for browsers, a problem for programs. */
const told = (description: string): ZodOpenApiResponseObject => ({
  description,
  content: { ...page(description).content, 'application/problem+json': { schema: Problem } },
});
const provider = z.object({ provider: text('Which, as `GET /auth/social` lists them', 'google') });
const tag = 'Identity providers';

const Begin = z.object({
  redirectUri: text(
    'A page of the application, at an origin of AUTH_API_CORS_ORIGINS: it gets `code` and `state`, or `error` and `state`',
    'https://app.example.com/signed-in',
  ).optional(),
  codeChallenge: text(
    'With a `redirectUri`: the SHA-256 of a `codeVerifier` that the application keeps, base64url (as in RFC 7636, S256)',
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
  ).optional(),
  state: text('With a `redirectUri`: comes back with the code; one is made unless given', 'af0ifjsldkj').optional(),
  loginHint: text('Passed on to the provider', 'ada@example.com').optional(),
});

const Begun = z
  .object({
    authorizationUrl: text('Where to send the browser', 'https://accounts.google.com/o/oauth2/v2/auth?client_id=…'),
    state: text('What comes back', 'af0ifjsldkj'),
  })
  .meta({ id: 'SocialSignIn' });

const answer = {
  state: text('As it was sent', 'kX3…'),
  code: text('From the provider', 'SplxlOBeZQQYbYS6WxSbIA').optional(),
  error: text('Instead: why there is none', 'access_denied').optional(),
  iss: text('Whose answer it is (RFC 9207)', 'https://accounts.google.com').optional(),
};

const ended = {
  '303': redirect('To the page or the application where the sign-in was begun'),
  '400': page('What came is not of this browser, too old, or was used before'),
  '429': page('Too many came from this address'),
};

/** The paths. */
export const social = (): ZodOpenApiPathsObject => ({
  '/auth/social/{provider}': {
    get: {
      operationId: 'beginSocialSignIn',
      tags: [tag],
      summary: 'Sign in with an identity provider',
      description:
        'For a browser: it is sent to the provider, and comes back to the callback. Without a `redirectUri` it ends on the account page. With one, the application gets a `code` there for `POST /auth/social/token`. A program that asks for JSON is told where to send the browser.',
      security: [],
      requestParams: { path: provider, query: Begin },
      responses: {
        '200': json('For `Accept: application/json`', Begun),
        '302': redirect('To the provider'),
        '400': told('The redirectUri or the codeChallenge is not one that can be used'),
        '404': told('There is no such provider'),
        '503': told('The provider cannot be reached'),
      },
    },
  },
  '/auth/social/{provider}/callback': {
    get: {
      operationId: 'socialCallback',
      tags: [tag],
      summary: 'Where an identity provider sends the browser back to',
      description: 'The redirect URI to register there. It takes the cookie of the browser that began, and works once.',
      security: [],
      requestParams: { path: provider, query: z.object(answer) },
      responses: ended,
    },
    post: {
      operationId: 'socialCallbackByPost',
      tags: [tag],
      summary: 'The same for providers that post their answer',
      description: 'OAuth 2.0 Form Post Response Mode, as Apple has it.',
      security: [],
      requestParams: { path: provider },
      requestBody: {
        required: true,
        content: {
          [form]: {
            schema: z
              .object({
                ...answer,
                user: text('Apple: the name, the first time', '{"name":{"firstName":"Ada"}}').optional(),
              })
              .meta({ id: 'SocialAnswer' }),
          },
        },
      },
      responses: { ...ended, '413': page('The answer is too large') },
    },
  },
});
