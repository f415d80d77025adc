/**
 * Token exchange (RFC 8693): an API key for an access token, so that services which know tokens alone can be called on
 * behalf of a key's owner. The token has a Grant of its own, which ends with the key.
 */
import { type Client, errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { z } from 'zod';
import { requestState } from '../../adapters/oidc-storage.ts';
import type { Db } from '../../db/connect.ts';
import { type ApiKey, findLiveApiKey, touchApiKey } from '../api-keys/api-keys.queries.ts';
import { recordEvent } from '../audit/logs.commands.ts';
import type { Config } from '../config.ts';
import { actorOf } from '../http/actor.ts';
import { intersect, permissionsOf, permits } from '../roles/permissions.ts';
import { isActiveUser } from '../users/users.queries.ts';
import { clientScope, tokenExchange, userScope } from './issue-tokens.ts';
import { apiResource, defaultResource } from './resources.ts';

export const apiKeyType = 'urn:countersign:params:oauth:token-type:api_key';
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';

const several = z.union([z.string(), z.array(z.string())]).transform((value) => [value].flat());

/** RFC 8693 section 2.1. */
const Parameters = z.object({
  subject_token: z.string().min(1).max(4096),
  subject_token_type: z.literal(apiKeyType),
  requested_token_type: z.literal(accessTokenType).optional(),
  // Nobody acts for anybody else here.
  actor_token: z.undefined().optional(),
  actor_token_type: z.undefined().optional(),
  scope: z.string().min(1).max(2000).optional(),
  resource: several.optional(),
  audience: several.optional(),
});

export interface TokenExchangeDeps {
  db: Db;
  config: Config;
}

/** What a token may do that a client gets for a key: what client, key and owner have in common, and of that what was asked for. */
const scopeFor = async (db: Db, client: Client, key: ApiKey, wanted: string | undefined): Promise<string> => {
  const allowed = permissionsOf(intersect(clientScope(client), await userScope(db, key.scopes, key.userId)));
  if (wanted === undefined) return allowed.join(' ');
  const names = [...new Set(wanted.split(' '))];
  const missing = names.filter((name) => !permissionsOf([name]).length || !permits(allowed, name));
  if (missing.length) throw new errors.InvalidScope('requested scope is not allowed', missing.join(' '));
  return names.join(' ');
};

/** Not longer than a token lives anyway, nor longer than the key does. */
const secondsFor = ({ JWT_ACCESS_TTL }: Config, { expiresAt }: ApiKey): number =>
  expiresAt === null
    ? JWT_ACCESS_TTL
    : Math.max(1, Math.min(JWT_ACCESS_TTL, Math.floor((expiresAt.getTime() - Date.now()) / 1000)));

export const registerTokenExchange = (provider: Provider, { db, config }: TokenExchangeDeps): void => {
  const resource = defaultResource(config.JWT_ISSUER);

  const handler = async (ctx: KoaContextWithOIDC): Promise<void> => {
    const parsed = Parameters.safeParse(ctx.oidc.params);
    if (!parsed.success) {
      const fields = [...new Set(parsed.error.issues.map(({ path }) => path[0]))];
      throw new errors.InvalidRequest(`missing or not supported: ${fields.join(', ')}`);
    }
    const { subject_token, scope: wanted, resource: resources = [], audience: audiences = [] } = parsed.data;
    const client = ctx.oidc.client as Client;
    const key = await findLiveApiKey(db, subject_token);
    // RFC 8693 section 2.2.2 wants this error, whatever is wrong with the token.
    if (!key || !(await isActiveUser(db, key.userId)))
      throw new errors.InvalidRequest('the subject_token is not valid');

    const scope = await scopeFor(db, client, key, wanted);
    const server = apiResource(config, client, scope);
    if (resources.some((name) => name !== resource) || audiences.some((name) => name !== server.audience))
      throw new errors.InvalidTarget();

    const { userId: accountId } = key;
    const expiresIn = secondsFor(config, key);
    const state = requestState();
    state.apiKeyId = key.id;
    state.recordExchange = (db, grantId) =>
      recordEvent(
        db,
        { ...actorOf(ctx), type: 'client', id: client.clientId },
        {
          action: 'token.exchange',
          target: { type: 'user', id: accountId },
          meta: { apiKeyId: key.id, grantId, scope },
        },
      );
    const grant = new provider.Grant({ accountId, clientId: client.clientId, expiresIn } as never);
    if (scope) grant.addResourceScope(resource, scope);
    const grantId = await grant.save();
    const token = new provider.AccessToken({
      accountId,
      client,
      grantId,
      gty: tokenExchange,
      expiresIn,
      ...(scope ? { scope } : {}),
    } as never);
    token.resourceServer = new provider.ResourceServer(resource, server);
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: accessTokenType,
      token_type: 'Bearer',
      expires_in: expiresIn,
      ...(scope ? { scope } : {}),
    };
    // The answer does not wait for this, and does not fail with it.
    touchApiKey(db, key).catch(() => {});
  };

  provider.registerGrantType(tokenExchange, handler, Object.keys(Parameters.shape), ['resource', 'audience']);
};
