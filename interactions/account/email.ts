/** `/account/profile/email`: moving one's account to another mail address, by a code that goes there. */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import { type AccountDeps, requestMail } from '../../src/auth/accounts.commands.ts';
import { type AddressChangeDeps, changeAddress, requestAddressChange } from '../../src/auth/address-change.commands.ts';
import { Email } from '../../src/auth/credentials.ts';
import { normalizeEmail } from '../../src/users/users.queries.ts';
import type { Pages, Visitor } from '../pages.ts';
import type { Problem } from '../view-props.ts';
import { emailPath, profilePath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

const EmailForm = z.object({ email: Email });
const CodeForm = z.object({
  code: z
    .string()
    .transform((code) => code.replace(/\s/g, ''))
    .pipe(z.string().min(1).max(20)),
});

export const mountEmail = (
  router: Router,
  { signedIn, recent, redirect }: AccountFrame,
  { pages, deps, addressChange }: { pages: Pages; deps: AccountDeps; addressChange: AddressChangeDeps },
): void => {
  const page = (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
    const { newEmail } = pages.flow(ctx);
    const asksCode = newEmail !== undefined && (ctx.query.step === 'code' || ctx.path.endsWith('/code'));
    const { email: typed } = (ctx.request.body ?? {}) as { email?: unknown };
    pages.show(
      ctx,
      'change-email',
      {
        action: emailPath,
        codeAction: `${emailPath}/code`,
        profileHref: profilePath,
        email: user.email,
        newEmail: asksCode ? newEmail : typeof typed === 'string' ? typed.slice(0, 300) : '',
        asksCode,
        ...(ctx.query.notice === 'mailSent' ? { notice: 'mailSent' } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/profile/email',
    recent((ctx, visitor) => page(ctx, visitor)),
  );
  router.post(
    '/profile/email',
    recent(async (ctx, visitor) => {
      try {
        const { email } = pages.form(ctx, EmailForm);
        const again = pages.flow(ctx).newEmail === normalizeEmail(email);
        await requestAddressChange(addressChange, visitor.actor, { userId: visitor.user.id, email });
        pages.remember(ctx, { newEmail: normalizeEmail(email) });
        redirect(ctx, `${emailPath}?step=code${again ? '&notice=mailSent' : ''}`);
      } catch (error) {
        page(ctx, visitor, pages.refused(ctx, error));
      }
    }),
  );
  router.post(
    '/profile/email/code',
    recent(async (ctx, visitor) => {
      const { user, actor, sessionUid } = visitor;
      try {
        const { code } = pages.form(ctx, CodeForm);
        const email = await changeAddress(addressChange, actor, { userId: user.id, sessionUid, code });
        // The sign-in page knows the person by it from now on.
        pages.remember(ctx, { newEmail: undefined, email });
        redirect(ctx, `${profilePath}?notice=emailChanged`);
      } catch (error) {
        page(ctx, visitor, pages.refused(ctx, error));
      }
    }),
  );

  // Of the address that the account has, to somebody who may be signed in before it is confirmed.
  router.post(
    '/profile/email/verify',
    signedIn(async (ctx, { user, actor }) => {
      await requestMail(deps, actor, 'verification', user.email);
      redirect(ctx, `${profilePath}?notice=mailSent`);
    }),
  );
};
