/** `/account/invitations`: the organizations that want the person to join. */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import { AppError } from '../../src/errors.ts';
import {
  acceptInvitation,
  declineInvitation,
  type InvitationDeps,
} from '../../src/organizations/invitations.commands.ts';
import { listInvitationsTo } from '../../src/organizations/invitations.queries.ts';
import type { Pages, Visitor } from '../pages.ts';
import type { Problem } from '../view-props.ts';
import { invitationsPath, profilePath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

/** As many as are shown at once. */
const shownMax = 50;
const notices = new Set(['invitationAccepted', 'invitationDeclined']);
const IdForm = z.object({ id: z.uuid() });

export const mountInvitations = (
  router: Router,
  { signedIn, signInHref, redirect }: AccountFrame,
  { pages, deps }: { pages: Pages; deps: InvitationDeps },
): void => {
  const page = async (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
    const notice = String(ctx.query.notice ?? '');
    pages.show(
      ctx,
      'invitations',
      {
        invitations: (await listInvitationsTo(deps.db, user.id, shownMax)).map((found) => ({
          id: found.id,
          organization: found.organizationName,
          inviter: found.inviterName,
          at: found.createdAt,
          expiresAt: found.expiresAt,
        })),
        acceptAction: `${invitationsPath}/accept`,
        declineAction: `${invitationsPath}/decline`,
        ...(user.emailVerifiedAt ? {} : { verifyHref: profilePath }),
        ...(notices.has(notice) ? { notice } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/invitations',
    signedIn((ctx, visitor) => page(ctx, visitor)),
  );

  // For somebody whose browser is signed in to another account than the one that was invited.
  router.get('/invitations/switch', (ctx) => redirect(ctx, signInHref(invitationsPath, { prompt: 'login' })));

  const answer = (work: typeof acceptInvitation | typeof declineInvitation, notice: string) =>
    signedIn(async (ctx, visitor) => {
      try {
        const { id } = pages.form(ctx, IdForm);
        await work(deps, visitor.actor, visitor.user.id, { id });
        pages.remember(ctx, { invited: undefined });
        redirect(ctx, `${invitationsPath}?notice=${notice}`);
      } catch (error) {
        if (!(error instanceof AppError) || error.status >= 500) throw error;
        ctx.status = error.status;
        await page(ctx, visitor, [{ code: 'invitationGone' }]);
      }
    });
  router.post('/invitations/accept', answer(acceptInvitation, 'invitationAccepted'));
  router.post('/invitations/decline', answer(declineInvitation, 'invitationDeclined'));
};
