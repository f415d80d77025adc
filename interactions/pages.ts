/** What every hosted page needs: its language, its headers, its form, who is signed in, and what an error looks like. */
import { bodyParser } from '@koa/bodyparser';
import type Koa from 'koa';
import type { Provider } from 'oidc-provider';
import type { z } from 'zod';
import { inPageRequest } from '../adapters/oidc-sessions.ts';
import type { Db } from '../db/connect.ts';
import type { Actor } from '../src/audit/logs.commands.ts';
import { hasSecondFactor } from '../src/auth/authentication-context.ts';
import { type Client, findClient } from '../src/clients/clients.queries.ts';
import { type Config, isDevelopment } from '../src/config.ts';
import { AppError, invalid } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import { sendProblem } from '../src/http/problem.ts';
import type { Log } from '../src/log.ts';
import type { NeedsMfa } from '../src/provider/consent.ts';
import type { AccessCache } from '../src/roles/access-cache.ts';
import type { Secrets } from '../src/secrets.ts';
import { findUser, type User } from '../src/users/users.queries.ts';
import { accountClientId } from './account/account-client.ts';
import { invitationsPath } from './account/navigation.ts';
import { toAppError } from './app-error.ts';
import { createDeviceCookie, createFactorCookie, type DeviceCookie, type FactorCookie } from './device-cookie.ts';
import type { EnrolmentFlow } from './enrolment.ts';
import { commandProblems, FormError, readForm } from './form-problems.ts';
import { createFormTokens, isSentFromElsewhere } from './form-tokens.ts';
import type { MagicLinkFlow } from './magic-link.ts';
import type { SecondFactorFlow } from './second-factor.ts';
import { createShownClients, type ShownClient } from './shown-client.ts';
import type { SocialFlow } from './social-sign-in.ts';
import type { ErrorView, PageContext, Problem, ViewProps } from './view-props.ts';
import type { Views } from './views.ts';

export interface PageDeps {
  config: Config;
  db: Db;
  log: Log;
  secrets: Secrets;
  views: Views;
  /** The engine's instance that serves now. */
  provider(): Provider;
  needsMfa: NeedsMfa;
  /** What is remembered of applications until they change. */
  shelf: AccessCache['shelf'];
}

/** What a browser remembers between pages on the way to signing in. */
export interface Flow {
  /** The sign-in to go back to. */
  interaction?: string | undefined;
  /** The application that it is for. */
  client?: string | undefined;
  email?: string;
  /** What tells this browser from others when it confirms the address that it registered with. */
  browser?: string | undefined;
  /** The sign-in that is for another account than the session's: its interaction, or `next` until there is one. */
  another?: string;
  /** An account that was registered in this browser just now, with REGISTER_SIGNS_IN; `at` in milliseconds. */
  registered?: { userId: string; at: number; credential: number } | undefined;
  /** The address that the account is to be moved to; a code went there. */
  newEmail?: string | undefined;
  /** The application whose device was connected, or refused. */
  device?: string | undefined;
  /** A sign-in whose password was right. */
  secondFactor?: SecondFactorFlow | undefined;
  /** A sign-in that waits for a second factor to be set up. */
  enrolment?: EnrolmentFlow | undefined;
  /** The interaction in which whoever is signed in wants to sign in from the beginning. */
  full?: string | undefined;
  /** A link that was asked for, and what tells this browser from others when it is opened. */
  magicLink?: MagicLinkFlow | undefined;
  /** The application asked for a new account: the sign-in page makes way for registration, once. */
  creates?: boolean | undefined;
  /** Somebody whom an identity provider has signed in. */
  social?: SocialFlow | undefined;
  /** What went wrong there, for the sign-in page to say once. */
  socialProblem?: { interaction: string; code: string; provider: string } | undefined;
  /** An invitation waits on the account page. */
  invited?: boolean | undefined;
  /** What was just done, for the sign-in page to say once. */
  notice?: string | undefined;
}

export interface Visitor {
  user: User;
  sessionUid: string;
  /** How they signed in (RFC 8176), and when, in seconds since 1970. */
  amr: readonly string[];
  authTime: number;
  actor: Actor;
}

export interface Pages extends DeviceCookie, FactorCookie {
  show<V extends keyof ViewProps>(ctx: Koa.Context, view: V, props: ViewProps[V], options?: ShowOptions): void;
  /** Parses a form. @throws FormError with a problem for each field that is wrong */
  form<S extends z.ZodType>(ctx: Koa.Context, schema: S): z.output<S>;
  /** Whose session the browser's cookie is; undefined when nobody is signed in. */
  visitor(ctx: Koa.Context): Promise<Visitor | undefined>;
  client(clientId: string | undefined): Promise<Client | undefined>;
  /** What a page shows of the application that it is for; remembered until that changes. */
  shownClient(clientId: string | undefined): Promise<ShownClient | undefined>;
  /** Likewise of the application that the browser is on the way to. */
  flowClient(ctx: Koa.Context): Promise<ShownClient | undefined>;
  flow(ctx: Koa.Context): Flow;
  remember(ctx: Koa.Context, flow: Flow): void;
  locale(ctx: Koa.Context, uiLocales?: string): string;
  /** Where signing in goes on: the interaction that was begun, or the account page. */
  signInHref(ctx: Koa.Context): string;
  /** Turns what a form's handler throws into problems beside its fields, and answers 4xx; anything else passes through. */
  refused(ctx: Koa.Context, error: unknown): Problem[];
  /** Shows any error as a page. */
  error(ctx: Koa.Context, error: unknown, detail?: string): void;
  /** Before the pages: errors become pages, forms from other sites are refused, forms are read. */
  middleware: Koa.Middleware[];
  /** After the pages: there is none at this address. */
  notFound: Koa.Middleware;
}

interface ShowOptions {
  status?: number;
  client?: ShownClient | undefined;
  signedInAs?: string | undefined;
  uiLocales?: string | undefined;
  /** Where the language links lead; empty hides them. This page's own address unless given. */
  path?: string;
}

/** The title (a key under `errors`) of an error page. */
const titles: Record<string, string> = {
  request_expired: 'expired',
  cross_site: 'crossSite',
  page_not_found: 'notFound',
  identity_provider_not_found: 'noProvider',
  missing_permission: 'forbidden',
  too_many_requests: 'tooMany',
  overloaded: 'unavailable',
  database_unavailable: 'unavailable',
  temporarily_unavailable: 'unavailable',
  invalid_client: 'invalidClient',
  invalid_redirect_uri: 'invalidRedirect',
  session_not_found: 'cookies',
};

const titleOf = (error: AppError): string =>
  titles[error.code] ?? (error.status >= 500 ? 'internal' : 'invalidRequest');

/** What ends well when it is begun anew. */
const restartable = new Set(['expired', 'cookies']);

const localeCookieMs = 365 * 86_400_000;
const flowCookieMs = 3_600_000;

/** The cookie is signed, so what is in it is ours, perhaps of another version. */
const readFlow = (cookie: string | undefined): Flow => {
  if (!cookie) return {};
  try {
    return JSON.parse(Buffer.from(cookie, 'base64url').toString()) as Flow;
  } catch {
    return {};
  }
};

/** Go's rule (net/http CrossOriginProtection): browsers say where a form comes from, and nothing else sends cookies. */
const isCrossSite = (ctx: Koa.Context, issuer: string): boolean => {
  if (['GET', 'HEAD', 'OPTIONS'].includes(ctx.method) || isSentFromElsewhere(ctx.path)) return false;
  const site = ctx.get('sec-fetch-site');
  if (site) return site !== 'same-origin' && site !== 'none';
  const origin = ctx.get('origin');
  return origin !== '' && origin !== issuer;
};

const crossSite = () => new AppError(403, 'cross_site', 'The form is not one that this browser was shown');

export const createPages = ({ config, db, log, secrets, views, provider, needsMfa, shelf }: PageDeps): Pages => {
  const secure = config.JWT_ISSUER.startsWith('https:');
  const cookieName = (name: string) => (secure ? `__Host-${name}` : name);
  const cookie = { httpOnly: true, sameSite: 'lax', secure, signed: true, overwrite: true } as const;

  const wantedLocales = (ctx: Koa.Context, uiLocales = ''): string[] =>
    [
      String(ctx.query.lang ?? ''),
      ctx.cookies.get(cookieName('lang')) ?? '',
      ...uiLocales.split(' ', 10),
      ...ctx.acceptsLanguages(),
    ].filter((locale) => locale && locale !== '*');

  const devices = createDeviceCookie(secure);
  const forms = createFormTokens(secrets, devices);
  const pages: Pages = {
    ...devices,
    ...createFactorCookie(cookieName('factor'), secure),

    locale: (ctx, uiLocales) => views.negotiate(wantedLocales(ctx, uiLocales)),

    show: (ctx, view, props, { status = 200, client, signedInAs, uiLocales, path } = {}) => {
      const { lang } = ctx.query;
      if (typeof lang === 'string' && views.locales.includes(lang))
        ctx.cookies.set(cookieName('lang'), lang, { ...cookie, maxAge: localeCookieMs });
      const page: PageContext = {
        locale: pages.locale(ctx, uiLocales),
        // What a handle stood for cannot be asked for again.
        path: path ?? (ctx.method === 'GET' && !ctx.originalUrl.includes('posted=') ? ctx.originalUrl : ''),
        requestId: ctx.state.requestId,
        ...(signedInAs ? { signedInAs } : {}),
        ...(ctx.state.accountMenu ? { account: ctx.state.accountMenu } : {}),
        // The account page's own sign-in is the service's, not that of an application.
        ...(client && client.clientId !== accountClientId
          ? {
              client: {
                id: client.clientId,
                name: client.clientName ?? client.clientId,
                themed: client.theme !== null,
                ...(client.theme?.logo ? { logo: client.theme.logo } : {}),
              },
            }
          : {}),
        development: isDevelopment(config),
      };
      ctx.status = status;
      ctx.set('Cache-Control', 'no-store');
      ctx.set('Content-Language', page.locale);
      ctx.type = 'html';
      ctx.body = forms.sign(ctx, views.render(view, props, page));
    },

    form: (ctx, schema) => readForm(ctx.request.body ?? {}, schema),

    visitor: async (ctx) => {
      const session = await inPageRequest(ctx, () => provider().Session.get(ctx as never));
      if (!session?.accountId) return undefined;
      const user = await findUser(db, session.accountId);
      if (user?.status !== 'active') return undefined;
      // A session of the password alone does not do once the account needs more.
      if (!hasSecondFactor(session) && (await needsMfa(user.id))) return undefined;
      return {
        user,
        sessionUid: session.uid,
        amr: session.amr ?? [],
        authTime: session.loginTs ?? 0,
        actor: { ...actorOf(ctx), type: 'user', id: user.id },
      };
    },

    client: (clientId) => (clientId ? findClient(db, clientId) : Promise.resolve(undefined)),

    shownClient: createShownClients(db, shelf),

    flowClient: (ctx) => pages.shownClient(pages.flow(ctx).client),

    flow: (ctx) => {
      ctx.state.flow ??= readFlow(ctx.cookies.get(cookieName('flow'), { signed: true }));
      return ctx.state.flow as Flow;
    },

    remember: (ctx, flow) => {
      ctx.state.flow = { ...pages.flow(ctx), ...flow };
      const value = Buffer.from(JSON.stringify(ctx.state.flow)).toString('base64url');
      ctx.cookies.set(cookieName('flow'), value, { ...cookie, maxAge: flowCookieMs });
    },

    signInHref: (ctx) => {
      const { interaction, invited } = pages.flow(ctx);
      if (interaction) return `/interaction/${interaction}`;
      return invited ? invitationsPath : '/account';
    },

    refused: (ctx, error) => {
      if (error instanceof FormError) {
        ctx.status = 400;
        return error.problems;
      }
      if (!(error instanceof AppError) || error.code === 'cross_site') throw error;
      const { status, code, details } = error;
      ctx.status = status;
      if (details.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(details.retryAfterSeconds));
      if (code === 'too_many_requests')
        return [
          {
            code: 'tooManyAttempts',
            values: { minutes: Math.max(1, Math.ceil((details.retryAfterSeconds ?? 60) / 60)) },
          },
        ];
      if (code === 'overloaded') return [{ code: 'busy' }];
      const problems = commandProblems(details);
      if (!problems.length || status >= 500) throw error;
      return problems;
    },

    error: (ctx, thrown, detail) => {
      const error = toAppError(ctx, thrown, log);
      const { retryAfterSeconds } = error.details;
      if (retryAfterSeconds !== undefined) ctx.set('Retry-After', String(retryAfterSeconds));
      // What failed at last may have been a redirect until then, with a code.
      ctx.remove('Location');
      const developerDetail = detail ?? (error.status < 500 ? error.message : undefined);
      const props: ErrorView = {
        status: error.status,
        title: titleOf(error),
        code: error.code,
        ...(developerDetail ? { detail: developerDetail } : {}),
        ...(error.status >= 500 ? { retry: 'again' as const } : {}),
        ...(restartable.has(titleOf(error)) ? { retry: 'restart' as const } : {}),
        homeHref: '/',
      };
      pages.show(ctx, 'error', props, { status: error.status });
    },

    notFound: (ctx) => {
      // Programs that mistype an address are told so in their own way.
      if (ctx.get('authorization') || ctx.accepts('html', 'json') === 'json') {
        sendProblem(ctx, new AppError(404, 'not_found', 'There is nothing at this address'));
        return;
      }
      throw new AppError(404, 'page_not_found', 'There is nothing at this address');
    },

    middleware: [
      async (ctx, next) => {
        try {
          if (!ctx.state.takesCrossSite && isCrossSite(ctx, config.JWT_ISSUER)) throw crossSite();
          await next();
        } catch (error) {
          pages.error(ctx, error);
        }
      },
      bodyParser({
        enableTypes: ['form'],
        formLimit: '56kb',
        onError: (error) => {
          throw (error as { status?: number }).status === 413
            ? new AppError(413, 'request_too_large', 'The form is too large')
            : invalid('invalid_request', 'The form could not be read');
        },
      }),
      (ctx, next) => {
        if (forms.isSigned(ctx)) return next();
        // No page takes anything but forms.
        if (!ctx.is('urlencoded')) return pages.notFound(ctx, next);
        throw crossSite();
      },
    ],
  };
  return pages;
};
