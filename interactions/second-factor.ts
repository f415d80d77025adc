/** The second step of signing in: an authenticator app, a passkey, a backup code, or a code that is mailed or sent to a phone. */
import type Koa from 'koa';
import { sendMfaCode } from '../src/auth/mfa.commands.ts';
import type { SignInDeps, SignInOutcome } from '../src/auth/proceed.commands.ts';
import type { MfaMethod } from '../src/auth/second-factor-policy.ts';
import { finishSignIn } from '../src/auth/second-step.commands.ts';
import { AppError } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import type { Interaction } from './interactions.ts';
import type { Pages } from './pages.ts';
import { passkeyButton, postedPasskey, secondFactorOptions } from './passkey-sign-in.ts';
import { redirect } from './redirect.ts';
import type { Problem } from './view-props.ts';

/** What the browser remembers of a sign-in whose first factor was right. The token is sealed. */
export interface SecondFactorFlow {
  interaction: string;
  token: string;
  /** The one that the page shows now. */
  method: MfaMethod;
  methods: MfaMethod[];
  email: string;
  /** Somebody who is signed in already, and lacks the second factor alone. */
  stepUp: boolean;
}

export interface SecondFactor {
  /** Whether the browser is at this step of the interaction. */
  isDue(ctx: Koa.Context, interaction: Interaction): boolean;
  /** Comes to this step, and sends the first code where one is to be sent. */
  begin(ctx: Koa.Context, interaction: Interaction, flow: BegunFlow): Promise<void>;
  show(ctx: Koa.Context, interaction: Interaction): Promise<void>;
  /** @returns what became of the sign-in; `restart` when the person, or the time, wants to begin again; undefined when the page was shown */
  submit(ctx: Koa.Context, interaction: Interaction): Promise<SignInOutcome | 'restart' | undefined>;
  passkeyOptions(ctx: Koa.Context, interaction: Interaction): Promise<object>;
}

export type BegunFlow = Omit<SecondFactorFlow, 'interaction' | 'method'>;

const isSent = (method: MfaMethod): method is 'email' | 'sms' => method === 'email' || method === 'sms';

/** The sign-in took too long, or the password has changed meanwhile. */
const isExpired = (error: unknown) => error instanceof AppError && error.code === 'invalid_mfa_token';
const isRefusedPasskey = (error: unknown) => error instanceof AppError && error.code === 'invalid_passkey';

export const secondFactor = ({ pages, deps }: { pages: Pages; deps: SignInDeps }): SecondFactor => {
  const flowOf = (ctx: Koa.Context): SecondFactorFlow => pages.flow(ctx).secondFactor as SecondFactorFlow;
  const forget = (ctx: Koa.Context) => pages.remember(ctx, { secondFactor: undefined });

  const page = async (ctx: Koa.Context, interaction: Interaction, problems: Problem[], status = 200) => {
    const { uid, params } = interaction;
    const { method, methods, email, stepUp } = flowOf(ctx);
    const action = `/interaction/${uid}`;
    const rememberDays = methods.some(isSent) ? 0 : deps.mfa.rememberDays;
    pages.show(
      ctx,
      'second-factor',
      {
        action,
        cancelAction: `${action}/abort`,
        method,
        others: methods.filter((other) => other !== method),
        email,
        stepUp,
        problems,
        ...(rememberDays ? { rememberDays } : {}),
        ...(methods.includes('passkey')
          ? { passkey: { ...passkeyButton(ctx, interaction), main: method === 'passkey' } }
          : {}),
      },
      {
        status,
        client: await pages.shownClient(params.client_id as string),
        uiLocales: params.ui_locales as string | undefined,
        path: action,
        ...(stepUp ? { signedInAs: email } : {}),
      },
    );
  };

  const again = (ctx: Koa.Context, { uid }: Interaction) => {
    redirect(ctx, `/interaction/${uid}`);
  };

  /** Shows another method, for which a code is sent where that is how it works. */
  const use = async (ctx: Koa.Context, interaction: Interaction, method: MfaMethod): Promise<'restart' | undefined> => {
    pages.remember(ctx, { secondFactor: { ...flowOf(ctx), method } });
    if (isSent(method)) {
      try {
        await sendMfaCode(deps.mfa, actorOf(ctx), { mfaToken: flowOf(ctx).token, channel: method });
      } catch (error) {
        if (isExpired(error)) return 'restart';
        await page(ctx, interaction, pages.refused(ctx, error), ctx.status);
        return undefined;
      }
    }
    if (ctx.method === 'POST') again(ctx, interaction);
    else await page(ctx, interaction, []);
    return undefined;
  };

  const wrong = (method: 'code' | 'passkey'): Problem[] =>
    method === 'code' ? [{ field: 'code', code: 'wrongCode' }] : [{ code: 'passkeyRefused' }];

  const finish = async (ctx: Koa.Context, interaction: Interaction): Promise<SignInOutcome | 'restart' | undefined> => {
    const { token: mfaToken, method } = flowOf(ctx);
    const { code, remember } = (ctx.request.body ?? {}) as Record<string, unknown>;
    try {
      const passkey = postedPasskey(ctx);
      const outcome = await finishSignIn(deps, actorOf(ctx), {
        mfaToken,
        clientId: interaction.params.client_id as string,
        remember: remember !== undefined,
        ...(passkey ? { passkey } : { code: typeof code === 'string' ? code.slice(0, 64) : '' }),
      });
      if (outcome.kind === 'wrong-code') {
        await page(ctx, interaction, wrong(passkey ? 'passkey' : 'code'), 401);
        return undefined;
      }
      forget(ctx);
      const shown = passkey ? 'passkey' : method;
      if (shown !== 'backup-code') pages.preferFactor(ctx, shown);
      return outcome;
    } catch (error) {
      if (isExpired(error)) {
        forget(ctx);
        return 'restart';
      }
      if (isRefusedPasskey(error)) await page(ctx, interaction, wrong('passkey'), 401);
      else await page(ctx, interaction, pages.refused(ctx, error), ctx.status);
    }
    return undefined;
  };

  return {
    isDue: (ctx, { uid }) => pages.flow(ctx).secondFactor?.interaction === uid,

    begin: async (ctx, interaction, flow) => {
      const preferred = pages.preferredFactor(ctx);
      const method = flow.methods.find((known) => known === preferred) ?? (flow.methods[0] as MfaMethod);
      pages.remember(ctx, { secondFactor: { ...flow, method, interaction: interaction.uid } });
      await use(ctx, interaction, method);
    },

    show: (ctx, interaction) => page(ctx, interaction, []),

    submit: async (ctx, interaction) => {
      const { methods } = flowOf(ctx);
      const { send, use: wanted, restart } = (ctx.request.body ?? {}) as Record<string, unknown>;
      if (restart !== undefined) {
        forget(ctx);
        return 'restart';
      }
      const method = methods.find((known) => known === (send ?? wanted));
      if (!method) return finish(ctx, interaction);
      const outcome = await use(ctx, interaction, method);
      if (outcome) forget(ctx);
      return outcome;
    },

    passkeyOptions: (ctx) => secondFactorOptions(deps.mfa, flowOf(ctx).token),
  };
};
