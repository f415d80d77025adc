/**
 * The OpenID Foundation's RP-Initiated Logout plan (oidcc-rp-initiated-logout-certification-test-plan), one test for each
 * of its modules and named as the module.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from '../support/browser.ts';
import {
  elsewhere,
  errorOf,
  expectErrorPage,
  newPerson,
  type Person,
  postLogoutRedirectUri,
  type RelyingParty,
  registerRelyingParty,
  tampered,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

const withoutPkce = { code_challenge: undefined, code_challenge_method: undefined };
const state = 'XC23vn0WdPqnPf7M';

let server: TestServer;
let client: RelyingParty;
let account: Person;
beforeAll(async () => {
  server = await startServer();
  client = await registerRelyingParty(server, { require_pkce: false });
  account = await newPerson(server);
});
afterAll(() => server.stop());

/** Signs in, goes to the end session endpoint and confirms there if asked. */
const logOut = async (parameters: (hint: string) => Record<string, string>) => {
  const person = elsewhere(account);
  const { id_token } = await client.signIn(person, withoutPkce);
  const asked = await person.browser.go(`/oauth/logout?${new URLSearchParams(parameters(id_token))}`);
  const page = asked.status === 200 ? await person.browser.submit(asked, { logout: 'yes' }) : asked;
  const check = await client.authorize(person, { ...withoutPkce, prompt: 'none' });
  const signedOut = !check.callback.searchParams.has('code');
  if (signedOut) expect(errorOf(check)).toBe('login_required');
  return { page, signedOut };
};

const expectRedirect = ({ page, signedOut }: { page: Page; signedOut: boolean }, expectedState: string | null) => {
  expect(`${page.url.origin}${page.url.pathname}`).toBe(postLogoutRedirectUri);
  expect([page.url.searchParams.get('state'), signedOut]).toEqual([expectedState, true]);
};
const expectGoodbye = ({ page, signedOut }: { page: Page; signedOut: boolean }) =>
  expect([page.url.origin, page.status, signedOut]).toEqual([server.issuer, 200, true]);
const expectRefusal = ({ page, signedOut }: { page: Page; signedOut: boolean }) => {
  expectErrorPage(page, server.issuer, [400, 'invalid_request']);
  expect(signedOut).toBe(false);
};

describe('oidcc-rp-initiated-logout-certification-test-plan', () => {
  const uri = { post_logout_redirect_uri: postLogoutRedirectUri };

  it('oidcc-rp-initiated-logout-discovery-endpoint-verification', () => {
    const { issuer, end_session_endpoint } = client.config.serverMetadata();
    expect(end_session_endpoint).toBe(`${issuer}/oauth/logout`);
  });

  it('oidcc-rp-initiated-logout', async () =>
    expectRedirect(await logOut((id_token_hint) => ({ id_token_hint, ...uri, state })), state));

  it('oidcc-rp-initiated-logout-bad-post-logout-redirect-uri', async () =>
    expectRefusal(
      await logOut((id_token_hint) => ({
        id_token_hint,
        post_logout_redirect_uri: `${postLogoutRedirectUri}/Nm8yQ`,
        state,
      })),
    ));

  it('oidcc-rp-initiated-logout-modified-id-token-hint', async () =>
    expectRefusal(await logOut((hint) => ({ id_token_hint: tampered(hint, 40), ...uri, state }))));

  it('oidcc-rp-initiated-logout-no-id-token-hint', async () => expectGoodbye(await logOut(() => ({ ...uri, state }))));

  it('oidcc-rp-initiated-logout-no-params', async () => expectGoodbye(await logOut(() => ({}))));

  it('oidcc-rp-initiated-logout-no-post-logout-redirect-uri', async () =>
    expectGoodbye(await logOut((id_token_hint) => ({ id_token_hint, state }))));

  it('oidcc-rp-initiated-logout-no-state', async () =>
    expectRedirect(await logOut((id_token_hint) => ({ id_token_hint, ...uri })), null));

  it('oidcc-rp-initiated-logout-only-state', async () => expectGoodbye(await logOut(() => ({ state }))));

  it('oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri', async () =>
    expectRefusal(
      await logOut((id_token_hint) => ({
        id_token_hint,
        post_logout_redirect_uri: `${postLogoutRedirectUri}?foo=bar`,
        state,
      })),
    ));

  it('oidcc-rp-initiated-logout-bad-id-token-hint', async () =>
    expectRefusal(await logOut(() => ({ id_token_hint: 'not.an.id_token', ...uri, state }))));
});
