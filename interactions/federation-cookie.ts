/** The cookie that binds a sign-in by way of a provider to the browser that began it. */
import type Koa from 'koa';
import { randomToken } from '../src/secrets.ts';

export interface FederationCookie {
  /** What this browser has; a new value if it has none. It is kept for as long as a sign-in elsewhere may take. */
  keep(ctx: Koa.Context): string;
  /** What it has; empty when it has none. */
  read(ctx: Koa.Context): string;
}

const lifetimeMs = 3_600_000;

export const createFederationCookie = (issuer: string): FederationCookie => {
  const secure = issuer.startsWith('https:');
  // The prefix keeps whoever holds a neighbouring domain from setting it.
  const name = secure ? '__Host-federation' : 'federation';
  const read = (ctx: Koa.Context): string => {
    const value = ctx.cookies.get(name, { signed: false }) ?? '';
    return /^[\w-]{43}$/.test(value) ? value : '';
  };
  return {
    read,
    keep: (ctx) => {
      const value = read(ctx) || randomToken();
      // Lax: the provider sends the browser back from another site. 256 random bits: a signature would add nothing.
      const options = { httpOnly: true, sameSite: 'lax', secure, signed: false, overwrite: true } as const;
      ctx.cookies.set(name, value, { ...options, maxAge: lifetimeMs });
      return value;
    },
  };
};
