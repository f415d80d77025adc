/**
 * Whom an access token speaks for at our own REST API. The engine's models are asked, so that REST, introspection and
 * userinfo agree about every token: JWT or opaque, revoked, of an ended session or grant, of a user who is not active.
 */
import type { Provider } from 'oidc-provider';
import { jwtName } from '../../adapters/oidc-payloads.ts';
import { cameWithToken, inTokenRead } from '../../adapters/token-reads.ts';
import type { Db } from '../../db/connect.ts';
import { keyPrefix } from '../api-keys/api-key-format.ts';
import { findLiveApiKey, touchApiKey } from '../api-keys/api-keys.queries.ts';
import type { ClientAccess } from '../clients/client-access.ts';
import { isOwnTo } from '../clients/standing.queries.ts';
import type { Config } from '../config.ts';
import type { Caller } from '../http/caller.ts';
import type { UserAccess } from '../roles/access.queries.ts';
import { inOrganization } from '../roles/claimable.ts';
import { findKeyOfGrant, throughKey } from '../roles/key-powers.ts';
import { intersect } from '../roles/permissions.ts';
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
  organizationId?: string;
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

/** What a token passes on of what its person holds, everywhere and inside organizations. */
const heldBy = (
  {
    roles,
    rank,
    permissions,
    organizations,
    groups,
    domains,
  }: Pick<UserAccess, 'roles' | 'rank' | 'permissions' | 'organizations' | 'groups' | 'domains'>,
  scope: readonly string[],
) => ({
  ...{ roles, rank, groups, domains },
  permissions: intersect(permissions, scope),
  organizations: organizations.map((one) => ({ ...one, permissions: intersect(one.permissions, scope) })),
});

/**
 * What the person holds, as far as the key goes that their token was exchanged for: what is denied to the key later is denied to the
 * token as well. The scope of the token stays the one that it was made with. Undefined once the key works no more.
 */
const asFarAsKey = async (db: Db, held: UserAccess, { sessionUid, grantId }: Token) => {
  // What came of a key is of no session.
  const key = sessionUid === undefined && grantId ? await findKeyOfGrant(db, grantId) : undefined;
  if (!key) return held;
  const { organizations, ...rest } = throughKey(held, key);
  return key.isLive ? { ...rest, organizations: organizations.map(({ scope: _scope, ...one }) => one) } : undefined;
};

export interface BearerDeps {
  db: Db;
  access: ClientAccess;
}

/** Whom an API key speaks for: its owner, as far as its scopes go and the owner may still do what they name. */
const findKeyHolder = async ({ db, access }: BearerDeps, value: string): Promise<Caller | undefined> => {
  const key = await findLiveApiKey(db, value);
  const held = key && (await access.of(key.userId));
  if (!held) return undefined;
  // The request does not wait for this, and does not fail with it.
  touchApiKey(db, key).catch(() => {});
  return {
    kind: 'user',
    id: key.userId,
    apiKeyId: key.id,
    ...throughKey(held, key),
  };
};

/** Whether the application is the operator's own to this person, whatever their token is narrowed to; this API always is. */
const isFirstParty = async (access: ClientAccess, clientId: string, person: UserAccess | undefined): Promise<boolean> =>
  clientId === restClientId || isOwnTo(await access.standingOf(clientId), person);

/**
 * @param told whether it will be told whom the token speaks for, and not only asked
 * @returns whom the token speaks for and what they may do with it; undefined when it is not alive or not for this API
 */
export const findCaller = (
  provider: Provider,
  deps: BearerDeps,
  config: Pick<Config, 'JWT_AUD'>,
  value: string,
  told = false,
): Promise<Caller | undefined> =>
  inTokenRead(told ? 'person' : undefined, async () => {
    const caller = await findHolder(provider, deps, config, value);
    const came = told && caller?.kind === 'user' ? cameWithToken('persons', caller.id) : undefined;
    return caller && came?.found ? { ...caller, person: came.found } : caller;
  });

const findHolder = async (
  provider: Provider,
  { db, access }: BearerDeps,
  config: Pick<Config, 'JWT_AUD'>,
  value: string,
): Promise<Caller | undefined> => {
  if (value.startsWith(keyPrefix)) return findKeyHolder({ db, access }, value);
  // A JWT has one spelling; the name that it is looked up by is not another.
  if (value.startsWith(jwtName)) return undefined;
  const name = isJwt(value) ? toJwtName(value) : value;
  const person = (await provider.AccessToken.find(name)) as Token | undefined;
  if (person) {
    if (!person.isValid || !person.accountId || !isForUs(person, config.JWT_AUD)) return undefined;
    const { organizationId } = person;
    const whole = await access.of(person.accountId);
    const held = inOrganization(whole, organizationId);
    if (!held) return undefined;
    // A JWT was found because its grant is there; an opaque token may have been saved as its grant ended.
    if (name === value && !(person.grantId && (await provider.Grant.find(person.grantId)))) return undefined;
    const passedOn = await asFarAsKey(db, held, person);
    if (!passedOn) return undefined;
    return {
      kind: 'user',
      id: person.accountId,
      ...(person.clientId ? { clientId: person.clientId } : {}),
      // Nobody has signed in here with a token that is of no session, whoever its application is.
      ...(person.clientId && person.sessionUid
        ? { firstParty: await isFirstParty(access, person.clientId, whole) }
        : {}),
      ...(person.sessionUid ? { sessionUid: person.sessionUid } : {}),
      ...(person.grantId ? { grantId: person.grantId } : {}),
      ...(organizationId ? { organizationId } : {}),
      ...(person.extra?.act ? { actors: actorsOf(person.extra.act) } : {}),
      ...confirmationOf(person),
      scope: scopesOf(person),
      ...heldBy(passedOn, scopesOf(person)),
    };
  }
  const machine = (await provider.ClientCredentials.find(name)) as Token | undefined;
  if (!machine?.isValid || !machine.clientId || !isForUs(machine, config.JWT_AUD)) return undefined;
  const { clientId: id } = machine;
  const standing = await access.standingOf(id);
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
