/** The pages that the engine shows in the middle of the protocol: errors, sign-out, signed out. */
import type { KoaContextWithOIDC } from 'oidc-provider';
import { sessionAccount } from '../adapters/oidc-storage.ts';
import type { Db } from '../db/connect.ts';
import { foreignError } from '../src/errors.ts';
import type { ProtocolPages } from '../src/provider/configuration.ts';
import { findUser } from '../src/users/users.queries.ts';
import { devicePages } from './device.ts';
import type { Pages } from './pages.ts';

/** The routes that people's browsers visit; everywhere else an error is JSON, whatever `Accept` prefers. */
const pageRoutes = new Set([
  ...['authorization', 'resume', 'end_session', 'end_session_confirm', 'end_session_success'],
  ...['code_verification', 'device_resume'],
]);

/** `pages` is a function because the pages need the provider, which needs these. */
export const protocolPages = (db: Db, pages: () => Pages): ProtocolPages => ({
  error: (ctx, out, error) => {
    if (!pageRoutes.has(ctx.oidc.route)) {
      ctx.type = 'json';
      ctx.body = out;
      return;
    }
    const { status } = ctx;
    const code = error.name === 'SessionNotFound' ? 'session_not_found' : out.error;
    const description = out.error_description ?? out.error;
    pages().error(
      ctx,
      foreignError(status, code, description),
      status < 500 ? `${out.error}: ${description}` : undefined,
    );
  },

  stopped: (ctx, { error, error_description: description, status: told }, goOn) => {
    // The engine has 303 for what only a person could have answered.
    const status = told < 400 ? 400 : told;
    pages().show(
      ctx,
      'error',
      { status, title: 'stopped', code: error, detail: `${error}: ${description ?? error}`, goOn, homeHref: '/' },
      // Not under the name that a stranger chose.
      { status, uiLocales: uiLocalesOf(ctx) },
    );
  },

  device: devicePages(db, pages),

  signOut: async (ctx, form) => {
    const id = sessionAccount(ctx);
    const user = id ? await findUser(db, id) : undefined;
    const client = await pages().shownClient(ctx.oidc.client?.clientId);
    pages().show(
      ctx,
      'sign-out',
      { ...form, ...(user ? { account: { email: user.email } } : {}) },
      { client, uiLocales: uiLocalesOf(ctx) },
    );
  },

  signedOut: async (ctx) => {
    pages().show(
      ctx,
      'signed-out',
      { signInHref: '/account' },
      { client: await pages().shownClient(ctx.oidc.client?.clientId) },
    );
  },
});

const uiLocalesOf = (ctx: KoaContextWithOIDC) => ctx.oidc.params?.ui_locales as string | undefined;
