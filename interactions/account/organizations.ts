/** `/account/organizations`: what one belongs to, what one holds there, and how to leave. */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { listDomainsOf } from '../../src/domains/domains.queries.ts';
import { AppError } from '../../src/errors.ts';
import { leaveOrganization } from '../../src/organizations/members.commands.ts';
import { listOwnMemberships, type OwnMembership } from '../../src/organizations/members.queries.ts';
import { findUserAccess, type UserAccess } from '../../src/roles/access.queries.ts';
import { permits } from '../../src/roles/permissions.ts';
import type { Pages, Visitor } from '../pages.ts';
import type { Problem } from '../view-props.ts';
import { organizationsPath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

/** More than anybody is in. */
const shownMax = 200;

const IdForm = z.object({ id: z.uuid() });

/** An operator who takes the permission from people's role has administrators take them out. */
const mayLeave = (access: UserAccess | undefined): boolean =>
  permits(access?.permissions ?? [], 'organizations:leave:own');

export const mountOrganizations = (
  router: Router,
  { signedIn, redirect }: AccountFrame,
  { db, pages }: { db: Db; pages: Pages },
): void => {
  const page = async (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
    const access = await findUserAccess(db, user.id);
    const open = mayLeave(access);
    const toRow = ({ id, name, kind, isActive, isOwner, isOnlyOwner, createdAt }: OwnMembership) => ({
      ...{ name, kind, isActive, isOwner, isOnlyOwner },
      roles: access?.organizations.find((one) => one.id === id)?.roles ?? [],
      since: createdAt,
      ...(open && !isOnlyOwner ? { leaveHref: `${organizationsPath}/${id}/leave` } : {}),
    });
    pages.show(
      ctx,
      'organizations',
      {
        organizations: (await listOwnMemberships(db, user.id)).map(toRow),
        groups: (access?.groups ?? []).slice(0, shownMax),
        domains: (await listDomainsOf(db, user.id, { activeOnly: true, limit: shownMax, after: undefined })).map(
          ({ name }) => name,
        ),
        ...(ctx.query.notice === 'organizationLeft' ? { notice: 'organizationLeft' } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  const refuse = (ctx: Koa.Context, visitor: Visitor, status: number, problem: Problem) => {
    ctx.status = status;
    return page(ctx, visitor, [problem]);
  };

  router.get(
    '/organizations',
    signedIn((ctx, visitor) => page(ctx, visitor)),
  );
  router.get(
    '/organizations/:id/leave',
    signedIn(async (ctx, visitor) => {
      const found = (await listOwnMemberships(db, visitor.user.id)).find(({ id }) => id === ctx.params.id);
      if (!found || !mayLeave(await findUserAccess(db, visitor.user.id)))
        return refuse(ctx, visitor, 404, { code: 'notFound' });
      if (found.isOnlyOwner) return refuse(ctx, visitor, 409, { code: 'lastOwner', values: { names: found.name } });
      const props = {
        id: found.id,
        name: found.name,
        action: `${organizationsPath}/leave`,
        stayHref: organizationsPath,
      };
      pages.show(ctx, 'organization-leave', { ...props, problems: [] }, { signedInAs: visitor.user.email });
    }),
  );
  router.post(
    '/organizations/leave',
    signedIn(async (ctx, visitor) => {
      const { id: userId } = visitor.user;
      const { id: organizationId } = pages.form(ctx, IdForm);
      if (!mayLeave(await findUserAccess(db, userId))) return refuse(ctx, visitor, 404, { code: 'notFound' });
      try {
        await leaveOrganization(db, visitor.actor, { userId, organizationId });
        redirect(ctx, `${organizationsPath}?notice=organizationLeft`);
      } catch (error) {
        if (!(error instanceof AppError) || error.status >= 500) throw error;
        const [alone] = (error.details.members?.organizations ?? []) as { name: string }[];
        const problem = alone ? { code: 'lastOwner', values: { names: alone.name } } : { code: 'notFound' };
        await refuse(ctx, visitor, error.status, problem);
      }
    }),
  );
};
