/** What requests that come all the time ask of the database: who somebody is and may do is asked once. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { callerOf, nobody, requester } from '../support/callers.ts';
import { basic, post } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const password = 'correct horse battery staple';
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

/** How often the access of a person alone, and the standing of a client, were asked for meanwhile. */
const counted = async (work: () => Promise<unknown>) => {
  const counts = { access: 0, standing: 0 };
  const count = ({ sql }: { sql: string }) => {
    if (sql.includes('clients.first_party as trusted')) counts.standing++;
    else if (sql.startsWith('with held as')) counts.access++;
  };
  server.database.db.on('query', count);
  try {
    await work();
  } finally {
    server.database.db.removeListener('query', count);
  }
  return counts;
};

const ok = async (answer: Promise<{ status: number }>) => expect((await answer).status).toBe(200);

it('a refresh asks once for what the person may do', async () => {
  const scope = 'openid users:read:own';
  const application = await openApplication(server, { scope, first_party: true });
  const { refresh_token } = await application.tokens({ scope, resource: `${server.issuer}/api` });
  expect(await counted(() => ok(application.refresh(refresh_token)))).toEqual({ access: 1, standing: 1 });
});

it('a request asks for the standing of an application only where there was a sign-in, and never for our own', async () => {
  const { request, email } = await callerOf(server);
  expect(await counted(() => ok(request('get', '/auth/me')))).toEqual({ access: 1, standing: 1 });

  const { json } = await nobody(server).request('post', '/auth/login', { email, password });
  const here = requester(server, json.accessToken);
  expect(await counted(() => ok(here('get', '/auth/me')))).toEqual({ access: 1, standing: 0 });

  const { json: made } = await request('post', '/api-keys', { name: 'ci', scopes: ['users:read:own'] });
  const gateway = await server.client({ grant_types: [exchange], redirect_uris: [], scope: 'users:read:own' });
  const form = {
    grant_type: exchange,
    subject_token: made.key,
    subject_token_type: 'urn:countersign:params:oauth:token-type:api_key',
  };
  const { body: token } = await post(server, '/oauth/token', form, basic(gateway));
  const exchanged = requester(server, token.access_token as string);
  expect(await counted(() => ok(exchanged('get', '/auth/me')))).toEqual({ access: 1, standing: 0 });
});
