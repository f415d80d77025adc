/** The account page: what one's profile says, where one is signed in, and which applications one has let in. */
import Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../db/connect.ts';
import type { AccountDeps } from '../src/auth/accounts.commands.ts';
import { requestsPath } from '../src/auth/backchannel.commands.ts';
import { countWaiting } from '../src/auth/backchannel.queries.ts';
import { Password, PersonName } from '../src/auth/credentials.ts';
import { changePassword } from '../src/auth/password.commands.ts';
import type { NewClient } from '../src/clients/client-metadata.ts';
import { AppError } from '../src/errors.ts';
import { routes } from '../src/provider/configuration.ts';
import type { Secrets } from '../src/secrets.ts';
import { endSessions, type QueueLogout, withdrawConsent } from '../src/sessions/sessions.commands.ts';
import { clientNames, listConsents, listSessions } from '../src/sessions/sessions.queries.ts';
import { openPii, type Pii } from '../src/users/pii.ts';
import { updateProfile } from '../src/users/users.commands.ts';
import type { User } from '../src/users/users.queries.ts';
import type { Pages, Visitor } from './pages.ts';
import { type DecideRequest, mountRequests } from './requests.ts';
import { describeResources, hostOf } from './resources.ts';
import type { Problem, ProfileField } from './view-props.ts';

/** The account page signs people in as an application of its own, with the response type `none`: no code, no token. */
export const accountClientId = 'countersign-account';
export const accountClient = (issuer: string, brand: string): NewClient => ({
  client_name: brand,
  redirect_uris: [`${issuer}/account`, `${issuer}${requestsPath}`],
  post_logout_redirect_uris: [`${issuer}/`],
  response_types: ['none'],
  grant_types: ['authorization_code'],
  token_endpoint_auth_method: 'none',
  first_party: true,
});

const notices = new Set([
  'accountCreated',
  'profileSaved',
  'passwordChanged',
  'sessionEnded',
  'othersEnded',
  'consentWithdrawn',
]);

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
const isTimeZone = (zone: string) => {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: zone }));
  } catch {
    return false;
  }
};
const isLocale = (locale: string) => {
  try {
    return Intl.getCanonicalLocales(locale).length === 1;
  } catch {
    return false;
  }
};
/** ISO 8601 date; the year may be 0000 when it is left out (OpenID Connect Core section 5.1). */
const isDate = (date: string) => {
  const day = date.replace(/^0000/, '2000');
  const parsed = new Date(day);
  // 30 February would be taken for 2 March.
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(day);
};

const ProfileForm = z.object({
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
  birthdate: optional(
    z
      .string()
      .regex(/^\d{4}-\d{2}-\d{2}$/)
      .refine(isDate),
  ),
  zoneinfo: optional(z.string().max(60).refine(isTimeZone)),
  locale: optional(z.string().max(35).refine(isLocale)),
  // E.164, as OpenID Connect recommends; spaces and punctuation are taken away.
  phone_number: optional(
    z
      .string()
      .max(40)
      .transform((value) => value.replace(/[\s().-]/g, ''))
      .pipe(z.string().regex(/^\+[1-9]\d{6,14}$/)),
  ),
  street_address: lines,
  locality: text,
  region: text,
  postal_code: text,
  country: text,
  formatted: lines,
});

const PasswordForm = z.object({ currentPassword: Password, newPassword: Password });
const IdForm = z.object({ id: z.string().regex(/^[\x20-\x7e]{1,500}$/) });

const toPii = ({ name: _name, locale: _locale, ...form }: z.output<typeof ProfileForm>): Pii => {
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

const profileValues = (
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

export const account = ({
  db,
  pages,
  secrets,
  deps,
  queueLogout,
  decideRequest,
  passwordMinLength,
}: {
  db: Db;
  pages: Pages;
  secrets: Secrets;
  deps: AccountDeps;
  queueLogout: QueueLogout;
  decideRequest: DecideRequest;
  passwordMinLength: number;
}): Koa.Middleware => {
  const router = new Router({ prefix: '/account' });

  const redirect = (ctx: Koa.Context, to: string) => {
    ctx.status = 303;
    ctx.redirect(to);
  };

  /** @param asked what the sign-in must be like (`acr_values`, `max_age`) */
  const signInHref = (returnTo: string, asked: Record<string, string> = {}): string => {
    const redirect_uri = `${deps.issuer}${returnTo}`;
    const request = { client_id: accountClientId, response_type: 'none', scope: 'openid', redirect_uri, ...asked };
    return `${routes.authorization}?${new URLSearchParams(request)}`;
  };

  /** Runs a page for whoever is signed in, and sends anybody else to sign in first. */
  const signedIn =
    (page: (ctx: Koa.Context, visitor: Visitor) => unknown, returnTo = '/account'): Koa.Middleware =>
    async (ctx) => {
      const visitor = await pages.visitor(ctx);
      if (visitor) {
        await page(ctx, visitor);
      } else if (ctx.query.error !== undefined) {
        redirect(ctx, '/');
      } else if (ctx.query.iss !== undefined) {
        // Back from signing in, and still nobody: the browser keeps no cookies.
        throw new AppError(400, 'session_not_found', 'signed in, but the session cookie did not come back');
      } else {
        redirect(ctx, signInHref(returnTo));
      }
    };

  const home = async (ctx: Koa.Context, { user, sessionUid }: Visitor, problems: Problem[] = []) => {
    const [sessions, consents] = [await listSessions(db, user.id), await listConsents(db, user.id)];
    const words = await describeResources(
      db,
      consents.map(({ resources }) => resources),
    );
    const names = await clientNames(db, [
      ...new Set(sessions.flatMap(({ authorizations }) => Object.keys(authorizations))),
    ]);
    const notice = String(ctx.query.notice ?? '');
    pages.show(
      ctx,
      'account',
      {
        profile: { name: user.name, email: user.email, emailVerified: user.emailVerifiedAt !== null },
        profileHref: '/account/profile',
        passwordAction: '/account/password',
        sessions: [
          ...sessions.filter(({ uid }) => uid === sessionUid),
          ...sessions.filter(({ uid }) => uid !== sessionUid),
        ].map(({ uid, userAgent, address, startedAt, lastSeenAt, authorizations }) => ({
          id: uid,
          device: deps.describeDevice(userAgent ?? undefined),
          address: address ?? '',
          startedAt,
          lastSeenAt,
          current: uid === sessionUid,
          apps: Object.keys(authorizations)
            .filter((id) => id !== accountClientId)
            .flatMap((id) => names.get(id) ?? []),
        })),
        endSessionAction: '/account/sessions/end',
        endOthersAction: '/account/sessions/end-others',
        signOutHref: routes.end_session,
        requestsHref: requestsPath,
        waitingRequests: await countWaiting(db, user.id),
        consents: consents.map(({ clientId, clientName, clientUri, scopes, createdAt }, index) => ({
          clientId,
          name: clientName ?? clientId,
          host: hostOf(clientId, clientUri),
          scopes,
          resources: words[index] ?? [],
          grantedAt: createdAt,
        })),
        withdrawAction: '/account/consents/withdraw',
        ...(notices.has(notice) ? { notice } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/',
    signedIn((ctx, visitor) => home(ctx, visitor)),
  );

  router.post(
    '/sessions/end',
    signedIn(async (ctx, { user, actor, sessionUid }) => {
      const { id } = pages.form(ctx, IdForm);
      await endSessions(db, actor, { userId: user.id, uid: id, reason: 'account_page' }, queueLogout);
      redirect(ctx, id === sessionUid ? '/' : '/account?notice=sessionEnded');
    }),
  );

  router.post(
    '/sessions/end-others',
    signedIn(async (ctx, { user, actor, sessionUid }) => {
      await endSessions(db, actor, { userId: user.id, except: sessionUid, reason: 'account_page' }, queueLogout);
      redirect(ctx, '/account?notice=othersEnded');
    }),
  );

  router.post(
    '/consents/withdraw',
    signedIn(async (ctx, visitor) => {
      const { id } = pages.form(ctx, IdForm);
      if (await withdrawConsent(db, visitor.actor, visitor.user.id, id))
        return redirect(ctx, '/account?notice=consentWithdrawn');
      ctx.status = 404;
      await home(ctx, visitor, [{ code: 'notFound' }]);
    }),
  );

  const profilePage = (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) =>
    pages.show(
      ctx,
      'profile',
      {
        action: '/account/profile',
        accountHref: '/account',
        values: profileValues(
          user,
          openPii(secrets, user),
          problems.length ? (ctx.request.body as Record<string, unknown>) : undefined,
        ),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  router.get(
    '/profile',
    signedIn((ctx, visitor) => profilePage(ctx, visitor)),
  );
  router.post(
    '/profile',
    signedIn(async (ctx, visitor) => {
      try {
        const form = pages.form(ctx, ProfileForm);
        await updateProfile(db, secrets, visitor.actor, visitor.user.id, {
          name: form.name,
          locale: form.locale ?? null,
          pii: toPii(form),
        });
        redirect(ctx, '/account?notice=profileSaved');
      } catch (error) {
        profilePage(ctx, visitor, pages.refused(ctx, error));
      }
    }),
  );

  const passwordPage = (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) =>
    pages.show(
      ctx,
      'change-password',
      { action: '/account/password', accountHref: '/account', email: user.email, problems, passwordMinLength },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  router.get(
    '/password',
    signedIn((ctx, visitor) => passwordPage(ctx, visitor)),
  );
  router.post(
    '/password',
    signedIn(async (ctx, visitor) => {
      try {
        const form = pages.form(ctx, PasswordForm);
        await changePassword(deps, visitor.actor, { userId: visitor.user.id, sessionUid: visitor.sessionUid, ...form });
        redirect(ctx, '/account?notice=passwordChanged');
      } catch (error) {
        passwordPage(ctx, visitor, pages.refused(ctx, error));
      }
    }),
  );

  mountRequests(router, signedIn, signInHref, { db, pages, secrets, decide: decideRequest });

  return router.routes() as unknown as Koa.Middleware;
};
