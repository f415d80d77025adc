/** The cookie by which accounts know a browser that they have signed in with before (`src/auth/guesses.ts`). */
import type Koa from 'koa';
import { deviceDays } from '../src/auth/known-devices.queries.ts';
import { randomToken } from '../src/secrets.ts';

export interface DeviceCookie {
  /** What this browser shows; a new value if it has none. */
  device(ctx: Koa.Context): string;
  /** Has the browser keep it. After a sign-in, and anew each time, so that it lasts for as long as the account knows it. */
  rememberDevice(ctx: Koa.Context, device: string): void;
}

export const createDeviceCookie = (name: string, secure: boolean): DeviceCookie => ({
  device: (ctx) => {
    const kept = ctx.cookies.get(name, { signed: false }) ?? '';
    return /^[\w-]{43}$/.test(kept) ? kept : randomToken();
  },
  rememberDevice: (ctx, device) => {
    // 256 random bits: a signature would add nothing.
    const options = { httpOnly: true, sameSite: 'lax', secure, signed: false, overwrite: true } as const;
    ctx.cookies.set(name, device, { ...options, maxAge: deviceDays * 86_400_000 });
  },
});
