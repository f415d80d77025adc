/**
 * Signing in with an identity provider over REST. The browser's part (`GET /auth/social/:provider` and the callback) is in
 * `interactions/federation.ts`; an application gets its tokens here, by a code that is good once and only with the verifier
 * that it began with (as RFC 7636 has it), so that no token is ever in a URL.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Actor } from '../audit/logs.commands.ts';
import { Email, PersonName } from '../auth/credentials.ts';
import { answer, SignedIn, type TokenDeps } from '../auth/tokens.routes.ts';
import { AppError } from '../errors.ts';
import { assertSignedInHere } from '../http/caller.ts';
import { type Route, route } from '../http/route.ts';
import { Time } from '../http/schemas.ts';
import { equalInConstantTime } from '../secrets.ts';
import { type Handoffs, takeRestCode } from './handoffs.ts';
import { unlinkIdentity } from './identities.commands.ts';
import { listIdentities } from './identities.queries.ts';
import type { Providers } from './identity-providers.queries.ts';
import { presets } from './identity-providers.ts';
import { type PeopleDeps, recognize } from './people.commands.ts';

export interface SocialDeps extends PeopleDeps {
  providers: Providers;
  handoffs: Handoffs;
  tokens: TokenDeps;
  negotiate(locales: readonly string[]): string;
}

const tag = 'Identity providers';
const ProviderName = z.string().meta({ description: 'Of the provider', example: 'google' });

const Offered = z
  .object({
    id: ProviderName,
    name: z.string().meta({ example: 'Google' }),
    preset: z.enum(presets).meta({ example: 'google' }),
    href: z.string().meta({ description: 'Where to send the browser', example: '/auth/social/google' }),
  })
  .meta({ id: 'SocialProvider' });

const RedeemCode = z
  .object({
    code: z
      .string()
      .regex(/^[\w-]{1,100}$/)
      .meta({ description: 'Brought to the `redirectUri`; good for a minute, once', example: 'aV3kT8mW2sLxBv5cQ9dZ' }),
    codeVerifier: z
      .string()
      .regex(/^[\w.~-]{43,128}$/)
      .meta({
        description: 'Whose SHA-256 was the `codeChallenge`',
        example: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk',
      }),
    name: PersonName.optional().meta({ description: 'For a new account, if the provider gave none' }),
    email: Email.optional().meta({ description: 'For a new account, if the provider gave none' }),
  })
  .meta({
    id: 'RedeemSocialCode',
    example: { code: 'aV3kT8mW2sLxBv5cQ9dZ', codeVerifier: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk' },
  });

const OwnIdentity = z
  .object({
    id: z.uuid(),
    provider: ProviderName,
    email: z.string().nullable().meta({ description: 'As the provider gave it last', example: 'ada@example.com' }),
    lastUsedAt: Time.nullable(),
    createdAt: Time,
  })
  .meta({ id: 'Identity' });

const invalidCode = () =>
  new AppError(401, 'invalid_social_code', 'The code is wrong, has expired, was used, or is not of this codeVerifier');

/** @throws AppError 401, 403, 409, and what `answer` throws */
const redeem = async (deps: SocialDeps, actor: Actor, body: z.output<typeof RedeemCode>, locale: string) => {
  const taken = await takeRestCode(deps.handoffs, body.code);
  const challenge = createHash('sha256').update(body.codeVerifier).digest('base64url');
  if (!taken || !equalInConstantTime(taken.codeChallenge, challenge)) throw invalidCode();
  const provider = await deps.providers.find(taken.person.providerId);
  if (!provider || provider.revision !== taken.revision) throw invalidCode();
  const typed = { name: body.name, email: body.email, locale };
  const recognition = await recognize(deps, actor, { provider, person: taken.person, typed });
  switch (recognition.kind) {
    case 'known': {
      const { amr, authTime } = taken.person;
      const now = Math.floor(Date.now() / 1000);
      const proof = { user: recognition.user, amr, ts: Math.min(authTime ?? now, now) };
      return answer(deps.tokens, actor, await deps.tokens.proceed(actor, proof));
    }
    case 'profile':
      throw new AppError(409, 'social_profile_needed', 'The provider did not tell everything', {
        members: { missing: recognition.missing },
      });
    case 'confirm':
      throw new AppError(409, 'social_account_exists', 'Sign in to the account, and connect the provider there');
    case 'mailed':
      throw new AppError(403, 'social_mail_sent', 'A mail says how it goes on');
    case 'refused':
      throw new AppError(403, 'social_no_account', 'There is no account for this');
  }
};

export const socialRoutes = (deps: SocialDeps): Route[] => [
  route({
    id: 'listSocialProviders',
    method: 'get',
    path: '/auth/social',
    tag,
    summary: 'The identity providers that people can sign in with',
    access: 'public',
    returns: z.object({ data: z.array(Offered) }).meta({ id: 'SocialProviders' }),
    status: 200,
    handle: async () => ({
      data: (await deps.providers.list()).map(({ id, metadata: { name, preset } }) => ({
        id,
        name,
        preset,
        href: `/auth/social/${id}`,
      })),
    }),
  }),
  route({
    id: 'redeemSocialCode',
    method: 'post',
    path: '/auth/social/token',
    tag,
    summary: 'Finish a sign-in with an identity provider',
    description:
      'Begin with `GET /auth/social/{provider}?redirectUri=…&codeChallenge=…`; the `code` that comes to the `redirectUri` is redeemed here. A new account needs a name and an address: what the provider does not tell can be sent along.',
    access: 'public',
    body: RedeemCode,
    returns: SignedIn,
    status: 200,
    problems: {
      401: ['invalid_social_code', 'mfa_required', 'invalid_credentials'],
      403: ['social_mail_sent', 'social_no_account', 'sign_in_method_not_allowed'],
      409: ['social_profile_needed', 'social_account_exists'],
    },
    handle: ({ body, actor, locales }) => redeem(deps, actor, body, deps.negotiate(locales)),
  }),
  route({
    id: 'listOwnIdentities',
    method: 'get',
    path: '/auth/me/identities',
    tag,
    summary: 'One’s accounts at identity providers',
    access: 'identities:read:own',
    returns: z.object({ data: z.array(OwnIdentity) }).meta({ id: 'Identities' }),
    status: 200,
    handle: async ({ caller }) => ({
      data: (await listIdentities(deps.db, caller.id)).map(({ id, providerId, email, lastUsedAt, createdAt }) => ({
        id,
        provider: providerId,
        email,
        lastUsedAt: lastUsedAt?.toISOString() ?? null,
        createdAt: createdAt.toISOString(),
      })),
    }),
  }),
  route({
    id: 'deleteOwnIdentity',
    method: 'delete',
    path: '/auth/me/identities/:id',
    tag,
    summary: 'Disconnect an account at an identity provider',
    description:
      'Never the last way to sign in. All sessions end but the one that asks, and the owner is told by mail. Connecting one takes the account page.',
    access: 'identities:write:own',
    params: z.object({ id: z.uuid() }),
    status: 204,
    problems: { 403: ['session_needed'], 404: ['identity_not_found'], 409: ['last_way_in'] },
    handle: async ({ params: { id }, caller, actor }) => {
      assertSignedInHere(caller);
      const { id: userId, sessionUid } = caller;
      await unlinkIdentity(deps, actor, { userId, sessionUid, id, offered: await offeredNames(deps.providers) });
    },
  }),
];

/** What the providers are called that people can sign in with, by id. */
export const offeredNames = async (providers: Pick<Providers, 'list'>): Promise<ReadonlyMap<string, string>> =>
  new Map((await providers.list()).map(({ id, metadata: { name } }) => [id, name]));
