/**
 * The OpenID Foundation's Back-Channel Logout plan (oidcc-backchannel-rp-initiated-logout-certification-test-plan), one
 * test for each of its modules and named as the module.
 */
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, beforeAll, expect } from 'vitest';
import { type LogoutReceiver, startLogoutReceiver } from '../support/logout-receiver.ts';
import {
  errorOf,
  newPerson,
  postLogoutRedirectUri,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { planTests } from './module-test.ts';

const withoutPkce = { code_challenge: undefined, code_challenge_method: undefined };

let server: TestServer;
let receiver: LogoutReceiver;
let client: RelyingParty;
beforeAll(async () => {
  server = await startServer();
  receiver = await startLogoutReceiver();
  client = await registerRelyingParty(server, {
    require_pkce: false,
    backchannel_logout_uri: receiver.uri,
    backchannel_logout_session_required: true,
  });
});
afterAll(async () => {
  await server.stop();
  await receiver.stop();
});

planTests('oidcc-backchannel-rp-initiated-logout-certification-test-plan', 'code, static clients', (moduleTest) => {
  moduleTest('oidcc-backchannel-logout-discovery-endpoint-verification', async () => {
    const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
    expect(body).toMatchObject({
      end_session_endpoint: `${server.issuer}/oauth/logout`,
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
    });
  });

  moduleTest('oidcc-backchannel-rp-initiated-logout', async () => {
    const person = await newPerson(server);
    const { id_token } = await client.signIn(person, withoutPkce);
    const parameters = { id_token_hint: id_token, post_logout_redirect_uri: postLogoutRedirectUri, state: 'x' };
    const page = await person.browser.go(`/oauth/logout?${new URLSearchParams(parameters)}`);
    const { url } = await person.browser.submit(page, { logout: 'yes' });
    expect(url.href).toBe(`${postLogoutRedirectUri}?state=x`);

    const [token = ''] = await receiver.received(1);
    const { body } = await send(`${server.issuer}/.well-known/jwks.json`);
    const { payload } = await jwtVerify(token, createLocalJWKSet(body), {
      issuer: server.issuer,
      audience: client.client.client_id,
      requiredClaims: ['iss', 'aud', 'iat', 'exp', 'jti', 'events', 'sub', 'sid'],
    });
    const { sub, sid } = decodeJwt(id_token);
    expect([payload.sub, payload.sid]).toEqual([sub, sid]);
    expect(payload.events).toEqual({ 'http://schemas.openid.net/event/backchannel-logout': {} });
    expect(payload).not.toHaveProperty('nonce');
    expect(errorOf(await client.authorize(person, { ...withoutPkce, prompt: 'none' }))).toBe('login_required');
  });
});
