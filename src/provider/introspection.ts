/** Who may introspect which token (RFC 7662 section 4: only a protected resource that the token is for learns what it says). */
import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider';
import type { ClientAccess } from '../clients/client-access.ts';
import { isOwnTo } from '../clients/standing.queries.ts';
import type { Meetings } from '../resource-servers/meetings.ts';
import { inOrganization } from '../roles/claimable.ts';
import { permits } from '../roles/permissions.ts';
import type { AuthorizationClaims } from './authorization-claims.ts';

/** The permission by which a client may introspect every token. */
export const introspectsAll = 'tokens:introspect:any';

interface Token {
  clientId?: string;
  accountId?: string;
  aud?: string | string[];
  kind?: string;
  organizationId?: string;
}

/**
 * Besides the client that a token was given to: the client of the resource server that the token is for, a client whose scope
 * has the permission, and the operator's own applications where they may act for the person anyway.
 */
const mayKnow = async (meetings: Meetings, access: ClientAccess, client: Client, token: Token): Promise<boolean> => {
  const { clientId } = client;
  if (token.clientId === clientId) return true;
  // Anybody can claim to be a public client.
  if (client.clientAuthMethod === 'none') return false;
  const audiences = token.aud === undefined ? [] : [token.aud].flat();
  if (audiences.length && (await meetings.introspects(clientId, audiences))) return true;
  const standing = await access.standingOf(clientId);
  if (!standing) return false;
  if (permits(standing.permissions, introspectsAll)) return true;
  if (!standing.firstParty) return false;
  return token.accountId === undefined || isOwnTo(standing, await access.of(token.accountId));
};

/** `features.introspection`. What may not be known is not active, as far as that client can tell (RFC 7662 section 2.2). */
export const introspection = (
  meetings: Meetings,
  access: ClientAccess,
  describe: AuthorizationClaims['introspected'],
) => ({
  enabled: true as const,
  allowedPolicy: async (_ctx: KoaContextWithOIDC, client: Client, token: object): Promise<boolean> => {
    if (!(await mayKnow(meetings, access, client, token as Token))) return false;
    // A deactivated user's tokens are dead, whatever their own state.
    const { accountId, organizationId } = token as Token;
    if (accountId === undefined) return true;
    // Nor does one for an organization live on whose person has left that.
    const held = inOrganization(await access.of(accountId), organizationId);
    if (!held) return false;
    // The engine tells what is in `extra`: here what holds now, and not what held when the token was made.
    if ((token as Token).kind === 'AccessToken') Object.assign(token, { extra: await describe(token, held) });
    return true;
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
