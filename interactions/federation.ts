/**
 * `/auth/social/:provider` and its callback: where a browser is sent to an identity provider, and where it comes back, whether
 * the sign-in is of a page, of the account page, or of an application that uses the REST API.
 */
import Router from '@koa/router';
import type Koa from 'koa';
import compose from 'koa-compose';
import { recordEvent } from '../src/audit/logs.commands.ts';
import { AppError, invalid, notFound } from '../src/errors.ts';
import { beginAttempt, type Purpose, type Returned, takeAnswer } from '../src/federation/attempts.ts';
import { FederationError } from '../src/federation/federation-error.ts';
import { keepForPage, keepRestCode } from '../src/federation/handoffs.ts';
import { linkIdentity } from '../src/federation/identities.commands.ts';
import { callbackPath, ProviderId } from '../src/federation/identity-providers.ts';
import { actorOf } from '../src/http/actor.ts';
import { sendProblem } from '../src/http/problem.ts';
import { routes } from '../src/provider/configuration.ts';
import { randomToken } from '../src/secrets.ts';
import { accountClientId } from './account/account-client.ts';
import { linkedPath } from './account/navigation.ts';
import { toAppError } from './app-error.ts';
import { problemOf, type SocialDeps } from './social-sign-in.ts';

export interface FederationPagesDeps extends SocialDeps {
  issuer: string;
  /** Where an application's scripts may be: AUTH_API_CORS_ORIGINS. */
  origins: readonly string[];
  /** Counts an answer that comes back, or is kept for a while. @throws AppError 429 */
  limitPosted(address: string): Promise<void>;
}

const redirect = (ctx: Koa.Context, to: string, status = 303) => {
  ctx.status = status;
  ctx.set('Cache-Control', 'no-store');
  ctx.redirect(to);
};

const parameter = (ctx: Koa.Context, name: string): string | undefined => {
  const value = ctx.query[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
};

const wrong = (field: string, message: string) =>
  invalid('invalid_request', 'The request is not valid', { fields: [{ field, code: 'custom', message }] });

/** What an application that uses the REST API is to do with the answer. @throws AppError 400 */
const restPurpose = (ctx: Koa.Context, { issuer, origins }: FederationPagesDeps): Purpose => {
  const redirectUri = parameter(ctx, 'redirectUri');
  if (redirectUri === undefined) return { kind: 'page' };
  const url = URL.parse(redirectUri);
  const isOurs = url !== null && [new URL(issuer).origin, ...origins].includes(url.origin);
  if (!isOurs || url.username || url.password || url.hash || redirectUri.length > 500)
    throw wrong('redirectUri', 'expected a page at an origin of AUTH_API_CORS_ORIGINS, without a fragment');
  const codeChallenge = parameter(ctx, 'codeChallenge') ?? '';
  if (!/^[\w-]{43}$/.test(codeChallenge))
    throw wrong('codeChallenge', 'expected the SHA-256 of a codeVerifier, base64url');
  const state = parameter(ctx, 'state');
  if (state !== undefined && !/^[\x21-\x7e]{1,255}$/.test(state)) throw wrong('state', 'expected up to 255 characters');
  return { kind: 'rest', redirectUri, codeChallenge, state: state ?? randomToken() };
};

/** RFC 6749 section 4.1.2.1, for the application. */
const errorOf = (error: FederationError): string => {
  if (error.reason === 'unavailable') return 'temporarily_unavailable';
  return ['invalid', 'misconfigured'].includes(error.reason) ? 'server_error' : 'access_denied';
};

const withParameters = (uri: string, parameters: Record<string, string | undefined>): string => {
  const url = new URL(uri);
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) url.searchParams.set(name, value);
  return url.href;
};

/** Whether another site led here, as browsers say (Fetch Metadata Request Headers, section 2.3); what says nothing is no browser of now. */
const isFromElsewhere = (ctx: Koa.Context): boolean => ['cross-site', 'same-site'].includes(ctx.get('sec-fetch-site'));

export const federation = (deps: FederationPagesDeps): Koa.Middleware => {
  const { pages, attempts, people, handoffs, cookie, issuer, limitPosted, log } = deps;
  const { providers } = attempts;
  const router = new Router({ prefix: '/auth/social/:provider' });

  /** Keeps the person, or what went wrong, for the sign-in page. @returns whether there is a person */
  const remember = async (ctx: Koa.Context, { provider, person }: Returned, interaction: string): Promise<boolean> => {
    const name = provider.metadata.name;
    try {
      const handle = await keepForPage(handoffs, provider, await person());
      pages.remember(ctx, { social: { interaction, handle, step: 'back', provider: name } });
      return true;
    } catch (error) {
      const socialProblem = { interaction, code: problemOf(error), provider: name };
      await tell(ctx, error, provider.id);
      pages.remember(ctx, { social: undefined, socialProblem });
      return false;
    }
  };

  /** What becomes of somebody who is back from a provider, or of the error that came instead. */
  const arrive: {
    [K in Purpose['kind']]: (ctx: Koa.Context, returned: Returned, purpose: Purpose & { kind: K }) => Promise<void>;
  } = {
    interaction: async (ctx, returned, { uid }) => {
      await remember(ctx, returned, uid);
      redirect(ctx, `/interaction/${uid}`);
    },
    page: async (ctx, returned) => {
      if (!(await remember(ctx, returned, 'next'))) return redirect(ctx, '/account');
      // Whoever is signed in already is somebody else perhaps: the sign-in page must not be skipped.
      const request = { client_id: accountClientId, response_type: 'none', scope: 'openid', prompt: 'login' };
      redirect(ctx, withParameters(issuer + routes.authorization, { ...request, redirect_uri: `${issuer}/account` }));
    },
    link: async (ctx, { provider, person }, { userId, sessionUid }) => {
      const visitor = await pages.visitor(ctx);
      // The session that asked for it, and nobody who has signed in in its place.
      if (visitor?.user.id !== userId || visitor.sessionUid !== sessionUid)
        throw new FederationError('expired', 'the session is another one');
      try {
        await linkIdentity(people, visitor.actor, provider, { userId, person: await person() });
        redirect(ctx, `${linkedPath}?notice=connected`);
      } catch (error) {
        const code = problemOf(error);
        await tell(ctx, error, provider.id);
        redirect(ctx, `${linkedPath}?problem=${code}&provider=${provider.id}`);
      }
    },
    rest: async (ctx, { provider, person }, { redirectUri, codeChallenge, state }) => {
      try {
        const code = await keepRestCode(handoffs, provider, await person(), codeChallenge);
        redirect(ctx, withParameters(redirectUri, { code, state }));
      } catch (error) {
        if (!(error instanceof FederationError)) throw error;
        await tell(ctx, error, provider.id);
        redirect(ctx, withParameters(redirectUri, { error: errorOf(error), state }));
      }
    },
  };

  /** Says why somebody was not signed in, to whoever looks after the service. */
  const tell = async (ctx: Koa.Context, error: unknown, provider: string): Promise<void> => {
    if (error instanceof FederationError) people.countFederation(error.reason);
    log.warn({ err: error, provider }, 'a sign-in with an identity provider did not succeed');
    const reason = error instanceof FederationError ? `provider_${error.reason}` : (error as AppError).code;
    const meta = { ...(ProviderId.safeParse(provider).success ? { provider } : {}), reason };
    await recordEvent(people.db, actorOf(ctx), { action: 'session.sign_in_failed', meta });
  };

  const receive = async (ctx: Koa.Context, providerId: string, parameters: URLSearchParams): Promise<void> => {
    try {
      const returned = await takeAnswer(attempts, { providerId, parameters, browser: cookie.read(ctx) });
      const { purpose } = returned;
      await arrive[purpose.kind](ctx, returned, purpose as never);
    } catch (error) {
      if (!(error instanceof FederationError)) throw error;
      await tell(ctx, error, providerId);
      if (error.reason === 'expired') throw new AppError(400, 'request_expired', error.message);
      const status = error.reason === 'unavailable' ? 503 : 400;
      throw new AppError(status, status === 503 ? 'social_unavailable' : 'invalid_request', error.message);
    }
  };

  // A POST from another site has no cookies (SameSite=Lax), and a GET that it leads to has.
  router.post('/callback', async (ctx) => {
    await limitPosted(ctx.ip);
    const body = (ctx.request.body ?? {}) as Record<string, unknown>;
    const names = ['state', 'code', 'error', 'error_description', 'iss', 'user'];
    const parameters = new URLSearchParams();
    for (const name of names) if (typeof body[name] === 'string') parameters.set(name, body[name]);
    const handle = await handoffs.keep(`social ${parameters}`);
    redirect(ctx, `${callbackPath(ctx.params.provider ?? '')}?posted=${handle}`);
  });

  router.get('/callback', async (ctx) => {
    await limitPosted(ctx.ip);
    const posted = parameter(ctx, 'posted');
    if (posted === undefined) return receive(ctx, ctx.params.provider ?? '', new URLSearchParams(ctx.querystring));
    const [kind = '', ...kept] = (await handoffs.take(posted)).split(' ');
    if (kind !== 'social') throw new AppError(400, 'request_expired', 'The handle is of something else');
    return receive(ctx, ctx.params.provider ?? '', new URLSearchParams(kept.join(' ')));
  });

  router.get('/', async (ctx) => {
    const wantsJson = ctx.accepts('html', 'json') === 'json';
    try {
      const provider = await providers.find(ctx.params.provider ?? '');
      if (!provider) throw notFound('identity_provider');
      const purpose = restPurpose(ctx, deps);
      // A page elsewhere must not sign anybody in, or up: a provider where they have a session may ask them nothing.
      if (purpose.kind === 'page' && !wantsJson && isFromElsewhere(ctx)) return redirect(ctx, '/account');
      // A program asks in the browser's stead: what comes of it is bound to its verifier instead.
      const browser = wantsJson && purpose.kind === 'rest' ? undefined : cookie.keep(ctx);
      const wishes = { loginHint: parameter(ctx, 'loginHint')?.slice(0, 254) };
      const { url, state } = await beginAttempt(attempts, provider, { browser, purpose, wishes });
      if (!wantsJson) return redirect(ctx, url, 302);
      ctx.set('Cache-Control', 'no-store');
      ctx.body = { authorizationUrl: url, state: purpose.kind === 'rest' ? purpose.state : state };
    } catch (error) {
      const known =
        error instanceof FederationError
          ? new AppError(503, 'social_unavailable', 'The identity provider cannot be reached', { retryAfterSeconds: 5 })
          : error;
      // No event: anybody can ask as often as they like, and nobody has tried to sign in yet.
      if (error instanceof FederationError) {
        people.countFederation(error.reason);
        log.warn({ err: error, provider: ctx.params.provider }, 'an identity provider could not be used');
      }
      // A page for browsers alone: a program that takes anything is told the code.
      if (ctx.accepts('json', 'html') === 'html') throw known;
      sendProblem(ctx, toAppError(ctx, known, log));
    }
  });

  const hosted = compose([postedCallback, ...pages.middleware, router.routes() as unknown as Koa.Middleware]);
  const isOurs = /^\/auth\/social\/(?!token$)[^/]+(\/callback)?$/;
  return (ctx, next) => (isOurs.test(ctx.path) ? hosted(ctx, next) : next());
};

/** Providers post from their own sites; nothing is believed of it but what a state of ours says. */
const postedCallback: Koa.Middleware = async (ctx, next) => {
  if (ctx.method === 'POST' && ctx.path.endsWith('/callback')) ctx.state.takesCrossSite = true;
  await next();
};
