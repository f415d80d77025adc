/** Standard claims (OpenID Connect Core section 5.1) from a user's row and sealed document. */
import type { Account, Client, FindAccount } from 'oidc-provider';
import { findArriving } from '../../adapters/begun-sessions.ts';
import type { FreshLogin } from '../../adapters/oidc-storage.ts';
import { cameWithToken } from '../../adapters/token-reads.ts';
import type { Db } from '../../db/connect.ts';
import { hasSecondFactor } from '../auth/authentication-context.ts';
import { authorizationScopes } from '../clients/identity-scopes.ts';
import { isId } from '../roles/access.queries.ts';
import type { Access } from '../roles/access.ts';
import { membershipIn } from '../roles/claimable.ts';
import type { Secrets } from '../secrets.ts';
import { openPii } from '../users/pii.ts';
import type { User } from '../users/users.queries.ts';
import type { AuthorizationClaims } from './authorization-claims.ts';
import type { NeedsMfa } from './consent.ts';

/** `claims` of the engine's configuration: which claims a scope asks for (section 5.4). */
export const scopeClaims = {
  // How the person signed in is not in the account: userinfo, which knows no sign-in, leaves it out.
  // Ours are in id_tokens too (section 5.4 keeps those of its own scopes for userinfo), so this one lets them pass: `claims()` hands out
  // those alone that were asked for and agreed to.
  openid: ['sub', 'acr', 'amr', 'auth_time', ...authorizationScopes, 'organization'],
  ...Object.fromEntries(authorizationScopes.map((scope) => [scope, [scope]])),
  profile: [
    'name',
    'family_name',
    'given_name',
    'middle_name',
    'nickname',
    'preferred_username',
    'profile',
    'picture',
    'website',
    'gender',
    'birthdate',
    'zoneinfo',
    'locale',
    'updated_at',
  ],
  email: ['email', 'email_verified'],
  phone: ['phone_number', 'phone_number_verified'],
  address: ['address'],
};

/** Everything that may be claimed of the user. The engine hands out only what was asked for and granted. */
export const claimsOf = (secrets: Secrets, user: User): { sub: string } & Record<string, unknown> => {
  const { address, phone_number, phone_number_verified, attributes: _kept, ...profile } = openPii(secrets, user);
  return {
    sub: user.id,
    name: user.name,
    ...profile,
    locale: user.locale ?? undefined,
    updated_at: Math.floor(user.updatedAt.getTime() / 1000),
    email: user.email,
    email_verified: user.emailVerifiedAt !== null,
    ...(phone_number ? { phone_number, phone_number_verified: phone_number_verified === true } : {}),
    ...(address ? { address: { formatted: formatAddress(address), ...address } } : {}),
  };
};

/** The address as one text, its lines separated by newlines (section 5.1.1). */
const formatAddress = ({
  street_address,
  postal_code,
  locality,
  region,
  country,
}: Record<string, string | undefined>): string =>
  [street_address, [postal_code, locality].filter(Boolean).join(' '), region, country].filter(Boolean).join('\n');

/** What is given at a sign-in and used later. */
const outliving: ReadonlySet<string | undefined> = new Set([
  'RefreshToken',
  'AuthorizationCode',
  'DeviceCode',
  'BackchannelAuthenticationRequest',
]);

/** Whether what was given at a sign-in came of one that would not do any more, for its person or its application. */
const lacksFactor = async (
  userId: string,
  { amr }: { amr?: string[] },
  client: Client | undefined,
  needsMfa: NeedsMfa,
): Promise<boolean> => {
  if (amr?.includes('mfa')) return false;
  return Boolean(client?.require_mfa) || (!hasSecondFactor({ amr }) && (await needsMfa(userId)));
};

/** `findAccount`: a user who is not active has no account as far as the protocol is concerned. */
export const createFindAccount =
  (
    db: Db,
    secrets: Secrets,
    needsMfa: NeedsMfa,
    access: Access,
    authorizationClaims: AuthorizationClaims['accountClaims'],
  ): FindAccount =>
  async (ctx, id, token): Promise<Account | undefined> => {
    // The `sub` of a pairwise client, which the engine takes for an account where it begins with an id_token_hint alone (CIBA).
    if (!isId(id)) return undefined;
    const known = cameWithToken('users', id);
    const user = known ? known.found : await findArriving(db, id);
    if (user?.status !== 'active') return undefined;
    const { credential } = (ctx?.oidc?.result?.login ?? {}) as FreshLogin;
    if (credential !== undefined && Number(user.passwordChangedAt ?? 0) !== credential) return undefined;
    // What was given before a second factor was needed gives nothing any more.
    if (
      token &&
      outliving.has(token.kind) &&
      (await lacksFactor(user.id, token as { amr?: string[] }, ctx?.oidc.client, needsMfa))
    )
      return undefined;
    // What is for one organization ends for whoever leaves it.
    const { organizationId } = (token ?? {}) as { organizationId?: string };
    if (organizationId !== undefined) {
      const held = await access.of(user.id);
      if (!held || !membershipIn(held, organizationId)) return undefined;
    }
    return {
      accountId: user.id,
      claims: async (use, scope, asked) => ({
        ...claimsOf(secrets, user),
        ...(await authorizationClaims(ctx, user.id, use, scope, asked)),
      }),
    };
  };
