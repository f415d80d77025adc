/**
 * A token in every form of ours, so that what arrives was filled in on a page that this browser was shown (OWASP: signed
 * double-submit cookie). It is a MAC of the browser's device cookie, which no other site can read or, over TLS, set. Which
 * site a form came from is checked besides (`pages.ts`).
 */
import type Koa from 'koa';
import { equalInConstantTime, type Secrets } from '../src/secrets.ts';
import type { DeviceCookie } from './device-cookie.ts';

export const tokenField = 'csrf';

/** Posts that come from another site by design, and prove in their own way to whom they belong. */
const exempt = [/^\/auth\/social\/[^/]+\/callback$/];

/** A form that is posted, but not to somebody else: an answer that is carried to an application is none of ours. */
const ownForm = /<form\b(?=[^>]*\smethod="post")(?=[^>]*\saction="(?:\/(?!\/)[^"]*)?")[^>]*>/gi;

const isUnsafe = ({ method }: Koa.Context) => !['GET', 'HEAD', 'OPTIONS'].includes(method);

/** Whether a post to this path comes from another site by design. */
export const isSentFromElsewhere = (path: string): boolean => exempt.some((one) => one.test(path));

export interface FormTokens {
  /** Puts the token of the request's browser into the forms of a page. */
  sign(ctx: Koa.Context, html: string): string;
  /** Whether a request changes nothing, or brings the token of its browser. */
  isSigned(ctx: Koa.Context): boolean;
}

export const createFormTokens = (
  secrets: Pick<Secrets, 'mac' | 'macs'>,
  devices: Pick<DeviceCookie, 'device' | 'rememberDevice' | 'hasDevice'>,
): FormTokens => {
  const tokenOf = (ctx: Koa.Context) => secrets.mac('csrf', devices.device(ctx));
  return {
    sign: (ctx, html) => {
      let found = false;
      const signed = html.replace(ownForm, (form) => {
        found = true;
        return `${form}<input type="hidden" name="${tokenField}" value="${tokenOf(ctx)}">`;
      });
      if (found && !devices.hasDevice(ctx)) devices.rememberDevice(ctx, devices.device(ctx));
      return signed;
    },
    isSigned: (ctx) => {
      if (!isUnsafe(ctx) || isSentFromElsewhere(ctx.path)) return true;
      const given = (ctx.request.body as Record<string, unknown> | undefined)?.[tokenField];
      if (!devices.hasDevice(ctx) || typeof given !== 'string') return false;
      return secrets.macs('csrf', devices.device(ctx)).some((token) => equalInConstantTime(given, token));
    },
  };
};
