/** What a Keycloak user says of themselves as a profile here: claims of OpenID Connect, and the rest kept as it is. */
import { Email, Locale, PersonName } from '../http/schemas.ts';
import type { Pii } from '../users/pii.ts';
import { normalizeEmail } from '../users/users.queries.ts';
import type { KeycloakUser } from './realm.ts';
import type { Reporter } from './report.ts';

/** Attributes by the claim that they are, in the names that Keycloak's mappers and its user profile use. */
const claims: Record<string, keyof Omit<Pii, 'address' | 'attributes' | 'phone_number_verified'>> = {
  middleName: 'middle_name',
  middle_name: 'middle_name',
  nickname: 'nickname',
  profile: 'profile',
  picture: 'picture',
  website: 'website',
  gender: 'gender',
  birthdate: 'birthdate',
  zoneinfo: 'zoneinfo',
  phoneNumber: 'phone_number',
  phone_number: 'phone_number',
  phone: 'phone_number',
  mobile: 'phone_number',
};
const addressMembers: Record<string, keyof NonNullable<Pii['address']>> = {
  street: 'street_address',
  locality: 'locality',
  region: 'region',
  postal_code: 'postal_code',
  country: 'country',
  formatted: 'formatted',
};

/** What cannot be shown, or stored, is no text of a profile. */
const isText = (value: string, max: number) => value.length <= max && /^[^\p{Cc}\p{Cs}]+$/u.test(value);

const isWeb = (value: string) => ['http:', 'https:'].includes(URL.parse(value)?.protocol ?? '');
const checks: Partial<Record<keyof Pii, (value: string) => boolean>> = {
  phone_number: (value) => /^\+[1-9]\d{6,14}$/.test(value),
  birthdate: (value) => /^\d{4}(-\d\d-\d\d)?$/.test(value),
  profile: isWeb,
  picture: isWeb,
  website: isWeb,
};

const attributeBytesMax = 16 * 1024;

/** Attributes that became claims are gone from `rest`. */
const mapAttributes = (attributes: KeycloakUser['attributes']): { pii: Pii; rest: Record<string, string[]> } => {
  const pii: Pii = {};
  const rest: Record<string, string[]> = {};
  for (const [name, values] of Object.entries(attributes)) {
    const [value = ''] = values;
    const claim = Object.hasOwn(claims, name) ? claims[name] : undefined;
    const member = Object.hasOwn(addressMembers, name) ? addressMembers[name] : undefined;
    const isOne = values.length === 1 && isText(value, 500);
    if (claim && isOne && pii[claim] === undefined && (checks[claim]?.(value) ?? true)) pii[claim] = value;
    else if (member && isOne) pii.address = { ...pii.address, [member]: value };
    else if (name !== 'locale' && values.some(Boolean)) rest[name] = values;
  }
  return { pii, rest };
};

/** Without what PostgreSQL's jsonb, a page or a log could not take. */
const clean = (text: string) => text.replace(/\p{C}/gu, '');

/** The name to show; a username, or the address, where there is none that can be. */
const nameOf = ({ firstName, lastName, username }: KeycloakUser, email: string, reporter: Reporter): string => {
  const given = [firstName, lastName].filter(Boolean).join(' ').trim();
  if (PersonName.safeParse(given).success) return given;
  const best = clean(given).trim().slice(0, 100) || clean(username).trim().slice(0, 100);
  if (given || !best) reporter.note('user-name-changed', username);
  return best || email.slice(0, 100);
};

export interface ImportedProfile {
  email: string;
  name: string;
  locale: string | null;
  pii: Pii;
}

/** @returns the reason when nobody can be mailed there */
export const toProfile = (
  user: KeycloakUser,
  reporter: Reporter,
): ImportedProfile | 'user-without-email' | 'user-bad-email' => {
  const { username, firstName, lastName } = user;
  if (!user.email?.trim()) return 'user-without-email';
  const email = Email.safeParse(normalizeEmail(user.email));
  if (!email.success) return 'user-bad-email';
  const { pii, rest } = mapAttributes(user.attributes);
  if (firstName && isText(firstName, 100)) pii.given_name = firstName;
  if (lastName && isText(lastName, 100)) pii.family_name = lastName;
  if (normalizeEmail(username) !== email.data && isText(username, 255)) {
    pii.preferred_username = username;
    reporter.note('user-username', username);
  }
  const kept = JSON.stringify(rest);
  if (Object.keys(rest).length) {
    const fits = Buffer.byteLength(kept) <= attributeBytesMax;
    if (fits) pii.attributes = rest;
    reporter.note(fits ? 'attribute-kept' : 'attribute-dropped', `${username}: ${Object.keys(rest).join(' ')}`);
  }
  const locale = Locale.safeParse(user.attributes.locale?.[0]);
  return {
    email: email.data,
    name: nameOf(user, email.data, reporter),
    locale: locale.success ? locale.data : null,
    pii,
  };
};
