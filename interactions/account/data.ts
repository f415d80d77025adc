/** `/account/data`: a copy of all that is kept about oneself, and closing one's account. */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { AccountDeps } from '../../src/auth/accounts.commands.ts';
import { closeAccount } from '../../src/auth/closing.commands.ts';
import { Password } from '../../src/auth/credentials.ts';
import { AppError, forbidden } from '../../src/errors.ts';
import { exportPersonalData, type PersonalDataDeps } from '../../src/governance/personal-data.commands.ts';
import { findUserAccess, type UserAccess } from '../../src/roles/access.queries.ts';
import { permits } from '../../src/roles/permissions.ts';
import type { Pages, Visitor } from '../pages.ts';
import type { Problem } from '../view-props.ts';
import { accountPath, closePath, dataPath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

const CloseForm = z.object({ password: Password });

export const mountData = (
  router: Router,
  { signedIn, recent, redirect, signInAgainHref }: AccountFrame,
  { pages, deps }: { pages: Pages; deps: AccountDeps & PersonalDataDeps },
): void => {
  router.get(
    '/data',
    signedIn(async (ctx, visitor) => {
      const confirmHref = await signInAgainHref(visitor, dataPath);
      const closes = mayClose(await findUserAccess(deps.db, visitor.user.id));
      const props = {
        downloadAction: `${dataPath}/download`,
        ...(closes ? { closeHref: closePath } : {}),
        problems: [],
      };
      pages.show(
        ctx,
        'data',
        { ...props, ...(confirmHref ? { confirmHref } : {}) },
        { signedInAs: visitor.user.email },
      );
    }),
  );

  router.post(
    '/data/download',
    recent(async (ctx, { user, actor }) => {
      const { type, filename, content } = await exportPersonalData(deps, actor, user.id);
      ctx.set('Cache-Control', 'no-store');
      ctx.type = type;
      ctx.attachment(filename);
      ctx.body = content;
    }),
  );

  const closePage = (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) =>
    pages.show(
      ctx,
      'close-account',
      { action: closePath, dataHref: dataPath, email: user.email, asksPassword: user.passwordHash !== null, problems },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  router.get(
    '/data/close',
    recent(async (ctx, visitor) => {
      assertMayClose(await findUserAccess(deps.db, visitor.user.id));
      closePage(ctx, visitor);
    }),
  );
  router.post(
    '/data/close',
    recent(async (ctx, visitor) => {
      const { user, actor, sessionUid } = visitor;
      try {
        const { password } = user.passwordHash === null ? { password: undefined } : pages.form(ctx, CloseForm);
        const access = await findUserAccess(deps.db, user.id);
        assertMayClose(access);
        const caller = {
          kind: 'user' as const,
          id: user.id,
          sessionUid,
          permissions: [],
          rank: 0,
          roles: [],
          ...access,
        };
        await closeAccount(deps, actor, caller, { userId: user.id, password, signedInLately: true });
        redirect(ctx, `${accountPath}/closed`);
      } catch (error) {
        const problems = refusal(ctx, error) ?? pages.refused(ctx, error);
        closePage(
          ctx,
          visitor,
          // The text for a wrong one is made for somebody who came by a mailed link.
          problems.map((problem) =>
            problem.code === 'passwordWrong' ? { ...problem, code: 'currentPasswordWrong' } : problem,
          ),
        );
      }
    }),
  );
  // Nobody is signed in any more.
  router.get('/closed', (ctx) => pages.show(ctx, 'account-closed', { homeHref: '/' }));
};

const closing = 'users:close:own';

/** An operator who takes the permission from people's role closes accounts by other means. */
const mayClose = (access: UserAccess | undefined): boolean => permits(access?.permissions ?? [], closing);

const assertMayClose = (access: UserAccess | undefined): void => {
  if (!mayClose(access))
    throw forbidden('missing_permission', `This needs the permission ${closing}`, { permission: closing });
};

/** What only closing can be refused for, in its own words. */
const refusal = (ctx: Koa.Context, error: unknown): Problem[] | undefined => {
  if (!(error instanceof AppError)) return undefined;
  const code = {
    last_super_admin: 'lastSuperAdmin',
    last_owner: 'lastOwner',
    password_changed: 'formExpired',
  }[error.code as string];
  if (code === undefined) return undefined;
  ctx.status = error.status;
  const { organizations } = error.details.members ?? {};
  const names = ((organizations ?? []) as { name: string }[]).map(({ name }) => name).join(', ');
  return [{ code, ...(names ? { values: { names } } : {}) }];
};
