/** `/account/password`: changing one's password, or setting one where there is none yet. */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { AccountDeps } from '../../src/auth/accounts.commands.ts';
import { Password } from '../../src/auth/credentials.ts';
import { changePassword, setFirstPassword } from '../../src/auth/password.commands.ts';
import type { Pages, Visitor } from '../pages.ts';
import type { Problem } from '../view-props.ts';
import { passwordPath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

const PasswordForm = z.object({ currentPassword: Password, newPassword: Password });
const FirstPasswordForm = z.object({ newPassword: Password });

export const mountPassword = (
  router: Router,
  { signedIn, recent, redirect, signInAgainHref }: AccountFrame,
  { pages, deps, passwordMinLength }: { pages: Pages; deps: AccountDeps; passwordMinLength: number },
): void => {
  const page = async (ctx: Koa.Context, visitor: Visitor, problems: Problem[] = []) => {
    const { user } = visitor;
    const isFirst = user.passwordHash === null;
    const confirmHref = isFirst ? await signInAgainHref(visitor, passwordPath) : undefined;
    pages.show(
      ctx,
      'change-password',
      {
        action: isFirst ? `${passwordPath}/first` : passwordPath,
        isFirst,
        ...(confirmHref ? { confirmHref } : {}),
        email: user.email,
        passwordMinLength,
        ...(ctx.query.notice === 'passwordChanged' ? { notice: 'passwordChanged' } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/password',
    signedIn((ctx, visitor) => page(ctx, visitor)),
  );
  router.post(
    '/password',
    signedIn(async (ctx, visitor) => {
      try {
        const form = pages.form(ctx, PasswordForm);
        await changePassword(deps, visitor.actor, { userId: visitor.user.id, sessionUid: visitor.sessionUid, ...form });
        redirect(ctx, `${passwordPath}?notice=passwordChanged`);
      } catch (error) {
        await page(ctx, visitor, pages.refused(ctx, error));
      }
    }),
  );

  // Nobody can be asked for a password that is not there: a sign-in of just now takes its place.
  router.post(
    '/password/first',
    recent(async (ctx, visitor) => {
      const { user, actor, sessionUid } = visitor;
      try {
        const { newPassword } = pages.form(ctx, FirstPasswordForm);
        await setFirstPassword(deps, actor, { userId: user.id, sessionUid, newPassword });
        redirect(ctx, `${passwordPath}?notice=passwordChanged`);
      } catch (error) {
        await page(ctx, visitor, pages.refused(ctx, error));
      }
    }),
  );
};
