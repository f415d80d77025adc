/** The device flow (RFC 8628): what the engine is told of it, and limits for those who type codes. */
import type Koa from 'koa';
import { type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { pollSeconds } from '../../adapters/oidc-pending.ts';
import { temporarilyUnavailable } from '../../adapters/temporarily-unavailable.ts';
import { AppError } from '../errors.ts';

/** Where devices ask for their codes. */
export const deviceAuthorizationPath = '/oauth/device';

/** How long a device code and its user code live, in seconds. */
export const deviceCodeSeconds = 600;

/** What is kept of the device, for the person to recognize it by. */
export interface DeviceInfo {
  address: string;
  userAgent: string;
}

/** The pages of the flow. */
export interface DevicePages {
  /** Asks for the code. `error`: what was refused before. */
  enterCode(ctx: KoaContextWithOIDC, form: { xsrf: string; error?: Error | undefined }): Promise<void>;
  confirm(
    ctx: KoaContextWithOIDC,
    form: { xsrf: string; userCode: string; clientId: string; device: DeviceInfo },
  ): Promise<void>;
  /** It is approved. */
  connected(ctx: KoaContextWithOIDC): Promise<void>;
}

/** What a form of the engine's proves to be ours with. */
export const xsrfOf = (ctx: KoaContextWithOIDC): string =>
  ((ctx.oidc.session?.state ?? {}) as { secret?: string }).secret ?? '';

/**
 * `features.deviceFlow`. A user code has 8 of 20 letters, 34.5 bits, none of which is a vowel or looks like another one:
 * with the limits below a guesser hits one of a thousand waiting codes less than once in a year (RFC 8628 section 5.1).
 */
export const deviceFlow = (pages: DevicePages) => ({
  enabled: true,
  charset: 'base-20' as const,
  mask: '****-****',
  deviceInfo: (ctx: KoaContextWithOIDC) =>
    ({ address: ctx.ip, userAgent: ctx.get('user-agent').slice(0, 500) }) satisfies DeviceInfo,
  userCodeInputSource: (ctx: KoaContextWithOIDC, _form: string, _out?: object, error?: Error) =>
    pages.enterCode(ctx, { xsrf: xsrfOf(ctx), error }),
  userCodeConfirmSource: (
    ctx: KoaContextWithOIDC,
    _form: string,
    client: { clientId: string },
    device: object,
    userCode: string,
  ) => pages.confirm(ctx, { xsrf: xsrfOf(ctx), userCode, clientId: client.clientId, device: device as DeviceInfo }),
  successSource: (ctx: KoaContextWithOIDC) => pages.connected(ctx),
});

export interface UserCodeLimits {
  /**
   * Counts an attempt before it is made.
   * @returns what gives it back, for a code that was right
   * @throws AppError 429
   */
  begin(address: string, userId: string | undefined): Promise<() => Promise<void>>;
}

/** The engine shows what it throws itself; anything else would be a mistake of the server. */
export const asEngineError = (ctx: KoaContextWithOIDC, error: unknown): unknown => {
  if (!(error instanceof AppError)) return error;
  const { status, message, details } = error;
  if (details.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(details.retryAfterSeconds));
  return Object.assign(temporarilyUnavailable(message, status), { retryAfterSeconds: details.retryAfterSeconds });
};

/** Has the engine answer with what a limit of ours refuses. @throws the engine's error */
export const limited = async <T>(ctx: KoaContextWithOIDC, attempt: Promise<T>): Promise<T> => {
  try {
    return await attempt;
  } catch (error) {
    throw asEngineError(ctx, error);
  }
};

interface DeviceCodeModel {
  findByUserCode(code: string, options?: object): Promise<{ isExpired?: boolean; accountId?: string } | undefined>;
}

/** Attached to every instance: the interval is told (section 3.2), and every code that is typed is counted. */
export const attachDeviceFlow = (provider: Provider, limits: UserCodeLimits): void => {
  provider.on('device_authorization.success', (_ctx, answer) => {
    Object.assign(answer, { interval: pollSeconds });
  });

  const model = provider.DeviceCode as unknown as DeviceCodeModel;
  const find = model.findByUserCode;
  model.findByUserCode = async (code, options) => {
    const { ctx } = Provider;
    if (!ctx) return find.call(model, code, options);
    const giveBack = await limited(ctx, limits.begin(ctx.ip, ctx.oidc.session?.accountId));
    const found = await find.call(model, code, options);
    if (found && !found.isExpired && !found.accountId) await giveBack();
    return found;
  };
};

/** Whoever asks for device codes without end would fill the database. @param consume counts a request of an address */
export const limitDeviceRequests =
  (consume: (address: string) => Promise<void>): Koa.Middleware =>
  async (ctx, next) => {
    if (ctx.method === 'POST' && ctx.path === deviceAuthorizationPath) await consume(ctx.ip);
    return next();
  };
