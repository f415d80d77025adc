/** The `login` prompt: email and password. */

import type Koa from 'koa';
import { z } from 'zod';
import type { AccountDeps } from '../src/auth/accounts.commands.ts';
import { proceed, type SignInDeps } from '../src/auth/proceed.commands.ts';
import { signIn } from '../src/auth/sign-in.commands.ts';
import { actorOf } from '../src/http/actor.ts';
import type { SignInMethod } from '../src/organizations/sign-in-rules.queries.ts';
import { otherDevice } from '../src/provider/consent.ts';
import { findUser } from '../src/users/users.queries.ts';
import { type Interaction, type InteractionResult, isForDevice, type Step } from './interactions.ts';
import type { MagicLink } from './magic-link.ts';
import type { Pages } from './pages.ts';
import { type PasskeySignIn, passkeyButton } from './passkey-sign-in.ts';
import { redirect } from './redirect.ts';
import { askedAcr, type SignInSteps } from './sign-in-steps.ts';
import type { Resumed, SocialSignIn } from './social-sign-in.ts';
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

const wrongCredentials: Problem = { field: 'email', code: 'wrongCredentials' };

/** What to do instead, for somebody who has shown who they are in a way that an organization of theirs does not allow. */
const otherWays = (ctx: Koa.Context): Problem[] | undefined => {
  const instead = ctx.state.signInInstead as readonly SignInMethod[] | undefined;
  return instead && [{ code: 'methodNotAllowed' }, ...instead.map((method) => ({ code: `instead-${method}` }))];
};

/** Where the account is given, the password alone can be wrong. */
const wrongPassword: Problem = { field: 'password', code: 'currentPasswordWrong' };

export const login = ({
  pages,
  signInDeps,
  accountDeps,
  passkeys,
  links,
  social,
  steps,
}: {
  pages: Pages;
  signInDeps: SignInDeps;
  /** What comes after the first factor. */
  steps: SignInSteps;
  passkeys: PasskeySignIn;
  accountDeps: AccountDeps;
  /** Signing in by mail (MAGIC_LINK). */
  links?: MagicLink | undefined;
  /** Signing in with an identity provider. */
  social: SocialSignIn;
}): Step => {
  /** Whoever is signed in, if it is they who are to show once more that it is they. */
  const askedUser = async (ctx: Koa.Context, interaction: Interaction, email: string) => {
    const { uid, session, prompt } = interaction;
    // Nor is who has the cookie of a session told whose it is, on another device.
    const forAnother =
      pages.flow(ctx).another === uid || isForDevice(interaction) || prompt.reasons.includes(otherDevice);
    const known = session?.accountId && !forAnother ? await findUser(accountDeps.db, session.accountId) : undefined;
    return known && (!email || email === known.email) ? known : undefined;
  };

  const emailOf = (ctx: Koa.Context, { params }: Interaction): string => {
    const hint = params.login_hint as string | undefined;
    return pages.flow(ctx).email ?? (hint?.includes('@') ? hint : '');
  };

  const page = async (ctx: Koa.Context, interaction: Interaction, email: string, problems: Problem[], status = 200) => {
    const { uid, params } = interaction;
    const { notice = '' } = pages.flow(ctx);
    if (notice) pages.remember(ctx, { notice: undefined });
    const action = `/interaction/${uid}`;
    const asked = await askedUser(ctx, interaction, email);
    const { problems: elsewhere, ...offer } = await social.offer(ctx, interaction);
    pages.show(
      ctx,
      'sign-in',
      {
        action,
        email,
        problems: [
          ...elsewhere,
          ...problems.map((problem) => (asked && problem.code === 'wrongCredentials' ? wrongPassword : problem)),
        ],
        ...offer,
        forgotHref: '/forgot',
        ...(problems.some(({ code }) => code === 'wrongCredentials') ? { resendHref: '/verify/resend' } : {}),
        cancelAction: `${action}/abort`,
        passkey: { ...passkeyButton(ctx, interaction), autofill: true },
        magicLink: links !== undefined,
        ...(notices.has(notice) ? { notice } : {}),
        ...(asked
          ? { switchAccount: { action: `${action}/switch`, email: asked.email } }
          : { registerHref: '/register' }),
      },
      {
        status,
        client: await pages.shownClient(params.client_id as string),
        uiLocales: params.ui_locales as string | undefined,
      },
    );
  };

  /** The page, unless there is a result or another page was shown. Before the proof nobody learns more of a refusal than that it is one. */
  const settled = async (
    ctx: Koa.Context,
    interaction: Interaction,
    became: InteractionResult | 'refused' | 'restart' | undefined,
    email: string,
  ): Promise<InteractionResult | undefined> => {
    if (became === 'refused') await page(ctx, interaction, email, otherWays(ctx) ?? [wrongCredentials], 401);
    else if (became === 'restart') await page(ctx, interaction, email, []);
    else return became;
    return undefined;
  };

  /** Goes on with somebody who is back from an identity provider, unless another page was shown. */
  const back = async (ctx: Koa.Context, interaction: Interaction, resumed: Exclude<Resumed, undefined>) => {
    if (resumed === 'answered') return undefined;
    const { outcome, email } = resumed;
    return settled(ctx, interaction, await steps.goOn(ctx, interaction, outcome, email), email);
  };

  return {
    show: async (ctx, interaction) => {
      const email = emailOf(ctx, interaction);
      if (steps.isDue(ctx, interaction)) return settled(ctx, interaction, await steps.show(ctx, interaction), email);
      const context = { deviceCookie: pages.device(ctx), acr: askedAcr(interaction) };
      const resumed = await social.resume(ctx, interaction, context);
      if (resumed) return back(ctx, interaction, resumed);
      if (links?.isDue(ctx, interaction)) {
        await links.show(ctx, interaction);
        return undefined;
      }
      if (pages.flow(ctx).creates) {
        pages.remember(ctx, { creates: undefined });
        redirect(ctx, '/register');
        return undefined;
      }
      const { registered } = pages.flow(ctx);
      if (registered && Date.now() - registered.at < registrationMs) {
        pages.remember(ctx, { registered: undefined });
        const user = await findUser(accountDeps.db, registered.userId);
        // Not if the account was taken in hand elsewhere since.
        const untouched = user?.status === 'active' && Number(user.passwordChangedAt ?? 0) === registered.credential;
        if (untouched) {
          const actor = actorOf(ctx);
          const deviceCookie = pages.device(ctx);
          const proof = { user, amr: ['pwd'], ts: Math.floor(registered.at / 1000) };
          const outcome = await proceed(signInDeps, actor, proof, {
            clientId: interaction.params.client_id as string,
            deviceHash: accountDeps.hashDevice(user.id, actor, deviceCookie),
            deviceCookie,
            acr: askedAcr(interaction),
          });
          return settled(ctx, interaction, await steps.goOn(ctx, interaction, outcome, user.email), user.email);
        }
      }
      if (pages.flow(ctx).another === 'next') pages.remember(ctx, { another: interaction.uid });
      const missing = await steps.stepUp(ctx, interaction);
      return settled(ctx, interaction, missing === 'no' ? 'restart' : missing, email);
    },

    submit: async (ctx, interaction) => {
      if (steps.isDue(ctx, interaction))
        return settled(ctx, interaction, await steps.submit(ctx, interaction), pages.flow(ctx).email ?? '');
      const email = String((ctx.request.body as { email?: unknown } | undefined)?.email ?? '').slice(0, 254);
      try {
        const context = { deviceCookie: pages.device(ctx), acr: askedAcr(interaction) };
        const resumed = await social.submit(ctx, interaction, context);
        if (resumed) return await back(ctx, interaction, resumed);
        const mailed = await links?.submit(ctx, interaction, context);
        if (mailed === 'shown') return undefined;
        if (mailed === 'restart') {
          await page(ctx, interaction, emailOf(ctx, interaction), []);
          return undefined;
        }
        if (mailed) {
          const became = await steps.goOn(ctx, interaction, mailed.outcome, mailed.email);
          return await settled(ctx, interaction, became, mailed.email);
        }
        const shown = await passkeys.submit(ctx, interaction, context);
        if (shown && (shown.kind !== 'refused' || shown.instead)) {
          const known = emailOf(ctx, interaction);
          return await settled(ctx, interaction, await steps.goOn(ctx, interaction, shown, known), known);
        }
        if (shown) {
          await page(ctx, interaction, emailOf(ctx, interaction), [{ code: 'passkeyRefused' }], 401);
          return undefined;
        }
        const credentials = pages.form(ctx, Credentials);
        pages.remember(ctx, { email: credentials.email });
        const actor = actorOf(ctx);
        const outcome = await signIn(signInDeps, actor, {
          ...credentials,
          ...context,
          clientId: interaction.params.client_id as string,
        });
        // Whatever was wrong; not even who knows the password learns that the address waits for confirmation.
        const became = await steps.goOn(ctx, interaction, outcome, credentials.email);
        return await settled(ctx, interaction, became, credentials.email);
      } catch (error) {
        const problems = pages.refused(ctx, error);
        await page(ctx, interaction, email, problems, ctx.status);
      }
      return undefined;
    },

    passkeyOptions: async (ctx, interaction) =>
      steps.isDue(ctx, interaction)
        ? steps.passkeyOptions(ctx, interaction)
        : passkeys.options(interaction, (await askedUser(ctx, interaction, emailOf(ctx, interaction)))?.id),
  };
};
