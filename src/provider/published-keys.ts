/** What of the key set relying parties are to see. */
import type { Provider } from 'oidc-provider';
import type { KeySet } from '../keys/key-set.ts';
import { routes } from './configuration.ts';

/**
 * Takes keys out of the JWKS that nobody is to encrypt to, though this instance can still decrypt with them: whoever encrypts
 * picks any key of the set, and the older of two would be gone while somebody's cache still had it.
 */
export const hideUnpublishedKeys = (provider: Provider, { unpublished }: KeySet): void => {
  if (!unpublished.length) return;
  provider.use(async (ctx, next) => {
    if (ctx.path !== routes.jwks) return next();
    await next();
    if (ctx.status !== 200) return;
    const { keys } = ctx.body as { keys: { kid: string }[] };
    ctx.body = { keys: keys.filter(({ kid }) => !unpublished.includes(kid)) };
    // The body is another object, and the engine's own type of content stays.
    ctx.type = 'application/jwk-set+json; charset=utf-8';
  });
};
