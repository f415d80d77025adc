/**
 * What somebody may do and where they belong, as claims: `roles`, `permissions`, `groups`, `organizations`, each by the scope of its
 * name or by the `claims` parameter, and `organization`, of whoever signs in for one. They are worked out whenever a token is
 * made or asked about. `docs/authorization.md` says what each means to whoever reads it.
 */
import type { KoaContextWithOIDC } from 'oidc-provider';
import type { Db } from '../../db/connect.ts';
import type { ClientAccess } from '../clients/client-access.ts';
import { authorizationScopes } from '../clients/identity-scopes.ts';
import { isOwnTo } from '../clients/standing.queries.ts';
import type { Config } from '../config.ts';
import { findGroupPaths, groupText } from '../groups/paths.queries.ts';
import { isResourceServer } from '../resource-servers/resource-servers.queries.ts';
import type { UserAccess } from '../roles/access.queries.ts';
import {
  claimablePermissions,
  claimableRoles,
  inOrganization,
  membershipIn,
  needsNames,
  passedOnBy,
} from '../roles/claimable.ts';
import { listPermissionNames } from '../roles/permission-names.queries.ts';
import { permissionsOf } from '../roles/permissions.ts';
import { organizationOf, organizationPrompt } from './organization-parameter.ts';
import { accessOfPerson, carriesRoles } from './person-access.ts';

/** Every claim of these; `claims` of the engine's configuration has the same ones. */
export const authorizationClaims = [...authorizationScopes, organizationPrompt] as const;
export type AuthorizationClaim = (typeof authorizationClaims)[number];

type Claims = Partial<Record<AuthorizationClaim, unknown>>;
/** The parameters after the first. */
type Rest<F> = F extends (first: never, ...rest: infer R) => unknown ? R : never;

export interface ClaimParts {
  db: Db;
  access: ClientAccess;
  config: Pick<Config, 'JWT_ISSUER' | 'JWT_AUD' | 'TOKEN_CLAIMS_BYTES'>;
  /** Paths of the engine's. */
  routes: { userinfo: string; introspection: string };
}

/** What may stand in one place; `bytes` of all the claims together, as JSON. */
interface Bounds {
  entries: number;
  bytes: number;
  /** Where what is left out can be had. */
  elsewhere: { name: string; endpoint: string };
}

const tokenEntriesMax = 200;
const userinfoEntriesMax = 10_000;
const userinfoBytesMax = 1024 * 1024;

const sizeOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

/**
 * Leaves out what is too large, the largest first, and says where it can be had instead (OpenID Connect Core section 5.6.2,
 * distributed claims). A list is there as a whole or not at all: a part of it would be taken for everything.
 */
export const withinBounds = (claims: Claims, { entries, bytes, elsewhere }: Bounds): Record<string, unknown> => {
  const sizes = Object.entries(claims)
    .map(([name, value]) => ({ name, value, size: sizeOf({ [name]: value }) }))
    .sort((a, b) => a.size - b.size);
  const kept: Record<string, unknown> = {};
  const left: string[] = [];
  let total = 0;
  for (const { name, value, size } of sizes) {
    const fits = total + size <= bytes && (!Array.isArray(value) || value.length <= entries);
    // Which organization a token is for is one short line, without which nobody would know what it is worth.
    if (fits || name === organizationPrompt) {
      kept[name] = value;
      total += size;
    } else left.push(name);
  }
  if (!left.length) return kept;
  return {
    ...kept,
    _claim_names: Object.fromEntries(left.map((name) => [name, elsewhere.name])),
    _claim_sources: { [elsewhere.name]: { endpoint: elsewhere.endpoint } },
  };
};

/** @param access as far as it counts for the organization, if there is one */
const describe = async (
  db: Db,
  access: UserAccess,
  organizationId: string | undefined,
  names: readonly AuthorizationClaim[],
  limited: UserAccess = access,
): Promise<Claims> => {
  const membership = membershipIn(access, organizationId);
  const limitedMembership = membershipIn(limited, organizationId);
  const claims: { [name in AuthorizationClaim]: () => unknown } = {
    roles: () => claimableRoles(access, membership),
    permissions: async () =>
      claimablePermissions(
        limited,
        limitedMembership,
        needsNames(limited, limitedMembership) ? await listPermissionNames(db) : [],
      ),
    groups: async () =>
      (
        await findGroupPaths(
          db,
          access.groups.map(({ id }) => id),
        )
      )
        .filter((group) => !organizationId || !group.organizationId || group.organizationId === organizationId)
        .map(groupText)
        .sort(),
    organizations: () => access.organizations.map(({ id, name, kind, roles }) => ({ id, name, kind, roles })),
    organization: () => membership && { id: membership.id, name: membership.name },
  };
  const described = await Promise.all(names.map(async (name) => [name, await claims[name]()] as const));
  return Object.fromEntries(described.filter(([, value]) => value !== undefined));
};

/** The parts of the engine's tokens that are looked at. */
interface Token {
  accountId?: string;
  clientId?: string;
  aud?: string | string[];
  scope?: string;
  organizationId?: string;
  grantId?: string;
  extra?: Record<string, unknown>;
  client?: { clientId: string; audience?: string };
}

const audiencesOf = ({ aud }: Token): string[] => (aud === undefined ? [] : [aud].flat());

/** What the token's permissions are taken from: see `tokenClaims`. */
const limit = async ({ access: asked, config }: ClaimParts, token: Token, access: UserAccess): Promise<UserAccess> => {
  const isHere = audiencesOf(token).includes(config.JWT_AUD);
  const isOwn = isOwnTo(await asked.standingOf(token.clientId ?? token.client?.clientId ?? ''), access);
  return isOwn && !isHere ? access : passedOnBy(access, permissionsOf(token.scope?.split(' ') ?? []));
};

/** What may stand where. */
const boundsOf = ({ config, routes }: ClaimParts) => {
  const endpoint = (path: string) => `${config.JWT_ISSUER}${path}`;
  const inToken = { entries: tokenEntriesMax, bytes: config.TOKEN_CLAIMS_BYTES };
  return {
    id_token: { ...inToken, elsewhere: { name: 'userinfo', endpoint: endpoint(routes.userinfo) } },
    access_token: { ...inToken, elsewhere: { name: 'introspection', endpoint: endpoint(routes.introspection) } },
    userinfo: {
      entries: userinfoEntriesMax,
      bytes: userinfoBytesMax,
      elsewhere: { name: 'me', endpoint: endpoint('/auth/me') },
    },
  };
};

/** Of an account's `claims()`: what the person has agreed to, by a scope that the token has or claim by claim. */
const accountClaims = async (
  parts: ClaimParts,
  ctx: KoaContextWithOIDC,
  userId: string,
  use: string,
  scope: string,
  asked: object,
): Promise<Record<string, unknown>> => {
  const { grant } = ctx.oidc;
  const bounds = boundsOf(parts);
  if (!grant) return {};
  const scopes = grant.getOIDCScopeFiltered(new Set(scope.split(' '))).split(' ');
  const organizationId = organizationOf(ctx);
  const names = authorizationClaims.filter((name) =>
    name === organizationPrompt
      ? organizationId !== undefined && grant.getOIDCClaims().includes(name)
      : scopes.includes(name) || name in asked,
  );
  if (!names.length) return {};
  const access = inOrganization(await parts.access.of(userId), organizationId);
  if (!access) return {};
  const claims = await describe(parts.db, access, organizationId, names);
  return withinBounds(claims, use === 'userinfo' ? bounds.userinfo : bounds.id_token);
};

/**
 * Of `extraTokenClaims`, for a token that has an audience. `roles`, `groups` and `organizations` tell who somebody is;
 * `permissions` are what whoever holds the token may do, so that those of somebody else's application, and all for this
 * API, are no more than its scope names. An API that nobody registered is told nothing.
 */
const tokenClaims = async (
  parts: ClaimParts,
  ctx: KoaContextWithOIDC | undefined,
  token: object,
): Promise<Record<string, unknown>> => {
  const { db, config } = parts;
  const { accountId, organizationId, client } = token as Token;
  const audiences = audiencesOf(token as Token);
  const [audience] = audiences;
  if (!accountId || audience === undefined) return {};
  const { AuthorizationCode, RefreshToken, DeviceCode, BackchannelAuthenticationRequest } = (ctx?.oidc.entities ??
    {}) as Record<string, { scopes: Set<string> } | undefined>;
  const source = RefreshToken ?? AuthorizationCode ?? DeviceCode ?? BackchannelAuthenticationRequest;
  const wanted = ctx?.oidc.params?.scope ? ctx.oidc.requestParamScopes : source?.scopes;
  const granted = source && wanted ? (ctx?.oidc.grant?.getOIDCScopeFiltered(wanted) ?? '').split(' ') : [];
  const scopes = authorizationScopes.filter((name) => granted.includes(name));
  const isKnown =
    scopes.length > 0 &&
    (audience === config.JWT_AUD || audience === client?.audience || (await isResourceServer(db, audience)));
  const tells: Record<AuthorizationClaim, boolean> = {
    roles: (isKnown && scopes.includes('roles')) || (await carriesRoles(parts.access, token)),
    permissions: isKnown && scopes.includes('permissions'),
    groups: isKnown && scopes.includes('groups'),
    organizations: isKnown && scopes.includes('organizations'),
    organization: organizationId !== undefined,
  };
  const names = authorizationClaims.filter((name) => tells[name]);
  if (!names.length) return {};
  const access = await accessOfPerson(parts.access, token, accountId);
  if (!access) return tells.roles ? { roles: [] } : {};
  const limited = names.includes('permissions') ? await limit(parts, token as Token, access) : access;
  return withinBounds(await describe(db, access, organizationId, names, limited), boundsOf(parts).access_token);
};

/**
 * What introspection tells in place of what the token was made with: the claims that it has, as they are now. Of an opaque
 * token for userinfo those that userinfo would tell by its scopes.
 */
const introspected = async (parts: ClaimParts, token: object, access: UserAccess): Promise<Record<string, unknown>> => {
  const { extra = {}, organizationId, scope = '' } = token as Token;
  const {
    _claim_names: left,
    _claim_sources: _sources,
    ...rest
  } = extra as Record<'_claim_names' | '_claim_sources', object | undefined>;
  const forUserinfo = !audiencesOf(token as Token).length;
  const has = (name: AuthorizationClaim): boolean =>
    name === organizationPrompt
      ? organizationId !== undefined
      : name in rest || name in (left ?? {}) || (forUserinfo && scope.split(' ').includes(name));
  const names = authorizationClaims.filter(has);
  const limited = names.includes('permissions') && !forUserinfo ? await limit(parts, token as Token, access) : access;
  return { ...rest, ...(await describe(parts.db, access, organizationId, names, limited)) };
};

export const createAuthorizationClaims = (parts: ClaimParts) => ({
  accountClaims: (...args: Rest<typeof accountClaims>) => accountClaims(parts, ...args),
  tokenClaims: (...args: Rest<typeof tokenClaims>) => tokenClaims(parts, ...args),
  introspected: (...args: Rest<typeof introspected>) => introspected(parts, ...args),
});

export type AuthorizationClaims = ReturnType<typeof createAuthorizationClaims>;
