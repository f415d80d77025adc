/** Where the mail about a new device leads: its owner says that the sign-in was not theirs, and its session ends. */
import Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../db/connect.ts';
import type { AccountDeps } from '../src/auth/accounts.commands.ts';
import { ActionToken } from '../src/auth/credentials.ts';
import { disownPage, disownSignIn } from '../src/auth/sign-ins.commands.ts';
import { type DisownableSignIn, findDisownable } from '../src/auth/sign-ins.queries.ts';
import { AppError } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import type { EndSession } from '../src/sessions/sessions.commands.ts';
import type { Pages } from './pages.ts';
import { redirect } from './redirect.ts';

const DisownForm = z.object({ token: ActionToken });

export const notMe = ({
  pages,
  db,
  deps: { describeDevice },
  endSession,
}: {
  pages: Pages;
  db: Db;
  deps: Pick<AccountDeps, 'describeDevice'>;
  endSession: EndSession;
}): Koa.Middleware => {
  const router = new Router({ prefix: `/${disownPage}` });

  const expired = (ctx: Koa.Context) =>
    pages.show(ctx, 'link-expired', { purpose: 'disown', signInHref: '/account/sessions' }, { status: 400 });

  const ask = (ctx: Koa.Context, token: string, { at, userAgent, address, country, city }: DisownableSignIn) =>
    pages.show(ctx, 'not-me', {
      action: `/${disownPage}`,
      token,
      at,
      device: describeDevice(userAgent ?? undefined),
      place: { ...(country ? { country } : {}), ...(city ? { city } : {}) },
      ...(address ? { address } : {}),
    });

  // GET shows a button and changes nothing, since mail scanners follow links.
  router.get('/', async (ctx) => {
    const token = String(ctx.query.token ?? '');
    const found = await findDisownable(db, token);
    if (found) ask(ctx, token, found);
    else expired(ctx);
  });

  // Whoever is signed in here is not asked: the link is the mailbox's, and ends the one session that it was mailed for.
  router.post('/', async (ctx) => {
    try {
      const { token } = pages.form(ctx, DisownForm);
      await disownSignIn({ db, endSession }, actorOf(ctx), token);
      redirect(ctx, `/${disownPage}/done`);
    } catch (error) {
      if (!(error instanceof AppError) || error.status !== 400) throw error;
      expired(ctx);
    }
  });

  router.get('/done', (ctx) => pages.show(ctx, 'not-me-done', { changeHref: '/forgot' }));

  return router.routes() as unknown as Koa.Middleware;
};
