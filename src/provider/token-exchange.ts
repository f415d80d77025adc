/**
 * Token exchange (RFC 8693): an API key, or a person's token, for an access token of the client's own, so that a service can
 * call another one on somebody's behalf. The token has a Grant of its own, which ends with what it was exchanged for.
 * `exchange-rules.ts` says who may exchange what, `exchange-target.ts` what comes of it.
 */
import { type AccessToken, type Client, errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { z } from 'zod';
import { requestState } from '../../adapters/oidc-storage.ts';
import type { Db } from '../../db/connect.ts';
import { recordEvent } from '../audit/logs.commands.ts';
import type { ClientAccess } from '../clients/client-access.ts';
import { tokenExchange } from '../clients/grant-types.ts';
import type { Config } from '../config.ts';
import { actorOf } from '../http/actor.ts';
import type { KeySet } from '../keys/key-set.ts';
import { setAct } from './acting.ts';
import { apiKeyType, createExchangeRules, type Exchange } from './exchange-rules.ts';
import { type Confirmation, createTokenFinder, tokenTypes } from './exchange-subjects.ts';
import { narrowScope, resolveTarget, type Target } from './exchange-target.ts';
import { defaultResource } from './resources.ts';
import { checkSenderConstraints } from './sender-constraints.ts';

export { apiKeyType };

const several = z.union([z.string(), z.array(z.string())]).transform((value) => [value].flat());
const token = z.string().min(1).max(8192);
const subjectType = z.enum([apiKeyType, ...Object.values(tokenTypes)]);

/** RFC 8693 section 2.1. */
const Parameters = z
  .object({
    subject_token: token,
    subject_token_type: subjectType,
    // Nothing that renews itself comes of an exchange, and no id_token: nobody has signed in to this client.
    requested_token_type: z.enum([tokenTypes.access, tokenTypes.jwt]).optional(),
    actor_token: token.optional(),
    actor_token_type: z.enum(Object.values(tokenTypes)).optional(),
    scope: z.string().min(1).max(2000).optional(),
    resource: several.optional(),
    audience: several.optional(),
  })
  .refine((all) => (all.actor_token === undefined) === (all.actor_token_type === undefined), {
    path: ['actor_token_type'],
  })
  .refine((all) => all.actor_token === undefined || all.subject_token_type !== apiKeyType, { path: ['actor_token'] });

export interface TokenExchangeDeps {
  db: Db;
  access: ClientAccess;
  config: Config;
  keySet: KeySet;
}

const nowSeconds = () => Math.floor(Date.now() / 1000);

/**
 * When the token ends, in seconds since 1970: not later than a token there does anyway, nor than what it is exchanged for.
 * @throws the engine's InvalidRequest when that is now
 */
const endOf = (
  { JWT_ACCESS_TTL }: Config,
  { accessTokenTTL = JWT_ACCESS_TTL }: Target,
  { expiresAt }: Exchange,
  now: number,
): number => {
  const end = Math.min(now + accessTokenTTL, expiresAt);
  if (end <= now) throw new errors.InvalidRequest('the subject_token is not valid');
  return end;
};

/**
 * A bound token is exchanged for a bound one alone: else whoever stole it would have it turned into one that is not. Its own
 * client still has the key; an API that was sent it has seen the proof, and binds what it gets to a key of its own.
 * @throws the engine's InvalidRequest
 */
const assertStaysBound = (client: Client, { presented }: Exchange, made: Confirmation): void => {
  const isBound = ({ jkt, 'x5t#S256': x5t }: Confirmation) => Boolean(jkt ?? x5t);
  for (const { clientId, confirmation } of presented) {
    if (!isBound(confirmation)) continue;
    const sameKey = made.jkt === confirmation.jkt && made['x5t#S256'] === confirmation['x5t#S256'];
    if (clientId === client.clientId ? !sameKey : !isBound(made))
      throw new errors.InvalidRequest('a sender-constrained token is exchanged with a proof of possession alone');
  }
};

export const registerTokenExchange = (provider: Provider, { db, access, config, keySet }: TokenExchangeDeps): void => {
  const rules = createExchangeRules(provider, db, access, createTokenFinder(provider, db, keySet));

  const makeGrant = async (
    ctx: KoaContextWithOIDC,
    exchange: Exchange,
    target: Target,
    { scope, expiresIn }: { scope: string; expiresIn: number },
  ): Promise<string> => {
    const { clientId } = ctx.oidc.client as Client;
    const { userId: accountId } = exchange;
    const actor = { ...actorOf(ctx), type: 'client' as const, id: clientId };
    Object.assign(requestState(), exchange.endsWith, {
      recordExchange: (db: Db, grantId: string) =>
        recordEvent(db, actor, {
          action: 'token.exchange',
          target: { type: 'user', id: accountId },
          meta: { ...exchange.meta, grantId, scope, resource: target.identifier() },
        }),
    });
    const grant = new provider.Grant({ accountId, clientId, expiresIn } as never);
    if (scope) grant.addResourceScope(target.identifier(), scope);
    try {
      return await grant.save();
    } catch (error) {
      // Whatever it needs has ended since it was looked at.
      if (error instanceof errors.AccessDenied || error instanceof errors.InvalidGrant)
        throw new errors.InvalidRequest('the subject_token is not valid');
      throw error;
    }
  };

  const handler = async (ctx: KoaContextWithOIDC): Promise<void> => {
    const parsed = Parameters.safeParse(ctx.oidc.params);
    if (!parsed.success) {
      const fields = [...new Set(parsed.error.issues.map(({ path }) => path[0]))];
      throw new errors.InvalidRequest(`missing or not supported: ${fields.join(', ')}`);
    }
    const { requested_token_type: type = tokenTypes.access, scope: wanted, resource = [], audience = [] } = parsed.data;
    const client = ctx.oidc.client as Client;
    const binding = await checkSenderConstraints(provider, ctx);
    const exchange = await rules.allow(client, parsed.data);
    const allowed = [defaultResource(config.JWT_ISSUER), ...exchange.resources];
    const target = await resolveTarget(provider, ctx, allowed, { resources: resource, audiences: audience });
    if (type === tokenTypes.jwt && target.accessTokenFormat === 'opaque')
      throw new errors.InvalidRequest('requested_token_type: tokens for this resource are opaque');
    if (exchange.audience && !exchange.audience.includes(target.audience ?? target.identifier()))
      throw new errors.InvalidTarget();
    const scope = narrowScope(target, exchange.scopeAt(target.identifier()), exchange.owner, wanted);
    const now = nowSeconds();
    const exp = endOf(config, target, exchange, now);

    const made = new provider.AccessToken({
      ...{ accountId: exchange.userId, client, exp, gty: tokenExchange },
      ...(scope ? { scope } : {}),
      ...(exchange.organizationId ? { organizationId: exchange.organizationId } : {}),
    } as never) as AccessToken & Confirmation;
    await binding.bind(made);
    assertStaysBound(client, exchange, made);
    if (exchange.act) setAct(made, exchange.act);
    made.resourceServer = target as never;
    made.grantId = await makeGrant(ctx, exchange, target, { scope, expiresIn: exp - now });
    const access_token = await made.save();
    ctx.body = {
      access_token,
      issued_token_type: type,
      token_type: made.tokenType,
      expires_in: exp - now,
      // What the owner may do is looked at anew as the token is saved, which may leave less of it.
      ...(made.scope ? { scope: made.scope } : {}),
    };
    exchange.done?.();
  };

  provider.registerGrantType(tokenExchange, handler, Object.keys(Parameters.shape), ['resource', 'audience']);
};
