/**
 * Signing in by mail on the pages: the sign-in page asks for a link, which opens a page in the same browser that signs in by a
 * press of a button. Opened anywhere else it says where to type the code. Opening changes nothing: programs open links too.
 */
import Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { AccountDeps } from '../src/auth/accounts.commands.ts';
import { Email } from '../src/auth/credentials.ts';
import {
  linkMinutes,
  linkPage,
  type MailProof,
  readLink,
  requestLink,
  tryLinkCode,
} from '../src/auth/magic-links.commands.ts';
import type { CodeLimits } from '../src/auth/one-time-codes.commands.ts';
import { proceed, type SignInContext, type SignInDeps, type SignInOutcome } from '../src/auth/proceed.commands.ts';
import { actorOf } from '../src/http/actor.ts';
import { randomToken } from '../src/secrets.ts';
import type { Interaction } from './interactions.ts';
import type { Pages } from './pages.ts';
import { redirect } from './redirect.ts';
import type { Problem } from './view-props.ts';

/** What the browser remembers of a link that it asked for. */
export interface MagicLinkFlow {
  interaction: string;
  /** What tells it from others. */
  browser: string;
  email: string;
}

export interface MagicLink {
  /** The page that the link in the mail opens. */
  page: Koa.Middleware;
  /** Whether the browser waits for a mail in this interaction. */
  isDue(ctx: Koa.Context, interaction: Interaction): boolean;
  show(ctx: Koa.Context, interaction: Interaction): Promise<void>;
  /**
   * Takes a form of this way of signing in.
   * @returns what became of the sign-in; `shown` when a page was; `restart` when the person wants another way in; undefined when
   * the form is none of this
   * @throws AppError 429, or FormError, when a mail is asked for that cannot be
   */
  submit(
    ctx: Koa.Context,
    interaction: Interaction,
    context: Pick<SignInContext, 'deviceCookie' | 'acr'>,
  ): Promise<{ outcome: SignInOutcome; email: string } | 'shown' | 'restart' | undefined>;
}

export interface MagicLinkPageDeps {
  pages: Pages;
  deps: AccountDeps & CodeLimits;
  signInDeps: SignInDeps;
}

const EmailForm = z.object({ email: Email });
const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 500) : '');

export const magicLink = ({ pages, deps, signInDeps }: MagicLinkPageDeps): MagicLink => {
  const isDue: MagicLink['isDue'] = (ctx, { uid }) => pages.flow(ctx).magicLink?.interaction === uid;
  const forget = (ctx: Koa.Context) => pages.remember(ctx, { magicLink: undefined });

  const router = new Router();
  router.get(`/${linkPage}`, async (ctx) => {
    const token = text(ctx.query.token);
    const { magicLink: flow } = pages.flow(ctx);
    const read = await readLink(deps, token, flow?.browser);
    const client = await pages.flowClient(ctx);
    if (read.kind === 'expired') {
      const props = { purpose: 'signIn', signInHref: pages.signInHref(ctx) } as const;
      pages.show(ctx, 'link-expired', props, { status: 400, client });
    } else if (read.kind === 'right' && flow) {
      const props = { action: `/interaction/${flow.interaction}`, token, email: read.user.email };
      pages.show(ctx, 'magic-link-open', props, { client });
    } else {
      pages.show(ctx, 'magic-link-open', {}, { client });
    }
  });

  const page = async (ctx: Koa.Context, { uid, params }: Interaction, problems: Problem[] = [], status = 200) =>
    pages.show(
      ctx,
      'magic-link',
      { action: `/interaction/${uid}`, email: pages.flow(ctx).magicLink?.email ?? '', minutes: linkMinutes, problems },
      {
        status,
        client: await pages.shownClient(params.client_id as string),
        uiLocales: params.ui_locales as string | undefined,
      },
    );

  /** Has a mail sent, and shows the page that waits for it: the same whether or not there is an account. */
  const ask = async (ctx: Koa.Context, { uid }: Interaction): Promise<void> => {
    const { email } = pages.form(ctx, EmailForm);
    const browser = randomToken();
    await requestLink(deps, actorOf(ctx), email, browser);
    pages.remember(ctx, { email, magicLink: { interaction: uid, browser, email } });
    redirect(ctx, `/interaction/${uid}`);
  };

  const prove = async (ctx: Koa.Context, interaction: Interaction): Promise<MailProof | Problem> => {
    const { link, code } = ctx.request.body as Record<string, unknown>;
    const { browser, email = '' } = pages.flow(ctx).magicLink ?? {};
    if (link !== undefined) {
      const read = await readLink(deps, text(link), browser);
      return read.kind === 'right' ? read : { code: 'linkExpired' };
    }
    const digits = text(code).replace(/[\s-]/g, '');
    const clientId = interaction.params.client_id as string;
    const proof = await tryLinkCode(deps, actorOf(ctx), { email, code: digits, clientId });
    return proof ?? { field: 'code', code: 'wrongCode' };
  };

  return {
    page: router.routes() as unknown as Koa.Middleware,
    isDue,
    show: (ctx, interaction) => page(ctx, interaction),

    submit: async (ctx, interaction, context) => {
      const { way, restart } = (ctx.request.body ?? {}) as Record<string, unknown>;
      if (way === 'link') {
        await ask(ctx, interaction);
        return 'shown';
      }
      if (!isDue(ctx, interaction)) return undefined;
      if (restart !== undefined) {
        forget(ctx);
        return 'restart';
      }
      try {
        const proof = await prove(ctx, interaction);
        if ('code' in proof) {
          await page(ctx, interaction, [proof], 401);
          return 'shown';
        }
        const { user, settle } = proof;
        const actor = actorOf(ctx);
        const outcome = await proceed(
          signInDeps,
          actor,
          { user, amr: ['otp'], ts: Math.floor(Date.now() / 1000) },
          {
            ...context,
            clientId: interaction.params.client_id as string,
            deviceHash: deps.hashDevice(user.id, actor, context.deviceCookie),
            settle,
          },
        );
        forget(ctx);
        return { outcome, email: user.email };
      } catch (error) {
        await page(ctx, interaction, pages.refused(ctx, error), ctx.status);
        return 'shown';
      }
    },
  };
};
