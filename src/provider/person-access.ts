/**
 * What the person of a token may do. Both the token's scope and its `roles` follow from it, at different moments of the
 * engine's `save()`: it is asked once for each token that is made.
 */

import type { ClientAccess } from '../clients/client-access.ts';
import { tokenExchange } from '../clients/grant-types.ts';
import { isOwnTo } from '../clients/standing.queries.ts';
import type { UserAccess } from '../roles/access.queries.ts';
import type { Access } from '../roles/access.ts';
import { inOrganization } from '../roles/claimable.ts';

const asked = new WeakMap<object, Promise<UserAccess | undefined>>();

/**
 * @returns the access that the person had when this was first asked of the token, as far as it counts for the organization that the
 * token is for; undefined of somebody who is not active, or does not belong there
 */
export const accessOfPerson = (access: Access, token: object, userId: string): Promise<UserAccess | undefined> => {
  const known = asked.get(token);
  if (known) return known;
  const { organizationId } = token as { organizationId?: string };
  const held = access.of(userId).then((all) => inOrganization(all, organizationId));
  asked.set(token, held);
  return held;
};

/**
 * Whether the token has `roles` without anybody asking for them: those of the person's own applications do, the operator's and those
 * that they gave their password. Beside a narrow scope they would mislead: an API that judges by them would let somebody else's
 * application, or the holder of an API key, do whatever the person may. Such an application is told them by the scope `roles`
 * alone, with consent. RFC 9068 section 2.2.3.1.
 */
export const carriesRoles = async (access: ClientAccess, token: object): Promise<boolean> => {
  const { accountId, aud, client, gty } = token as Partial<Record<'accountId' | 'aud' | 'gty', string>> & {
    client?: { clientId: string };
  };
  if (!accountId || aud === undefined || client === undefined || gty === tokenExchange) return false;
  if (gty?.split(' ')[0] === 'password') return true;
  return isOwnTo(await access.standingOf(client.clientId), await accessOfPerson(access, token, accountId));
};
