/** Parameters of a request that wait on the server under a single-use handle, sealed, for a minute or some. */
import type { Db } from '../../db/connect.ts';
import { AppError, invalid } from '../errors.ts';
import { hashToken, randomToken, type Secrets } from '../secrets.ts';

export interface PostedRequests {
  /** Keeps a text, for a minute unless told otherwise. @returns its handle @throws AppError 413 */
  keep(query: string, seconds?: number): Promise<string>;
  /** Gives it back, once. @throws AppError 400 request_expired */
  take(handle: string): Promise<string>;
}

/** Anybody can have one kept, so it is smaller than what the engine would read. */
const limitBytes = 16 * 1024;

export const createPostedRequests = (db: Db, secrets: Secrets): PostedRequests => {
  const row = (idHash: string) => `PostedRequest:${idHash}`;
  return {
    keep: async (query, seconds = 60) => {
      if (query.length > limitBytes) throw new AppError(413, 'request_too_large', 'The request is too large');
      const handle = randomToken();
      const idHash = hashToken(handle);
      const sealed = secrets.seal('oidc-payload', row(idHash), query).toString('base64');
      const expiresAt = new Date(Date.now() + seconds * 1000);
      await db('oidcPayloads').insert({
        model: 'PostedRequest',
        idHash,
        payload: JSON.stringify({ sealed }),
        expiresAt,
      });
      return handle;
    },

    take: async (handle) => {
      const idHash = hashToken(handle);
      const [kept] = await db('oidcPayloads')
        .delete()
        .where({ model: 'PostedRequest', idHash })
        .where('expiresAt', '>', db.fn.now())
        .returning('payload');
      if (!kept) throw invalid('request_expired', 'The request has expired or was already used');
      return secrets.open('oidc-payload', row(idHash), Buffer.from(kept.payload.sealed, 'base64')).toString();
    },
  };
};
