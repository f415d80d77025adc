/** While the database is away nobody is told that they, their code or their token are wrong: they are told to come back. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { loadConfig } from '../../src/config.ts';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { createLog } from '../../src/log.ts';
import { serve } from '../../src/main.ts';
import { onPostgres } from '../support/database.ts';
import { openRelay, type Relay } from '../support/relay.ts';
import { eventually } from '../support/requests.ts';
import { defaultSettings, startServer, type TestServer } from '../support/server.ts';
import { type Application, openApplication } from '../support/tokens.ts';

describe.runIf(onPostgres)('a replica that has lost the database', () => {
  let server: TestServer;
  let replica: Awaited<ReturnType<typeof serve>>;
  let relay: Relay;
  let there: Application;
  let code: Record<string, string>;
  let tokens: Awaited<ReturnType<Application['tokens']>>;
  beforeAll(async () => {
    server = await startServer();
    // Before there is a replica, which would send one of its mails.
    const application = await openApplication(server);
    const url = new URL(server.database.url as string);
    relay = await openRelay(url.hostname, Number(url.port || 5432));
    Object.assign(url, { hostname: '127.0.0.1', port: String(relay.port) });
    const settings = { ...defaultSettings, JWT_ISSUER: server.issuer, PORT: '0', DATABASE_URL: url.href };
    replica = await serve(loadConfig({ ...settings, DATABASE_POOL_MAX: '4' }), createLog('silent'));
    [tokens, code] = [await application.tokens(), await application.code()];
    there = { ...application, post: (path, fields) => post(application, path, fields) };
    await relay.cut();
  });
  afterAll(async () => {
    await replica.stop();
    await server.stop();
  });

  const post = async ({ client }: Application, path: string, fields: Record<string, string>) => {
    const response = await fetch(`http://127.0.0.1:${replica.port}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64')}`,
      },
      body: new URLSearchParams(fields),
    });
    const text = await response.text();
    return { status: response.status, body: JSON.parse(text || '{}') };
  };
  const away = { status: 503, body: { error: 'temporarily_unavailable' } };

  it('says so at the endpoints of the protocol', async () => {
    const requests: [string, Record<string, string>][] = [
      ['/oauth/token', { grant_type: 'authorization_code', ...code }],
      ['/oauth/token', { grant_type: 'refresh_token', refresh_token: tokens.refresh_token }],
      ['/oauth/introspect', { token: tokens.access_token }],
      ['/oauth/revoke', { token: tokens.refresh_token }],
      ['/oauth/par', { client_id: there.client.client_id, response_type: 'code' }],
    ];
    for (const [path, fields] of requests) expect(await there.post(path, fields), path).toMatchObject(away);
    const userinfo = await fetch(`http://127.0.0.1:${replica.port}/oauth/userinfo`, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    });
    expect(userinfo.status).toBe(503);
    expect(await userinfo.json()).toMatchObject({ error: 'temporarily_unavailable' });
  });

  it('does not blame a JWT access token either', async () => {
    const { access_token } = (
      await (
        await openApplication(server, { grant_types: ['client_credentials'], redirect_uris: [] }, { email: 'x' })
      ).post('/oauth/token', { grant_type: 'client_credentials' })
    ).body;
    expect(await there.post('/oauth/introspect', { token: access_token as string })).toMatchObject(away);
  });

  it('goes on when the database is back, and nothing was used up meanwhile', async () => {
    await relay.restore();
    await eventually(
      async () => (await there.post('/oauth/introspect', { token: tokens.access_token })).body.active === true,
      'it answers',
    );
    expect((await there.post('/oauth/token', { grant_type: 'authorization_code', ...code })).status).toBe(200);
    // It hears of new keys again as well.
    const { keys } = await rotateKeys(server.database.db, server.app.secrets, operator, { now: true });
    await eventually(async () => {
      const jwks = (await (await fetch(`http://127.0.0.1:${replica.port}/.well-known/jwks.json`)).json()) as {
        keys: { kid: string }[];
      };
      return jwks.keys.some(({ kid }) => kid === keys[0]?.kid);
    }, 'the keys are there');
  });
});
