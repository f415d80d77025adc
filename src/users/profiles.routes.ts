/** Profiles over REST: what people say of themselves, as the standard claims of OpenID Connect Core section 5.1. */
import { z } from 'zod';
import { notFound } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { BirthDate, Id, Locale, PersonName, PhoneNumber, Time, TimeZone } from '../http/schemas.ts';
import { openPii, type Pii } from './pii.ts';
import { changeProfile, type ProfileDeps } from './profiles.commands.ts';
import { findUser, type User } from './users.queries.ts';
import { userParams, withinAccount } from './users.routes.ts';

const line = (example: string, max = 200) =>
  z
    .string()
    .trim()
    .min(1)
    .max(max)
    .regex(/^[^\p{Cc}]+$/u, 'must not contain control characters')
    .meta({ example });
const lines = (example: string) =>
  z
    .string()
    .trim()
    .min(1)
    .max(500)
    .regex(/^[^\p{Cc}]+(\n+[^\p{Cc}]+)*$/u, 'must not contain control characters but line feeds')
    .meta({ example });
const link = (example: string) =>
  z
    .url({ protocol: /^https?$/ })
    .max(500)
    .meta({ example });

const address = {
  formatted: lines('1 Analytical Row\nLondon'),
  street_address: lines('1 Analytical Row'),
  locality: line('London'),
  region: line('England'),
  postal_code: line('N1 9GU'),
  country: line('United Kingdom'),
};
const claims = {
  given_name: line('Ada'),
  family_name: line('Lovelace'),
  middle_name: line('King'),
  nickname: line('Ada'),
  preferred_username: line('ada'),
  gender: line('female'),
  profile: link('https://example.com/ada'),
  picture: link('https://example.com/ada.png'),
  website: link('https://example.com'),
  birthdate: BirthDate,
  zoneinfo: TimeZone,
  phone_number: PhoneNumber,
};

const NewProfile = z
  .object({
    name: PersonName,
    locale: Locale.nullable().default(null),
    ...z.object(claims).partial().shape,
    address: z.object(address).partial().optional(),
  })
  .meta({ id: 'NewProfile' });

/** What is shown was checked when it was written, or came from elsewhere by other rules. */
const shown = z.string().optional();
const shownOf = <K extends string>(members: Readonly<Record<K, z.ZodType>>) =>
  Object.fromEntries(
    Object.entries<z.ZodType>(members).map(([name, schema]) => [
      name,
      shown.meta({ example: String(schema.meta()?.example) }),
    ]),
  ) as Record<K, typeof shown>;

const UserProfile = z
  .object({
    id: Id,
    name: z.string().meta({ example: 'Ada Lovelace' }),
    locale: z.string().nullable().meta({ example: 'en' }),
    ...shownOf(claims),
    phone_number_verified: z.boolean().meta({ example: false }),
    address: z.object(shownOf(address)).optional(),
    updatedAt: Time,
  })
  .meta({ id: 'UserProfile' });

const toProfile = ({ id, name, locale, updatedAt }: User, pii: Pii) => ({
  ...pii,
  id,
  name,
  locale,
  phone_number_verified: pii.phone_number_verified ?? false,
  updatedAt: updatedAt.toISOString(),
});

/** What was left out, or is empty, is not there. */
const given = <T extends object>(members: T): Partial<T> =>
  Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined && Object.keys(value).length > 0),
  ) as Partial<T>;

export const profileRoutes = (deps: ProfileDeps): Route[] => {
  const read = async (id: string) => {
    const user = await findUser(deps.db, id);
    if (!user || user.status === 'closed') throw notFound('user');
    return toProfile(user, openPii(deps.secrets, user));
  };
  return [
    route({
      id: 'getProfile',
      method: 'get',
      path: '/users/:id/profile',
      tag: 'Users',
      summary: 'See a profile: one’s own, of one’s organization, or anybody’s',
      description: 'Members are named as the standard claims of OpenID Connect; what nobody has said is left out.',
      access: 'users:read:own',
      owner: ({ id }) => id,
      within: withinAccount,
      params: userParams,
      returns: UserProfile,
      status: 200,
      problems: { 404: ['user_not_found'] },
      handle: ({ params }) => read(params.id),
    }),
    route({
      id: 'replaceProfile',
      method: 'put',
      path: '/users/:id/profile',
      tag: 'Users',
      summary: 'Replace a profile: one’s own, of one’s organization, or anybody’s',
      description:
        'What is left out is removed. An organization’s administrators replace profiles of accounts that belong to no other organization, and hold no more than they do. A number that changes is no longer verified: replacing a verified one takes its owner’s sign-in at an application of the service’s own, or users:write:any.',
      access: 'users:write:own',
      owner: ({ id }) => id,
      within: withinAccount,
      params: userParams,
      body: NewProfile,
      returns: UserProfile,
      status: 200,
      problems: { 403: ['rank_too_low', 'exceeds_yours', 'session_needed'], 404: ['user_not_found'] },
      handle: async ({ params, body: { name, locale, address, ...claims }, caller, actor }) => {
        const pii = given({ ...claims, address: address && given(address) }) as Pii;
        await changeProfile(deps, actor, caller, params.id, { name, locale, pii });
        return read(params.id);
      },
    }),
  ];
};
