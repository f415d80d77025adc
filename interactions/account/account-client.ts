/** The account pages sign people in as an application of their own, with the response type `none`: no code, no token. */
import type { NewClient } from '../../src/clients/client-metadata.ts';
import { returnPaths } from './navigation.ts';

export const accountClientId = 'countersign-account';

export const accountClient = (issuer: string, brand: string): NewClient => ({
  client_name: brand,
  // Whoever signs in comes back to the page that they were on.
  redirect_uris: returnPaths.map((path) => `${issuer}${path}`),
  post_logout_redirect_uris: [`${issuer}/`],
  response_types: ['none'],
  grant_types: ['authorization_code'],
  token_endpoint_auth_method: 'none',
  first_party: true,
});
