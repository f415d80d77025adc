/**
 * Identity providers on the pages of a sign-in: the buttons, the way back from the provider, what it did not tell, and the
 * connection with an account that is there already.
 */
import type Koa from 'koa';
import { z } from 'zod';
import { Email, PersonName } from '../src/auth/credentials.ts';
import { proceed, type SignInContext, type SignInDeps, type SignInOutcome } from '../src/auth/proceed.commands.ts';
import { AppError } from '../src/errors.ts';
import { type AttemptDeps, beginAttempt } from '../src/federation/attempts.ts';
import { FederationError } from '../src/federation/federation-error.ts';
import { type Handoffs, keepForPage, takeForPage } from '../src/federation/handoffs.ts';
import { linkIdentity } from '../src/federation/identities.commands.ts';
import type { OfferedProvider } from '../src/federation/identity-providers.queries.ts';
import { type PeopleDeps, recognize } from '../src/federation/people.commands.ts';
import { reauthenticates } from '../src/federation/presets.ts';
import type { UpstreamPerson } from '../src/federation/profiles.ts';
import type { Wishes } from '../src/federation/upstream.ts';
import { actorOf } from '../src/http/actor.ts';
import type { Log } from '../src/log.ts';
import { randomToken } from '../src/secrets.ts';
import { findUserByEmail } from '../src/users/users.queries.ts';
import { accountClientId } from './account/account-client.ts';
import type { FederationCookie } from './federation-cookie.ts';
import type { Interaction, InteractionResult, Step } from './interactions.ts';
import type { Pages } from './pages.ts';
import { redirect } from './redirect.ts';
import type { SocialButtons } from './social-props.ts';
import type { Problem } from './view-props.ts';

/** What the browser remembers of a sign-in that a provider has vouched for; the person is kept on the server. */
export interface SocialFlow {
  /** `next` when it was begun on no page of a sign-in. */
  interaction: string;
  handle: string;
  step: 'back' | 'profile' | 'confirm';
  /** The provider's name. */
  provider: string;
  missing?: ('name' | 'email')[];
}

export interface SocialDeps {
  pages: Pages;
  attempts: AttemptDeps;
  people: PeopleDeps;
  signInDeps: SignInDeps;
  handoffs: Handoffs;
  cookie: FederationCookie;
  log: Log;
}

/** What a sign-in page shows of it. */
export interface SocialOffer {
  social?: SocialButtons;
  /** The provider that the account is to be connected with. */
  connects?: string;
  problems: Problem[];
}

type Context = Pick<SignInContext, 'deviceCookie' | 'acr'>;

export interface SocialSignIn {
  offer(ctx: Koa.Context, interaction: Interaction): Promise<SocialOffer>;
  /** Goes on with somebody who is back. @returns `answered` when a page was shown; undefined when nobody is back */
  resume(ctx: Koa.Context, interaction: Interaction, context: Context): Promise<Resumed>;
  /** Takes the forms of its own: a button, and what the provider did not tell. @returns undefined for another form */
  submit(ctx: Koa.Context, interaction: Interaction, context: Context): Promise<Resumed>;
  /** A step after which what waits to be connected is connected. */
  connecting(step: Step): Step;
  /** Buttons for a page that is not of a sign-in. */
  buttons(ctx: Koa.Context): Promise<SocialButtons | undefined>;
}

export type Resumed = { outcome: SignInOutcome; email: string } | 'answered' | undefined;

/** What the application insists on: that somebody signs in anew, or lately. */
const insists = ({ params }: Interaction): Pick<Wishes, 'maxAge' | 'asksAgain'> => ({
  ...(params.max_age === undefined ? {} : { maxAge: Number(params.max_age) }),
  ...(String(params.prompt ?? '')
    .split(' ')
    .includes('login')
    ? { asksAgain: true }
    : {}),
});

/** Whether a provider can do what is insisted on. */
const suits = (provider: OfferedProvider, { maxAge, asksAgain }: Pick<Wishes, 'maxAge' | 'asksAgain'>): boolean =>
  (maxAge === undefined && !asksAgain) || reauthenticates(provider);

/** The text of a problem (a key under `problems`) by why it could not be done. */
export const problemOf = (error: unknown): string => {
  if (error instanceof AppError && error.code === 'identity_taken') return 'socialTaken';
  if (error instanceof AppError && error.code === 'rank_too_low') return 'socialNoAccount';
  if (!(error instanceof FederationError)) throw error;
  const codes = {
    cancelled: 'socialCancelled',
    unavailable: 'socialUnavailable',
    invalid: 'socialInvalid',
    misconfigured: 'socialMisconfigured',
    not_fresh: 'socialNotFresh',
    wrong_account: 'socialWrongAccount',
    expired: 'socialExpired',
  } as const;
  return codes[error.reason];
};

const ProfileForm = z.object({ name: PersonName.optional(), email: Email.optional() });

export const socialSignIn = (deps: SocialDeps): SocialSignIn => {
  const { pages, attempts, people, signInDeps, handoffs, cookie, log } = deps;
  const { providers } = attempts;
  const forget = (ctx: Koa.Context) => pages.remember(ctx, { social: undefined });
  const fail = (ctx: Koa.Context, { uid }: Interaction, code: string, provider: string) =>
    pages.remember(ctx, { social: undefined, socialProblem: { interaction: uid, code, provider } });

  const toButtons = (list: readonly OfferedProvider[], action: string): SocialButtons | undefined =>
    list.length
      ? { action, providers: list.map(({ id, metadata: { name, preset } }) => ({ id, name, preset })) }
      : undefined;

  const profilePage = async (
    ctx: Koa.Context,
    interaction: Interaction,
    { provider, missing = [] }: SocialFlow,
    problems: Problem[] = [],
  ) => {
    const typed = (ctx.request.body ?? {}) as Record<string, unknown>;
    const action = `/interaction/${interaction.uid}`;
    pages.show(
      ctx,
      'social-profile',
      {
        action,
        provider,
        missing,
        name: String(typed.name ?? '').slice(0, 200),
        email: String(typed.email ?? '').slice(0, 254),
        problems,
        cancelAction: `${action}/abort`,
      },
      {
        status: problems.length ? ctx.status : 200,
        client: await pages.shownClient(interaction.params.client_id as string),
        uiLocales: interaction.params.ui_locales as string | undefined,
      },
    );
  };

  const signInAs = async (
    ctx: Koa.Context,
    interaction: Interaction,
    {
      person,
      user,
      context,
    }: { person: UpstreamPerson; user: Parameters<typeof proceed>[2]['user']; context: Context },
  ): Promise<Resumed> => {
    const actor = actorOf(ctx);
    const now = Math.floor(Date.now() / 1000);
    const proof = { user, amr: person.amr, ts: Math.min(person.authTime ?? now, now) };
    const outcome = await proceed(signInDeps, actor, proof, {
      ...context,
      clientId: interaction.params.client_id as string,
      deviceHash: signInDeps.hashDevice(user.id, actor, context.deviceCookie),
    });
    return { outcome, email: user.email };
  };

  /** Somebody is back, perhaps with what the provider did not tell. */
  const goOn = async (
    ctx: Koa.Context,
    interaction: Interaction,
    { flow, typed, context }: { flow: SocialFlow; typed: { name?: string; email?: string }; context: Context },
  ): Promise<Resumed> => {
    const kept = await takeForPage(handoffs, flow.handle);
    const provider = kept && (await providers.find(kept.person.providerId));
    if (!kept || provider?.revision !== kept.revision) {
      fail(ctx, interaction, 'socialExpired', flow.provider);
      return undefined;
    }
    const { person } = kept;
    const browser = randomToken();
    const recognition = await recognize(people, actorOf(ctx), {
      provider,
      person,
      typed: { ...typed, locale: pages.locale(ctx), browser },
    });
    const waiting = async (step: SocialFlow['step']) => ({
      interaction: interaction.uid,
      handle: await keepForPage(handoffs, provider, person),
      step,
      provider: flow.provider,
    });
    switch (recognition.kind) {
      case 'known':
        forget(ctx);
        return signInAs(ctx, interaction, { person, user: recognition.user, context });
      case 'profile': {
        const social = { ...(await waiting('profile')), missing: recognition.missing };
        pages.remember(ctx, { social });
        await profilePage(ctx, interaction, social);
        return 'answered';
      }
      case 'confirm':
        pages.remember(ctx, { social: await waiting('confirm'), email: recognition.email });
        redirect(ctx, `/interaction/${interaction.uid}`);
        return 'answered';
      case 'mailed':
        pages.remember(ctx, { social: undefined, email: recognition.email, browser });
        redirect(ctx, '/check-mail');
        return 'answered';
      case 'refused':
        fail(ctx, interaction, 'socialNoAccount', flow.provider);
        return undefined;
    }
  };

  /** What waits for this sign-in. One that was begun on no page is the account page's own. */
  const waitingFor = (ctx: Koa.Context, { uid, params }: Interaction): SocialFlow | undefined => {
    const { social } = pages.flow(ctx);
    if (social?.interaction === uid) return social;
    return social?.interaction === 'next' && params.client_id === accountClientId ? social : undefined;
  };

  const begin = async (ctx: Koa.Context, interaction: Interaction, id: string): Promise<void> => {
    const { uid, params } = interaction;
    const back = `/interaction/${uid}`;
    const provider = await providers.find(id);
    const wanted = insists(interaction);
    if (!provider || !suits(provider, wanted)) {
      fail(ctx, interaction, 'socialUnavailable', provider?.metadata.name ?? '');
      return redirect(ctx, back);
    }
    const hint = params.login_hint as string | undefined;
    const wishes: Wishes = {
      ...wanted,
      loginHint: hint,
      locales: params.ui_locales as string | undefined,
      another: pages.flow(ctx).another === uid,
      acrValues: params.acr_values as string | undefined,
    };
    try {
      const browser = cookie.keep(ctx);
      const { url } = await beginAttempt(attempts, provider, {
        browser,
        purpose: { kind: 'interaction', uid },
        wishes,
      });
      pages.remember(ctx, { social: undefined, socialProblem: undefined });
      redirect(ctx, url);
    } catch (error) {
      const code = problemOf(error);
      log.warn({ err: error, provider: id }, 'an identity provider could not be used');
      fail(ctx, interaction, code, provider.metadata.name);
      redirect(ctx, back);
    }
  };

  const connect = async (ctx: Koa.Context, interaction: Interaction, userId: string): Promise<void> => {
    const waiting = waitingFor(ctx, interaction);
    if (waiting?.step !== 'confirm') return;
    forget(ctx);
    const kept = await takeForPage(handoffs, waiting.handle);
    const provider = kept && (await providers.find(kept.person.providerId));
    if (!kept || provider?.revision !== kept.revision || !kept.person.emailProven) return;
    // Whoever signs in to another account than the one with the address has not confirmed anything.
    const holder = await findUserByEmail(people.db, kept.person.email ?? '');
    if (holder?.id !== userId || !holder.emailVerifiedAt) return;
    await linkIdentity(people, actorOf(ctx), provider, { userId, person: kept.person, signsIn: true }).catch(
      (error: unknown) => {
        // Connected with another account meanwhile: they are signed in all the same.
        log.info({ reason: problemOf(error) }, 'an identity was not connected');
      },
    );
  };

  const connected = async (ctx: Koa.Context, interaction: Interaction, result: InteractionResult | undefined) => {
    const userId = (result?.login as { accountId?: string } | undefined)?.accountId;
    if (userId !== undefined) await connect(ctx, interaction, userId);
    return result;
  };

  return {
    offer: async (ctx, interaction) => {
      const { socialProblem } = pages.flow(ctx);
      const waiting = waitingFor(ctx, interaction);
      const isOurs =
        socialProblem !== undefined &&
        (socialProblem.interaction === interaction.uid ||
          (socialProblem.interaction === 'next' && interaction.params.client_id === accountClientId));
      if (isOurs) pages.remember(ctx, { socialProblem: undefined });
      const usable = (await providers.list()).filter((provider) => suits(provider, insists(interaction)));
      const social = toButtons(usable, `/interaction/${interaction.uid}`);
      return {
        ...(social ? { social } : {}),
        ...(waiting?.step === 'confirm' ? { connects: waiting.provider } : {}),
        problems: isOurs ? [{ code: socialProblem.code, values: { provider: socialProblem.provider } }] : [],
      };
    },

    buttons: async (ctx) => {
      const { interaction } = pages.flow(ctx);
      return toButtons(await providers.list(), interaction ? `/interaction/${interaction}` : '');
    },

    resume: async (ctx, interaction, context) => {
      const flow = waitingFor(ctx, interaction);
      if (!flow || flow.step === 'confirm') return undefined;
      if (flow.step === 'back') return goOn(ctx, interaction, { flow, typed: {}, context });
      await profilePage(ctx, interaction, flow);
      return 'answered';
    },

    submit: async (ctx, interaction, context) => {
      const { social: id, socialProfile } = (ctx.request.body ?? {}) as Record<string, unknown>;
      if (typeof id === 'string') {
        await begin(ctx, interaction, id);
        return 'answered';
      }
      const flow = waitingFor(ctx, interaction);
      if (socialProfile === undefined || flow?.step !== 'profile') return undefined;
      try {
        const { name, email } = pages.form(ctx, ProfileForm.required(required(flow)));
        const typed = { ...(name === undefined ? {} : { name }), ...(email === undefined ? {} : { email }) };
        const resumed = await goOn(ctx, interaction, { flow, typed, context });
        if (resumed !== undefined) return resumed;
        redirect(ctx, `/interaction/${interaction.uid}`);
      } catch (error) {
        await profilePage(ctx, interaction, flow, pages.refused(ctx, error));
      }
      return 'answered';
    },

    connecting: (step) => ({
      ...step,
      show: async (ctx, interaction) => connected(ctx, interaction, await step.show(ctx, interaction)),
      submit: async (ctx, interaction) => connected(ctx, interaction, await step.submit(ctx, interaction)),
    }),
  };
};

/** The fields that must be filled in. */
const required = ({ missing = [] }: SocialFlow): { name?: true; email?: true } =>
  Object.fromEntries(missing.map((field) => [field, true]));
