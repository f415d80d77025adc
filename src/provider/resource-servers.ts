/** Resource indicators (RFC 8707): the default resource, which is our own REST API, and those that are registered. */
import { type Client, type Configuration, errors, type KoaContextWithOIDC, type ResourceServer } from 'oidc-provider';
import { jwtBearer } from '../clients/grant-types.ts';
import type { Config } from '../config.ts';
import type { Meetings } from '../resource-servers/meetings.ts';
import { permissionsOf, permits } from '../roles/permissions.ts';
import { clientScope } from './issue-tokens.ts';
import { findOpenResource, type OpenResourceParts } from './open-resources.ts';
import { apiResource, defaultResource, resourcesMax } from './resources.ts';

/** Longest life of a resource server's access tokens, in seconds: the table allows no more. */
export const resourceTokenSecondsMax = 86_400;

/** `ttl` of access tokens: what their resource server wants; the engine asks nobody else where it is given a number. */
export const accessTokenSeconds =
  ({ JWT_ACCESS_TTL }: Pick<Config, 'JWT_ACCESS_TTL'>) =>
  (_ctx: KoaContextWithOIDC, token: object): number =>
    (token as { resourceServer?: ResourceServer }).resourceServer?.accessTokenTTL ?? JWT_ACCESS_TTL;

/** Grants that are nobody's but the client's own. */
const machineGrants: readonly string[] = ['client_credentials', jwtBearer];

interface ResourceParts extends OpenResourceParts {
  meetings: Meetings;
}

/**
 * What the engine is to know of a registered resource server; undefined where there is none that the client may ask for.
 * @throws InvalidTarget when there is no key for what it wants
 */
const findResourceInfo = async (
  { config, meetings, keySet }: ResourceParts,
  { oidc }: KoaContextWithOIDC,
  identifier: string,
  clientId: string,
): Promise<ResourceServer | undefined> => {
  const alone = oidc.route === 'token' && machineGrants.includes(String(oidc.params?.grant_type));
  const meeting = await meetings.find(identifier, { clientId, alone });
  if (!meeting) return undefined;
  const { allowed, accessTokenFormat, accessTokenTtl, signingAlg } = meeting;
  const alg = signingAlg ?? keySet.algs[0];
  if (!keySet.algs.some((known) => known === alg))
    throw new errors.InvalidTarget(`there is no key for ${alg}, which this resource wants its tokens signed with`);
  return {
    scope: allowed.join(' '),
    audience: identifier,
    accessTokenTTL: accessTokenTtl ?? config.JWT_ACCESS_TTL,
    accessTokenFormat,
    jwt: { sign: { alg } },
  } as ResourceServer;
};

/**
 * A client's own audience for the default resource is for APIs that are not registered here: whoever registers the client
 * chooses it, and must not get by it what the resource server gives to others alone.
 * @throws InvalidTarget
 */
const assertOwnAudience = async (meetings: Meetings, client: Client): Promise<void> => {
  const { audience } = client as { audience?: string };
  if (audience !== undefined && (await meetings.isResourceServer(audience))) throw new errors.InvalidTarget();
};

/** What this request has found of the indicator already: who names it twice does not have it looked up twice. */
const findResolved = ({ oidc }: KoaContextWithOIDC, indicator: string): ResourceServer | undefined => {
  const { resourceServers } = oidc as unknown as { resourceServers: Record<string, ResourceServer> };
  return Object.hasOwn(resourceServers, indicator) ? resourceServers[indicator] : undefined;
};

/** `features.resourceIndicators`. */
export const resourceIndicators = (
  parts: ResourceParts,
): NonNullable<NonNullable<Configuration['features']>['resourceIndicators']> => {
  const { config, meetings } = parts;
  const own = defaultResource(config.JWT_ISSUER);
  // A client is one object until something about it changes.
  const whole = new WeakMap<Client, ReturnType<typeof apiResource>>();
  const wholeOf = (client: Client) => {
    const known = whole.get(client) ?? apiResource(config, client, [...new Set(clientScope(client))].join(' '));
    whole.set(client, known);
    return known;
  };
  return {
    enabled: true,
    // With openid and no resource the token is for userinfo, which takes opaque ones alone; otherwise it is for our
    // API, as it always is where there is nobody to be described.
    defaultResource: (ctx, _client, oneOf) => {
      if (oneOf) return oneOf;
      const { scope = '', grant_type = '' } = (ctx.oidc.params ?? {}) as { scope?: string; grant_type?: string };
      const forUserinfo = scope.split(' ').includes('openid') && !machineGrants.includes(grant_type);
      return forUserinfo ? (undefined as never) : own;
    },
    useGrantedResource: () => Promise.resolve(true),
    getResourceServerInfo: async (ctx: KoaContextWithOIDC, indicator, client) => {
      // Read here, where pushed requests (RFC 9126) and those that are signed (RFC 9101) have been read as well.
      if ([ctx.oidc.params?.resource].flat().length > resourcesMax)
        throw new errors.InvalidTarget(`more than ${resourcesMax} resources`);
      if (indicator !== own) {
        const known = findResolved(ctx, indicator);
        if (known) return known;
        // PostgreSQL stores neither, so nothing is called so.
        if (/[\0\p{Cs}]/u.test(indicator)) throw new errors.InvalidTarget();
        const server =
          (await findResourceInfo(parts, ctx, indicator, client.clientId)) ??
          (await findOpenResource(parts, ctx, indicator));
        if (!server) throw new errors.InvalidTarget();
        return server;
      }
      if ((client as { audience?: string }).audience !== undefined) await assertOwnAudience(meetings, client);
      if (!ctx.oidc.entities.RefreshToken) return wholeOf(client);
      // A refresh token may have been narrowed to names that the client has only by a wildcard.
      const kept = String(ctx.oidc.entities.RefreshToken?.scope ?? '').split(' ');
      const allowed = clientScope(client);
      const narrowed = permissionsOf(kept).filter((name) => permits(allowed, name));
      const scope = [...new Set([...allowed, ...narrowed])].join(' ');
      return apiResource(config, client, scope);
    },
  };
};
