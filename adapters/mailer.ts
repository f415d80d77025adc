/**
 * Hands finished mails to an SMTP server, or, during development, to a mailbox in memory. Called by the `mail` job: an
 * error means that the job is tried again. An address or a body is in no error and in no log line.
 */
import { randomUUID } from 'node:crypto';
import type { Log } from '../src/log.ts';

export interface Mail {
  to: string;
  subject: string;
  text: string;
  html: string;
}

export interface Mailer {
  deliver(mail: Mail): Promise<void>;
  close(): Promise<void>;
}

export interface DevMail extends Mail {
  id: string;
  /** The http(s) URLs in the text, in order. */
  links: string[];
  at: Date;
}

export interface DevMailbox extends Mailer {
  /** Shows a message that is no mail, such as an SMS, among the mails. */
  keep(message: Mail): void;
  /** Newest first. */
  messages(): DevMail[];
}

const failure = (code: string, message: string, responseCode?: number) =>
  Object.assign(new Error(message), { code, responseCode });

/** Refuses what could start another header or name another recipient. */
const assertSafe = ({ to, subject }: Mail): void => {
  if (!/^[^\s\p{Cc}<>(),;:"\\[\]@]+@[^\s\p{Cc}<>(),;"\\@]+$/u.test(to))
    throw failure('bad_recipient', 'The recipient is not one plain address');
  if (/[\p{Cc}\u2028\u2029]/u.test(subject)) throw failure('bad_subject', 'The subject has control characters');
};

/** @param smtpUrl `smtp://` (STARTTLS when the server offers it; `?requireTLS=true` insists) or `smtps://` */
export const createMailer = ({ smtpUrl, from, log }: { smtpUrl: string; from: string; log: Log }): Mailer => {
  if (/\p{Cc}/u.test(from)) throw new Error('MAIL_FROM has control characters');
  const open = async () => {
    const { createTransport } = await import('nodemailer');
    const transport = createTransport({
      url: smtpUrl,
      pool: true,
      maxConnections: 3,
      dnsTimeout: 5000,
      connectionTimeout: 5000,
      greetingTimeout: 5000,
      socketTimeout: 15_000,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    // An idle pooled connection that breaks; the next mail opens another.
    transport.on('error', ({ code }: Error & { code?: string }) => log.debug({ reason: code }, 'SMTP connection lost'));
    return transport;
  };
  // Loaded for the first mail: a process that sends none has no use for it.
  let opened: ReturnType<typeof open> | undefined;
  return {
    deliver: async (mail) => {
      assertSafe(mail);
      try {
        const { subject, text, html } = mail;
        opened ??= open();
        await (await opened).sendMail({ from, to: { name: '', address: mail.to }, subject, text, html });
      } catch (error) {
        // The original quotes the recipient, so it is not even kept as the cause.
        const { code = 'unknown', responseCode } = error as { code?: string; responseCode?: number };
        throw failure(
          code,
          `The SMTP server did not take the mail (${[code, responseCode].filter(Boolean).join(' ')})`,
          responseCode,
        );
      }
    },
    close: async () => (await opened)?.close(),
  };
};

const linksIn = (text: string): string[] =>
  (text.match(/https?:\/\/[^\s<>"]+/g) ?? []).map((link) => link.replace(/[.,;:!?'")\]}]+$/, ''));

/** Keeps the last `limit` mails (and SMS) for the developer to read. */
export const createDevMailbox = (limit = 200): DevMailbox => {
  const kept: DevMail[] = [];
  const keep = ({ to, subject, text, html }: Mail): void => {
    kept.unshift({ id: randomUUID(), to, subject, text, html, links: linksIn(text), at: new Date() });
    kept.length = Math.min(kept.length, limit);
  };
  return {
    keep,
    deliver: async (mail) => {
      assertSafe(mail);
      keep(mail);
    },
    messages: () => [...kept],
    close: async () => {},
  };
};

/** Production without SMTP_URL: nothing is delivered, and the job that holds the mail says so until it is set. */
export const noMailer: Mailer = {
  deliver: async () => {
    throw failure('smtp_url_missing', 'SMTP_URL is not set: mail cannot be delivered');
  },
  close: async () => {},
};
