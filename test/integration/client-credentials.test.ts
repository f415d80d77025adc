/** The client credentials grant (RFC 6749 section 4.4): machines that act for themselves. */
import { createLocalJWKSet, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  basic,
  bearer,
  expectError,
  post,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

const machine = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };

let server: TestServer;
let rp: RelyingParty;
beforeAll(async () => {
  server = await startServer({ JWT_AUD: 'urn:api' });
  rp = await registerRelyingParty(server, { ...machine, scope: 'api:read api:write' });
});
afterAll(() => server.stop());

const verify = async (jwt: string) => {
  const { body } = await send(`${server.issuer}/.well-known/jwks.json`);
  return (await jwtVerify(jwt, createLocalJWKSet(body), { issuer: server.issuer, audience: 'urn:api', typ: 'at+jwt' }))
    .payload;
};

describe('client_credentials', () => {
  for (const method of ['client_secret_basic', 'client_secret_post', 'private_key_jwt']) {
    it(`gives a JWT for the API to a client that authenticates with ${method} (RFC 9068)`, async () => {
      const { config, client } = await registerRelyingParty(server, {
        ...machine,
        token_endpoint_auth_method: method,
        scope: 'api:read',
      });
      const answer = await oidc.clientCredentialsGrant(config, { scope: 'api:read' });
      expect(answer).toMatchObject({ token_type: 'bearer', expires_in: 900, scope: 'api:read' });
      // Nobody is signed in: there is nothing to refresh and nobody to describe.
      expect(answer.refresh_token ?? answer.id_token).toBeUndefined();
      const claims = await verify(answer.access_token);
      expect(claims).toEqual({
        iss: server.issuer,
        aud: 'urn:api',
        sub: client.client_id,
        client_id: client.client_id,
        scope: 'api:read',
        jti: expect.stringMatching(/^[\w-]{20,}$/),
        iat: expect.any(Number),
        exp: (claims.iat ?? 0) + 900,
      });
    });
  }

  it('gives the scopes that were asked for, if the client registered them', async () => {
    const scopeOf = async (scope?: string) =>
      (await verify((await oidc.clientCredentialsGrant(rp.config, scope ? { scope } : {})).access_token)).scope;
    expect(await scopeOf('api:read')).toBe('api:read');
    expect((await scopeOf('api:write api:read'))?.toString().split(' ').sort()).toEqual(['api:read', 'api:write']);
    expect(await scopeOf()).toBeUndefined();
  });

  it('leaves out the scopes that the client did not register, and says so; with none left it refuses (RFC 6749 section 3.3)', async () => {
    const narrowed = await oidc.clientCredentialsGrant(rp.config, { scope: 'api:read api:delete' });
    expect([narrowed.scope, (await verify(narrowed.access_token)).scope]).toEqual(['api:read', 'api:read']);
    for (const scope of ['openid', 'api:delete']) {
      const refusal = oidc.clientCredentialsGrant(rp.config, { scope });
      await expect(refusal).rejects.toMatchObject({ error: 'invalid_scope' });
    }
  });

  it('takes the resource named, and none that there is not', async () => {
    const resource = `${server.issuer}/api`;
    const { access_token } = await oidc.clientCredentialsGrant(rp.config, { resource, scope: 'api:read' });
    expect((await verify(access_token)).aud).toBe('urn:api');
    await expect(oidc.clientCredentialsGrant(rp.config, { resource: 'https://other.example' })).rejects.toMatchObject({
      error: 'invalid_target',
    });
  });

  it('is not taken by userinfo', async () => {
    const { access_token } = await oidc.clientCredentialsGrant(rp.config);
    const { status, body } = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) });
    expect([status, body.error]).toEqual([401, 'invalid_token']);
  });

  const refusals: { name: string; form: Record<string, string>; expected: [number, string] }[] = [
    { name: 'offline_access', form: { scope: 'offline_access' }, expected: [400, 'invalid_scope'] },
    { name: 'a scope that is no scope', form: { scope: '"' }, expected: [400, 'invalid_scope'] },
    { name: 'NUL in the scope', form: { scope: 'api:read\0' }, expected: [400, 'invalid_request'] },
  ];
  for (const { name, form, expected } of refusals) {
    it(`refuses ${name}`, async () => {
      const request = { grant_type: 'client_credentials', ...form };
      expectError(await post(server, '/oauth/token', request, basic(rp.client)), expected);
    });
  }

  it('is not for clients that are public, or did not register for it', async () => {
    await expect(
      registerRelyingParty(server, { ...machine, token_endpoint_auth_method: 'none' }),
    ).rejects.toMatchObject({ code: 'invalid_client_metadata' });
    const web = await registerRelyingParty(server);
    const request = { grant_type: 'client_credentials' };
    const { status, body } = await post(server, '/oauth/token', request, basic(web.client));
    expect([status, body.access_token]).toEqual([400, undefined]);
  });

  it('cannot be used to sign people in', async () => {
    const { status } = await send(
      `${server.issuer}/oauth/authorize?client_id=${rp.client.client_id}&response_type=code`,
    );
    expect(status).toBe(400);
  });
});
