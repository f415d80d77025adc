import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorize, Browser, registerAccount } from '../support/browser.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

const redirectUri = 'https://app.example.com/callback';

describe('authorization code with PKCE (RFC 6749 section 4.1, RFC 7636)', () => {
  it('signs a person in from registration to sign-out', async () => {
    const email = await registerAccount(server);
    const registered = await server.client({
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      client_name: 'Acme',
      post_logout_redirect_uris: ['https://app.example.com/bye'],
    });
    const config = await oidc.discovery(
      new URL(server.issuer),
      registered.client_id,
      undefined,
      oidc.ClientSecretBasic(registered.client_secret),
      { execute: [oidc.allowInsecureRequests] },
    );
    const browser = new Browser(server.issuer);
    const verifier = oidc.randomPKCECodeVerifier();
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope: 'openid profile email',
      state: 'st',
      nonce: 'no',
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    });
    const callback = await authorize(browser, url, email);
    expect(callback.href).toMatch(/^https:\/\/app\.example\.com\/callback\?/);
    const tokens = await oidc.authorizationCodeGrant(config, callback, {
      pkceCodeVerifier: verifier,
      expectedNonce: 'no',
      expectedState: 'st',
    });
    expect(tokens.claims()?.sub).toMatch(/^[0-9a-f-]{36}$/);
    const userinfo = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims()?.sub as string);
    expect(userinfo).toMatchObject({ email, email_verified: true, name: 'Ada Lovelace' });
    const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token as string);
    expect(refreshed.refresh_token).not.toBe(tokens.refresh_token);
    // Again without being asked.
    const again = await browser.go(url);
    expect(again.url.href).toMatch(/^https:\/\/app\.example\.com\/callback\?code=/);
    // Sign out
    const out = await browser.go(
      oidc.buildEndSessionUrl(config, {
        id_token_hint: tokens.id_token as string,
        post_logout_redirect_uri: 'https://app.example.com/bye',
      }),
    );
    const bye = await browser.submit(out, { logout: 'yes' });
    expect(bye.url.href).toBe('https://app.example.com/bye');
    await expect(oidc.refreshTokenGrant(config, refreshed.refresh_token as string)).rejects.toMatchObject({
      error: 'invalid_grant',
    });
  });
});
