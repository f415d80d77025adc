/** The REST API says who gives tokens for it (RFC 9728), in a document and with every refusal. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { catalogue } from '../../src/roles/permissions.ts';
import { callerOf } from '../support/callers.ts';
import { post, send } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

const ofApi = '/.well-known/oauth-protected-resource/api';

describe('the metadata', () => {
  for (const path of [ofApi, '/.well-known/oauth-protected-resource'])
    it(`is at ${path}, for any site and for a while`, async () => {
      const { status, headers, body } = await send(`${server.issuer}${path}`, {
        headers: { origin: 'https://x.example' },
      });
      expect(status).toBe(200);
      expect(headers.get('content-type')).toMatch(/^application\/json/);
      expect(headers.get('access-control-allow-origin')).toBe('*');
      expect(headers.get('cache-control')).toBe('public, max-age=3600');
      expect(body).toMatchObject({
        // Section 3.3: what the address was made of.
        resource: `${server.issuer}/api`,
        authorization_servers: [server.issuer],
        bearer_methods_supported: ['header'],
        scopes_supported: Object.keys(catalogue),
        resource_name: 'Countersign API',
        dpop_signing_alg_values_supported: expect.arrayContaining(['ES256']),
        dpop_bound_access_tokens_required: false,
        tls_client_certificate_bound_access_tokens: false,
      });
    });

  it('is not at other addresses', async () => {
    for (const path of [`${ofApi}/`, `${ofApi}/x`, '/.well-known/oauth-protected-resource/other', ofApi.toUpperCase()])
      expect([path, (await send(`${server.issuer}${path}`)).status]).toEqual([path, 404]);
  });

  it('is answered before scripts with headers of their own ask for it', async () => {
    const { status, headers } = await send(`${server.issuer}${ofApi}`, {
      method: 'OPTIONS',
      headers: { origin: 'https://x.example', 'access-control-request-headers': 'mcp-protocol-version' },
    });
    expect([status, headers.get('access-control-allow-origin')]).toEqual([204, '*']);
  });

  it('is told of by the authorization server (section 4)', async () => {
    const { body } = await send(`${server.issuer}/.well-known/oauth-authorization-server`);
    expect(body.protected_resources).toEqual([`${server.issuer}/api`]);
  });

  it('leads to a token that the API takes', async () => {
    const { body: metadata } = await send(`${server.issuer}${ofApi}`);
    const machine = await server.client({
      grant_types: ['client_credentials'],
      redirect_uris: [],
      scope: 'clients:read:any',
    });
    const { body } = await post(
      server,
      '/oauth/token',
      { grant_type: 'client_credentials', resource: metadata.resource, scope: 'clients:read:any' },
      { authorization: `Basic ${btoa(`${machine.client_id}:${machine.client_secret}`)}` },
    );
    const answer = await send(`${server.issuer}/clients`, {
      headers: { authorization: `Bearer ${body.access_token}` },
    });
    expect(answer.status).toBe(200);
  });
});

describe('a refusal names it', () => {
  const url = () => `resource_metadata="${server.issuer}${ofApi}"`;
  it('of nobody, and of a token that is none', async () => {
    for (const path of ['/users', '/api/v1/users', '/api/v1/clients/x']) {
      const without = await send(`${server.issuer}${path}`);
      expect([without.status, without.headers.get('www-authenticate')]).toEqual([401, `Bearer ${url()}`]);
      const wrong = await send(`${server.issuer}${path}`, { headers: { authorization: 'Bearer x' } });
      expect(wrong.headers.get('www-authenticate')).toBe(`Bearer error="invalid_token", ${url()}`);
    }
  });

  it('of a token that goes not far enough, and to scripts of the sites that may call', async () => {
    const caller = await callerOf(server, { scope: 'users:read:own' });
    const { status, headers } = await caller.request('get', '/clients');
    expect([status, headers.get('www-authenticate')]).toEqual([
      403,
      `Bearer error="insufficient_scope", scope="clients:read:any", ${url()}`,
    ]);
  });
});
