/**
 * Errors of the authorization endpoint, and sign-outs of nobody, that would send somebody away who did nothing here. With clients that anybody can
 * make, by registering or by a document, such a redirect makes a link to this service a link to any page (RFC 9700 section
 * 4.11.2): so our own page says what went wrong, and where the application would have it go on.
 *
 * Clients that somebody answers for are told by redirect, as OpenID Connect Core section 3.1.2.6 has it, and so are all that the
 * person who is signed in has agreed to. What follows a sign-in, or a person's answer, comes from another endpoint, and is
 * told by redirect always.
 */
import type Koa from 'koa';
import type { errors, KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Db } from '../../db/connect.ts';
import { findConsent } from '../sessions/sessions.queries.ts';
import { routes } from './configuration.ts';

/** Where the application would have the person sent. */
export interface Elsewhere {
  /** The host, or of a scheme of the application's own the scheme. */
  host: string;
  /** With what it is to be told; undefined where that would be posted. */
  href?: string;
}

/** Shows the page. */
export type ShowStopped = (ctx: KoaContextWithOIDC, error: errors.OIDCProviderError, to: Elsewhere) => void;

/** Where the engine redirects: the authorization endpoint, and that of a sign-out's answer. */
const isForPeople = (path: string): boolean => path === routes.authorization || path.startsWith(routes.end_session);

const hostOf = (uri: string): string => {
  const { host = '', protocol = '' } = URL.parse(uri) ?? {};
  return host || protocol;
};

/** Nobody was signed in, nothing was asked, and a client that nobody answers for would have the browser sent to it. */
const isAfterSignOutOfNobody = ({ oidc, status }: KoaContextWithOIDC): boolean =>
  oidc?.route === 'end_session_confirm' &&
  status === 303 &&
  !oidc.session?.accountId &&
  oidc.client?.vouched_for === false;

export const stopUnaskedRedirects = (provider: Provider, { db, show }: { db: Db; show: ShowStopped }): void => {
  const refusals = new WeakMap<object, errors.OIDCProviderError>();
  const note = (ctx: KoaContextWithOIDC, error: Error) => {
    refusals.set(ctx, error as errors.OIDCProviderError);
  };
  provider.on('authorization.error', note);
  provider.on('server_error', note);

  const isAsked = async ({ oidc: { client, session } }: KoaContextWithOIDC): Promise<boolean> => {
    if (client?.vouched_for !== false) return true;
    return Boolean(session?.accountId && (await findConsent(db, session.accountId, client.clientId)));
  };

  const stop = async (ctx: KoaContextWithOIDC, next: Koa.Next): Promise<void> => {
    const policy = ctx.response.get('content-security-policy');
    await next();
    if (isAfterSignOutOfNobody(ctx)) ctx.redirect(ctx.oidc.urlFor('end_session_success'));
    const error = refusals.get(ctx);
    // What does not redirect is a page of ours already.
    if (!error?.allow_redirect || ctx.oidc?.route !== 'authorization') return;
    const { redirect_uri: redirectUri } = ctx.oidc.params ?? {};
    if (typeof redirectUri !== 'string' || (await isAsked(ctx))) return;
    const href = ctx.response.get('location');
    ctx.remove('location');
    // The engine has allowed a script of its page that posts.
    if (policy) ctx.set('Content-Security-Policy', policy);
    show(ctx, error, { host: hostOf(redirectUri), ...(href ? { href } : {}) });
  };
  provider.use((ctx: KoaContextWithOIDC, next: Koa.Next) => (isForPeople(ctx.path) ? stop(ctx, next) : next()));
};
