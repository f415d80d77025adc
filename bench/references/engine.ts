/**
 * The engine alone: oidc-provider with its own in-memory adapter, configured as the product configures it. The tokens that it is asked
 * about have been given out before, by its own models. Whoever signs in is shown a form and nothing else, and their password is
 * hashed; nothing is limited, judged or written down. It tells its parent where it is and what it takes, and on request makes new
 * refresh tokens.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { hash, verify } from '@node-rs/argon2';
import { exportJWK } from 'jose';
import { type Configuration, Provider } from 'oidc-provider';
import { lifetimes, paths, redirectUri, scopes, type Target } from '../targets.ts';

const keyOf = async (kid: string, alg: string, pair: { privateKey: Parameters<typeof exportJWK>[0] }) => ({
  ...(await exportJWK(pair.privateKey)),
  kid,
  alg,
  use: 'sig',
});

/** As many keys as the product has, so that the JWKS is of its size. */
const rsa = { modulusLength: 2048 };
const keys = await Promise.all([
  keyOf('rs', 'RS256', generateKeyPairSync('rsa', rsa)),
  keyOf('ps', 'PS256', generateKeyPairSync('rsa', rsa)),
  keyOf('es', 'ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })),
  keyOf('ed', 'EdDSA', generateKeyPairSync('ed25519')),
]);

const secret = () => randomBytes(32).toString('base64url');
const machine = { id: 'machine', secret: secret() };
const web = { id: 'web', secret: secret() };
const accountId = '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f';
/** The product's parameters, as in `floor.ts`. */
const password = 'correct horse battery staple';
const passwordHash = await hash(password, { memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 });
/** What the product's access tokens carry, so that answers are of about its size. */
const audience = 'countersign-api';

const configurationOf = (issuer: string): Configuration => ({
  clients: [
    {
      client_id: machine.id,
      client_secret: machine.secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
    },
    {
      client_id: web.id,
      client_secret: web.secret,
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [redirectUri],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  jwks: { keys } as NonNullable<Configuration['jwks']>,
  cookies: { keys: [secret()] },
  // Everybody has agreed to all that the application asks for.
  loadExistingGrant: async ({ oidc: { session, account } }) => {
    const known = session?.grantIdFor(web.id);
    if (known) return provider.Grant.find(known);
    const grant = new provider.Grant({ accountId: account?.accountId as string, clientId: web.id });
    grant.addOIDCScope(scopes.web);
    await grant.save();
    return grant;
  },
  routes: {
    authorization: paths.authorization,
    token: paths.token,
    userinfo: paths.userinfo,
    introspection: paths.introspection,
    jwks: paths.jwks,
  },
  claims: { openid: ['sub'], profile: ['name', 'locale'], email: ['email', 'email_verified'] },
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, name: 'Ada Lovelace', email: 'ada@example.com', email_verified: true }),
  }),
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  ttl: {
    AccessToken: lifetimes.accessToken,
    ClientCredentials: lifetimes.accessToken,
    IdToken: 3600,
    RefreshToken: lifetimes.refreshToken,
    Session: lifetimes.session,
    Interaction: 3600,
    Grant: 365 * 86_400,
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async (_ctx, client, token) => token.clientId === client.clientId },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx) => (ctx.oidc.params?.grant_type === 'client_credentials' ? `${issuer}/api` : []),
      useGrantedResource: () => Promise.resolve(true),
      getResourceServerInfo: () => ({
        scope: scopes.machine,
        audience,
        accessTokenTTL: lifetimes.accessToken,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

// It says that its memory is for development only, which is known here.
console.warn = () => {};
const server = createServer();
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address() as AddressInfo;
const origin = `http://localhost:${port}`;
const provider = new Provider(origin, configurationOf(origin));
const answer = provider.callback();

/** The sign-in page, and what comes back from it. */
const signIn = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const { uid } = await provider.interactionDetails(request, response);
  if (request.method === 'POST') {
    const given = new URLSearchParams(await text(request)).get('password') ?? '';
    if (!(await verify(passwordHash, given))) throw new Error('the password is not right');
    await provider.interactionFinished(request, response, { login: { accountId } });
    return;
  }
  const page = `<!doctype html><title>Sign in</title><form method="post" action="/interaction/${uid}"><input name="email"><input name="password" type="password"><button>Sign in</button></form>`;
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-length': Buffer.byteLength(page) });
  response.end(page);
};

server.on('request', (request: IncomingMessage, response: ServerResponse) => {
  if (!request.url?.startsWith('/interaction/')) return answer(request, response);
  return signIn(request, response).catch((error: Error) => response.writeHead(500).end(error.message));
});

/** The published types leave out what the models take besides. */
const make = async (Model: unknown, properties: object): Promise<{ value: string; uid: string }> => {
  const model = new (Model as new (properties: object) => { save(ttl?: number): Promise<string>; uid: string })(
    properties,
  );
  return { value: await model.save(3600), uid: model.uid };
};

const client = await provider.Client.find(web.id);

/** Somebody who is signed in, and what the application then holds. */
const signedIn = async (): Promise<{ accessToken: string; refreshToken: string }> => {
  const grant = new provider.Grant({ accountId, clientId: web.id });
  grant.addOIDCScope(scopes.web);
  const grantId = await grant.save();
  const { uid: sessionUid } = await make(provider.Session, {
    accountId,
    loginTs: Math.floor(Date.now() / 1000),
    authorizations: { [web.id]: { grantId, sid: 'sid' } },
  });
  const common = { accountId, client, grantId, scope: scopes.web, gty: 'authorization_code', sessionUid };
  const bound = { ...common, expiresWithSession: true };
  return {
    accessToken: (await make(provider.AccessToken, { ...bound, claims: undefined })).value,
    refreshToken: (await make(provider.RefreshToken, { ...bound, sid: 'sid', authTime: 1_700_000_000 })).value,
  };
};

const refreshTokens = async (count: number): Promise<string[]> => {
  const made: string[] = [];
  while (made.length < count) made.push((await signedIn()).refreshToken);
  return made;
};

process.on('message', async ({ refresh }: { refresh: number }) =>
  process.send?.({ refreshTokens: await refreshTokens(refresh) }),
);
process.on('disconnect', () => process.exit(0));
const { accessToken } = await signedIn();
const address = `http://127.0.0.1:${port}`;
const people = [{ email: 'ada@example.com', password }];
process.send?.({ address, origin, machine, web, people, accessToken, jwt: '', refreshTokens: [] } satisfies Target);
