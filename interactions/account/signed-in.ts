/** Who may see an account's pages: whoever is signed in, and for what matters whoever has just shown again that it is they. */
import type Koa from 'koa';
import type { Db } from '../../db/connect.ts';
import { acrValues } from '../../src/auth/authentication-context.ts';
import { findLacking, recentSignInSeconds } from '../../src/auth/recent-sign-in.queries.ts';
import { AppError } from '../../src/errors.ts';
import { routes } from '../../src/provider/configuration.ts';
import type { AccountMenu } from '../account-props.ts';
import type { Pages, Visitor } from '../pages.ts';
import { redirect } from '../redirect.ts';
import { accountClientId } from './account-client.ts';
import { accountPath, type Entry, pageOf, returnPathOf } from './navigation.ts';

export type AccountPage = (ctx: Koa.Context, visitor: Visitor) => unknown;

/** What a page of the account is mounted with. */
export interface AccountFrame {
  /**
   * Runs a page for whoever is signed in, and sends anybody else to sign in and come back.
   * @param returnTo one of `returnPaths`; the one that the address belongs to unless given
   */
  signedIn(page: AccountPage, returnTo?: string): Koa.Middleware;
  /**
   * Likewise, for whoever has signed in lately and as strongly as they can: a session that was left open, or was stolen, must
   * not be enough to change how one signs in. A form that comes too late is not carried out, and the page says so.
   */
  recent(page: AccountPage, returnTo?: string): Koa.Middleware;
  /** Where one signs in to come back to one of `returnPaths`. @param asked what the sign-in must be like (`acr_values`, `max_age`) */
  signInHref(returnTo: string, asked?: Record<string, string>): string;
  /** Where somebody makes up for what `recent` would find wanting; undefined when nothing is. */
  signInAgainHref(visitor: Visitor, returnTo: string): Promise<string | undefined>;
  redirect(ctx: Koa.Context, to: string): void;
}

export const createAccountFrame = ({
  db,
  pages,
  issuer,
  served,
}: {
  db: Db;
  pages: Pages;
  issuer: string;
  /** The pages of the menu. */
  served(): readonly Entry[];
}): AccountFrame => {
  const menuAt = (path: string): AccountMenu => ({
    entries: served().map((entry) => ({ ...entry, current: entry.href === pageOf(path) })),
    signOutHref: routes.end_session,
  });

  const signInHref = (returnTo: string, asked: Record<string, string> = {}): string => {
    const redirect_uri = `${issuer}${returnTo}`;
    const request = { client_id: accountClientId, response_type: 'none', scope: 'openid', redirect_uri, ...asked };
    return `${routes.authorization}?${new URLSearchParams(request)}`;
  };

  const signedIn =
    (page: AccountPage, returnTo?: string): Koa.Middleware =>
    async (ctx) => {
      const visitor = await pages.visitor(ctx);
      if (visitor) {
        ctx.state.accountMenu = menuAt(ctx.path);
        await page(ctx, visitor);
      } else if (ctx.query.error !== undefined) {
        redirect(ctx, '/');
      } else if (ctx.query.iss !== undefined) {
        // Back from signing in, and still nobody: the browser keeps no cookies.
        throw new AppError(400, 'session_not_found', 'signed in, but the session cookie did not come back');
      } else {
        redirect(ctx, signInHref(returnTo ?? returnPathOf(ctx.path)));
      }
    };

  /** What the sign-in lacks, as parameters of the authorization request that makes up for it; undefined when nothing. */
  const lacking = async ({ user, amr, authTime }: Visitor): Promise<Record<string, string> | undefined> => {
    const { stale, weak } = await findLacking(db, { userId: user.id, amr, authTime });
    if (!stale && !weak) return undefined;
    return { max_age: String(recentSignInSeconds), ...(weak ? { acr_values: acrValues[1] } : {}) };
  };

  const recent = (page: AccountPage, returnTo?: string): Koa.Middleware =>
    signedIn(async (ctx, visitor) => {
      const asked = await lacking(visitor);
      if (!asked) return page(ctx, visitor);
      // Whoever did not want to show it goes on without.
      if (ctx.query.error !== undefined) return redirect(ctx, accountPath);
      const href = signInHref(returnTo ?? returnPathOf(ctx.path), asked);
      const isForm = !['GET', 'HEAD'].includes(ctx.method);
      // Back from signing in and it is not enough: a person decides whether to try once more.
      if (!isForm && ctx.query.iss === undefined) return redirect(ctx, href);
      const props = { signInHref: href, accountHref: accountPath, lost: isForm };
      pages.show(ctx, 'sign-in-again', props, { signedInAs: visitor.user.email, status: 403 });
    }, returnTo);

  const signInAgainHref = async (visitor: Visitor, returnTo: string) => {
    const asked = await lacking(visitor);
    return asked && signInHref(returnTo, asked);
  };

  return { signedIn, recent, signInHref, signInAgainHref, redirect };
};
