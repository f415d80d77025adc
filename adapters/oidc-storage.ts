/** What the adapters of all models share. */
import type { Adapter, AdapterPayload } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import type { Secrets } from '../src/secrets.ts';

export interface OidcStorage {
  db: Db;
  secrets: Secrets;
  /** For how long a refresh whose answer was lost may be repeated. */
  refreshTokenGraceSeconds: number;
  /** Longest life of an access token: how long the revocation of a JWT must be remembered. */
  accessTokenMaxSeconds: number;
  /** Turns the opaque name of a JWT access token into the payload that the engine would have stored, if it is alive. */
  findJwt(model: 'AccessToken' | 'ClientCredentials', name: string): Promise<AdapterPayload | undefined>;
}

/** What an adapter does for the methods that the engine never calls on its model. */
export const unused = (model: string): Adapter => {
  const refuse = (method: string) => () => Promise.reject(new Error(`${model}.${method} is not a thing`));
  return {
    upsert: refuse('upsert'),
    find: refuse('find'),
    findByUid: refuse('findByUid'),
    findByUserCode: refuse('findByUserCode'),
    consume: refuse('consume'),
    destroy: refuse('destroy'),
    revokeByGrantId: refuse('revokeByGrantId'),
  };
};
