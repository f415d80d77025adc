/** The cookie by which accounts know a browser that they have signed in with before (`src/auth/guesses.ts`). */
import type Koa from 'koa';
import { deviceDays } from '../src/auth/known-devices.queries.ts';
import type { MfaMethod } from '../src/auth/second-factor-policy.ts';
import { randomToken } from '../src/secrets.ts';

export interface DeviceCookie {
  /** What this browser shows; a new value, the same for the whole request, if it has none. */
  device(ctx: Koa.Context): string;
  /** Whether the browser came with one. */
  hasDevice(ctx: Koa.Context): boolean;
  /** Has the browser keep it. Anew at each sign-in, so that it lasts for as long as the account knows it. */
  rememberDevice(ctx: Koa.Context, device: string): void;
}

/** The cookie's name: the prefix needs TLS. */
export const deviceCookieName = (secure: boolean): string => (secure ? '__Host-device' : 'device');

/** The cookie that a request brought, if it is one of ours. */
export const readDeviceCookie = (ctx: Pick<Koa.Context, 'cookies'>, name: string): string | undefined => {
  const kept = ctx.cookies.get(name, { signed: false }) ?? '';
  return /^[\w-]{43}$/.test(kept) ? kept : undefined;
};

export const createDeviceCookie = (secure: boolean, name = deviceCookieName(secure)): DeviceCookie => ({
  device: (ctx) => {
    ctx.state.device ??= readDeviceCookie(ctx, name) ?? randomToken();
    return ctx.state.device as string;
  },
  hasDevice: (ctx) => readDeviceCookie(ctx, name) !== undefined,
  rememberDevice: (ctx, device) => {
    // 256 random bits: a signature would add nothing.
    const options = { httpOnly: true, sameSite: 'lax', secure, signed: false, overwrite: true } as const;
    ctx.cookies.set(name, device, { ...options, maxAge: deviceDays * 86_400_000 });
  },
});

/** The cookie that says by which second factor somebody signed in last in this browser. Nothing follows from it but what is shown first. */
export interface FactorCookie {
  preferredFactor(ctx: Koa.Context): string | undefined;
  preferFactor(ctx: Koa.Context, method: MfaMethod): void;
}

export const createFactorCookie = (name: string, secure: boolean): FactorCookie => ({
  preferredFactor: (ctx) => ctx.cookies.get(name, { signed: false }),
  preferFactor: (ctx, method) => {
    const options = { httpOnly: true, sameSite: 'lax', secure, signed: false, overwrite: true } as const;
    ctx.cookies.set(name, method, { ...options, maxAge: deviceDays * 86_400_000 });
  },
});
