/** Who may introspect which token (RFC 7662 section 4: only a protected resource that the token is for learns what it says). */
import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider';
import type { Db } from '../../db/connect.ts';
import { findStanding, isOwnTo } from '../clients/standing.queries.ts';
import { introspectsFor } from '../resource-servers/resource-servers.queries.ts';
import { permits } from '../roles/permissions.ts';
import { findUserAccess } from '../roles/roles.queries.ts';
import { isActiveUser } from '../users/users.queries.ts';

/** The permission by which a client may introspect every token. */
export const introspectsAll = 'tokens:introspect:any';

interface Token {
  clientId?: string;
  accountId?: string;
  aud?: string | string[];
}

/**
 * Besides the client that a token was given to: the client of the resource server that the token is for, a client whose scope
 * has the permission, and the operator's own applications where they may act for the person anyway.
 */
const mayKnow = async (db: Db, client: Client, token: Token): Promise<boolean> => {
  const { clientId } = client;
  if (token.clientId === clientId) return true;
  // Anybody can claim to be a public client.
  if (client.clientAuthMethod === 'none') return false;
  const audiences = token.aud === undefined ? [] : [token.aud].flat();
  if (audiences.length && (await introspectsFor(db, clientId, audiences))) return true;
  const standing = await findStanding(db, clientId);
  if (!standing) return false;
  if (permits(standing.permissions, introspectsAll)) return true;
  if (!standing.firstParty) return false;
  return token.accountId === undefined || isOwnTo(standing, (await findUserAccess(db, token.accountId))?.rank);
};

/** `features.introspection`. What may not be known is not active, as far as that client can tell (RFC 7662 section 2.2). */
export const introspection = (db: Db) => ({
  enabled: true as const,
  allowedPolicy: async (_ctx: KoaContextWithOIDC, client: Client, token: object): Promise<boolean> => {
    if (!(await mayKnow(db, client, token as Token))) return false;
    // A deactivated user's tokens are dead, whatever their own state.
    const { accountId } = token as Token;
    return accountId === undefined || isActiveUser(db, accountId);
  },
});

/** `features.revocation.allowedPolicy`. @throws InvalidRequest (RFC 7009 section 2.1) */
export const allowRevocation = async (
  _ctx: KoaContextWithOIDC,
  client: Client,
  token: Token & { kind: string; destroy(): Promise<void> },
): Promise<boolean> => {
  if (token.clientId !== client.clientId) {
    // A public client, which anybody can claim to be, is told nothing.
    if (client.clientAuthMethod === 'none') return false;
    throw new errors.InvalidRequest('the token was not issued to this client');
  }
  if (token.kind === 'RefreshToken') return true;
  // The engine would go on to drop every token of the grant; revoking an access token ends that one alone.
  await token.destroy();
  return false;
};
