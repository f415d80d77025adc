/** `/account/requests`: what applications ask the person to confirm by the back channel (CIBA). */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../db/connect.ts';
import type { Actor } from '../src/audit/logs.commands.ts';
import { type DecidingSession, openRequest, requestsPath } from '../src/auth/backchannel.commands.ts';
import { pageWaiting } from '../src/auth/backchannel.queries.ts';
import { AppError } from '../src/errors.ts';
import type { Secrets } from '../src/secrets.ts';
import type { Pages, Visitor } from './pages.ts';
import type { Problem } from './view-props.ts';

/** As many as are shown at once; so many can hardly wait. */
const shownMax = 50;
const notices = new Set(['requestApproved', 'requestDenied']);
const IdForm = z.object({ id: z.uuid() });

export type DecideRequest = (
  actor: Actor,
  session: DecidingSession,
  decision: { id: string; decision: 'approved' | 'denied' },
) => Promise<void>;

export interface RequestPageDeps {
  db: Db;
  pages: Pages;
  secrets: Secrets;
  decide: DecideRequest;
}

/** @param signedIn runs a page for whoever is signed in, and sends anybody else to sign in and come back to it */
export const mountRequests = (
  router: Router,
  signedIn: (page: (ctx: Koa.Context, visitor: Visitor) => unknown, returnTo?: string) => Koa.Middleware,
  { db, pages, secrets, decide }: RequestPageDeps,
): void => {
  const page = async (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
    const rows = await pageWaiting(db, user.id, { limit: shownMax });
    const notice = String(ctx.query.notice ?? '');
    pages.show(
      ctx,
      'requests',
      {
        requests: rows.map((row) => {
          const { bindingMessage, scopes, claims, resources } = openRequest(secrets, row);
          return {
            id: row.id,
            clientName: row.clientName ?? row.clientId,
            ...(bindingMessage ? { bindingMessage } : {}),
            scopes: [...scopes],
            claims: [...claims],
            resources: Object.entries(resources).map(([indicator, names]) => ({ indicator, scopes: [...names] })),
            address: row.address ?? '',
            at: row.createdAt,
            expiresAt: row.expiresAt,
          };
        }),
        approveAction: `${requestsPath}/approve`,
        denyAction: `${requestsPath}/deny`,
        reloadHref: requestsPath,
        accountHref: '/account',
        ...(notices.has(notice) ? { notice } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/requests',
    signedIn((ctx, visitor) => page(ctx, visitor), requestsPath),
  );

  const decision = (decision: 'approved' | 'denied', notice: string) =>
    signedIn(async (ctx, visitor) => {
      const { user, actor, sessionUid } = visitor;
      try {
        const { id } = pages.form(ctx, IdForm);
        await decide(actor, { userId: user.id, sessionUid }, { id, decision });
        ctx.status = 303;
        ctx.redirect(`${requestsPath}?notice=${notice}`);
      } catch (error) {
        if (!(error instanceof AppError) || error.status >= 500) throw error;
        ctx.status = error.status;
        await page(ctx, visitor, [{ code: 'requestGone' }]);
      }
    }, requestsPath);
  router.post('/requests/approve', decision('approved', 'requestApproved'));
  router.post('/requests/deny', decision('denied', 'requestDenied'));
};
