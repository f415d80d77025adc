/** The `jwks_uri` of a client, on this machine, and the assertions that it signs (RFC 7523 section 2.2). */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

export const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export interface ClientKey {
  kid: string;
  alg: string;
  jwk: JWK;
  privateKey: CryptoKey;
}

export const makeKey = async (alg = 'ES256', kid: string = randomUUID()): Promise<ClientKey> => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
};

/** What the published keys are, and how the server answers; change it as it runs. */
export interface KeyServer {
  uri: string;
  keys: ClientKey[];
  headers: Record<string, string>;
  /** Instead of the keys. */
  status: number;
  fetches: number;
  stop(): Promise<void>;
}

export const serveKeys = async (...keys: ClientKey[]): Promise<KeyServer> => {
  const state: Omit<KeyServer, 'uri' | 'stop'> = { keys, headers: {}, status: 200, fetches: 0 };
  const server = createServer((_request, response) => {
    state.fetches += 1;
    response.writeHead(state.status, { 'content-type': 'application/json', ...state.headers });
    response.end(JSON.stringify({ keys: state.keys.map(({ jwk }) => jwk) }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(state, {
    uri: `http://127.0.0.1:${port}/jwks.json`,
    stop: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  });
};

/** A good assertion, for half a minute, but for the claims and header members that are given; undefined leaves one out. */
export const makeAssertion = (
  { privateKey, alg, kid }: ClientKey,
  { clientId, aud }: { clientId: string; aud: string },
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> => {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ iss: clientId, sub: clientId, aud, jti: randomUUID(), iat: now, exp: now + 30, ...claims })
    .setProtectedHeader({ alg, kid, ...header })
    .sign(privateKey);
};
