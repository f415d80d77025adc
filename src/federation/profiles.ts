/** What a provider says of somebody, made into an address, a profile, roles and methods of ours by rule. */
import { acrValues } from '../auth/authentication-context.ts';
import { Locale } from '../http/schemas.ts';
import { normalizeEmail } from '../users/users.queries.ts';
import { type IdentityProvider, type ProfileMember, profileMembers } from './identity-providers.ts';
import { isAnyTenant } from './presets.ts';
import type { JsonObject } from './upstream-requests.ts';

/** Somebody whom a provider has signed in, as it tells. */
export interface UpstreamPerson {
  providerId: string;
  issuer: string;
  subject: string;
  email?: string;
  /** The provider is trusted for addresses and says that this one is verified. */
  emailProven: boolean;
  /** For whoever has no name here yet. */
  name?: string;
  /** What the provider's `claims` rules fill at each sign-in. */
  profile: Partial<Record<ProfileMember, string>>;
  /** What a new account begins with. */
  firstProfile: Partial<Record<ProfileMember, string>>;
  /** Names of roles by the provider's rules. */
  roles: string[];
  /** Methods of ours (RFC 8176). */
  amr: string[];
  /** When they signed in there, in seconds since the epoch, if it says so. */
  authTime?: number;
}

const addressPattern = /^[^\s@<>()[\]\\,;:"\p{Cc}]{1,64}@[^\s@\p{Cc}]{1,190}$/u;

/** A claim by its whole name, else member by member. */
export const claimAt = (claims: JsonObject, name: string): unknown => {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const member of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, member)) return undefined;
    value = (value as JsonObject)[member];
  }
  return value;
};

const isTrue = (value: unknown): boolean => value === true || value === 'true' || value === 1 || value === '1';

/**
 * Whether our form of an address is the one that the provider has verified. Letters that Unicode folds together (NFKC; U+212A
 * becomes a `k`) are another mailbox to it: the owner of one must not pass for the owner of the other.
 */
const isSameMailbox = (given: string, ours: string): boolean =>
  given.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) === ours;

/** Whether the provider says that the address is its person's, in its own way. */
const saysVerified = (provider: IdentityProvider, claims: JsonObject): boolean => {
  switch (provider.metadata.preset) {
    case 'facebook':
      // It gives no other addresses than confirmed ones, but promises that nowhere.
      return claims.email_verified === undefined || isTrue(claims.email_verified);
    case 'microsoft':
      // `email` is whatever an administrator of that tenant has typed in. The domain's owner was checked if `xms_edov` says so.
      return claims.xms_edov === undefined ? !isAnyTenant(provider) : isTrue(claims.xms_edov);
    default:
      return isTrue(claims.email_verified);
  }
};

const textOf = (value: unknown, max = 255): string | undefined => {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string') return undefined;
  // What nobody sees but what turns the text around, or makes it another's, is refused of people who type their name as well.
  const clean = text.replace(/[\p{C}\u2028\u2029]/gu, '').trim();
  return clean && clean.length <= max ? clean : undefined;
};

const linkMembers = new Set<ProfileMember>(['profile', 'picture', 'website']);

/** A value that the profile page would take; anything else is left out rather than refused. */
const memberOf = (member: ProfileMember, value: unknown): string | undefined => {
  const text = textOf(value, linkMembers.has(member) ? 500 : 100);
  if (!text) return undefined;
  if (linkMembers.has(member)) return URL.parse(text)?.protocol === 'https:' ? text : undefined;
  if (member === 'birthdate') return /^\d{4}-\d{2}-\d{2}$/.test(text) ? text : undefined;
  if (member === 'locale') return Locale.safeParse(text.replaceAll('_', '-')).data;
  if (member === 'zoneinfo') return /^[A-Za-z_+-]+(\/[A-Za-z0-9_+-]+)*$/.test(text) ? text : undefined;
  return text;
};

const profileOf = (claims: JsonObject, rules: Partial<Record<ProfileMember, string>>): UpstreamPerson['profile'] =>
  Object.fromEntries(
    profileMembers.flatMap((member) => {
      const claim = rules[member];
      const value = claim === undefined ? undefined : memberOf(member, claimAt(claims, claim));
      return value === undefined ? [] : [[member, value]];
    }),
  );

const valuesOf = (value: unknown): string[] =>
  [value].flat().flatMap((one) => (['string', 'number', 'boolean'].includes(typeof one) ? [String(one)] : []));

const rolesOf = (claims: JsonObject, { metadata: { roles } }: IdentityProvider): string[] => [
  ...new Set(
    roles.filter(({ claim, value }) => valuesOf(claimAt(claims, claim)).includes(value)).map(({ role }) => role),
  ),
];

/** Whether two factors were shown there, as far as the provider is trusted to say so. */
const isMultiFactor = ({ metadata: { trust_acr: trusted } }: IdentityProvider, claims: JsonObject): boolean => {
  if (trusted === false) return false;
  const said = [...valuesOf(claims.acr), ...valuesOf(claims.amr)];
  if (trusted === true)
    return said.some((value) => value === 'mfa' || (acrValues as readonly string[]).indexOf(value) > 0);
  return said.some((value) => trusted.includes(value));
};

/** RFC 8176: somebody else vouches for them, with two factors if so. */
const amrOf = (provider: IdentityProvider, claims: JsonObject): string[] => [
  'fed',
  ...(isMultiFactor(provider, claims) ? ['mfa'] : []),
];

/** What the claims say of somebody. @param name what is known of the name beside the claims */
export const personOf = (
  provider: IdentityProvider,
  { issuer, subject, claims }: { issuer: string; subject: string; claims: JsonObject },
  name?: string,
): UpstreamPerson => {
  const address = textOf(claims.email, 254);
  const email = address && addressPattern.test(address) ? normalizeEmail(address) : undefined;
  const profile = profileOf(claims, provider.metadata.claims);
  const known = profile.name ?? memberOf('name', claims.name) ?? memberOf('name', name);
  const authTime = claims.auth_time;
  return {
    providerId: provider.id,
    issuer,
    subject,
    ...(email ? { email } : {}),
    emailProven:
      email !== undefined &&
      isSameMailbox(String(claims.email), email) &&
      provider.metadata.trust_email &&
      saysVerified(provider, claims),
    ...(known ? { name: known } : {}),
    profile,
    firstProfile: profileOf(claims, {
      given_name: 'given_name',
      family_name: 'family_name',
      ...provider.metadata.claims,
    }),
    roles: rolesOf(claims, provider),
    amr: amrOf(provider, claims),
    // Before 1970 nobody signed in; far enough before, it is no date at all.
    ...(typeof authTime === 'number' && Number.isSafeInteger(authTime) && authTime >= 0 ? { authTime } : {}),
  };
};
