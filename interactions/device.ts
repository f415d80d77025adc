/** The pages of the device flow (RFC 8628), which the engine calls for, and those on which it ends. */
import Router from '@koa/router';
import type Koa from 'koa';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { sessionAccount } from '../adapters/oidc-storage.ts';
import type { Db } from '../db/connect.ts';
import { AppError } from '../src/errors.ts';
import { routes } from '../src/provider/configuration.ts';
import type { DevicePages } from '../src/provider/device-flow.ts';
import { describeDevice } from '../src/sessions/device.ts';
import { findUser } from '../src/users/users.queries.ts';
import type { Pages } from './pages.ts';
import { redirect } from './redirect.ts';
import type { Problem } from './view-props.ts';

const outcomes = { connected: `${routes.code_verification}/connected`, refused: `${routes.code_verification}/refused` };

/** The pages below the engine's that are ours. */
export const isDeviceOutcome = (path: string): boolean => Object.values(outcomes).includes(path);

interface Refusal extends Error {
  userCode?: string;
  status?: number;
  retryAfterSeconds?: number;
}

/**
 * What the engine throws here, in words. A code that is unknown, has expired or was used gets the same ones: they would tell
 * a guesser which codes there are.
 */
const problemOf = ({ name, status, userCode, retryAfterSeconds = 60 }: Refusal): Problem => {
  if (status === 429)
    return { code: 'tooManyAttempts', values: { minutes: Math.max(1, Math.ceil(retryAfterSeconds / 60)) } };
  if (status !== undefined && status >= 500) return { code: 'busy' };
  if (name === 'NoCodeError') return { field: 'user_code', code: 'userCodeRequired' };
  if (userCode !== undefined || name === 'InvalidRequest') return { field: 'user_code', code: 'userCode' };
  return { code: 'deviceInterrupted' };
};

/** As the device shows it, if it is a code at all: what was typed in another case or spacing is the same. */
const asShown = (typed: string): string => {
  const letters = typed.replace(/[^a-z]/gi, '').toUpperCase();
  return letters.length === 8 ? `${letters.slice(0, 4)}-${letters.slice(4)}` : typed.slice(0, 40);
};

/** @param pages a function, because the pages need the provider, which needs these */
export const devicePages = (db: Db, pages: () => Pages): DevicePages => {
  const signedInAs = async (ctx: KoaContextWithOIDC) => {
    const id = sessionAccount(ctx);
    const user = id ? await findUser(db, id) : undefined;
    return user?.status === 'active' ? user : undefined;
  };
  const leave = (ctx: KoaContextWithOIDC, outcome: keyof typeof outcomes) => {
    pages().remember(ctx as never, { device: ctx.oidc.client?.clientId });
    redirect(ctx, outcomes[outcome]);
  };

  return {
    enterCode: async (ctx, { xsrf, error }) => {
      const refusal = error as Refusal | undefined;
      if (refusal?.name === 'AbortedError') return leave(ctx, 'refused');
      // A browser that came without its session cannot post a form, and the engine fails at saving a session for one.
      const session = ctx.oidc.session as { exp?: number; touched?: boolean } | undefined;
      if (refusal && session && session.exp === undefined) {
        session.touched = false;
        pages().error(ctx, new AppError(400, 'session_not_found', 'the session cookie did not come along'));
        return;
      }
      const problem = refusal && problemOf(refusal);
      const user = await signedInAs(ctx);
      const typed = typeof ctx.oidc.params?.user_code === 'string' ? ctx.oidc.params.user_code : '';
      pages().show(
        ctx,
        'device-code',
        {
          action: routes.code_verification,
          xsrf,
          userCode: asShown(typed),
          problems: problem ? [problem] : [],
          ...(refusal?.status === 429 && !user ? { signInHref: '/account' } : {}),
        },
        {
          status: refusal ? Math.max(400, refusal.status ?? 400) : 200,
          signedInAs: user?.email,
          path: routes.code_verification,
        },
      );
    },

    confirm: async (ctx, { xsrf, userCode, clientId, device }) => {
      const [user, client] = [await signedInAs(ctx), await pages().client(clientId)];
      pages().show(
        ctx,
        'device-confirm',
        {
          action: routes.code_verification,
          xsrf,
          userCode,
          clientName: client?.clientName ?? clientId,
          device: describeDevice(device.userAgent),
          address: device.address,
          ...(user ? { account: { name: user.name, email: user.email } } : {}),
        },
        { client, signedInAs: user?.email, path: '' },
      );
    },

    connected: async (ctx) => leave(ctx, 'connected'),
  };
};

/** Where the browser is sent in the end, so that loading the page again does nothing. */
export const deviceOutcomes = (pages: Pages): Koa.Middleware => {
  const router = new Router();
  for (const outcome of ['connected', 'refused'] as const)
    router.get(outcomes[outcome], async (ctx) => {
      const client = await pages.client(pages.flow(ctx).device);
      pages.show(
        ctx,
        'device-done',
        {
          outcome,
          accountHref: '/account',
          againHref: routes.code_verification,
          ...(client?.clientName ? { clientName: client.clientName } : {}),
        },
        { client },
      );
    });
  return router.routes() as unknown as Koa.Middleware;
};
