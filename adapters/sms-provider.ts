/** Chooses how SMS are sent, by the settings. */
import { type Config, smsProvider } from '../src/config.ts';
import type { Log } from '../src/log.ts';
import type { DevMailbox } from './mailer.ts';
import { createOperatorFetch } from './outbound.ts';
import { createSender, type SmsOutcome, type SmsSender, showInMailbox } from './sms.ts';
import { sendByTwilio } from './sms-twilio.ts';
import { sendByWebhook } from './sms-webhook.ts';

/** @returns undefined when SMS are off */
export const createSmsSender = ({
  config,
  mailbox,
  statusCallback,
  log,
  count,
}: {
  config: Config;
  mailbox: DevMailbox | undefined;
  /** Where Twilio is to report what became of a message. */
  statusCallback: string;
  log: Log;
  count(outcome: SmsOutcome): void;
}): SmsSender | undefined => {
  const provider = smsProvider(config);
  if (provider === 'console' && mailbox) return createSender(showInMailbox(mailbox), { log, count });
  if (provider === 'webhook') {
    const { SMS_WEBHOOK_URL: url = '', SMS_WEBHOOK_SECRET: secret = '' } = config;
    return createSender(sendByWebhook({ url, secret, fetch: createOperatorFetch(url, 'sms') }), { log, count });
  }
  if (provider === 'twilio') {
    const { TWILIO_API_URL: apiUrl, TWILIO_ACCOUNT_SID: accountSid = '', TWILIO_AUTH_TOKEN: authToken = '' } = config;
    const from = config.TWILIO_FROM ?? '';
    const options = { apiUrl, accountSid, authToken, from, fetch: createOperatorFetch(apiUrl, 'sms') };
    // Twilio refuses a message whose callback is not a public address.
    const callback = statusCallback.startsWith('https:') ? { statusCallback } : {};
    return createSender(sendByTwilio({ ...options, ...callback }), { log, count });
  }
  return undefined;
};
