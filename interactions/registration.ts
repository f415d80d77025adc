/** Registration, verification, forgotten passwords and the first administrator: the pages around signing in. */
import Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import {
  type AccountDeps,
  isVerifiedByBrowser,
  register,
  requestMail,
  verifyEmail,
} from '../src/auth/accounts.commands.ts';
import { type ActionPurpose, findActionToken } from '../src/auth/action-tokens.commands.ts';
import { setUp } from '../src/auth/administrators.commands.ts';
import { ActionToken, Email, Password, PersonName } from '../src/auth/credentials.ts';
import { resetPassword } from '../src/auth/password.commands.ts';
import { AppError } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import { randomToken } from '../src/secrets.ts';
import { findUser } from '../src/users/users.queries.ts';
import type { Pages } from './pages.ts';
import { redirect } from './redirect.ts';
import type { SocialSignIn } from './social-sign-in.ts';
import type { Problem, ViewProps } from './view-props.ts';

const RegisterForm = z.object({ name: PersonName, email: Email, password: Password });
const EmailForm = z.object({ email: Email });
const VerifyForm = z.object({ token: ActionToken, password: z.string().max(1024).optional() });

type ActionTokenFound = NonNullable<Awaited<ReturnType<typeof findActionToken>>>;
const ResetForm = z.object({ token: ActionToken, password: Password });
const SetupForm = RegisterForm.extend({ token: ActionToken });

/** A text field as it was typed, to be shown again. */
const typed = (ctx: Koa.Context, field: string): string => {
  const value = (ctx.request.body as Record<string, unknown> | undefined)?.[field];
  return typeof value === 'string' ? value.slice(0, 1000) : '';
};

const isExpiredToken = (error: unknown) => error instanceof AppError && error.code === 'invalid_token';

export const registration = ({
  pages,
  deps,
  passwordMinLength,
  registerSignsIn,
  social,
}: {
  pages: Pages;
  deps: AccountDeps;
  passwordMinLength: number;
  registerSignsIn: boolean;
  /** Signing up with an identity provider. */
  social: Pick<SocialSignIn, 'buttons'>;
}): Koa.Middleware => {
  const router = new Router();

  /** Runs a form's command; what it refuses is shown beside the fields by `showForm`. */
  const submit = async (
    ctx: Koa.Context,
    work: () => Promise<void>,
    showForm: (problems: Problem[]) => void | Promise<void>,
  ) => {
    try {
      await work();
    } catch (error) {
      await showForm(pages.refused(ctx, error));
    }
  };

  /** These pages belong to the application that the browser is on the way to, if there is one. */
  const show = async <V extends keyof ViewProps>(
    ctx: Koa.Context,
    view: V,
    props: ViewProps[V],
    options: { status?: number } = {},
  ) => pages.show(ctx, view, props, { ...options, client: await pages.flowClient(ctx) });

  const status = (ctx: Koa.Context, problems: Problem[]) => (problems.length ? ctx.status : 200);

  // Register
  const registerPage = async (ctx: Koa.Context, problems: Problem[]) => {
    const buttons = await social.buttons(ctx);
    await show(
      ctx,
      'register',
      {
        ...(buttons ? { social: buttons } : {}),
        action: '/register',
        email: typed(ctx, 'email') || (pages.flow(ctx).email ?? ''),
        name: typed(ctx, 'name'),
        problems,
        signInHref: pages.signInHref(ctx),
        passwordMinLength,
      },
      { status: status(ctx, problems) },
    );
  };
  router.get('/register', (ctx) => registerPage(ctx, []));
  router.post('/register', (ctx) =>
    submit(
      ctx,
      async () => {
        const form = pages.form(ctx, RegisterForm);
        const browser = randomToken();
        const userId = await register(deps, actorOf(ctx), { ...form, locale: pages.locale(ctx), browser });
        const signsIn = registerSignsIn && userId !== undefined;
        pages.remember(ctx, {
          email: form.email,
          browser,
          registered: signsIn
            ? { userId, at: Date.now(), credential: Number((await findUser(deps.db, userId))?.passwordChangedAt ?? 0) }
            : undefined,
        });
        redirect(ctx, signsIn ? pages.signInHref(ctx) : '/check-mail');
      },
      (problems) => registerPage(ctx, problems),
    ),
  );

  // The same page whether or not there is an account.
  router.get('/check-mail', (ctx) => {
    const purpose = ctx.query.for === 'reset' ? 'reset' : 'verify';
    return show(ctx, 'check-mail', {
      email: pages.flow(ctx).email ?? '',
      purpose,
      resendAction: purpose === 'reset' ? '/forgot' : '/verify/resend',
      returnHref: pages.signInHref(ctx),
    });
  });

  // Links from mails: GET shows a button and changes nothing, since mail scanners follow links.
  const linkPage = (
    path: string,
    purpose: ActionPurpose,
    live: (ctx: Koa.Context, token: string, found: ActionTokenFound) => void | Promise<void>,
    expired: (ctx: Koa.Context) => void | Promise<void>,
  ) =>
    router.get(path, async (ctx) => {
      const token = String(ctx.query.token ?? '');
      const found = await findActionToken(deps.db, purpose, token);
      if (found) await live(ctx, token, found);
      else await expired(ctx);
    });

  // Verify
  const verifyExpired = (ctx: Koa.Context) =>
    show(
      ctx,
      'link-expired',
      { purpose: 'verify', action: '/verify/resend', signInHref: pages.signInHref(ctx) },
      { status: 400 },
    );
  const verifyPage = async (ctx: Koa.Context, token: string, found?: ActionTokenFound, problems: Problem[] = []) => {
    const asksPassword = !found || !isVerifiedByBrowser(found, pages.flow(ctx).browser);
    const user = asksPassword && found?.userId ? await findUser(deps.db, found.userId) : undefined;
    // Whoever signed up with an identity provider has none, and cannot be asked for it.
    const withoutPassword =
      user?.passwordHash === null
        ? { withoutPassword: { email: user.email, action: '/forgot', signInHref: pages.signInHref(ctx) } }
        : {};
    const props = { action: '/verify', token, asksPassword, ...withoutPassword, problems };
    await show(ctx, 'verify', props, { status: status(ctx, problems) });
  };
  linkPage('/verify', 'verify-email', verifyPage, verifyExpired);
  router.post('/verify', (ctx) =>
    submit(
      ctx,
      async () => {
        try {
          const { browser } = pages.flow(ctx);
          const { token, password } = pages.form(ctx, VerifyForm);
          const proof = { ...(browser ? { browser } : {}), ...(password ? { password } : {}) };
          const { email } = await verifyEmail(deps, actorOf(ctx), token, proof);
          pages.remember(ctx, { email, browser: undefined });
          redirect(ctx, '/verified');
        } catch (error) {
          if (!isExpiredToken(error)) throw error;
          await verifyExpired(ctx);
        }
      },
      async (problems) => {
        const token = typed(ctx, 'token');
        await verifyPage(ctx, token, await findActionToken(deps.db, 'verify-email', token), problems);
      },
    ),
  );
  router.get('/verified', (ctx) => show(ctx, 'verify-done', { continueHref: pages.signInHref(ctx) }));
  const resendPage = (ctx: Koa.Context, problems: Problem[]) =>
    show(
      ctx,
      'resend',
      {
        action: '/verify/resend',
        email: typed(ctx, 'email') || (pages.flow(ctx).email ?? ''),
        problems,
        signInHref: pages.signInHref(ctx),
      },
      { status: status(ctx, problems) },
    );
  router.get('/verify/resend', (ctx) => resendPage(ctx, []));
  router.post('/verify/resend', (ctx) =>
    submit(
      ctx,
      async () => {
        const { email } = pages.form(ctx, EmailForm);
        await requestMail(deps, actorOf(ctx), 'verification', email);
        pages.remember(ctx, { email });
        redirect(ctx, '/check-mail');
      },
      (problems) => resendPage(ctx, problems),
    ),
  );

  // Forgot and reset
  const forgotPage = (ctx: Koa.Context, problems: Problem[]) =>
    show(
      ctx,
      'forgot',
      {
        action: '/forgot',
        email: typed(ctx, 'email') || (pages.flow(ctx).email ?? ''),
        problems,
        signInHref: pages.signInHref(ctx),
      },
      { status: status(ctx, problems) },
    );
  router.get('/forgot', (ctx) => forgotPage(ctx, []));
  router.post('/forgot', (ctx) =>
    submit(
      ctx,
      async () => {
        const { email } = pages.form(ctx, EmailForm);
        await requestMail(deps, actorOf(ctx), 'password-reset', email);
        pages.remember(ctx, { email });
        redirect(ctx, '/check-mail?for=reset');
      },
      (problems) => forgotPage(ctx, problems),
    ),
  );

  const resetPage = (ctx: Koa.Context, token: string, problems: Problem[]) =>
    show(ctx, 'reset', { action: '/reset', token, problems, passwordMinLength }, { status: status(ctx, problems) });
  const resetExpired = (ctx: Koa.Context) =>
    show(
      ctx,
      'link-expired',
      { purpose: 'reset', action: '/forgot', signInHref: pages.signInHref(ctx) },
      { status: 400 },
    );
  linkPage('/reset', 'reset-password', (ctx, token) => resetPage(ctx, token, []), resetExpired);
  router.post('/reset', (ctx) =>
    submit(
      ctx,
      async () => {
        try {
          const deviceCookie = pages.device(ctx);
          const { email } = await resetPassword(deps, actorOf(ctx), pages.form(ctx, ResetForm), deviceCookie);
          pages.rememberDevice(ctx, deviceCookie);
          pages.remember(ctx, { email, notice: 'passwordChanged' });
          redirect(ctx, pages.signInHref(ctx));
        } catch (error) {
          if (!isExpiredToken(error)) throw error;
          await resetExpired(ctx);
        }
      },
      (problems) => resetPage(ctx, typed(ctx, 'token'), problems),
    ),
  );

  // The first administrator
  const setupPage = (ctx: Koa.Context, token: string, problems: Problem[]) =>
    pages.show(
      ctx,
      'setup',
      { action: '/setup', token, email: typed(ctx, 'email'), name: typed(ctx, 'name'), problems, passwordMinLength },
      { status: status(ctx, problems) },
    );
  const setupExpired = (ctx: Koa.Context) =>
    pages.show(ctx, 'link-expired', { purpose: 'setup', signInHref: '/account' }, { status: 400 });
  linkPage('/setup', 'setup', (ctx, token) => setupPage(ctx, token, []), setupExpired);
  router.post('/setup', (ctx) =>
    submit(
      ctx,
      async () => {
        try {
          const form = pages.form(ctx, SetupForm);
          await setUp(deps, actorOf(ctx), form);
          pages.remember(ctx, { email: form.email, notice: 'accountCreated' });
          redirect(ctx, '/account');
        } catch (error) {
          if (!isExpiredToken(error)) throw error;
          await setupExpired(ctx);
        }
      },
      (problems) => setupPage(ctx, typed(ctx, 'token'), problems),
    ),
  );

  return router.routes() as unknown as Koa.Middleware;
};
