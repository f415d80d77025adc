/** Every guide in docs/guides does what it says: its client is registered, its code runs, its person signs in. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { authorize, Browser, password, registerAccount } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { blocksOf, type Program, runGuide } from '../support/guides.ts';
import { McpClient } from '../support/mcp-client.ts';
import { freePort } from '../support/ports.ts';
import { basic, post } from '../support/relying-party.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let email: string;
beforeAll(async () => {
  server = await startServer();
  email = await registerAccount(server);
});
afterAll(() => server.stop());

let running: Program[] = [];
afterEach(() => {
  for (const program of running) program.stop();
  running = [];
});
const run = (guide: string, file: string, env: Record<string, string>): Program => {
  const program = runGuide(guide, file, { ISSUER: server.issuer, ...env });
  running.push(program);
  return program;
};

/** Registers what the guide says, at the port that the test found free. */
const register = (guide: string, port = '4000'): Promise<RegisteredClient> =>
  server.client(JSON.parse((blocksOf(guide)['client.json'] as string).replaceAll(':4000', `:${port}`)));
const credentials = ({ client_id, client_secret }: RegisteredClient) => ({
  CLIENT_ID: client_id,
  ...(client_secret ? { CLIENT_SECRET: client_secret } : {}),
});

describe('docs/guides/web-server.md', () => {
  it('signs a person in and out', async () => {
    const port = String(await freePort());
    const program = run('web-server', 'server.mjs', { ...credentials(await register('web-server', port)), PORT: port });
    await program.line(/listening on/);
    let cookie = '';
    const visit = async (url: string | URL) => {
      const response = await fetch(new URL(url, `http://localhost:${port}`), {
        headers: { cookie },
        redirect: 'manual',
      });
      cookie = response.headers.get('set-cookie')?.split(';')[0] ?? cookie;
      return { location: response.headers.get('location') ?? '', text: await response.text() };
    };
    const browser = new Browser(server.issuer);
    expect((await visit('/')).text).toContain('Sign in');
    const callback = await authorize(browser, (await visit('/login')).location, email);
    const planted = cookie;
    expect((await visit(callback)).location).toBe('/');
    expect(cookie).not.toBe(planted);
    expect((await visit('/')).text).toContain(`Hello ${email}`);
    const confirm = await browser.go((await visit('/logout')).location);
    const { url } = await browser.submit(confirm, { logout: 'yes' }, '/confirm');
    expect(url.href).toBe(`http://localhost:${port}/`);
    expect((await visit('/')).text).toContain('Sign in');
    expect((await browser.go('/account')).html).toContain('current-password');
  });
});

describe('docs/guides/native.md', () => {
  it('signs a person in through a loopback address, refreshes, and signs out', async () => {
    const program = run('native', 'cli.mjs', credentials(await register('native')));
    const [, url = ''] = await program.line(/Open (\S+)/);
    const callback = await authorize(new Browser(server.issuer), url, email);
    expect(await (await fetch(callback)).text()).toContain('You can close this window');
    expect(await program.ended).toBe(0);
    expect(program.output()).toMatch(new RegExp(`Signed in as ${email}\\nRefreshed, for \\d+ seconds\\nSigned out`));
  });
});

describe('docs/guides/machine.md', () => {
  it('gets a token and calls the API', async () => {
    const program = run('machine', 'job.mjs', credentials(await register('machine')));
    expect([await program.ended, program.output()]).toEqual([
      0,
      expect.stringMatching(/^A token for 900 seconds, with the scope users:read:any\n\d+ users\n$/),
    ]);
  });
});

describe('docs/guides/device.md', () => {
  it('connects a device that a person approves elsewhere', async () => {
    const program = run('device', 'tv.mjs', credentials(await register('device')));
    const [, uri = '', code = ''] = await program.line(/Go to (\S+) and enter (\S+)/);
    const browser = new Browser(server.issuer);
    const confirm = await browser.submit(await browser.go(uri), { user_code: code });
    let page = await browser.submit(confirm);
    for (let step = 0; step < 5 && page.url.pathname.startsWith('/interaction/'); step++)
      page = await browser.submit(page, page.html.includes('current-password') ? { email, password } : {});
    await program.line(new RegExp(`Connected as ${email}`));
    expect(await program.ended).toBe(0);
  });
});

describe('docs/guides/resource-server.md', () => {
  it('takes tokens that are for it, and no others', async () => {
    const port = String(await freePort());
    const program = run('resource-server', 'api.mjs', { PORT: port });
    await program.line(/listening on/);
    const origin = `http://localhost:${port}`;
    const root = await callerOf(server, { role: 'super_admin' });
    const row = JSON.parse(
      (blocksOf('resource-server')['resource-server.json'] as string).replaceAll(':4010', `:${port}`),
    );
    expect((await root.request('POST', '/resource-servers', row)).status).toBe(201);
    const client = await register('resource-server');
    const token = async (parameters: Record<string, string>) =>
      (await post(server, '/oauth/token', { grant_type: 'client_credentials', ...parameters }, basic(client))).body
        .access_token as string;
    const call = async (authorization?: string) => {
      const response = await fetch(`${origin}/orders`, authorization ? { headers: { authorization } } : {});
      return [response.status, response.headers.get('www-authenticate')];
    };
    expect(await call(`Bearer ${await token({ resource: `${origin}/`, scope: 'orders.read' })}`)).toEqual([200, null]);
    expect(await call()).toEqual([401, `Bearer resource_metadata="${origin}/.well-known/oauth-protected-resource"`]);
    // What the machine has for this service's own API opens nothing there.
    const machine = await server.client(JSON.parse(blocksOf('machine')['client.json'] as string));
    const other = await post(server, '/oauth/token', { grant_type: 'client_credentials' }, basic(machine));
    expect((await call(`Bearer ${other.body.access_token}`))[0]).toBe(401);
    const metadata = await (await fetch(`${origin}/.well-known/oauth-protected-resource`)).json();
    expect(metadata).toMatchObject({ resource: `${origin}/`, authorization_servers: [server.issuer] });
  });
});

describe('docs/guides/decisions.md', () => {
  it('asks who may do what', async () => {
    const root = await callerOf(server, { role: 'super_admin' });
    const { id } = await server.database.db('users').where({ email }).first('id');
    const given = { permission: 'invoices:read:own' };
    expect((await root.request('POST', `/rbac/users/${id}/permissions`, given)).status).toBe(201);
    const client = await register('decisions');
    const program = run('decisions', 'invoices.mjs', { ...credentials(client), SUBJECT: id });
    expect([await program.ended, program.output()]).toEqual([
      0,
      'read: yes, a grant gives invoices:read:own\napprove: no, nothing gives invoices:approve:own\n',
    ]);
  });
});

describe('docs/guides/mcp-server.md', () => {
  it('lets a client in that nobody has registered, and nobody else', async () => {
    const port = String(await freePort());
    const program = run('mcp-server', 'server.mjs', { PORT: port });
    await program.line(/listening on/);
    const url = new URL(`http://localhost:${port}/mcp`);
    const provider = new McpClient();
    const transport = new StreamableHTTPClientTransport(url, { authProvider: provider });
    await expect(new Client({ name: 'a client', version: '1.0.0' }).connect(transport)).rejects.toThrow(/Unauthorized/);
    const callback = await authorize(new Browser(server.issuer), provider.asked as URL, email);
    await transport.finishAuth(callback.searchParams.get('code') as string);
    const client = new Client({ name: 'a client', version: '1.0.0' });
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider: provider }));
    const { id } = await server.database.db('users').where({ email }).first('id');
    expect(await client.callTool({ name: 'whoami', arguments: {} })).toMatchObject({
      content: [{ type: 'text', text: id }],
    });
    await client.close();
    const machine = await server.client(JSON.parse(blocksOf('machine')['client.json'] as string));
    const { body } = await post(server, '/oauth/token', { grant_type: 'client_credentials' }, basic(machine));
    const stranger = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${body.access_token}` } });
    expect(stranger.status).toBe(401);
  });
});
