/**
 * The OpenID Foundation's RP-Initiated Logout plan (oidcc-rp-initiated-logout-certification-test-plan), one test for each
 * of its modules and named as the module.
 */
import { decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect } from 'vitest';
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
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { planTests } from './module-test.ts';

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
const logOut = async (parameters: (hint: string) => Record<string, string> | Promise<Record<string, string>>) => {
  const person = elsewhere(account);
  const { id_token } = await client.signIn(person, withoutPkce);
  const asked = await person.browser.go(`/oauth/logout?${new URLSearchParams(await parameters(id_token))}`);
  const page = asked.status === 200 ? await person.browser.submit(asked, { logout: 'yes' }) : asked;
  const check = await client.authorize(person, { ...withoutPkce, prompt: 'none', state: 'x'.repeat(128) });
  const signedOut = !check.callback.searchParams.has('code');
  if (signedOut) expect(errorOf(check)).toBe('login_required');
  return { page, signedOut };
};

/** The same claims, with `alg: none`. */
const withoutSignature = (idToken: string): string =>
  `${Buffer.from('{"alg":"none"}').toString('base64url')}.${idToken.split('.')[1]}.`;

/** The same claims under the same key id, signed by the client. */
const signedByUs = async (idToken: string): Promise<string> => {
  const { privateKey } = await generateKeyPair('RS256');
  const { kid } = decodeProtectedHeader(idToken);
  return new SignJWT(decodeJwt(idToken)).setProtectedHeader({ alg: 'RS256', kid: kid as string }).sign(privateKey);
};

const expectRedirect = ({ page, signedOut }: { page: Page; signedOut: boolean }, expectedState: string | null) => {
  expect(`${page.url.origin}${page.url.pathname}`).toBe(postLogoutRedirectUri);
  expect([page.url.searchParams.get('state'), signedOut]).toEqual([expectedState, true]);
  expect([...page.url.searchParams.keys()]).toEqual(expectedState === null ? [] : ['state']);
};
const expectGoodbye = ({ page, signedOut }: { page: Page; signedOut: boolean }) =>
  expect([page.url.origin, page.status, signedOut]).toEqual([server.issuer, 200, true]);
const expectRefusal = ({ page, signedOut }: { page: Page; signedOut: boolean }) => {
  expectErrorPage(page, server.issuer, [400, 'invalid_request']);
  expect(signedOut).toBe(false);
};

planTests('oidcc-rp-initiated-logout-certification-test-plan', 'code, static clients', (moduleTest) => {
  const uri = { post_logout_redirect_uri: postLogoutRedirectUri };

  moduleTest('oidcc-rp-initiated-logout-discovery-endpoint-verification', () => {
    const { issuer, end_session_endpoint } = client.config.serverMetadata();
    expect(end_session_endpoint).toBe(`${issuer}/oauth/logout`);
  });

  moduleTest('oidcc-rp-initiated-logout', async () =>
    expectRedirect(await logOut((id_token_hint) => ({ id_token_hint, ...uri, state })), state),
  );

  moduleTest('oidcc-rp-initiated-logout-bad-post-logout-redirect-uri', async () =>
    expectRefusal(
      await logOut((id_token_hint) => ({
        id_token_hint,
        post_logout_redirect_uri: `${postLogoutRedirectUri}/Nm8yQ`,
        state,
      })),
    ),
  );

  moduleTest('oidcc-rp-initiated-logout-modified-id-token-hint', async () =>
    expectRefusal(await logOut((hint) => ({ id_token_hint: withoutSignature(hint), ...uri, state }))),
  );

  moduleTest('oidcc-rp-initiated-logout-no-id-token-hint', async () =>
    expectGoodbye(await logOut(() => ({ ...uri, state }))),
  );

  moduleTest('oidcc-rp-initiated-logout-no-params', async () => expectGoodbye(await logOut(() => ({}))));

  moduleTest('oidcc-rp-initiated-logout-no-post-logout-redirect-uri', async () =>
    expectGoodbye(await logOut((id_token_hint) => ({ id_token_hint, state }))),
  );

  moduleTest('oidcc-rp-initiated-logout-no-state', async () =>
    expectRedirect(await logOut((id_token_hint) => ({ id_token_hint, ...uri })), null),
  );

  moduleTest('oidcc-rp-initiated-logout-only-state', async () => expectGoodbye(await logOut(() => ({ state }))));

  moduleTest('oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri', async () =>
    expectRefusal(
      await logOut((id_token_hint) => ({
        id_token_hint,
        post_logout_redirect_uri: `${postLogoutRedirectUri}?foo=bar`,
        state,
      })),
    ),
  );

  moduleTest('oidcc-rp-initiated-logout-bad-id-token-hint', async () =>
    expectRefusal(await logOut(async (hint) => ({ id_token_hint: await signedByUs(hint), ...uri, state }))),
  );
});
