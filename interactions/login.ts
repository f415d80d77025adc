/** The `login` prompt: email and password. */

import type Koa from 'koa';
import { z } from 'zod';
import type { AccountDeps } from '../src/auth/accounts.commands.ts';
import { acrOf, needsTwoFactors } from '../src/auth/authentication-context.ts';
import { isMfaRequired } from '../src/auth/mfa.commands.ts';
import { recordSignIn, type SignIn, type SignInDeps, signIn } from '../src/auth/sign-in.commands.ts';
import { actorOf } from '../src/http/actor.ts';
import { findUser } from '../src/users/users.queries.ts';
import { type Interaction, type InteractionResult, isForDevice, type Step } from './interactions.ts';
import type { Pages } from './pages.ts';
import { secondFactor } from './second-factor.ts';
import type { Problem } from './view-props.ts';

/** Lenient about the address: whatever is not an account's is answered as wrong credentials. */
const Credentials = z.object({
  email: z
    .string()
    .trim()
    .min(1)
    .max(254)
    .regex(/^\P{Cc}*$/u),
  password: z.string().min(1).max(1024),
});

/** How long after registering one is signed in without being asked again (REGISTER_SIGNS_IN). */
const registrationMs = 300_000;

const notices = new Set(['accountCreated', 'emailVerified', 'passwordChanged']);

/** Where the account is given, the password alone can be wrong. */
const wrongPassword: Problem = { field: 'password', code: 'currentPasswordWrong' };

/** Whether the application asked for a sign-in with two factors (see provider/step-up.ts). */
const asksForTwo = ({ prompt }: Interaction): boolean =>
  prompt.reasons.includes('acr') && needsTwoFactors((prompt.details.acr ?? []) as string[]);

/** What the engine keeps of a sign-in; `credential` is ours (see `assertFreshSignIn`). */
const loginResult = ({ userId, amr, ts, credential }: SignIn): InteractionResult => ({
  login: { accountId: userId, amr, acr: acrOf(amr), ts, ...{ credential } },
});

export const login = ({
  pages,
  signInDeps,
  accountDeps,
}: {
  pages: Pages;
  signInDeps: SignInDeps;
  accountDeps: AccountDeps;
}): Step => {
  const factor = secondFactor({ pages, deps: signInDeps });

  const page = async (ctx: Koa.Context, interaction: Interaction, email: string, problems: Problem[], status = 200) => {
    const { uid, params, session } = interaction;
    const forAnother = pages.flow(ctx).another === uid || isForDevice(interaction);
    const known = session?.accountId && !forAnother ? await findUser(accountDeps.db, session.accountId) : undefined;
    const { notice = '' } = pages.flow(ctx);
    if (notice) pages.remember(ctx, { notice: undefined });
    const action = `/interaction/${uid}`;
    const asked = known && (!email || email === known.email) ? known : undefined;
    pages.show(
      ctx,
      'sign-in',
      {
        action,
        email,
        problems: asked
          ? problems.map((problem) => (problem.code === 'wrongCredentials' ? wrongPassword : problem))
          : problems,
        forgotHref: '/forgot',
        ...(problems.some(({ code }) => code === 'wrongCredentials') ? { resendHref: '/verify/resend' } : {}),
        cancelAction: `${action}/abort`,
        ...(notices.has(notice) ? { notice } : {}),
        ...(asked
          ? { switchAccount: { action: `${action}/switch`, email: asked.email } }
          : { registerHref: '/register' }),
      },
      {
        status,
        client: await pages.client(params.client_id as string),
        uiLocales: params.ui_locales as string | undefined,
      },
    );
  };

  return {
    show: async (ctx, interaction) => {
      if (factor.isDue(ctx, interaction)) {
        await factor.show(ctx, interaction);
        return undefined;
      }
      if (pages.flow(ctx).creates) {
        pages.remember(ctx, { creates: undefined });
        ctx.status = 303;
        ctx.redirect('/register');
        return undefined;
      }
      const { registered } = pages.flow(ctx);
      if (registered && Date.now() - registered.at < registrationMs) {
        pages.remember(ctx, { registered: undefined });
        const user = await findUser(accountDeps.db, registered.userId);
        // Not if the account was taken in hand elsewhere since.
        const untouched = user?.status === 'active' && Number(user.passwordChangedAt ?? 0) === registered.credential;
        if (untouched && !asksForTwo(interaction) && !(await isMfaRequired(signInDeps.mfa, user.id))) {
          const clientId = interaction.params.client_id as string;
          const actor = actorOf(ctx);
          const cookie = pages.device(ctx);
          const device = accountDeps.hashDevice(user.id, actor, cookie);
          const signIn = await recordSignIn(accountDeps.db, actor, user, { clientId, deviceHash: device });
          pages.rememberDevice(ctx, cookie);
          return loginResult(signIn);
        }
      }
      if (pages.flow(ctx).another === 'next') pages.remember(ctx, { another: interaction.uid });
      const hint = interaction.params.login_hint as string | undefined;
      await page(ctx, interaction, pages.flow(ctx).email ?? (hint?.includes('@') ? hint : ''), []);
      return undefined;
    },

    submit: async (ctx, interaction) => {
      if (factor.isDue(ctx, interaction)) {
        const outcome = await factor.submit(ctx, interaction);
        if (outcome === 'restart') await page(ctx, interaction, pages.flow(ctx).email ?? '', []);
        if (!outcome || outcome === 'restart') return undefined;
        pages.rememberDevice(ctx, pages.device(ctx));
        return loginResult(outcome);
      }
      const email = String((ctx.request.body as { email?: unknown } | undefined)?.email ?? '').slice(0, 254);
      try {
        const credentials = pages.form(ctx, Credentials);
        pages.remember(ctx, { email: credentials.email });
        const actor = actorOf(ctx);
        const deviceCookie = pages.device(ctx);
        const outcome = await signIn(signInDeps, actor, {
          ...credentials,
          clientId: interaction.params.client_id as string,
          deviceCookie,
          twoFactors: asksForTwo(interaction),
        });
        if (outcome.kind === 'signed-in') {
          pages.rememberDevice(ctx, deviceCookie);
          return loginResult(outcome);
        }
        if (outcome.kind === 'mfa-required') {
          const { mfaToken: token, methods } = outcome;
          await factor.begin(ctx, interaction, { token, methods, email: credentials.email });
          return undefined;
        }
        // Whatever was wrong; not even who knows the password learns that the address waits for confirmation.
        await page(ctx, interaction, credentials.email, [{ field: 'email', code: 'wrongCredentials' }], 401);
      } catch (error) {
        const problems = pages.refused(ctx, error);
        await page(ctx, interaction, email, problems, ctx.status);
      }
      return undefined;
    },
  };
};
