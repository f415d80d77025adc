/** The page at `/`, and the development mailbox. */
import Router from '@koa/router';
import type Koa from 'koa';
import type { DevMailbox } from '../adapters/mailer.ts';
import { AppError } from '../src/errors.ts';
import type { Pages } from './pages.ts';

/** @param mailbox and `demoHref` exist in development alone */
export const home = ({
  pages,
  issuer,
  mailbox,
  demoHref,
}: {
  pages: Pages;
  issuer: string;
  mailbox?: DevMailbox | undefined;
  demoHref?: string | undefined;
}): Koa.Middleware => {
  const router = new Router();

  router.get('/', async (ctx) => {
    const visitor = await pages.visitor(ctx);
    pages.show(
      ctx,
      'home',
      {
        signedIn: visitor !== undefined,
        accountHref: '/account',
        docs: { api: '/docs', discovery: `${issuer}/.well-known/openid-configuration` },
        ...(demoHref ? { demoHref } : {}),
        ...(mailbox ? { mailHref: '/dev/mail' } : {}),
      },
      { signedInAs: visitor?.user.email },
    );
  });

  if (mailbox) {
    // Under another name than ours it is not the developer who asks, but a page that had its name point here.
    router.use('/dev', (ctx, next) => {
      if (ctx.req.headers.host !== new URL(issuer).host)
        throw new AppError(404, 'page_not_found', 'There is nothing at this address');
      return next();
    });
    router.get('/dev/mail', (ctx) => pages.show(ctx, 'dev-mail', { messages: mailbox.messages() }));
    router.get('/dev/mail.json', (ctx) => {
      ctx.set('Cache-Control', 'no-store');
      ctx.body = mailbox.messages().map(({ to, subject, text, html, links }) => ({ to, subject, text, html, links }));
    });
  }
  return router.routes() as unknown as Koa.Middleware;
};
