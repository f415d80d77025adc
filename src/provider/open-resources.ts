/** Tokens for APIs that are not known here (RFC 8707, OPEN_RESOURCES), such as MCP servers. */
import type { KoaContextWithOIDC, ResourceServer } from 'oidc-provider';
import type { Db } from '../../db/connect.ts';
import { deviceGrant } from '../clients/grant-types.ts';
import { identityScopes } from '../clients/identity-scopes.ts';
import type { Config } from '../config.ts';
import type { KeySet } from '../keys/key-set.ts';
import { isOpenResource } from '../resource-servers/open-resources.queries.ts';
import { permissionsOf } from '../roles/permissions.ts';

/**
 * What a request asks for at such an API when it names nothing (RFC 6749 section 3.3: a default of ours). So there is always
 * something that the person is shown, and agrees to, before there is a token for an API.
 */
const plainAccess = 'access';

const scopesMax = 30;
const scopeLengthMax = 100;

/** Grants in which a person agreed, at this service, to what the token is for. */
const personal = new Set<unknown>(['authorization_code', 'refresh_token', deviceGrant]);
/** The engine's names of the routes on which a person is asked. */
const asking = new Set([
  'authorization',
  'resume',
  'pushed_authorization_request',
  'device_authorization',
  'code_verification',
  'device_resume',
]);

/** Scopes of somebody else's API: none that means something to ours, or to OpenID Connect. */
const foreign = (scope: unknown): string[] => {
  const names = String(scope ?? '')
    .split(' ')
    .filter((name) => name && name.length <= scopeLengthMax && !identityScopes.includes(name));
  const permissions = permissionsOf(names);
  return names.filter((name) => !permissions.includes(name)).slice(0, scopesMax);
};

/** What the request, and what it redeems, say of scopes. */
const scopesOf = ({ oidc }: KoaContextWithOIDC): string[] => {
  const { AuthorizationCode, RefreshToken, DeviceCode } = oidc.entities;
  const sources = [oidc.params?.scope, AuthorizationCode?.scope, RefreshToken?.scope, DeviceCode?.scope];
  return [...new Set(sources.flatMap(foreign))];
};

export interface OpenResourceParts {
  config: Pick<
    Config,
    'JWT_ISSUER' | 'JWT_AUD' | 'JWT_ACCESS_TTL' | 'OPEN_RESOURCES' | 'NODE_ENV' | 'AUTH_OIDC_AUDIENCE'
  >;
  db: Db;
  keySet: Pick<KeySet, 'algs'>;
}

/**
 * What the engine is to know of an API that nobody registered; undefined when there can be no token for it, or it is known. Only
 * where a person is asked: an application by itself, or one that exchanges tokens, gets none.
 */
export const findOpenResource = async (
  { config, db, keySet }: OpenResourceParts,
  ctx: KoaContextWithOIDC,
  identifier: string,
): Promise<ResourceServer | undefined> => {
  const { oidc } = ctx;
  const isAsking = asking.has(oidc.route);
  if (!isAsking && !(oidc.route === 'token' && personal.has(oidc.params?.grant_type))) return undefined;
  if (!(await isOpenResource(db, config, identifier))) return undefined;
  const scopes = scopesOf(ctx);
  if (!scopes.length && isAsking && oidc.params) {
    oidc.params.scope = [oidc.params.scope, plainAccess].filter(Boolean).join(' ');
    scopes.push(plainAccess);
  }
  return {
    scope: scopes.join(' '),
    audience: identifier,
    accessTokenTTL: config.JWT_ACCESS_TTL,
    // It has no account here to introspect with.
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: keySet.algs[0] } },
  } as ResourceServer;
};
