/** The form of the profile page: its fields, and how they become a profile. */
import { z } from 'zod';
import { BirthDate, Locale, PersonName, TimeZone, TypedPhoneNumber } from '../../src/http/schemas.ts';
import type { Pii } from '../../src/users/pii.ts';
import type { User } from '../../src/users/users.queries.ts';
import type { ProfileField } from '../account-props.ts';

const optional = <S extends z.ZodType>(schema: S) =>
  z.preprocess((value) => (typeof value === 'string' && value.trim() ? value.trim() : undefined), schema.optional());
const text = optional(
  z
    .string()
    .max(200)
    .regex(/^[^\p{Cc}]+$/u),
);
const lines = optional(
  z
    .string()
    .max(500)
    .transform((value) => value.replace(/\r\n?/g, '\n'))
    .pipe(z.string().regex(/^[^\p{Cc}]+(\n+[^\p{Cc}]+)*$/u)),
);
const link = optional(z.url({ protocol: /^https?$/ }).max(500));

export const ProfileForm = z.object({
  name: PersonName,
  given_name: text,
  family_name: text,
  middle_name: text,
  nickname: text,
  preferred_username: text,
  gender: text,
  profile: link,
  picture: link,
  website: link,
  birthdate: optional(BirthDate),
  zoneinfo: optional(TimeZone),
  locale: optional(Locale),
  phone_number: optional(TypedPhoneNumber),
  street_address: lines,
  locality: text,
  region: text,
  postal_code: text,
  country: text,
  formatted: lines,
});

/** What is sealed: everything but name and language; what was left empty is left out. */
export const toPii = ({ name: _name, locale: _locale, ...form }: z.output<typeof ProfileForm>): Pii => {
  const { formatted, street_address, locality, region, postal_code, country, ...pii } = form;
  const address = Object.fromEntries(
    Object.entries({ formatted, street_address, locality, region, postal_code, country }).filter(
      ([, value]) => value !== undefined,
    ),
  );
  return {
    ...Object.fromEntries(Object.entries(pii).filter(([, value]) => value !== undefined)),
    ...(Object.keys(address).length ? { address } : {}),
  };
};

/** What the fields hold: what was typed, or what is known. */
export const profileValues = (
  user: User,
  pii: Pii,
  typed: Record<string, unknown> | undefined,
): Record<ProfileField, string> => {
  const { address = {}, ...rest } = pii;
  const known: Record<string, unknown> = typed ?? { name: user.name, locale: user.locale, ...rest, ...address };
  const names = [...Object.keys(ProfileForm.shape)] as ProfileField[];
  return Object.fromEntries(
    names.map((name) => [name, typeof known[name] === 'string' ? String(known[name]).slice(0, 1000) : '']),
  ) as Record<ProfileField, string>;
};
