/**
 * Tokens for somebody who signed in without a browser: REST, and the password grant. They are the engine's own models, so
 * that they refresh, are revoked and end with their session like any other.
 */
import { type Client, errors, type Provider } from 'oidc-provider';
import { inDirectSignIn } from '../../adapters/oidc-storage.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { acrOf } from '../auth/authentication-context.ts';
import type { SignIn } from '../auth/record-sign-in.commands.ts';
import type { ClientAccess } from '../clients/client-access.ts';
import type { NewClient } from '../clients/client-metadata.ts';
import { tokenExchange } from '../clients/grant-types.ts';
import type { Config } from '../config.ts';
import { heldAnywhere, type UserAccess } from '../roles/access.queries.ts';
import type { Access } from '../roles/access.ts';
import { inOrganization } from '../roles/claimable.ts';
import { expand, intersect, mayPassOn, permissionsOf, permits } from '../roles/permissions.ts';
import { randomToken } from '../secrets.ts';
import { chooseOrganization } from './organization-parameter.ts';
import { apiResource, defaultResource } from './resources.ts';
import type { TokenBinding } from './sender-constraints.ts';

/** The REST API as a client of the provider: first-party, so whoever signs in through it may do all that their roles allow. */
export const restClientId = 'countersign-rest';
export const restClient = (brand: string): NewClient => ({
  client_name: `${brand} API`,
  redirect_uris: [],
  response_types: [],
  grant_types: ['refresh_token', tokenExchange],
  token_endpoint_auth_method: 'none',
  // Each token passes on of that what its user holds.
  scope: '*:*:*',
  first_party: true,
});

/** RFC 6749 section 5.1. */
export interface TokenResponse {
  access_token: string;
  token_type: 'Bearer' | 'DPoP';
  expires_in: number;
  refresh_token?: string;
  scope?: string;
}

export interface TokenIssuer {
  provider: Provider;
  access: ClientAccess;
  config: Config;
}

/** The scopes of the API that a client may ask for. */
export const clientScope = (client: Client): string[] =>
  String(client.api_scope ?? '')
    .split(' ')
    .filter(Boolean);

/**
 * The scope of a token that speaks for this user: of permissions, what the user holds as well; of two that overlap the
 * narrower one. An API that reads the scope alone must find nothing in it that the person may not do.
 */
export const userScope = (access: UserAccess | undefined, scope: readonly string[]): string[] =>
  passedOn(access ? heldAnywhere(access) : [], scope);

/** What was passed on of permissions, which are one object for as long as they are remembered, by the scope that was asked for. */
const machineScopes = new WeakMap<readonly string[], Map<string, string>>();
const scopesMax = 100;

/** Likewise of a token that a client gets for itself: no more than whoever registered it could do today. */
export const machineScope = async (access: ClientAccess, scope: string, clientId: string): Promise<string> => {
  const names = scope.split(' ');
  if (!permissionsOf(names).length) return scope;
  const held = (await access.standingOf(clientId))?.permissions;
  if (!held) return passedOn([], names).join(' ');
  const scopes = machineScopes.get(held) ?? new Map<string, string>();
  machineScopes.set(held, scopes);
  const known = scopes.get(scope);
  if (known !== undefined) return known;
  const passed = passedOn(held, names).join(' ');
  if (scopes.size < scopesMax) scopes.set(scope, passed);
  return passed;
};

/** A wildcard that includes what is denied is replaced by what it otherwise stands for. */
const passedOn = (held: readonly string[], scope: readonly string[]): string[] => {
  const permissions = permissionsOf(scope);
  const passed = intersect(held, permissions)
    .filter((name) => !name.startsWith('!'))
    .flatMap((name) => (mayPassOn(held, name) ? [name] : expand(name).filter((one) => permits(held, one))));
  const kept = scope.filter((name) => !permissions.includes(name) || passed.includes(name));
  return [...new Set([...kept, ...passed])];
};

/**
 * Begins a session and gives the client tokens for it.
 * @param scope narrows what the client may have
 * @param organization what the tokens are for: the id of one that the person belongs to, or `select` for the only one that they do
 * @throws the engine's AccessDenied when the password has changed or the account was deactivated since the sign-in
 */
export const issueTokens = async (
  { provider, access, config }: TokenIssuer,
  actor: Actor,
  { userId: accountId, amr, ts, credential, signInId }: SignIn,
  {
    clientId,
    scope: wanted,
    binding,
    organization,
  }: {
    clientId: string;
    scope?: string | undefined;
    binding?: TokenBinding;
    organization?: string | undefined;
  },
): Promise<TokenResponse> => {
  const client = await provider.Client.find(clientId);
  if (!client) throw new errors.InvalidClient('client not found');
  const allowed = clientScope(client);
  const organizationId = organization && organizationFor(await access.of(accountId), organization);
  const scope = (
    wanted === undefined ? allowed : await narrowed(access, accountId, allowed, wanted, organizationId)
  ).join(' ');
  const resource = defaultResource(config.JWT_ISSUER);

  const grantId = randomToken();
  const session = new provider.Session();
  const acr = acrOf(amr);
  session.loginAccount({ accountId, loginTs: ts, amr, acr });
  session.ensureClientContainer(clientId);
  session.grantIdFor(clientId, grantId);

  return inDirectSignIn(
    {
      credential,
      ...(signInId ? { signInId } : {}),
      authentication: { acr, amr, authTime: ts },
      sessionUid: session.uid,
      userAgent: actor.userAgent ?? null,
      address: actor.address ?? null,
    },
    async () => {
      const common = {
        accountId,
        client,
        grantId,
        sessionUid: session.uid,
        expiresWithSession: true,
        gty: 'password',
        scope,
        ...(organizationId ? { organizationId } : {}),
      };
      const accessToken = new provider.AccessToken(common as never);
      accessToken.resourceServer = new provider.ResourceServer(resource, apiResource(config, client, scope));
      // Before anything is saved: a proof that was used before gives nothing.
      await binding?.bind(accessToken);
      await session.save(config.SESSION_MAX_TTL);
      const grant = new provider.Grant({ accountId, clientId, jti: grantId } as never);
      if (scope) grant.addResourceScope(resource, scope);
      await grant.save();
      const refreshToken = client.grantTypeAllowed('refresh_token')
        ? new provider.RefreshToken({ ...common, resource, amr, acr, authTime: ts } as never)
        : undefined;
      if (refreshToken) await binding?.bindRefresh(accessToken, refreshToken);
      const access_token = await accessToken.save();
      const refresh_token = await refreshToken?.save();
      return {
        access_token,
        token_type: accessToken.tokenType as 'Bearer' | 'DPoP',
        expires_in: accessToken.expiration,
        ...(refresh_token ? { refresh_token } : {}),
        ...(accessToken.scope ? { scope: accessToken.scope } : {}),
      };
    },
  );
};

/** @throws InvalidGrant, InvalidRequest when it is not one that they belong to, or somebody would have to choose */
export const organizationFor = (access: UserAccess | undefined, wanted: string): string => {
  const choice = chooseOrganization(access ?? { organizations: [] }, wanted);
  if (choice.kind === 'chosen') return choice.organization.id;
  if (choice.kind === 'ask') throw new errors.InvalidRequest('organization must be the id of one');
  throw new errors.InvalidGrant('the account does not belong to an organization that this is for');
};

/** @throws InvalidScope when something is asked for that the client or the user cannot have (RFC 6749 section 5.2) */
const narrowed = async (
  access: Access,
  userId: string,
  allowed: string[],
  wanted: string,
  organizationId: string | undefined,
): Promise<string[]> => {
  const names = [...new Set(wanted.split(' ').filter(Boolean))];
  const here = inOrganization(await access.of(userId), organizationId);
  const held = here ? heldAnywhere(here) : [];
  const has = (name: string) =>
    permissionsOf([name]).length ? permits(allowed, name) && permits(held, name) : allowed.includes(name);
  const missing = names.filter((name) => !has(name));
  if (missing.length) throw new errors.InvalidScope('requested scope is not allowed', missing.join(' '));
  return names;
};
