/** Where the link of an invitation leads. It says what it is about and who it is for; answering is for whoever is signed in so. */
import Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../db/connect.ts';
import { invitationPath } from '../src/organizations/invitations.commands.ts';
import { findInvitationByToken, type Invitation } from '../src/organizations/invitations.queries.ts';
import { invitationsPath, profilePath } from './account/navigation.ts';
import type { InvitationClosedView, InvitationView } from './joining-props.ts';
import type { Pages } from './pages.ts';
import { redirect } from './redirect.ts';

const GoForm = z.object({ token: z.string().min(1).max(200), go: z.enum(['sign-in', 'register']) });

/** Whoever has shut the organization has withdrawn its invitations, as far as it matters to those who were invited. */
const reasonOf = (state: Exclude<Invitation['state'], 'pending'>): InvitationClosedView['reason'] =>
  state === 'void' ? 'revoked' : state;

export const invitation = ({ db, pages }: { db: Db; pages: Pages }): Koa.Middleware => {
  const router = new Router({ prefix: invitationPath });

  const closed = (ctx: Koa.Context, found: Invitation | undefined) => {
    const reason = found && found.state !== 'pending' ? reasonOf(found.state) : 'unknown';
    const organization = found ? { organization: found.organizationName } : {};
    const props = { reason, ...organization, accountHref: '/account' };
    pages.show(ctx, 'invitation-closed', props, { status: found ? 410 : 404 });
  };

  const visitorOf = async (ctx: Koa.Context, { email }: Invitation): Promise<InvitationView['visitor']> => {
    const visitor = await pages.visitor(ctx);
    if (!visitor) return 'nobody';
    if (visitor.user.email !== email) return 'another';
    return visitor.user.emailVerifiedAt ? 'mine' : 'unverified';
  };

  router.get('/', async (ctx) => {
    const token = String(ctx.query.token ?? '').slice(0, 200);
    const found = await findInvitationByToken(db, token);
    if (found?.state !== 'pending') return closed(ctx, found);
    const { id, organizationName: organization, inviterName: inviter, email, expiresAt } = found;
    const visitor = await visitorOf(ctx, found);
    const answer = { id, acceptAction: `${invitationsPath}/accept`, declineAction: `${invitationsPath}/decline` };
    pages.show(ctx, 'invitation', {
      ...{ organization, inviter, email, expiresAt, visitor, token },
      action: invitationPath,
      ...(visitor === 'mine' ? { answer } : {}),
      profileHref: profilePath,
    });
  });

  // On to where one signs in or registers with that address, and from there to the account page, where the invitation waits.
  router.post('/', async (ctx) => {
    const { token, go } = pages.form(ctx, GoForm);
    const found = await findInvitationByToken(db, token);
    if (found?.state !== 'pending') return closed(ctx, found);
    const { email } = found;
    pages.remember(ctx, { email, invited: true, interaction: undefined, client: undefined });
    const visitor = await visitorOf(ctx, found);
    if (go === 'register') redirect(ctx, '/register');
    else redirect(ctx, visitor === 'another' ? `${invitationsPath}/switch` : invitationsPath);
  });

  return router.routes() as unknown as Koa.Middleware;
};
