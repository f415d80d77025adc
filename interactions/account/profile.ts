/** `/account/profile`: what one says of oneself. */
import type Router from '@koa/router';
import type Koa from 'koa';
import type { Db } from '../../db/connect.ts';
import type { Secrets } from '../../src/secrets.ts';
import { openPii } from '../../src/users/pii.ts';
import { updateProfile } from '../../src/users/users.commands.ts';
import type { Pages, Visitor } from '../pages.ts';
import type { Problem } from '../view-props.ts';
import { emailPath, profilePath } from './navigation.ts';
import { ProfileForm, profileValues, toPii } from './profile-form.ts';
import type { AccountFrame } from './signed-in.ts';

const notices = new Set(['profileSaved', 'emailChanged', 'mailSent']);

export const mountProfile = (
  router: Router,
  { signedIn, redirect }: AccountFrame,
  { db, pages, secrets }: { db: Db; pages: Pages; secrets: Secrets },
): void => {
  const page = (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
    const notice = String(ctx.query.notice ?? '');
    pages.show(
      ctx,
      'profile',
      {
        action: profilePath,
        values: profileValues(
          user,
          openPii(secrets, user),
          problems.length ? (ctx.request.body as Record<string, unknown>) : undefined,
        ),
        email: user.email,
        emailVerified: user.emailVerifiedAt !== null,
        emailHref: emailPath,
        verifyAction: `${emailPath}/verify`,
        ...(notices.has(notice) ? { notice } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/profile',
    signedIn((ctx, visitor) => page(ctx, visitor)),
  );
  router.post(
    '/profile',
    signedIn(async (ctx, visitor) => {
      try {
        const form = pages.form(ctx, ProfileForm);
        await updateProfile(db, secrets, visitor.actor, visitor.user.id, {
          name: form.name,
          locale: form.locale ?? null,
          pii: toPii(form),
        });
        redirect(ctx, `${profilePath}?notice=profileSaved`);
      } catch (error) {
        page(ctx, visitor, pages.refused(ctx, error));
      }
    }),
  );
};
