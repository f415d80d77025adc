/**
 * What the person of a token may do. Both the token's scope and its `roles` follow from it, at different moments of the
 * engine's `save()`: it is asked once for each token that is made.
 */
import type { Db } from '../../db/connect.ts';
import { tokenExchange } from '../clients/grant-types.ts';
import { findStanding, isOwnTo } from '../clients/standing.queries.ts';
import { findUserAccess, type UserAccess } from '../roles/roles.queries.ts';

const asked = new WeakMap<object, Promise<UserAccess | undefined>>();

/** @returns the access that the person had when this was first asked of the token; undefined of somebody who is not active */
export const accessOfPerson = (db: Db, token: object, userId: string): Promise<UserAccess | undefined> => {
  const known = asked.get(token);
  if (known) return known;
  const access = findUserAccess(db, userId);
  asked.set(token, access);
  return access;
};

/**
 * Roles are for the person's own applications, the operator's and those that they gave their password. Beside a narrow
 * scope they would mislead: an API that judges by them would let somebody else's application, or the holder of an API
 * key, do whatever the person may. Nor are they for userinfo, whose tokens have no audience. RFC 9068 section 2.2.3.1.
 */
export const rolesClaim = async (db: Db, token: object): Promise<{ roles: string[] } | undefined> => {
  const { accountId, aud, client, gty } = token as Partial<Record<'accountId' | 'aud' | 'gty', string>> & {
    client?: { clientId: string };
  };
  if (!accountId || aud === undefined || client === undefined || gty === tokenExchange) return undefined;
  const access = await accessOfPerson(db, token, accountId);
  const carries = gty?.split(' ')[0] === 'password' || isOwnTo(await findStanding(db, client.clientId), access?.rank);
  return carries ? { roles: access?.roles ?? [] } : undefined;
};
