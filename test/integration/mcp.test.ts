/**
 * A client of the Model Context Protocol finds this service by an MCP server that it has never heard of, introduces itself, and
 * gets tokens that are good at that server alone. No administrator has done anything. The client's side is the official
 * TypeScript SDK's.
 */
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { auth, extractWWWAuthenticateParams } from '@modelcontextprotocol/sdk/client/auth.js';
import type { OAuthTokens } from '@modelcontextprotocol/sdk/shared/auth.js';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorize } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { makeCertificate } from '../support/certificates.ts';
import { McpClient } from '../support/mcp-client.ts';
import { newPerson, type Person } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let closed: TestServer;
const closers: (() => unknown)[] = [];
const trusted = getCACertificates('default');
beforeAll(async () => {
  server = await startServer();
  closed = await startServer({ OPEN_RESOURCES: 'false' });
});
afterAll(async () => {
  for (const close of closers) await close();
  setDefaultCACertificates(trusted);
  await server.stop();
  await closed.stop();
});

const listen = async (handle: RequestListener, certified?: { cert: string; key: string }): Promise<string> => {
  const listener = certified ? createHttpsServer(certified, handle) : createHttpServer(handle);
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    listener.closeAllConnections();
    listener.close();
  });
  return `${certified ? 'https' : 'http'}://127.0.0.1:${(listener.address() as AddressInfo).port}`;
};

interface McpServer {
  url: string;
  /** What the token says that a request came with. @throws when the server refuses it */
  call(token?: string): Promise<JWTPayload>;
}

/** An MCP server, as far as authorization goes: metadata (RFC 9728), and tokens that are verified by the issuer's keys. */
const startMcpServer = async (scopes?: string[]): Promise<McpServer> => {
  const keys = createRemoteJWKSet(new URL(`${server.issuer}/.well-known/jwks.json`));
  const origin: string = await listen(async (request, response) => {
    const metadataPath = '/.well-known/oauth-protected-resource/mcp';
    const resource = `${origin}/mcp`;
    if (request.url === metadataPath) {
      response.setHeader('content-type', 'application/json').end(
        JSON.stringify({
          resource,
          authorization_servers: [server.issuer],
          ...(scopes ? { scopes_supported: scopes } : {}),
        }),
      );
      return;
    }
    try {
      const [, token = ''] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? [];
      const { payload } = await jwtVerify(token, keys, { issuer: server.issuer, audience: resource, typ: 'at+jwt' });
      response.setHeader('content-type', 'application/json').end(JSON.stringify(payload));
    } catch {
      const challenge = `Bearer resource_metadata="${origin}${metadataPath}"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
  });
  return {
    url: `${origin}/mcp`,
    call: async (token) => {
      const response = await fetch(`${origin}/mcp`, {
        method: 'POST',
        ...(token ? { headers: { authorization: `Bearer ${token}` } } : {}),
      });
      if (response.ok) return (await response.json()) as JWTPayload;
      throw Object.assign(new Error('refused'), { response });
    },
  };
};

/** From the first refusal to a token: what an MCP client does, and its person in a browser. */
const connect = async (client: McpClient, mcp: McpServer, person: Person): Promise<string> => {
  const { response } = (await mcp.call().catch((error: { response: Response }) => error)) as { response: Response };
  const { resourceMetadataUrl } = extractWWWAuthenticateParams(response);
  const options = { serverUrl: mcp.url, ...(resourceMetadataUrl ? { resourceMetadataUrl } : {}) };
  expect(await auth(client, options)).toBe('REDIRECT');
  const callback = await authorize(person.browser, client.asked as URL, person.email);
  expect(callback.searchParams.get('iss')).toBe(server.issuer);
  const authorizationCode = callback.searchParams.get('code') as string;
  expect([callback.searchParams.get('error'), Boolean(authorizationCode)]).toEqual([null, true]);
  expect(await auth(client, { ...options, authorizationCode })).toBe('AUTHORIZED');
  return (client.saved as OAuthTokens).access_token;
};

/** The token is for this server and person, and for nothing else. */
const expectBound = async (token: string, mcp: McpServer, client: McpClient, person: Person) => {
  const { id } = await server.database.db('users').where({ email: person.email }).first('id');
  const claims = await mcp.call(token);
  expect(claims).toMatchObject({ aud: mcp.url, iss: server.issuer, sub: id, client_id: client.information?.client_id });
  expect(decodeProtectedHeader(token).typ).toBe('at+jwt');
  expect(claims).not.toHaveProperty('roles');
  const other = await startMcpServer();
  await expect(other.call(token)).rejects.toThrow('refused');
  for (const path of ['/auth/me', '/oauth/userinfo', '/users/me', '/sessions']) {
    const { status } = await fetch(`${server.issuer}${path}`, { headers: { authorization: `Bearer ${token}` } });
    expect([path, status >= 400 && status < 500]).toEqual([path, true]);
  }
};

describe('an MCP client', () => {
  it('registers by itself, is let in by the person, and gets and refreshes a token for that server', async () => {
    const mcp = await startMcpServer(['files:read', 'files:write']);
    const client = new McpClient();
    const person = await newPerson(server);
    const token = await connect(client, mcp, person);
    expect(client.information).toMatchObject({ client_id: expect.stringMatching(/^\w{20}$/) });
    await expectBound(token, mcp, client, person);
    expect(decodeJwt(token).scope).toBe('files:read files:write');
    expect(client.saved).toMatchObject({ refresh_token: expect.any(String), scope: 'files:read files:write' });
    // The SDK refreshes whenever it is asked and has a refresh token.
    const before = client.saved?.refresh_token;
    expect(await auth(client, { serverUrl: mcp.url })).toBe('AUTHORIZED');
    expect(client.saved?.refresh_token).not.toBe(before);
    await expectBound(client.saved?.access_token as string, mcp, client, person);
  });

  it('presents a metadata document instead, and registers nothing', async () => {
    const authority = makeCertificate({ subject: [['CN', 'authority']], authority: true });
    const { cert, key } = makeCertificate({
      subject: [['CN', '127.0.0.1']],
      alternatives: [['ip', '127.0.0.1']],
      issuer: authority,
      purpose: 'server',
    });
    setDefaultCACertificates([...trusted, authority.cert]);
    const origin: string = await listen(
      (_request, response) => {
        const document = { client_id: `${origin}/client.json`, ...new McpClient().clientMetadata };
        response.setHeader('content-type', 'application/json').end(JSON.stringify(document));
      },
      { cert, key },
    );
    const mcp = await startMcpServer();
    const client = new McpClient(`${origin}/client.json`);
    const person = await newPerson(server);
    const token = await connect(client, mcp, person);
    expect(client.information?.client_id).toBe(`${origin}/client.json`);
    await expectBound(token, mcp, client, person);
    expect(await auth(client, { serverUrl: mcp.url })).toBe('AUTHORIZED');
    await expectBound(client.saved?.access_token as string, mcp, client, person);
  });

  it('shows the person which server it is that the token is for, though the request names no scope', async () => {
    const mcp = await startMcpServer();
    const client = new McpClient();
    await auth(client, { serverUrl: mcp.url });
    const person = await newPerson(server);
    let page = await person.browser.go(client.asked as URL);
    page = await person.browser.submit(page, { email: person.email, password: 'correct horse battery staple' });
    expect(page.html).toContain(mcp.url);
    expect(page.html).toContain('class="warning"');
  });

  it('is asked again for another server', async () => {
    const [one, other] = [await startMcpServer(), await startMcpServer()];
    const client = new McpClient();
    const person = await newPerson(server);
    await connect(client, one, person);
    client.saved = undefined;
    await auth(client, { serverUrl: other.url });
    const page = await person.browser.go(client.asked as URL);
    expect(page.html).toContain(other.url);
  });
});

describe('a resource that nobody registered', () => {
  const ask = async (resource: string | string[], at = server, scope = 'openid') => {
    const client = await at.client({
      client_name: 'Acme',
      redirect_uris: ['https://app.example.com/cb'],
      token_endpoint_auth_method: 'none',
    });
    const url = new URL(`${at.issuer}/oauth/authorize`);
    for (const [name, value] of Object.entries({
      client_id: client.client_id,
      redirect_uri: 'https://app.example.com/cb',
      response_type: 'code',
      scope,
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256',
    }))
      url.searchParams.set(name, value);
    for (const one of [resource].flat()) url.searchParams.append('resource', one);
    const response = await fetch(url, { redirect: 'manual' });
    const location = new URL(response.headers.get('location') as string, at.issuer);
    return location.searchParams.get('error') ?? 'interaction';
  };

  for (const resource of [
    'https://api.example.com',
    'https://api.example.com/',
    'https://api.example.com/mcp?tenant=1',
    'https://api.example.com:8443/mcp',
    'http://localhost:3000/mcp',
  ])
    it(`can be asked for: ${resource}`, async () => {
      expect(await ask(resource)).toBe('interaction');
    });

  for (const resource of [
    'http://api.example.com/mcp',
    'https://user@api.example.com/mcp',
    'https://api.example.com/mcp#x',
    'https://API.example.com/mcp',
    'https://api.example.com:443/mcp',
    'https://api.example.com/a/../mcp',
    'https://*.example.com/mcp',
    'urn:example:api',
    'countersign-api',
    'ftp://api.example.com/',
    `https://api.example.com/${'a'.repeat(500)}`,
  ])
    it(`cannot: ${resource.slice(0, 60)}`, async () => {
      expect(await ask(resource)).toBe('invalid_target');
    });

  it('is none of ours, and none on the origin of an API that is known here', async () => {
    expect(await ask(`${server.issuer}/other`)).toBe('invalid_target');
    await server.client({ redirect_uris: ['https://app.example.com/cb'], audience: 'https://orders.example.com/v1' });
    for (const resource of [
      'https://orders.example.com/v1',
      'https://orders.example.com/',
      'https://orders.example.com/v2',
    ])
      expect([resource, await ask(resource)]).toEqual([resource, 'invalid_target']);
    const admin = await callerOf(server, { role: 'admin' });
    const { status } = await admin.request('post', '/resource-servers', {
      identifier: 'https://billing.example.com/api',
      name: 'Billing',
      scopes: [{ name: 'bills:read' }],
      allow: 'listed',
    });
    expect(status).toBe(201);
    expect(await ask('https://billing.example.com/api')).toBe('invalid_target');
    expect(await ask('https://billing.example.com/api2')).toBe('invalid_target');
    expect(await ask('https://billing.example.com.evil.example/api')).toBe('interaction');
  });

  it('is none on the origin of an audience of ours or of an exchange, and no client’s id', async () => {
    const known = await startServer({
      JWT_AUD: 'https://own.example.com/api',
      AUTH_OIDC_ISSUER: 'https://other.example.com',
      AUTH_OIDC_AUDIENCE: 'plain,https://external.example.com/api',
      AUTH_OIDC_JWKS_URL: 'https://other.example.com/jwks',
    });
    closers.push(() => known.stop());
    const { client_id } = await known.client({ redirect_uris: ['https://app.example.com/cb'] });
    await known.database.db('clients').where({ clientId: client_id }).update({
      clientId: 'https://document.example.com/client.json',
      kind: 'metadata-document',
    });
    await known.client({
      grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
      redirect_uris: [],
      first_party: true,
      token_exchange: {
        subject_audiences: ['https://subject.example.com/api'],
        resources: ['https://target.example.com/api'],
      },
    });
    for (const host of ['own', 'external', 'subject', 'target'])
      for (const path of ['/api', '/', '/client.json', '/any/other']) {
        const resource = `https://${host}.example.com${path}`;
        expect([resource, await ask(resource, known)]).toEqual([resource, 'invalid_target']);
      }
    expect(await ask('https://document.example.com/client.json', known)).toBe('invalid_target');
    // Whoever can publish a document beside an API must not close it.
    expect(await ask('https://document.example.com/api', known)).toBe('interaction');
    expect(await ask('https://unknown.example.com/api', known)).toBe('interaction');
  });

  it('is for what a person agrees to, and for no machine', async () => {
    const machine = await server.client({ grant_types: ['client_credentials'], redirect_uris: [] });
    const response = await fetch(`${server.issuer}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${machine.client_id}:${machine.client_secret}`)}` },
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        resource: 'https://api.example.com/mcp',
        scope: 'x',
      }),
    });
    expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([400, 'invalid_target']);
  });

  it('gets no permission of ours into its tokens', async () => {
    const mcp = await startMcpServer(['files:read', 'users:write:any', '*:*:*', 'openid']);
    const client = new McpClient();
    const person = await newPerson(server);
    expect(decodeJwt(await connect(client, mcp, person)).scope).toBe('files:read');
  });

  it('OPEN_RESOURCES=false: there is none', async () => {
    expect(await ask('https://api.example.com/mcp', closed)).toBe('invalid_target');
  });
});
