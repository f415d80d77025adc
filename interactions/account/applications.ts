/** `/account/applications`: which applications one has let in. */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { withdrawConsent } from '../../src/sessions/sessions.commands.ts';
import { listConsents } from '../../src/sessions/sessions.queries.ts';
import type { Pages, Visitor } from '../pages.ts';
import { describeResources, hostOf } from '../resources.ts';
import type { Problem } from '../view-props.ts';
import { applicationsPath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

const IdForm = z.object({ id: z.string().regex(/^[\x20-\x7e]{1,500}$/) });

export const mountApplications = (
  router: Router,
  { signedIn, redirect }: AccountFrame,
  { db, pages }: { db: Db; pages: Pages },
): void => {
  const page = async (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
    const consents = await listConsents(db, user.id);
    const words = await describeResources(
      db,
      consents.map(({ resources }) => resources),
    );
    pages.show(
      ctx,
      'applications',
      {
        consents: consents.map(({ clientId, clientName, clientUri, scopes, claims, createdAt }, index) => ({
          clientId,
          name: clientName ?? clientId,
          host: hostOf(clientId, clientUri),
          scopes,
          claims,
          resources: words[index] ?? [],
          grantedAt: createdAt,
        })),
        withdrawAction: `${applicationsPath}/withdraw`,
        ...(ctx.query.notice === 'consentWithdrawn' ? { notice: 'consentWithdrawn' } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/applications',
    signedIn((ctx, visitor) => page(ctx, visitor)),
  );
  router.post(
    '/applications/withdraw',
    signedIn(async (ctx, visitor) => {
      const { id } = pages.form(ctx, IdForm);
      if (await withdrawConsent(db, visitor.actor, visitor.user.id, id))
        return redirect(ctx, `${applicationsPath}?notice=consentWithdrawn`);
      ctx.status = 404;
      await page(ctx, visitor, [{ code: 'notFound' }]);
    }),
  );
};
