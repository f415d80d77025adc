/** An application at the token endpoint, seen as raw requests: races and refusals need more than a well-behaved client. */
import { createHash, randomBytes } from 'node:crypto';
import { authorize, Browser, makeAccount } from './browser.ts';
import type { RegisteredClient, TestServer } from './server.ts';

export const redirectUri = 'https://app.example.com/callback';

export interface TokenAnswer {
  status: number;
  body: { access_token?: string; refresh_token?: string; id_token?: string; error?: string; active?: boolean } & Record<
    string,
    unknown
  >;
}

export interface Application {
  client: RegisteredClient;
  /** POSTs a form with the client's credentials. */
  post(path: string, fields: Record<string, string>): Promise<TokenAnswer>;
  /** Signs in (or comes back), and returns a code with what its exchange needs. */
  code(parameters?: Record<string, string>): Promise<Record<string, string>>;
  exchange(code: Record<string, string>): Promise<TokenAnswer>;
  /** A code, exchanged. */
  tokens(
    parameters?: Record<string, string>,
  ): Promise<{ access_token: string; refresh_token: string; id_token: string }>;
  refresh(refreshToken: string): Promise<TokenAnswer>;
  isActive(token: string): Promise<boolean>;
}

/** Registers an application, and an account that uses it in a browser of its own unless one is given. */
export const openApplication = async (
  server: TestServer,
  metadata: Record<string, unknown> = {},
  person: { browser?: Browser; email?: string; address?: string } = {},
): Promise<Application> => {
  const client = await server.client({
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    ...metadata,
  });
  const address = person.address ?? server.address;
  const browser = person.browser ?? new Browser(server.issuer, address);
  const email = person.email ?? (await makeAccount(server));
  const basic = `Basic ${Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64')}`;

  const post: Application['post'] = async (path, fields) => {
    const response = await fetch(`${address}${path}`, {
      method: 'POST',
      headers: client.client_secret ? { authorization: basic } : {},
      body: new URLSearchParams(client.client_secret ? fields : { ...fields, client_id: client.client_id }),
    });
    return { status: response.status, body: JSON.parse((await response.text()) || '{}') as TokenAnswer['body'] };
  };
  const code: Application['code'] = async (parameters = {}) => {
    const verifier = randomBytes(32).toString('base64url');
    const query = new URLSearchParams({
      client_id: client.client_id,
      response_type: 'code',
      scope: 'openid email',
      redirect_uri: redirectUri,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      ...parameters,
    });
    const callback = await authorize(browser, `/oauth/authorize?${query}`, email);
    const value = callback.searchParams.get('code');
    if (!value) throw new Error(`no code: ${callback}`);
    return { code: value, code_verifier: verifier, redirect_uri: redirectUri };
  };
  const exchange: Application['exchange'] = (code) =>
    post('/oauth/token', { grant_type: 'authorization_code', ...code });

  return {
    client,
    post,
    code,
    exchange,
    tokens: async (parameters) => {
      const { status, body } = await exchange(await code(parameters));
      if (status !== 200) throw new Error(`no tokens: ${JSON.stringify(body)}`);
      return body as Awaited<ReturnType<Application['tokens']>>;
    },
    refresh: (refreshToken) => post('/oauth/token', { grant_type: 'refresh_token', refresh_token: refreshToken }),
    isActive: async (token) => (await post('/oauth/introspect', { token })).body.active === true,
  };
};
