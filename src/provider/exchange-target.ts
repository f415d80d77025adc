/** What an exchanged token is for, and what it may do there: never more than the token that it was exchanged for. */
import { errors, type KoaContextWithOIDC, type Provider, type TokenEndpointGrantContext } from 'oidc-provider';
import { resolveRequestedResources } from 'oidc-provider/lib/helpers/grants.js';
import { identityScopes } from '../clients/identity-scopes.ts';
import type { UserAccess } from '../roles/access.queries.ts';
import { intersect, permissionsOf, permits } from '../roles/permissions.ts';
import { userScope } from './issue-tokens.ts';

/** The parts of the engine's ResourceServer that are looked at. */
export interface Target {
  identifier(): string;
  audience?: string;
  scope: string;
  accessTokenTTL?: number;
  accessTokenFormat?: 'jwt' | 'opaque';
}

/** `resource` and `audience` of RFC 8693 section 2.1. */
export interface Wanted {
  resources: readonly string[];
  audiences: readonly string[];
}

/**
 * The one resource server that is asked for, by its identifier or the audience of its tokens.
 * @param allowed identifiers; the first one is meant where nothing is asked for
 * @throws the engine's InvalidTarget
 */
export const resolveTarget = async (
  provider: Provider,
  ctx: KoaContextWithOIDC,
  allowed: readonly string[],
  { resources, audiences }: Wanted,
): Promise<Target> => {
  for (const indicator of allowed) {
    if (resources.some((name) => name !== indicator)) continue;
    const server = await findServer(provider, ctx, indicator);
    if (server && audiences.every((name) => name === indicator || name === server.audience)) return server;
  }
  throw new errors.InvalidTarget();
};

/** Undefined for one that is there no more, or not for this client. */
const findServer = async (
  provider: Provider,
  ctx: KoaContextWithOIDC,
  indicator: string,
): Promise<Target | undefined> => {
  const { params } = ctx.oidc;
  if (params) params.resource = indicator;
  try {
    const servers = await resolveRequestedResources(provider, ctx as TokenEndpointGrantContext);
    return (servers as unknown as Target[]).find((server) => server.identifier() === indicator);
  } catch (error) {
    if (error instanceof errors.InvalidTarget) return undefined;
    throw error;
  }
};

const isPermission = (name: string) => permissionsOf([name]).length > 0;

/** What two scopes have in common. Those of OpenID Connect are for userinfo, which takes no token that has an audience. */
const common = (left: readonly string[], right: readonly string[]): string[] => [
  ...intersect(permissionsOf(left), permissionsOf(right)),
  ...left.filter((name) => !isPermission(name) && !identityScopes.includes(name) && right.includes(name)),
];

/**
 * What the subject's token, the client at this resource server and the person have in common, and of that what is asked for.
 * @throws the engine's InvalidScope for something that is not among it
 */
export const narrowScope = (
  target: Target,
  subject: readonly string[],
  owner: UserAccess,
  wanted: string | undefined,
): string => {
  const allowed = userScope(owner, common(target.scope.split(' ').filter(Boolean), subject));
  if (wanted === undefined) return allowed.join(' ');
  const names = [...new Set(wanted.split(' '))];
  const missing = names.filter((name) => !(isPermission(name) ? permits(allowed, name) : allowed.includes(name)));
  if (missing.length) throw new errors.InvalidScope('requested scope is not allowed', missing.join(' '));
  return names.join(' ');
};
