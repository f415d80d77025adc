/** The settings of SMS, which `config.ts` takes in with all others. */
import { z } from 'zod';
import { integer, list } from './setting-kinds.ts';

const prefixes = list.refine(
  (items) => items.every((item) => /^\+[1-9]\d{0,14}$/.test(item)),
  'expected beginnings of numbers such as +49,+43',
);

export const smsSettings = {
  SMS_PROVIDER: z.enum(['console', 'webhook', 'twilio']).optional().meta({
    description:
      'How SMS are sent; `console` shows them in the dev mailbox, is the default in development and refused in production. Without one nobody can ask for a code by SMS',
  }),
  SMS_PER_HOUR: integer(1, 1_000_000).default(500).meta({
    description:
      'SMS that are sent in an hour to all numbers together, so that nobody runs up a bill; RATE_LIMIT_FACTOR leaves it alone. Past it requests are answered as usual and nothing is sent; a second factor can still be mailed',
  }),
  SMS_ALLOWED_PREFIXES: prefixes.default([]).meta({
    description:
      'Beginnings of the numbers that SMS are sent to, separated by commas, such as `+49,+43`; empty: all. Name the countries that your people live in: numbers elsewhere can be made to cost, and to earn, a lot',
  }),
  SMS_WEBHOOK_URL: z
    .url({ protocol: /^https?$/, message: 'expected an http(s) URL' })
    .optional()
    .meta({ description: 'Where `webhook` posts SMS, signed as Standard Webhooks has it; https in production' }),
  SMS_WEBHOOK_SECRET: z.string().min(32, 'needs at least 32 characters').optional().meta({
    description: 'The key of that signature: `whsec_` and base64, or any text of 32 characters or more',
  }),
  TWILIO_ACCOUNT_SID: z
    .string()
    .regex(/^AC[0-9a-f]{32}$/i, 'expected AC and 32 hex digits')
    .optional()
    .meta({ description: 'The account of `twilio`' }),
  TWILIO_AUTH_TOKEN: z.string().min(1).optional().meta({
    description: 'The account’s auth token, which also signs the status callbacks of Twilio',
  }),
  TWILIO_FROM: z
    .string()
    .regex(/^(MG[0-9a-f]{32}|\+?\d{3,15}|[A-Za-z0-9 ]{1,11})$/i, 'expected a number, a sender or a messaging service')
    .optional()
    .meta({ description: 'The number or sender that SMS come from, or the SID of a messaging service (`MG…`)' }),
  TWILIO_API_URL: z
    .url({ protocol: /^https?$/, message: 'expected an http(s) URL' })
    .default('https://api.twilio.com')
    .meta({ description: 'Another address of Twilio’s API, such as a regional one; https in production' }),
};

const companions = {
  console: [],
  webhook: ['SMS_WEBHOOK_URL', 'SMS_WEBHOOK_SECRET'],
  twilio: ['TWILIO_ACCOUNT_SID', 'TWILIO_AUTH_TOKEN', 'TWILIO_FROM'],
} as const;

type SmsValues = { [Name in keyof typeof smsSettings]?: z.output<(typeof smsSettings)[Name]> | undefined };

const loopbackOrTls = /^(https:|http:\/\/(localhost|127\.0\.0\.1|\[::1\])([:/]|$))/i;

/**
 * What is wrong with the settings of SMS together.
 * @param given what was set, so that a setting that does not parse is not called missing as well
 */
export const smsMistakes = (
  values: SmsValues,
  given: Readonly<Record<string, string>>,
  production: boolean,
): string[] => {
  const provider = values.SMS_PROVIDER;
  const missing = (provider ? companions[provider] : [])
    .filter((name) => given[name] === undefined)
    .map((name) => `${name}: is needed for SMS_PROVIDER=${provider}`);
  if (!production) return missing;
  const open = (['SMS_WEBHOOK_URL', 'TWILIO_API_URL'] as const)
    .filter((name) => values[name] !== undefined && !loopbackOrTls.test(values[name]))
    .map((name) => `${name}: must be https in production`);
  return [...missing, ...open, ...(provider === 'console' ? ['SMS_PROVIDER: console is for development only'] : [])];
};
