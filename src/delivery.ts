/** Mail, SMS and one-time codes as `app.ts` puts them together: how they leave, and how many may. */
import { v7 as uuid } from 'uuid';
import type { Jobs } from '../adapters/jobs.ts';
import { createDevMailbox, createMailer, type DevMailbox, noMailer } from '../adapters/mailer.ts';
import { addressKey, type RateLimits } from '../adapters/rate-limits.ts';
import { createSmsSender } from '../adapters/sms-provider.ts';
import { isFromTwilio } from '../adapters/sms-twilio.ts';
import type { Views } from '../interactions/views.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import type { CodeLimits } from './auth/one-time-codes.commands.ts';
import type { OtpDeps } from './auth/otp.commands.ts';
import { type SmsReportDeps, twilioStatusPath } from './auth/sms.routes.ts';
import { type Config, isDevelopment, smsProvider } from './config.ts';
import type { Log } from './log.ts';
import type { FactorLimits } from './mfa/factor-codes.commands.ts';
import { mails } from './observing.ts';

export interface Delivery {
  /** In development: the mails unless there is an SMTP server, and the SMS unless they have a provider. */
  mailbox: DevMailbox | undefined;
  queueMail: AccountDeps['queueMail'];
  queueSms: OtpDeps['queueSms'];
  smsReports: SmsReportDeps;
  /** Begins to deliver what is queued. */
  work(): Promise<void>;
  close(): Promise<void>;
}

export const createDelivery = ({
  config,
  jobs,
  views,
  log,
  countSms,
}: {
  config: Config;
  jobs: Jobs;
  views: Pick<Views, 'mail' | 'sms' | 'negotiate'>;
  log: Log;
  countSms(outcome: string): void;
}): Delivery => {
  const { SMTP_URL: smtpUrl, MAIL_FROM: from, JWT_ISSUER: issuer, TWILIO_AUTH_TOKEN: authToken } = config;
  const provider = smsProvider(config);
  const needsMailbox = isDevelopment(config) && (!smtpUrl || provider === 'console');
  const mailbox = needsMailbox ? createDevMailbox() : undefined;
  const mailer = smtpUrl ? createMailer({ smtpUrl, from, log }) : (mailbox ?? noMailer);
  const statusCallback = `${issuer}${twilioStatusPath}`;
  const sms = createSmsSender({ config, mailbox, statusCallback, log, count: countSms });
  const language = (locale: string | null) => views.negotiate(locale ? [locale] : []);

  return {
    mailbox,
    queueMail: (db, { email, locale }, { mail, props }) =>
      jobs.send(db, 'mail', { to: email, ...views.mail(mail, props as never, language(locale)) }),
    queueSms:
      sms &&
      ((db, { phoneNumber, locale, code, minutes }) =>
        jobs.send(db, 'sms', {
          id: uuid(),
          to: phoneNumber,
          text: views.sms({ code, minutes, host: new URL(issuer).hostname }, language(locale)),
          expiresAt: new Date(Date.now() + minutes * 60_000).toISOString(),
        })),
    smsReports: {
      isFromTwilio: (fields, signature) =>
        provider === 'twilio' && authToken !== undefined && isFromTwilio(authToken, statusCallback, fields, signature),
      report: ({ status, message, problem }) => {
        countSms(status);
        const failed = status === 'undelivered' || status === 'failed';
        log[failed ? 'warn' : 'info']({ status, message, problem }, 'Twilio reports on an SMS');
      },
    },
    work: async () => {
      await jobs.work('mail', async (mail) => {
        try {
          await mailer.deliver(mail);
        } catch (error) {
          mails.tell?.('failed');
          throw error;
        }
        mails.tell?.('sent');
      });
      if (sms) await jobs.work('sms', (message) => sms.deliver(message));
    },
    close: mailer.close,
  };
};

/** How often codes may be sent by SMS, to whom, and how often they may be tried. */
export const codeLimits = ({
  config,
  limits,
  log,
  countSms,
}: {
  config: Pick<Config, 'SMS_ALLOWED_PREFIXES'>;
  limits: RateLimits;
  log: Log;
  countSms(outcome: string): void;
}): CodeLimits & FactorLimits & Pick<OtpDeps, 'limitSms' | 'mayText'> => {
  const isWithinNumber = (phoneNumber: string): Promise<boolean> =>
    limits
      .consume('smsNumber', phoneNumber)
      .then(() => limits.consume('smsNumberDaily', phoneNumber))
      .then(
        () => true,
        () => false,
      );
  const isWithinTotal = async (): Promise<boolean> => {
    const excess = await limits.count('smsTotal', '');
    if (excess <= 0) return true;
    countSms('over_limit');
    if (excess === 1) log.warn('SMS_PER_HOUR is reached: no more SMS are sent for up to an hour');
    return false;
  };
  return {
    mayText: (phoneNumber) =>
      !config.SMS_ALLOWED_PREFIXES.length ||
      config.SMS_ALLOWED_PREFIXES.some((prefix) => phoneNumber.startsWith(prefix)),
    limitSms: async (phoneNumber, userId, address) => {
      await limits.consume('smsClient', addressKey(address));
      // What the hour refuses does not count for the day.
      await limits.consume('smsAccount', userId);
      await limits.consume('smsAccountDaily', userId);
      return (await isWithinNumber(phoneNumber)) && isWithinTotal();
    },
    limitCodeAddress: (address) => limits.consume('codeAddress', addressKey(address)),
    limitFactorTries: async (userId) => {
      // What the quarter of an hour refuses does not count for the day.
      await limits.consume('factorTries', userId);
      await limits.consume('factorTriesDaily', userId);
    },
    returnFactorTry: async (userId, address) => {
      if (address !== undefined) await limits.reward('codeAddress', addressKey(address));
      await limits.reward('factorTries', userId);
      await limits.reward('factorTriesDaily', userId);
    },
    limitCodes: (purpose, subject) => limits.consume('codeRecipient', `${purpose} ${subject}`),
    returnCode: async (purpose, subject, address) => {
      await limits.reward('codeAddress', addressKey(address));
      await limits.reward('codeRecipient', `${purpose} ${subject}`);
    },
  };
};
