/** `/account/requests`: what applications ask the person to confirm by the back channel (CIBA). */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../../src/audit/logs.commands.ts';
import { type DecidingSession, openRequest, requestsPath } from '../../src/auth/backchannel.commands.ts';
import { findWaiting, pageWaiting } from '../../src/auth/backchannel.queries.ts';
import { findStandings, isVouchedFor } from '../../src/clients/standing.queries.ts';
import { AppError } from '../../src/errors.ts';
import { findUserAccess } from '../../src/roles/access.queries.ts';
import type { Secrets } from '../../src/secrets.ts';
import type { Pages, Visitor } from '../pages.ts';
import { redirect } from '../redirect.ts';
import { describeResources } from '../resources.ts';
import type { Problem } from '../view-props.ts';
import type { AccountFrame } from './signed-in.ts';

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

export const mountRequests = (
  router: Router,
  { signedIn, signInHref }: AccountFrame,
  { db, pages, secrets, decide }: RequestPageDeps,
): void => {
  const page = async (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
    const rows = await pageWaiting(db, user.id, { limit: shownMax });
    const opened = rows.map((row) => openRequest(secrets, row));
    const words = await describeResources(
      db,
      opened.map(({ resources }) => resources),
    );
    const standings = await findStandings(
      db,
      rows.map(({ clientId }) => clientId),
    );
    const rank = (await findUserAccess(db, user.id))?.rank;
    const notice = String(ctx.query.notice ?? '');
    pages.show(
      ctx,
      'requests',
      {
        requests: rows.map((row, index) => {
          const { bindingMessage, scopes = [], claims = [] } = opened[index] ?? {};
          return {
            id: row.id,
            clientName: row.clientName ?? row.clientId,
            // As on the consent page.
            verified: isVouchedFor(standings.get(row.clientId), rank),
            ...(row.clientKind === 'metadata-document' ? { comesFrom: new URL(row.clientId).host } : {}),
            ...(bindingMessage ? { bindingMessage } : {}),
            scopes: [...scopes],
            claims: [...claims],
            resources: words[index] ?? [],
            address: row.address ?? '',
            at: row.createdAt,
            expiresAt: row.expiresAt,
          };
        }),
        approveAction: `${requestsPath}/approve`,
        denyAction: `${requestsPath}/deny`,
        reloadHref: requestsPath,
        ...(notices.has(notice) ? { notice } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/requests',
    signedIn((ctx, visitor) => page(ctx, visitor)),
  );

  /** Where the person signs in as the application asked, and comes back from; undefined when there is nothing to decide. */
  const strongerHref = async (ctx: Koa.Context, { user }: Visitor): Promise<string | undefined> => {
    const row = await findWaiting(db, user.id, pages.form(ctx, IdForm).id);
    if (!row) return undefined;
    const { acr, maxAge } = openRequest(secrets, row);
    return signInHref(requestsPath, {
      ...(acr ? { acr_values: acr.values.join(' ') } : {}),
      ...(maxAge === undefined ? {} : { max_age: String(maxAge) }),
    });
  };

  const decision = (decision: 'approved' | 'denied', notice: string) =>
    signedIn(async (ctx, visitor) => {
      const { user, actor, sessionUid } = visitor;
      try {
        const { id } = pages.form(ctx, IdForm);
        await decide(actor, { userId: user.id, sessionUid }, { id, decision });
        redirect(ctx, `${requestsPath}?notice=${notice}`);
      } catch (error) {
        if (!(error instanceof AppError) || error.status >= 500) throw error;
        const stronger = error.code === 'session_needed' ? await strongerHref(ctx, visitor) : undefined;
        if (stronger) {
          redirect(ctx, stronger);
          return;
        }
        ctx.status = error.status;
        await page(ctx, visitor, [{ code: 'requestGone' }]);
      }
    });
  router.post('/requests/approve', decision('approved', 'requestApproved'));
  router.post('/requests/deny', decision('denied', 'requestDenied'));
};
