/** The ways in which an upstream can cheat or break, each by itself. */
import type { ServerResponse } from 'node:http';
import { SignJWT, UnsecuredJWT } from 'jose';
import type { Misdeed } from './openid-peer.ts';
import { createSigner, now } from './signer.ts';

export interface NamedMisdeed {
  name: string;
  misdeed: Misdeed;
  /** Where it shows: `start` before the browser leaves, so nobody gets there; `callback` when it comes back. */
  at: 'start' | 'callback';
  /** Why the person could not be signed in: it is down (502, 503), or not to be believed (4xx). */
  reason: 'unavailable' | 'invalid' | 'expired' | 'misconfigured';
}

const another = 'https://another.example';
const utf8 = new TextEncoder();

/** A megabyte a time, for as long as somebody reads; far more than the hundred that anybody would wait for. */
const flood = (head: string) => (response: ServerResponse) => {
  const megabyte = Buffer.alloc(2 ** 20, ' ');
  let sent = 0;
  const more = () => {
    while (sent < 100 && !response.destroyed) {
      sent++;
      if (!response.write(megabyte)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  response.on('error', () => undefined);
  response.write(head);
  more();
};

/** A byte a second, without an end. */
const drip = (response: ServerResponse) => {
  response.write('{');
  const timer = setInterval(() => response.write(' '), 1000);
  response.on('close', () => clearInterval(timer));
};

/** Headers never come. */
const silence = (response: ServerResponse) => void response;

const page = { headers: { 'content-type': 'text/html' }, body: '<h1>It works!</h1>' };
/** Where nothing of ours may ever be sent to; the test listens there. */
export const internalPath = '/internal/secrets';
const redirect =
  (status: number) =>
  (_: unknown, { origin }: { origin: string }) => ({
    status,
    headers: { location: `${origin}${internalPath}` },
  });

const stranger = await createSigner('upstream-1');
const unknown = await createSigner('never-published');

/** The person's name and address are left to userinfo, so that it is asked. */
const onlyWhoTheyAre: Misdeed['claims'] = ({ name: _name, email: _email, email_verified: _verified, ...claims }) =>
  claims;

const start = { at: 'start', reason: 'invalid' } as const;
const callback = { at: 'callback', reason: 'invalid' } as const;
const unavailable = { at: 'callback', reason: 'unavailable' } as const;

const claims: [string, NonNullable<Misdeed['claims']>][] = [
  ['an id_token of another issuer', (honest) => ({ ...honest, iss: another })],
  ['an id_token without issuer', ({ iss: _, ...honest }) => honest],
  ['a nonce of another sign-in', (honest) => ({ ...honest, nonce: 'another' })],
  ['no nonce', ({ nonce: _, ...honest }) => honest],
  ['an id_token for another client', (honest) => ({ ...honest, aud: 'another' })],
  ['an id_token for us and others, without azp', (honest, { clientId }) => ({ ...honest, aud: [clientId, 'another'] })],
  [
    'an id_token for us and others, presented by another',
    (honest, { clientId }) => ({ ...honest, aud: [clientId, 'another'], azp: 'another' }),
  ],
  ['an azp that is another', (honest) => ({ ...honest, azp: 'another' })],
  ['an id_token that is over', (honest) => ({ ...honest, exp: now() - 3600 })],
  ['an id_token without an end', ({ exp: _, ...honest }) => honest],
  ['an id_token issued in the future', (honest) => ({ ...honest, iat: now() + 3600, exp: now() + 7200 })],
  ['an id_token that is not valid yet', (honest) => ({ ...honest, nbf: now() + 3600 })],
  ['an id_token without iat', ({ iat: _, ...honest }) => honest],
  ['no subject', ({ sub: _, ...honest }) => honest],
  ['an empty subject', (honest) => ({ ...honest, sub: '' })],
  ['a subject that is a number', (honest) => ({ ...honest, sub: 42 as never })],
  ['a subject of a thousand letters', (honest) => ({ ...honest, sub: 's'.repeat(1000) })],
  ['a subject with a NUL', (honest) => ({ ...honest, sub: 'subject\u0000of-mary' })],
  ['the hash of another access token', (honest) => ({ ...honest, at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' })],
];

const idTokens: [string, NonNullable<Misdeed['idToken']>][] = [
  ['alg none', async (honest) => new UnsecuredJWT(honest).encode()],
  [
    'HS256 with the client secret',
    (honest, { clientSecret }) =>
      new SignJWT(honest).setProtectedHeader({ alg: 'HS256' }).sign(utf8.encode(clientSecret)),
  ],
  [
    'HS256 with the public key',
    (honest, _, { jwk }) =>
      new SignJWT(honest)
        .setProtectedHeader({ alg: 'HS256', kid: jwk.kid as string })
        .sign(utf8.encode(JSON.stringify(jwk).padEnd(32))),
  ],
  ['a signature of somebody else’s key of the same name', (honest) => stranger.sign(honest)],
  ['a key that was never published', (honest) => unknown.sign(honest)],
  [
    'a key that comes with the token',
    (honest) =>
      new SignJWT(honest)
        .setProtectedHeader({ alg: 'RS256', kid: 'upstream-1', jwk: stranger.jwk })
        .sign(stranger.privateKey),
  ],
  [
    'a critical header that nobody knows',
    (honest, _, { privateKey }) =>
      new SignJWT(honest)
        .setProtectedHeader({ alg: 'RS256', kid: 'upstream-1', crit: ['x'], x: 1 })
        .sign(privateKey, { crit: { x: true } }),
  ],
  ['an id_token that is no JWT', async () => 'not.a.token'],
  [
    'a signature cut off',
    async (honest, _, signer) => `${(await signer.sign(honest)).split('.').slice(0, 2).join('.')}.`,
  ],
];

const metadata: [string, NonNullable<Misdeed['metadata']>][] = [
  ['metadata of another issuer', (honest) => ({ ...honest, issuer: another })],
  ['metadata without an authorization endpoint', ({ authorization_endpoint: _, ...honest }) => honest],
  [
    'an authorization endpoint that is a script',
    (honest) => ({ ...honest, authorization_endpoint: 'javascript:alert(document.domain)' }),
  ],
  [
    'an authorization endpoint that is data',
    (honest) => ({ ...honest, authorization_endpoint: 'data:text/html,<script>alert(1)</script>' }),
  ],
  [
    'an authorization endpoint in the clear',
    (honest) => ({ ...honest, authorization_endpoint: 'http://upstream.example/authorize' }),
  ],
  [
    'a token endpoint of the cloud’s metadata service',
    (honest) => ({ ...honest, token_endpoint: 'http://169.254.169.254/latest/meta-data' }),
  ],
  ['a token endpoint that is a file', (honest) => ({ ...honest, token_endpoint: 'file:///etc/passwd' })],
  ['keys in the clear', (honest) => ({ ...honest, jwks_uri: 'http://upstream.example/jwks' })],
  ['metadata that are a list', () => []],
];

/** Endpoints where a server may not be sent: RFC 9700 section 4.14 warns of metadata that name them. */
const special: [string, NonNullable<Misdeed['metadata']>][] = [
  ['a token endpoint in a private network', (honest) => ({ ...honest, token_endpoint: 'https://10.0.0.1/token' })],
  ['a token endpoint on IPv6 loopback', (honest) => ({ ...honest, token_endpoint: 'https://[::1]/token' })],
  [
    'a token endpoint on a mapped address',
    (honest) => ({ ...honest, token_endpoint: 'https://[::ffff:192.168.0.1]/token' }),
  ],
  ['keys in a private network', (honest) => ({ ...honest, jwks_uri: 'https://192.168.1.1/jwks' })],
];

export const misdeeds: NamedMisdeed[] = [
  ...metadata.map(([name, metadata]): NamedMisdeed => ({ name, ...start, misdeed: { metadata } })),
  { name: 'metadata that are a page', ...start, misdeed: { discovery: () => page } },
  {
    name: 'metadata that redirect',
    ...start,
    misdeed: { discovery: (peer) => redirect(302)(undefined, peer) },
  },
  {
    name: 'metadata of 100 MB',
    at: 'start',
    reason: 'unavailable',
    misdeed: { discovery: () => ({ body: flood('{') }) },
  },
  {
    name: 'metadata without an end',
    at: 'start',
    reason: 'unavailable',
    misdeed: { discovery: () => ({ body: drip }) },
  },
  {
    name: 'metadata that never come',
    at: 'start',
    reason: 'unavailable',
    misdeed: { discovery: () => ({ body: silence }) },
  },
  ...special.map(([name, metadata]): NamedMisdeed => ({ name, ...unavailable, misdeed: { metadata } })),
  ...claims.map(([name, claims]): NamedMisdeed => ({ name, ...callback, misdeed: { claims } })),
  ...idTokens.map(([name, idToken]): NamedMisdeed => ({ name, ...callback, misdeed: { idToken } })),
  {
    name: 'a swapped state',
    at: 'callback',
    reason: 'expired',
    misdeed: { response: (honest) => ({ ...honest, state: 'somebody-elses' }) },
  },
  {
    name: 'no state',
    at: 'callback',
    reason: 'expired',
    misdeed: { response: ({ state: _, ...honest }) => ({ ...honest, state: undefined }) },
  },
  {
    name: 'an iss of another (mix-up, RFC 9207)',
    ...callback,
    misdeed: { response: (honest) => ({ ...honest, iss: another }) },
  },
  { name: 'no iss although it is announced', ...callback, misdeed: { response: ({ iss: _, ...honest }) => honest } },
  { name: 'neither a code nor an error', ...callback, misdeed: { response: ({ code: _, ...honest }) => honest } },
  {
    name: 'an error with a page in it',
    ...unavailable,
    misdeed: {
      response: ({ code: _, ...honest }) => ({
        ...honest,
        error: 'server_error',
        error_description: '<script>alert(document.domain)</script>',
      }),
    },
  },
  {
    name: 'a refusal of the service itself, whose secret is another one',
    at: 'callback',
    reason: 'misconfigured',
    misdeed: { token: () => ({ status: 401, body: { error: 'invalid_client' } }) },
  },
  { name: 'no id_token', ...callback, misdeed: { token: ({ id_token: _, ...body }) => ({ body }) } },
  { name: 'a token response that is a list', ...callback, misdeed: { token: (body) => ({ body: [body] }) } },
  { name: 'a token response that is a page', ...callback, misdeed: { token: () => page } },
  { name: 'a token endpoint that fails', ...unavailable, misdeed: { token: () => ({ status: 500, body: 'oops' }) } },
  { name: 'a token endpoint that redirects', ...callback, misdeed: { token: redirect(307) } },
  { name: 'a token endpoint that never answers', ...unavailable, misdeed: { token: () => ({ body: silence }) } },
  { name: 'a token response without an end', ...unavailable, misdeed: { token: () => ({ body: drip }) } },
  { name: 'a token response of 100 MB', ...unavailable, misdeed: { token: () => ({ body: flood('{"x":"') }) } },
  { name: 'keys that are a page', ...callback, misdeed: { keys: () => page } },
  { name: 'keys that redirect', ...unavailable, misdeed: { keys: redirect(302) } },
  { name: 'keys of 100 MB', ...callback, misdeed: { keys: () => ({ body: flood('{"keys":[') }) } },
  { name: 'no keys at all', ...callback, misdeed: { keys: () => ({ body: { keys: [] } }) } },
  {
    name: 'keys without ours among a thousand',
    ...callback,
    misdeed: {
      keys: ([key]) => ({ body: { keys: Array.from({ length: 500 }, (_, index) => ({ ...key, kid: `k${index}` })) } }),
    },
  },
  {
    name: 'the client secret as a key',
    ...callback,
    misdeed: {
      keys: (_, { clientSecret }) => ({
        body: {
          keys: [{ kty: 'oct', kid: 'upstream-1', alg: 'HS256', k: Buffer.from(clientSecret).toString('base64url') }],
        },
      }),
      idToken: (honest, { clientSecret }) =>
        new SignJWT(honest).setProtectedHeader({ alg: 'HS256', kid: 'upstream-1' }).sign(utf8.encode(clientSecret)),
    },
  },
  {
    name: 'userinfo of another person',
    ...callback,
    misdeed: { claims: onlyWhoTheyAre, userinfo: (honest) => ({ body: { ...honest, sub: 'another' } }) },
  },
  {
    name: 'userinfo of nobody',
    ...callback,
    misdeed: { claims: onlyWhoTheyAre, userinfo: ({ sub: _, ...honest }) => ({ body: honest }) },
  },
  { name: 'userinfo that is a page', ...callback, misdeed: { claims: onlyWhoTheyAre, userinfo: () => page } },
  { name: 'userinfo that redirects', ...callback, misdeed: { claims: onlyWhoTheyAre, userinfo: redirect(302) } },
  {
    name: 'userinfo that never comes',
    ...unavailable,
    misdeed: { claims: onlyWhoTheyAre, userinfo: () => ({ body: silence }) },
  },
  {
    name: 'userinfo of 100 MB',
    ...unavailable,
    misdeed: { claims: onlyWhoTheyAre, userinfo: () => ({ body: flood('{"x":"') }) },
  },
];
