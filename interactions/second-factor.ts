/** The second step of signing in: a code that was mailed, or sent to a phone. The `login` prompt shows it when it is due. */
import type Koa from 'koa';
import type { MfaMethod } from '../src/auth/mfa.commands.ts';
import { sendMfaCode } from '../src/auth/mfa.commands.ts';
import { finishSignIn, type SignIn, type SignInDeps } from '../src/auth/sign-in.commands.ts';
import { AppError } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import type { Interaction } from './interactions.ts';
import type { Pages } from './pages.ts';
import type { Problem } from './view-props.ts';

/** What the browser remembers of a sign-in whose password was right. The token is sealed. */
export interface SecondFactorFlow {
  interaction: string;
  token: string;
  method: MfaMethod;
  methods: MfaMethod[];
  email: string;
}

export interface SecondFactor {
  /** Whether the browser is at this step of the interaction. */
  isDue(ctx: Koa.Context, interaction: Interaction): boolean;
  /** Sends the first code and shows the page. */
  begin(
    ctx: Koa.Context,
    interaction: Interaction,
    flow: Omit<SecondFactorFlow, 'interaction' | 'method'>,
  ): Promise<void>;
  show(ctx: Koa.Context, interaction: Interaction): Promise<void>;
  /** @returns the sign-in when the code was right; `restart` when the person, or the time, wants to begin again */
  submit(ctx: Koa.Context, interaction: Interaction): Promise<SignIn | 'restart' | undefined>;
}

export const secondFactor = ({ pages, deps }: { pages: Pages; deps: SignInDeps }): SecondFactor => {
  const flowOf = (ctx: Koa.Context): SecondFactorFlow => pages.flow(ctx).secondFactor as SecondFactorFlow;
  const forget = (ctx: Koa.Context) => pages.remember(ctx, { secondFactor: undefined });

  const page = async (ctx: Koa.Context, { uid, params }: Interaction, problems: Problem[], status = 200) => {
    const { method, methods, email } = flowOf(ctx);
    const otherMethod = methods.find((other) => other !== method);
    pages.show(
      ctx,
      'second-factor',
      { action: `/interaction/${uid}`, method, email, problems, ...(otherMethod ? { otherMethod } : {}) },
      {
        status,
        client: await pages.client(params.client_id as string),
        uiLocales: params.ui_locales as string | undefined,
      },
    );
  };

  const send = async (
    ctx: Koa.Context,
    interaction: Interaction,
    method: MfaMethod,
  ): Promise<'restart' | undefined> => {
    try {
      await sendMfaCode(deps.mfa, actorOf(ctx), { mfaToken: flowOf(ctx).token, channel: method });
      pages.remember(ctx, { secondFactor: { ...flowOf(ctx), method } });
      await page(ctx, interaction, []);
    } catch (error) {
      if (isExpired(error)) return 'restart';
      await page(ctx, interaction, pages.refused(ctx, error), ctx.status);
    }
    return undefined;
  };

  return {
    isDue: (ctx, { uid }) => pages.flow(ctx).secondFactor?.interaction === uid,

    begin: async (ctx, interaction, flow) => {
      pages.remember(ctx, { secondFactor: { ...flow, method: 'email', interaction: interaction.uid } });
      await send(ctx, interaction, 'email');
    },

    show: (ctx, interaction) => page(ctx, interaction, []),

    submit: async (ctx, interaction) => {
      const { token, methods } = flowOf(ctx);
      const { code, send: method, restart } = (ctx.request.body ?? {}) as Record<string, unknown>;
      if (restart !== undefined) {
        forget(ctx);
        return 'restart';
      }
      if (method !== undefined) {
        const again = methods.find((known) => known === method) ?? 'email';
        const outcome = await send(ctx, interaction, again);
        if (outcome) forget(ctx);
        return outcome;
      }
      try {
        const digits = typeof code === 'string' ? code.slice(0, 40).replace(/[\s-]/g, '') : '';
        const outcome = await finishSignIn(deps, actorOf(ctx), {
          mfaToken: token,
          code: digits,
          clientId: interaction.params.client_id as string,
        });
        if (outcome.kind === 'signed-in') {
          forget(ctx);
          return outcome;
        }
        await page(ctx, interaction, [{ field: 'code', code: 'wrongCode' }], 401);
      } catch (error) {
        if (isExpired(error)) {
          forget(ctx);
          return 'restart';
        }
        await page(ctx, interaction, pages.refused(ctx, error), ctx.status);
      }
      return undefined;
    },
  };
};

/** The sign-in took too long, or the password has changed meanwhile. */
const isExpired = (error: unknown) => error instanceof AppError && error.code === 'invalid_mfa_token';
