/**
 * Whom an access token speaks for at our own REST API. The engine's models are asked, so that REST, introspection and
 * userinfo agree about every token: JWT or opaque, revoked, of an ended session or grant, of a user who is not active.
 */
import type { Provider } from 'oidc-provider';
import { jwtName } from '../../adapters/oidc-payloads.ts';
import type { Db } from '../../db/connect.ts';
import { keyPrefix } from '../api-keys/api-key-format.ts';
import { findLiveApiKey, touchApiKey } from '../api-keys/api-keys.queries.ts';
import { findStanding, isOwnTo } from '../clients/standing.queries.ts';
import type { Config } from '../config.ts';
import type { Caller } from '../http/caller.ts';
import { intersect } from '../roles/permissions.ts';
import { findUserAccess } from '../roles/roles.queries.ts';
import { toJwtName } from './access-tokens.ts';
import { type Act, actorsOf } from './acting.ts';
import { restClientId } from './issue-tokens.ts';
import { isJwt } from './requests.ts';

/** What the engine's tokens have in common; its published types leave some of it out. */
interface Token {
  accountId?: string;
  clientId?: string;
  grantId?: string;
  sessionUid?: string;
  scope?: string;
  aud?: string | string[];
  jkt?: string;
  'x5t#S256'?: string;
  extra?: { act?: Act };
  isValid: boolean;
}

const scopesOf = ({ scope }: Token): string[] => scope?.split(' ') ?? [];

/** What the token is bound to; the caller is nobody until that has been proven. */
const confirmationOf = ({ jkt, 'x5t#S256': x5t }: Token): Pick<Caller, 'confirmation'> =>
  jkt || x5t ? { confirmation: { ...(jkt ? { jkt } : {}), ...(x5t ? { 'x5t#S256': x5t } : {}) } } : {};

/** An opaque token has no audience: it is for userinfo, and tells us who calls; a JWT must be meant for this API. */
const isForUs = (token: Token, audience: string): boolean =>
  token.aud === undefined || [token.aud].flat().includes(audience);

/** Whom an API key speaks for: its owner, as far as its scopes go and the owner may still do what they name. */
const findKeyHolder = async (db: Db, value: string): Promise<Caller | undefined> => {
  const key = await findLiveApiKey(db, value);
  const access = key && (await findUserAccess(db, key.userId));
  if (!access) return undefined;
  // The request does not wait for this, and does not fail with it.
  touchApiKey(db, key).catch(() => {});
  return {
    kind: 'user',
    id: key.userId,
    apiKeyId: key.id,
    scope: key.scopes,
    roles: access.roles,
    rank: access.rank,
    permissions: intersect(access.permissions, key.scopes),
  };
};

/** Whether the application is the operator's own to somebody of this rank; this API always is. */
const isFirstParty = async (db: Db, clientId: string, rank: number): Promise<boolean> =>
  clientId === restClientId || isOwnTo(await findStanding(db, clientId), rank);

/** @returns whom the token speaks for and what they may do with it; undefined when it is not alive or not for this API */
export const findCaller = async (
  provider: Provider,
  db: Db,
  config: Pick<Config, 'JWT_AUD'>,
  value: string,
): Promise<Caller | undefined> => {
  if (value.startsWith(keyPrefix)) return findKeyHolder(db, value);
  // A JWT has one spelling; the name that it is looked up by is not another.
  if (value.startsWith(jwtName)) return undefined;
  const name = isJwt(value) ? toJwtName(value) : value;
  const person = (await provider.AccessToken.find(name)) as Token | undefined;
  if (person) {
    if (!person.isValid || !person.accountId || !isForUs(person, config.JWT_AUD)) return undefined;
    const access = await findUserAccess(db, person.accountId);
    if (!access) return undefined;
    // A JWT was found because its grant is there; an opaque token may have been saved as its grant ended.
    if (name === value && !(person.grantId && (await provider.Grant.find(person.grantId)))) return undefined;
    return {
      kind: 'user',
      id: person.accountId,
      ...(person.clientId ? { clientId: person.clientId } : {}),
      // Nobody has signed in here with a token that is of no session, whoever its application is.
      ...(person.clientId && person.sessionUid
        ? { firstParty: await isFirstParty(db, person.clientId, access.rank) }
        : {}),
      ...(person.sessionUid ? { sessionUid: person.sessionUid } : {}),
      ...(person.grantId ? { grantId: person.grantId } : {}),
      ...(person.extra?.act ? { actors: actorsOf(person.extra.act) } : {}),
      ...confirmationOf(person),
      scope: scopesOf(person),
      roles: access.roles,
      rank: access.rank,
      permissions: intersect(access.permissions, scopesOf(person)),
    };
  }
  const machine = (await provider.ClientCredentials.find(name)) as Token | undefined;
  if (!machine?.isValid || !machine.clientId || !isForUs(machine, config.JWT_AUD)) return undefined;
  const { clientId: id } = machine;
  const standing = await findStanding(db, id);
  if (!standing) return undefined;
  return {
    kind: 'client',
    id,
    clientId: id,
    roles: [],
    rank: standing.rank,
    ...confirmationOf(machine),
    scope: scopesOf(machine),
    permissions: intersect(standing.permissions, scopesOf(machine)),
  };
};
