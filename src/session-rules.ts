/** What holds for sessions beyond their lifetimes, as `app.ts` puts it together for the adapter that keeps them. */
import type { SessionRules } from '../adapters/oidc-storage.ts';
import { deviceCookieName, readDeviceCookie } from '../interactions/device-cookie.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import { tellOfRefusedSession } from './auth/notices.commands.ts';
import type { Config } from './config.ts';
import type { QueueLogout } from './sessions/sessions.commands.ts';

export const createSessionRules = (
  { JWT_ISSUER, SESSIONS_PER_USER, DEVICE_BINDING }: Config,
  accounts: AccountDeps,
  queueLogout: QueueLogout,
): SessionRules => {
  const name = deviceCookieName(JWT_ISSUER.startsWith('https:'));
  return {
    perUser: SESSIONS_PER_USER,
    binding: DEVICE_BINDING,
    queueLogout,
    shown: (ctx, userId) => {
      const cookie = readDeviceCookie(ctx, name);
      const userAgent = ctx.get('user-agent').slice(0, 500);
      return { deviceHash: cookie && accounts.hashDevice(userId, { type: 'anonymous' }, cookie), userAgent };
    },
    tellOwner: (db, actor, userId) => tellOfRefusedSession(accounts, db, actor, userId),
  };
};
