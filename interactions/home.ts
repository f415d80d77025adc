/** The page at `/`, and the development mailbox. */
import Router from '@koa/router';
import type Koa from 'koa';
import type { DevMailbox } from '../adapters/mailer.ts';
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
        docs: { discovery: `${issuer}/.well-known/openid-configuration` },
        ...(demoHref ? { demoHref } : {}),
        ...(mailbox ? { mailHref: '/dev/mail' } : {}),
      },
      { signedInAs: visitor?.user.email },
    );
  });

  if (mailbox) {
    router.get('/dev/mail', (ctx) => pages.show(ctx, 'dev-mail', { messages: mailbox.messages() }));
    router.get('/dev/mail.json', (ctx) => {
      ctx.set('Cache-Control', 'no-store');
      ctx.body = mailbox.messages().map(({ to, subject, text, html, links }) => ({ to, subject, text, html, links }));
    });
  }
  return router.routes() as unknown as Koa.Middleware;
};
