/**
 * Setting up a second factor at sign-in, for those who must have one: an authenticator app or a passkey. While the grace lasts it
 * can be put off. The sealed token says how far the sign-in has got; what is set up counts whether it is finished or not.
 */
import type Koa from 'koa';
import {
  askEnrolmentPasskey,
  confirmApp,
  enrolApp,
  enrolPasskey,
  openEnrolment,
} from '../src/auth/enrolment.commands.ts';
import type { SignInDeps, SignInOutcome } from '../src/auth/proceed.commands.ts';
import { finishSignIn } from '../src/auth/second-step.commands.ts';
import { AppError } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import { findFactors, hasStrongFactor } from '../src/mfa/factors.queries.ts';
import { qrCode } from '../src/mfa/qr.ts';
import { showPendingTotp, type TotpEnrolment } from '../src/mfa/totp.commands.ts';
import { describeDevice } from '../src/sessions/device.ts';
import type { User } from '../src/users/users.queries.ts';
import { codesAction } from './account/two-step.ts';
import type { Interaction } from './interactions.ts';
import type { Pages } from './pages.ts';
import { allowAsking, postedRegistration } from './passkey-sign-in.ts';
import { redirect } from './redirect.ts';
import type { Problem } from './view-props.ts';

/** What the browser remembers of a sign-in that waits for it. The token is sealed. */
export interface EnrolmentFlow {
  interaction: string;
  token: string;
  /** An authenticator app is being set up. */
  app: boolean;
  /** Until when it may be put off, in milliseconds since the epoch. */
  until?: number;
}

type Due = Extract<SignInOutcome, { kind: 'enrolment-required' }>;

export interface Enrolment {
  isDue(ctx: Koa.Context, interaction: Interaction): boolean;
  begin(ctx: Koa.Context, interaction: Interaction, due: Due): Promise<void>;
  /** @returns what became of the sign-in, if it goes on; `restart` when it has taken too long; undefined when a page was shown */
  show(ctx: Koa.Context, interaction: Interaction): Promise<SignInOutcome | 'restart' | undefined>;
  submit(ctx: Koa.Context, interaction: Interaction): Promise<SignInOutcome | 'restart' | undefined>;
  passkeyOptions(ctx: Koa.Context, interaction: Interaction): Promise<object>;
}

type Opened = Awaited<ReturnType<typeof openEnrolment>>;

/** What a refusal says on the page. */
const refusals: Record<string, Problem> = {
  invalid_passkey: { code: 'passkeyNotAdded' },
  passkey_exists: { code: 'passkeyExists' },
  passkey_limit_reached: { code: 'passkeyLimit' },
  email_not_verified: { code: 'emailNotVerified' },
  invalid_code: { field: 'code', code: 'wrongCode' },
};

const isExpired = (error: unknown) =>
  error instanceof AppError && ['invalid_mfa_token', 'invalid_token'].includes(error.code);

export const enrolment = ({
  pages,
  deps,
  brand,
}: {
  pages: Pages;
  deps: SignInDeps;
  /** The service's name, as authenticator apps show it. */
  brand: string;
}): Enrolment => {
  const { mfa, db } = deps;
  const flowOf = (ctx: Koa.Context): EnrolmentFlow => pages.flow(ctx).enrolment as EnrolmentFlow;
  const forget = (ctx: Koa.Context) => pages.remember(ctx, { enrolment: undefined });
  const open = (ctx: Koa.Context, { params }: Interaction): Promise<Opened> =>
    openEnrolment(mfa, flowOf(ctx).token, params.client_id as string);

  const frame = async ({ uid, params }: Interaction, user: User, status: number) => ({
    status,
    client: await pages.shownClient(params.client_id as string),
    uiLocales: params.ui_locales as string | undefined,
    signedInAs: user.email,
    path: `/interaction/${uid}`,
  });

  const page = async (ctx: Koa.Context, interaction: Interaction, opened: Opened, problems: Problem[] = []) => {
    const { user } = opened;
    const { app, until } = flowOf(ctx);
    const pending: TotpEnrolment | undefined = app
      ? await showPendingTotp(db, mfa.secrets, user.id, { issuer: brand, account: user.email })
      : undefined;
    const action = `/interaction/${interaction.uid}`;
    if (!pending) allowAsking(ctx);
    pages.show(
      ctx,
      'enrolment',
      {
        action,
        cancelAction: `${action}/abort`,
        ...(until && until > Date.now() ? { until: new Date(until) } : {}),
        ...(pending
          ? { app: { key: pending.secret, otpauthUrl: pending.otpauthUrl, qr: await qrCode(pending.otpauthUrl) } }
          : {}),
        passkey: {
          optionsHref: `${action}/passkey`,
          suggestedName: describeDevice(ctx.get('user-agent')) || 'Passkey',
        },
        problems,
      },
      await frame(interaction, user, problems.length ? ctx.status : 200),
    );
  };

  const finish = async (ctx: Koa.Context, { params }: Interaction): Promise<SignInOutcome> => {
    const { token: mfaToken } = flowOf(ctx);
    const outcome = await finishSignIn(deps, actorOf(ctx), { mfaToken, clientId: params.client_id as string });
    if (outcome.kind !== 'enrolment-required') forget(ctx);
    return outcome;
  };

  const showCodes = async (ctx: Koa.Context, interaction: Interaction, { user }: Opened, codes: string[]) =>
    pages.show(
      ctx,
      'enrolment-codes',
      { codes, account: user.email, action: `/interaction/${interaction.uid}`, downloadAction: codesAction },
      // In another language it would not be shown again.
      { ...(await frame(interaction, user, 200)), path: '' },
    );

  const beginApp = async (ctx: Koa.Context, { uid }: Interaction, opened: Opened) => {
    await enrolApp(mfa, actorOf(ctx), opened, { name: brand, brand });
    pages.remember(ctx, { enrolment: { ...flowOf(ctx), app: true } });
    redirect(ctx, `/interaction/${uid}`);
  };

  /** Runs a step of it; a token that is too old, or void, begins the sign-in anew. */
  const guarded = async (
    ctx: Koa.Context,
    interaction: Interaction,
    step: (opened: Opened) => Promise<SignInOutcome | undefined>,
  ): Promise<SignInOutcome | 'restart' | undefined> => {
    let opened: Opened | undefined;
    try {
      opened = await open(ctx, interaction);
      return await step(opened);
    } catch (error) {
      if (isExpired(error) || !opened) {
        if (!isExpired(error)) throw error;
        forget(ctx);
        return 'restart';
      }
      const problem = error instanceof AppError ? refusals[error.code] : undefined;
      if (error instanceof AppError && problem) ctx.status = error.status;
      await page(ctx, interaction, opened, problem ? [problem] : pages.refused(ctx, error));
      return undefined;
    }
  };

  return {
    isDue: (ctx, { uid }) => pages.flow(ctx).enrolment?.interaction === uid,

    begin: async (ctx, interaction, { mfaToken: token, until }) => {
      const { uid } = interaction;
      // A date is text once it has been in a cookie.
      const by = until === undefined ? {} : { until: new Date(until).getTime() };
      pages.remember(ctx, { enrolment: { interaction: uid, token, app: false, ...by } });
      if (ctx.method === 'POST') {
        redirect(ctx, `/interaction/${uid}`);
      } else await page(ctx, interaction, await open(ctx, interaction));
    },

    show: (ctx, interaction) =>
      guarded(ctx, interaction, async (opened) => {
        // The codes were shown, or it was set up elsewhere meanwhile.
        if (hasStrongFactor(await findFactors(db, opened.user.id))) return finish(ctx, interaction);
        await page(ctx, interaction, opened);
        return undefined;
      }),

    submit: (ctx, interaction) =>
      guarded(ctx, interaction, async (opened) => {
        const { later, done, begin, choose, code, passkey } = (ctx.request.body ?? {}) as Record<string, unknown>;
        if (later !== undefined || done !== undefined) {
          const outcome = await finish(ctx, interaction);
          if (outcome.kind !== 'enrolment-required') return outcome;
          await page(ctx, interaction, opened);
        } else if (begin !== undefined) await beginApp(ctx, interaction, opened);
        else if (passkey !== undefined) {
          const { backupCodes } = await enrolPasskey(mfa, actorOf(ctx), opened, postedRegistration(ctx));
          await showCodes(ctx, interaction, opened, backupCodes);
        } else if (choose === undefined) {
          const typed = typeof code === 'string' ? code.slice(0, 64) : '';
          await showCodes(ctx, interaction, opened, await confirmApp(mfa, actorOf(ctx), opened, typed));
        } else {
          pages.remember(ctx, { enrolment: { ...flowOf(ctx), app: false } });
          redirect(ctx, `/interaction/${interaction.uid}`);
        }
        return undefined;
      }),

    passkeyOptions: async (ctx, interaction) => askEnrolmentPasskey(mfa, await open(ctx, interaction)),
  };
};
