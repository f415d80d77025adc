/** What relying parties see of the signing keys. */
import { decodeProtectedHeader, type JSONWebKeySet } from 'jose';
import { expect } from 'vitest';
import type { TestServer } from './server.ts';
import { type Application, openApplication } from './tokens.ts';

export const jwksOf = async (address: string): Promise<JSONWebKeySet> =>
  (await (await fetch(`${address}/.well-known/jwks.json`)).json()) as JSONWebKeySet;
export const kidsOf = async (address: string): Promise<string[]> =>
  (await jwksOf(address)).keys.map(({ kid }) => kid as string);
export const kidOf = (jwt: string): string => decodeProtectedHeader(jwt).kid as string;

const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];
/** An application whose access tokens are JWTs for our own API. */
export const openMachine = (server: TestServer): Promise<Application> =>
  openApplication(
    server,
    { grant_types: ['client_credentials'], redirect_uris: [], scope: 'read' },
    { email: 'none@example.com' },
  );
export const issue = async ({ post }: Application): Promise<string> =>
  (await post('/oauth/token', { grant_type: 'client_credentials' })).body.access_token as string;

export const expectPublic = ({ keys }: JSONWebKeySet) => {
  for (const key of keys) expect(privateMembers.filter((member) => member in key)).toEqual([]);
};
