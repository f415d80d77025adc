/** Who may exchange which token (RFC 8693). API keys: whoever has one. People's tokens: as the client's policy says. */
import { type Client, errors, type Provider } from 'oidc-provider';
import type { Db } from '../../db/connect.ts';
import { findLiveApiKey, touchApiKey } from '../api-keys/api-keys.queries.ts';
import type { ClientAccess } from '../clients/client-access.ts';
import { findClient } from '../clients/clients.queries.ts';
import type { ExchangePolicy } from '../clients/exchange-policy.ts';
import { isOwnTo } from '../clients/standing.queries.ts';
import { introspectsFor } from '../resource-servers/resource-servers.queries.ts';
import type { UserAccess } from '../roles/access.queries.ts';
import { inOrganization } from '../roles/claimable.ts';
import { throughKey } from '../roles/key-powers.ts';
import { type Act, mayAct, withActor } from './acting.ts';
import type { Actor, Subject, TokenFinder } from './exchange-subjects.ts';

export const apiKeyType = 'urn:countersign:params:oauth:token-type:api_key';

interface ExchangeRequest {
  subject_token: string;
  subject_token_type: string;
  actor_token?: string | undefined;
  actor_token_type?: string | undefined;
}

/** An exchange that is allowed: what the new token is made from, and what bounds it. */
export interface Exchange {
  userId: string;
  owner: UserAccess;
  /** What was handed in may do this much at a resource. */
  scopeAt(resource: string): readonly string[];
  /** Seconds since 1970; Infinity for what does not expire. */
  expiresAt: number;
  /** Resources beside this API that may be asked for. */
  resources: readonly string[];
  /** The new token is for one of these, unless it is the operator's own to decide: a scope was agreed to where it means something. */
  audience?: readonly string[];
  act?: Act | undefined;
  /** The organization that what was handed in is for, and `owner` is narrowed to. */
  organizationId?: string | undefined;
  /** The tokens that were handed in. */
  presented: readonly Pick<Subject, 'clientId' | 'confirmation'>[];
  /** What the new Grant ends with. */
  endsWith: { apiKeyId: string } | { source: Subject['source'] };
  /** Of the audit event. */
  meta: Record<string, unknown>;
  /** What is left to do once there is a token. */
  done?(): void;
}

// RFC 8693 section 2.2.2 wants this error, whatever is wrong with a token, and of one that the policy does not accept as well.
const subjectRefused = () => new errors.InvalidRequest('the subject_token is not valid, or not for this client');
const actorRefused = () => new errors.InvalidRequest('the actor_token is not valid, or not for this client');

export const createExchangeRules = (provider: Provider, db: Db, access: ClientAccess, tokens: TokenFinder) => {
  const ofApiKey = async (value: string): Promise<Exchange> => {
    const key = await findLiveApiKey(db, value);
    const owner = key && (await access.of(key.userId));
    if (!key || !owner) throw subjectRefused();
    const { scope, permissions, organizations } = throughKey(owner, key);
    // A token has one scope for everywhere: what the key may do in one organization alone is not in it, and what it may not do in
    // one is not either.
    const denials = organizations.flatMap((one) => one.permissions.filter((name) => name.startsWith('!')));
    return {
      userId: key.userId,
      owner: { ...owner, permissions: [...permissions, ...denials] },
      scopeAt: () => scope,
      expiresAt: key.expiresAt ? Math.floor(key.expiresAt.getTime() / 1000) : Number.POSITIVE_INFINITY,
      resources: [],
      presented: [],
      endsWith: { apiKeyId: key.id },
      meta: { apiKeyId: key.id },
      // The answer does not wait for this, and does not fail with it.
      done: () => {
        touchApiKey(db, key).catch(() => {});
      },
    };
  };

  /** Whether a token was given to the client: issued to it, meant for it or its API, or of those that the policy names. */
  const isGivenTo = async (
    { clientId: own }: Client,
    { subject_clients: clients, subject_audiences: audiences }: ExchangePolicy,
    { clientId, audience }: Pick<Subject, 'clientId' | 'audience'>,
  ): Promise<boolean> =>
    clientId === own ||
    clients.includes(clientId) ||
    audience.some((name) => name === own || audiences.includes(name)) ||
    (audience.length > 0 && introspectsFor(db, own, audience));

  /** @throws the engine's UnauthorizedClient for what none of its requests may ask */
  const policyFor = async (client: Client, delegates: boolean): Promise<ExchangePolicy> => {
    const policy = (await findClient(db, client.clientId))?.tokenExchange;
    if (!policy || client.tokenEndpointAuthMethod === 'none' || !(delegates ? policy.delegation : policy.impersonation))
      throw new errors.UnauthorizedClient(
        `the client may not exchange tokens for ${delegates ? 'delegation' : 'impersonation'}`,
      );
    return policy;
  };

  const findActor = async (
    client: Client,
    policy: ExchangePolicy,
    own: boolean,
    { actor_token: value, actor_token_type: type = '' }: ExchangeRequest,
  ): Promise<Actor | undefined> => {
    if (value === undefined) return undefined;
    const actor = await tokens.findActor(value, type);
    // Whoever acts for somebody already does not hand that on as if it were they themselves.
    if (!actor || actor.act) throw actorRefused();
    if (!(own ? await isGivenTo(client, policy, actor) : actor.clientId === client.clientId)) throw actorRefused();
    if (actor.type === 'user' && !(await access.of(actor.id))) throw actorRefused();
    return actor;
  };

  const ofToken = async (client: Client, request: ExchangeRequest): Promise<Exchange> => {
    const delegates = request.actor_token !== undefined;
    const policy = await policyFor(client, delegates);
    const subject = await tokens.findSubject(request.subject_token, request.subject_token_type);
    const owner = subject && inOrganization(await access.of(subject.userId), subject.organizationId);
    if (!subject || !owner) throw subjectRefused();
    // To people who rank above whoever answers for it or may do more, and to all once nobody does, the client is somebody else's. Such a one has what they agreed to give
    // it, and passes that on in its own name.
    const standing = await access.standingOf(client.clientId);
    const own = standing?.isBacked === true && isOwnTo(standing, owner);
    if (!(own ? await isGivenTo(client, policy, subject) : delegates && subject.clientId === client.clientId))
      throw subjectRefused();
    const actor = await findActor(client, policy, own, request);
    const party = { sub: actor?.id ?? client.clientId, clientId: actor?.clientId ?? client.clientId };
    if (!mayAct(subject.mayAct, party, provider.issuer)) throw subjectRefused();
    const act = actor ? withActor(party, subject.act) : subject.act;
    if (actor && !act) throw new errors.InvalidRequest('too many act for one another already');
    return {
      userId: subject.userId,
      owner,
      scopeAt: subject.scopeAt,
      expiresAt: Math.min(subject.expiresAt, actor?.expiresAt ?? Number.POSITIVE_INFINITY),
      resources: policy.resources,
      ...(own ? {} : { audience: subject.audience }),
      act,
      organizationId: subject.organizationId,
      presented: actor ? [subject, actor] : [subject],
      endsWith: { source: subject.source },
      meta: {
        subjectClientId: subject.clientId,
        sourceGrantId: subject.source.grantId,
        ...(actor ? { actor: { type: actor.type, id: actor.id, clientId: actor.clientId } } : {}),
      },
    };
  };

  return {
    /** @throws the engine's InvalidRequest or UnauthorizedClient */
    allow: (client: Client, request: ExchangeRequest): Promise<Exchange> =>
      request.subject_token_type === apiKeyType ? ofApiKey(request.subject_token) : ofToken(client, request),
  };
};
