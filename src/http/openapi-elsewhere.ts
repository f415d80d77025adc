/** What the OpenAPI document says of the flows whose person is on another device: RFC 8628 and OpenID Connect CIBA. */
import { z } from 'zod';
import type { ZodOpenApiPathsObject } from 'zod-openapi';
import { badClient, body, byClient, form, json, oauth, oauthError, page, redirect, refusal } from './openapi-parts.ts';
import { clientAuthentication } from './openapi-protocol-schemas.ts';

const text = (description: string, example: string) => z.string().meta({ description, example });
const seconds = (description: string, example: number) => z.int().meta({ description, example });
const resource = text('The API that the access token is for (RFC 8707)', 'https://id.example.com/api').optional();

const DeviceAuthorizationRequest = z
  .object({ scope: text('What is asked for', 'openid profile'), resource, ...clientAuthentication })
  .meta({ id: 'DeviceAuthorizationRequest' });

const DeviceAuthorization = z
  .object({
    device_code: text('For the token endpoint', 'w4mSxQ1nV8…'),
    user_code: text('To be shown; eight letters that nobody mistakes', 'WDJB-MJHT'),
    verification_uri: text('To be shown: where the person types it', 'https://id.example.com/device'),
    verification_uri_complete: text('For a QR code', 'https://id.example.com/device?user_code=WDJB-MJHT'),
    expires_in: seconds('Seconds', 600),
    interval: seconds('Seconds between two polls; each `slow_down` adds five', 5),
  })
  .meta({ id: 'DeviceAuthorization' });

const BackchannelAuthenticationRequest = z
  .object({
    scope: text('With `openid`', 'openid email'),
    login_hint: text('The person’s confirmed mail address, or their `sub`', 'ada@example.com').optional(),
    id_token_hint: text('Instead: an id_token of theirs', 'eyJhbGciOi…').optional(),
    binding_message: text('Shown on both devices; up to 100 characters', 'Till 4, W4SCT').optional(),
    client_notification_token: text('In ping mode: what we shall authenticate with', '8d67dc78…').optional(),
    requested_expiry: text('Seconds, up to 1800', '120').optional(),
    acr_values: text('What the client would like of the sign-in; `acr` says what it was', 'urn:example').optional(),
    resource,
    ...clientAuthentication,
  })
  .meta({ id: 'BackchannelAuthenticationRequest', example: { scope: 'openid', login_hint: 'ada@example.com' } });

const BackchannelAuthentication = z
  .object({
    auth_req_id: text('For the token endpoint', '1c266114…'),
    expires_in: seconds('Seconds', 600),
    interval: seconds('Seconds between two polls; each `slow_down` adds five', 5),
  })
  .meta({ id: 'BackchannelAuthentication' });

const tooOften = oauthError(
  'Asked too often; `Retry-After` says when it may be tried again',
  'temporarily_unavailable',
);

const verification = (path: string): ZodOpenApiPathsObject[string] => ({
  get: {
    operationId: 'enterUserCode',
    tags: [oauth],
    summary: 'The page on which a person enters the code that a device shows',
    description:
      'RFC 8628 section 3.3. Entering one shows which application asks; nothing is connected before they confirm.',
    security: [],
    requestParams: { query: z.object({ user_code: text('From `verification_uri_complete`', 'WDJB-MJHT').optional() }) },
    responses: { '200': page('The page'), '400': refusal('The request is not valid') },
  },
  post: {
    operationId: 'submitUserCode',
    tags: [oauth],
    summary: 'The form of that page',
    description: `For the page at \`${path}\` alone: it takes its session and what the page put into the form.`,
    security: [],
    requestBody: {
      required: true,
      content: {
        [form]: {
          schema: z
            .object({ user_code: text('In any case and spacing', 'wdjb mjht'), xsrf: text('From the page', 'f3a1…') })
            .meta({ id: 'UserCodeForm' }),
        },
      },
    },
    responses: {
      '200': page('Which application asks, and whether that is the person’s device'),
      '303': redirect('To sign in, or to the page that says how it ended'),
      '400': page('The code is not right or no longer valid'),
      '413': refusal('The body is too large'),
      '429': page('Too many codes were not right'),
    },
  },
});

/** The paths of both flows. */
export const elsewhere = (
  endpoints: Readonly<Record<'device_authorization' | 'code_verification' | 'backchannel_authentication', string>>,
): ZodOpenApiPathsObject => ({
  [endpoints.device_authorization]: {
    post: {
      operationId: 'authorizeDevice',
      tags: [oauth],
      summary: 'Begin a sign-in on a device without a keyboard',
      description:
        'RFC 8628. Show the user code, then poll the token endpoint with the grant type `urn:ietf:params:oauth:grant-type:device_code`.',
      security: byClient,
      requestBody: body(DeviceAuthorizationRequest),
      responses: {
        '200': json('What to show, and what to poll with', DeviceAuthorization),
        '401': badClient,
        '429': tooOften,
      },
    },
  },
  [endpoints.code_verification]: verification(endpoints.code_verification),
  [endpoints.backchannel_authentication]: {
    post: {
      operationId: 'authenticateByBackchannel',
      tags: [oauth],
      summary: 'Ask a person to confirm something on a device of their own',
      description:
        'OpenID Connect CIBA Core 1.0, for clients that authenticate and are registered for it. The person is mailed, and decides on their ' +
        'account page or over REST. Then poll the token endpoint with the grant type `urn:openid:params:grant-type:ciba`, or wait to be notified.',
      security: byClient,
      requestBody: body(BackchannelAuthenticationRequest),
      responses: {
        '200': json('The request waits for the person', BackchannelAuthentication),
        '400': oauthError('Nobody is meant by the hint', 'unknown_user_id'),
        '401': badClient,
        '429': tooOften,
      },
    },
  },
});
