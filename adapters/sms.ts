/**
 * What a provider of SMS is to us, and what all of them have in common. Called by the `sms` job: an error means that the
 * job is tried again, unless it is permanent. A number, a code or a text is in no error and in no log line.
 */
import type { Log } from '../src/log.ts';
import type { DevMailbox } from './mailer.ts';

export interface Sms {
  /** The same at every try, so that a receiver can tell a repeated message from another. */
  id: string;
  /** E.164. */
  to: string;
  text: string;
  /** RFC 3339; later the message is worth nothing and is not sent. */
  expiresAt: string;
}

export interface SmsSender {
  deliver(message: Sms): Promise<void>;
}

/** What became of a message as far as we are told: the label of a metric. */
export type SmsOutcome = 'accepted' | 'refused' | 'postponed' | 'late';

export interface SmsFailure extends Error {
  code: string;
  /** Another try would end the same. */
  permanent: boolean;
  /** The provider wants nothing from us for so long. */
  retryAfterSeconds?: number;
}

export const smsFailure = (
  code: string,
  { permanent = false, retryAfterSeconds }: { permanent?: boolean; retryAfterSeconds?: number | undefined } = {},
): SmsFailure =>
  Object.assign(new Error(`The SMS was not taken (${code})`), {
    code,
    permanent,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });

const pauseSecondsMax = 600;

/** `Retry-After` in seconds, whether it is a number or a date (RFC 9110 section 10.2.3). */
export const retryAfterOf = (headers: Headers): number | undefined => {
  const value = headers.get('retry-after') ?? '';
  const seconds = /^\d{1,9}$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return seconds > 0 ? Math.min(Math.ceil(seconds), pauseSecondsMax) : undefined;
};

/** One request to a provider. @throws SmsFailure when no answer comes; the original error may quote the URL. */
export const request = async (outboundFetch: typeof fetch, url: string, init: RequestInit): Promise<Response> => {
  try {
    return await outboundFetch(url, init);
  } catch (error) {
    const { code } = error as { code?: unknown };
    throw smsFailure(code === 'outbound_refused' ? code : 'sms_provider_unreachable');
  }
};

/**
 * Sends nothing that is too late, and nothing while the provider has asked for a pause.
 * @param send returns the provider's own name for the message, if there is one, by which it can be asked about
 */
export const createSender = (
  send: (message: Sms) => Promise<string | undefined>,
  { log, count }: { log: Log; count(outcome: SmsOutcome): void },
): SmsSender => {
  let pausedUntil = 0;
  return {
    deliver: async (message) => {
      if (Date.parse(message.expiresAt) <= Date.now()) {
        count('late');
        log.warn({ message: message.id }, 'an SMS was too late to be sent');
        return;
      }
      if (Date.now() < pausedUntil) throw smsFailure('sms_paused');
      try {
        const reference = await send(message);
        log.info({ message: message.id, reference }, 'an SMS was taken');
      } catch (error) {
        const { permanent, retryAfterSeconds } = error as SmsFailure;
        if (retryAfterSeconds !== undefined) pausedUntil = Date.now() + retryAfterSeconds * 1000;
        count(permanent ? 'refused' : 'postponed');
        throw error;
      }
      count('accepted');
    },
  };
};

/** Development: the developer reads SMS where the mails are. */
export const showInMailbox =
  (mailbox: DevMailbox) =>
  async ({ to, text }: Sms): Promise<string> => {
    mailbox.keep({ to, subject: 'SMS', text, html: '' });
    return '/dev/mail';
  };
