/**
 * Pages on which the engine has the browser post something on: `response_mode=form_post` (OAuth 2.0 Form Post Response
 * Mode), and the hop when somebody signs in where somebody else was. The engine's own are bare; these are ours, and
 * work without a script by a button.
 */
import type Koa from 'koa';
import type { Pages } from './pages.ts';

const entities: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" };

/** Takes back the engine's escaping. */
const unescapeHtml = (text: string): string =>
  text.replace(/&(?:amp|lt|gt|quot|#39);/g, (entity) => entities[entity] as string);

/** The form of the engine's page, or undefined when the body is no such page. */
const readForm = (body: unknown): { action: string; fields: Record<string, string> } | undefined => {
  if (typeof body !== 'string' || !body.includes('<title>Submitting Callback</title>')) return undefined;
  const action = /<form method="post" action="([^"]*)">/.exec(body)?.[1];
  if (action === undefined) return undefined;
  const inputs = [...body.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"\/>/g)];
  return {
    action: unescapeHtml(action),
    fields: Object.fromEntries(inputs.map(([, name = '', value = '']) => [unescapeHtml(name), unescapeHtml(value)])),
  };
};

/** Runs around the engine. */
export const formPost =
  (pages: Pages): Koa.Middleware =>
  async (ctx, next) => {
    const policy = ctx.response.get('content-security-policy');
    await next();
    const form = readForm(ctx.body);
    if (!form) return;
    // The engine has allowed its inline script, which is no longer there.
    ctx.set('Content-Security-Policy', policy);
    pages.show(ctx, 'continue', form, { status: ctx.status, path: '' });
  };
