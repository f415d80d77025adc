/** What comes after a first factor, whichever it was: the second factor, setting one up, and what is given back to the engine. */
import type Koa from 'koa';
import { acrOf } from '../src/auth/authentication-context.ts';
import { proceed, type SignInDeps, type SignInOutcome } from '../src/auth/proceed.commands.ts';
import type { SignIn } from '../src/auth/record-sign-in.commands.ts';
import { actorOf } from '../src/http/actor.ts';
import { findSessionSignIn } from '../src/sessions/sessions.queries.ts';
import { findUser } from '../src/users/users.queries.ts';
import { type Enrolment, enrolment } from './enrolment.ts';
import { type Interaction, type InteractionResult, isForDevice } from './interactions.ts';
import type { Pages } from './pages.ts';
import { type SecondFactor, secondFactor } from './second-factor.ts';

export interface SignInSteps {
  /** Goes on with what a first factor has come to. @returns the result for the engine; `refused`; undefined when a page was shown */
  goOn(
    ctx: Koa.Context,
    interaction: Interaction,
    outcome: SignInOutcome,
    email: string,
  ): Promise<InteractionResult | 'refused' | undefined>;
  /** Whether the browser is past the first factor. */
  isDue(ctx: Koa.Context, interaction: Interaction): boolean;
  /** Shows the step that is due. @returns as `goOn`, and `restart` when it is to begin again */
  show(ctx: Koa.Context, interaction: Interaction): Promise<InteractionResult | 'refused' | 'restart' | undefined>;
  /** @returns as `show` */
  submit(ctx: Koa.Context, interaction: Interaction): Promise<InteractionResult | 'refused' | 'restart' | undefined>;
  /** Asks somebody who is signed in for the second factor alone, if that is all they lack. @returns as `goOn`; `no` when it is not */
  stepUp(ctx: Koa.Context, interaction: Interaction): Promise<InteractionResult | 'refused' | 'no' | undefined>;
  passkeyOptions(ctx: Koa.Context, interaction: Interaction): Promise<object | undefined>;
}

/**
 * The authentication contexts that the application asked for (see provider/step-up.ts), whether the session that there is has
 * reached them or not: a new sign-in takes its place.
 */
export const askedAcr = ({ prompt, params }: Interaction): string[] => {
  if (prompt.reasons.includes('acr')) return (prompt.details.acr ?? []) as string[];
  const claims = params.claims === undefined ? undefined : (JSON.parse(String(params.claims)) as AcrClaim);
  const acr = claims?.id_token?.acr;
  const values = acr?.values ?? (acr?.value === undefined ? [] : [acr.value]);
  return values.length
    ? values
    : String(params.acr_values ?? '')
        .split(' ')
        .filter(Boolean);
};

/** The part of the `claims` parameter that asks for it; `requestedAcr` has seen to what it holds. */
interface AcrClaim {
  id_token?: { acr?: { value?: string; values?: string[] | null } | null };
}

/** What the engine keeps of a sign-in; `credential` and `signInId` are ours (see `adapters/oidc-storage.ts`). */
const loginResult = ({ userId, amr, ts, credential, signInId }: SignIn): InteractionResult => ({
  login: { accountId: userId, amr, acr: acrOf(amr), ts, ...{ credential, signInId } },
});

/** What a second factor alone makes up for. */
const missing = new Set(['acr', 'second_factor']);

export const createSignInSteps = ({
  pages,
  deps,
  brand,
}: {
  pages: Pages;
  deps: SignInDeps;
  /** The service's name, as authenticator apps show it. */
  brand: string;
}): SignInSteps => {
  const factor: SecondFactor = secondFactor({ pages, deps });
  const enrol: Enrolment = enrolment({ pages, deps, brand });

  const goOn = async (
    ctx: Koa.Context,
    interaction: Interaction,
    outcome: SignInOutcome,
    email: string,
    stepUp = false,
  ): Promise<InteractionResult | 'refused' | undefined> => {
    if (outcome.kind === 'refused') ctx.state.signInInstead = outcome.instead;
    if (outcome.kind === 'refused' || outcome.kind === 'wrong-code') return 'refused';
    // Until the sign-in is finished no account knows it; then it must be the one that the first factor came with.
    pages.rememberDevice(ctx, pages.device(ctx));
    if (outcome.kind === 'signed-in') return loginResult(outcome);
    if (outcome.kind === 'mfa-required') {
      const { mfaToken: token, methods } = outcome;
      await factor.begin(ctx, interaction, { token, methods, email, stepUp });
    } else {
      await enrol.begin(ctx, interaction, outcome);
    }
    return undefined;
  };

  return {
    goOn,

    isDue: (ctx, interaction) => factor.isDue(ctx, interaction) || enrol.isDue(ctx, interaction),

    show: async (ctx, interaction) => {
      if (!enrol.isDue(ctx, interaction)) {
        await factor.show(ctx, interaction);
        return undefined;
      }
      const outcome = await enrol.show(ctx, interaction);
      return !outcome || outcome === 'restart' ? outcome : goOn(ctx, interaction, outcome, '');
    },

    submit: async (ctx, interaction) => {
      if (enrol.isDue(ctx, interaction)) {
        const outcome = await enrol.submit(ctx, interaction);
        return !outcome || outcome === 'restart' ? outcome : goOn(ctx, interaction, outcome, '');
      }
      const { email = '' } = pages.flow(ctx).secondFactor ?? {};
      const outcome = await factor.submit(ctx, interaction);
      if (outcome === 'restart') pages.remember(ctx, { full: interaction.uid });
      return !outcome || outcome === 'restart' ? outcome : goOn(ctx, interaction, outcome, email);
    },

    stepUp: async (ctx, interaction) => {
      const { uid, session, prompt } = interaction;
      const { another = '', full } = pages.flow(ctx);
      const forAnother = [uid, 'next'].includes(another) || full === uid || isForDevice(interaction);
      if (!session?.accountId || forAnother || !prompt.reasons.every((reason) => missing.has(reason))) return 'no';
      const user = await findUser(deps.db, session.accountId);
      const signIn = user && (await findSessionSignIn(deps.db, user.id, session.uid));
      if (user?.status !== 'active' || !signIn?.amr.length) return 'no';
      const actor = actorOf(ctx);
      const deviceCookie = pages.device(ctx);
      const outcome = await proceed(
        deps,
        actor,
        { user, amr: signIn.amr, ts: signIn.authTime },
        {
          clientId: interaction.params.client_id as string,
          deviceHash: deps.hashDevice(user.id, actor, deviceCookie),
          deviceCookie,
          acr: askedAcr(interaction),
          stepUp: true,
        },
      );
      // Nothing that could be shown now would do: whoever it is signs in from the beginning.
      if (outcome.kind === 'refused' || outcome.kind === 'signed-in') return 'no';
      return goOn(ctx, interaction, outcome, user.email, true);
    },

    passkeyOptions: async (ctx, interaction) => {
      if (enrol.isDue(ctx, interaction)) return enrol.passkeyOptions(ctx, interaction);
      return factor.isDue(ctx, interaction) ? factor.passkeyOptions(ctx, interaction) : undefined;
    },
  };
};
