/** Callers of the REST API: people of a role, applications by themselves, and nobody. */
import { makeAccount } from './browser.ts';
import { type Answer, answerOf } from './requests.ts';
import type { TestServer } from './server.ts';
import { openApplication } from './tokens.ts';

export interface TestCaller {
  /** The user's id, or the client's. */
  id: string;
  /** Empty for an application. */
  email: string;
  /** A JWT for the API; empty for nobody. */
  token: string;
  /** One request with the token. A body that is not text is sent as JSON; a header set to undefined is left out. */
  request(
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string | undefined>>,
  ): Promise<Answer>;
}

/** Makes requests with the token; without one when it is empty. */
export const requester =
  ({ address }: TestServer, token: string): TestCaller['request'] =>
  async (method, path, body, headers = {}) => {
    const all: Record<string, string | undefined> = {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    };
    return answerOf(
      await fetch(`${address}${path}`, {
        method: method.toUpperCase(),
        headers: Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined),
        redirect: 'manual',
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    );
  };

/** Somebody without a token. */
export const nobody = (server: TestServer): TestCaller => ({
  id: '',
  email: '',
  token: '',
  request: requester(server, ''),
});

/** Gives an account another primary role. */
export const giveRole = async (server: TestServer, userId: string, role: string): Promise<void> => {
  const { db } = server.database;
  await db('users')
    .where({ id: userId })
    .update({ roleId: db('roles').where({ name: role }).select('id') });
};

/**
 * A new account of that role, signed in through an application.
 * @param scope what the token may pass on of the role's permissions; all of them unless told otherwise
 * @param prepare gives the account more before it signs in: a token passes on what was held when it was made and is held still
 * @param email of an account that is there already
 * @param thirdParty an application of somebody else's, which the person has consented to
 */
export const callerOf = async (
  server: TestServer,
  {
    role = 'user',
    scope = '*:*:*',
    thirdParty = false,
    prepare,
    email,
  }: {
    role?: string;
    scope?: string;
    thirdParty?: boolean;
    prepare?(userId: string): Promise<unknown>;
    email?: string;
  } = {},
): Promise<TestCaller> => {
  email ??= await makeAccount(server);
  const { id } = await server.database.db('users').where({ email }).first('id');
  await giveRole(server, id, role);
  await prepare?.(id);
  const scopes = `openid ${scope}`.trim();
  const application = await openApplication(server, { scope: scopes, first_party: !thirdParty }, { email });
  const { access_token } = await application.tokens({ scope: scopes, resource: `${server.issuer}/api` });
  return { id, email, token: access_token, request: requester(server, access_token) };
};

/** An application that acts for itself (RFC 6749 section 4.4). */
export const machineOf = async (server: TestServer, scope: string): Promise<TestCaller> => {
  const application = await openApplication(
    server,
    { redirect_uris: [], response_types: [], grant_types: ['client_credentials'], scope },
    { email: 'unused@example.com' },
  );
  const { status, body } = await application.post('/oauth/token', { grant_type: 'client_credentials', scope });
  if (status !== 200 || !body.access_token) throw new Error(`no token: ${JSON.stringify(body)}`);
  const { access_token: token } = body;
  return { id: application.client.client_id, email: '', token, request: requester(server, token) };
};
