import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { afterEach, describe, expect, it } from 'vitest';
import { createDevMailbox, createMailer, type Mail, type Mailer, noMailer } from '../../adapters/mailer.ts';
import { createLog } from '../../src/log.ts';
import { freePort } from '../support/ports.ts';

const log = createLog('silent');
const mail: Mail = { to: 'ada@example.com', subject: 'Grüße', text: 'Plain words', html: '<p>Rich words</p>' };

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const portOf = async (server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

const startSmtp = async (options: SMTPServerOptions = {}) => {
  const received: { to: string[]; source: string }[] = [];
  const smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    logger: false,
    onData: (stream, session, callback) => {
      void readText(stream).then((source) => {
        received.push({ to: session.envelope.rcptTo.map(({ address }) => address), source });
        callback();
      });
    },
    ...options,
  });
  smtp.on('error', () => {});
  const port = await portOf(smtp.server);
  closers.push(() => new Promise<void>((resolve) => smtp.close(() => resolve())));
  return { url: `smtp://127.0.0.1:${port}`, received };
};

const mailerTo = (smtpUrl: string): Mailer => {
  const mailer = createMailer({ smtpUrl, from: 'Countersign <no-reply@id.example>', log });
  closers.push(() => mailer.close());
  return mailer;
};

const failureOf = (promise: Promise<unknown>): Promise<Error & { code?: string; responseCode?: number }> =>
  promise.then(
    () => expect.fail('it was delivered'),
    (error) => error,
  );

describe('SMTP', () => {
  it('delivers both parts to the one recipient', async () => {
    const { url, received } = await startSmtp();
    await mailerTo(url).deliver(mail);
    expect(received).toHaveLength(1);
    expect(received[0]?.to).toEqual(['ada@example.com']);
    for (const part of [
      'From: Countersign <no-reply@id.example>',
      'To: ada@example.com',
      'Plain words',
      '<p>Rich words</p>',
    ]) {
      expect(received[0]?.source).toContain(part);
    }
  });

  it('uses a connection again', async () => {
    let connections = 0;
    const { url, received } = await startSmtp({
      onConnect: (_session, callback) => {
        connections++;
        callback();
      },
    });
    const mailer = mailerTo(url);
    for (let count = 0; count < 3; count++) await mailer.deliver(mail);
    expect([received.length, connections]).toEqual([3, 1]);
  });

  it('reports a refusal without the address, in any member of the error', async () => {
    const { url } = await startSmtp({
      onRcptTo: ({ address }, _session, callback) =>
        callback(Object.assign(new Error(`no such user ${address}`), { responseCode: 550 })),
    });
    const error = await failureOf(mailerTo(url).deliver(mail));
    expect(error).toMatchObject({ code: 'EENVELOPE', responseCode: 550 });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('ada@');
    expect(error.cause).toBeUndefined();
  });

  it('gives up on a server that never greets', async () => {
    const server = createServer(() => {});
    const port = await portOf(server);
    closers.push(() => void server.close());
    const startedAt = performance.now();
    expect(await failureOf(mailerTo(`smtp://127.0.0.1:${port}`).deliver(mail))).toMatchObject({ code: 'ETIMEDOUT' });
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  });

  it('delivers through a slow server', async () => {
    const { url, received } = await startSmtp({ onConnect: (_session, callback) => void setTimeout(callback, 1500) });
    await mailerTo(url).deliver(mail);
    expect(received).toHaveLength(1);
  });

  it('fails when nothing listens, and delivers once something does', async () => {
    const port = await freePort();
    const mailer = mailerTo(`smtp://127.0.0.1:${port}`);
    expect(await failureOf(mailer.deliver(mail))).toMatchObject({ code: 'ESOCKET' });
    const smtp = new SMTPServer({ authOptional: true, disabledCommands: ['STARTTLS'], logger: false });
    await new Promise<void>((resolve) => smtp.listen(port, '127.0.0.1', () => resolve()));
    closers.push(() => new Promise<void>((resolve) => smtp.close(() => resolve())));
    closers.push(() => mailer.close());
    await mailer.deliver(mail);
  });

  it('refuses a sender with a line break', () => {
    expect(() => createMailer({ smtpUrl: 'smtp://127.0.0.1', from: 'a@id.example\r\nBcc: b@id.example', log })).toThrow(
      'MAIL_FROM',
    );
  });
});

describe('header injection', () => {
  for (const [name, injected] of [
    ['a line break in the recipient', { to: 'ada@example.com\r\nBcc: eve@example.com' }],
    ['a bare line feed in the recipient', { to: 'ada@example.com\nBcc:eve@example.com' }],
    ['a second recipient', { to: 'ada@example.com, eve@example.com' }],
    ['a second recipient without a space', { to: 'ada@example.com,eve@example.com' }],
    ['a recipient in angle brackets', { to: 'Ada <ada@example.com>' }],
    ['a group of recipients', { to: 'all:ada@example.com;' }],
    ['no recipient', { to: '' }],
    ['a line break in the subject', { subject: 'Hello\r\nBcc: eve@example.com' }],
    ['a carriage return in the subject', { subject: 'Hello\rBcc: eve@example.com' }],
    ['a NUL in the subject', { subject: 'Hello\0' }],
  ] as const) {
    it(`is refused: ${name}`, async () => {
      const { url, received } = await startSmtp();
      for (const mailer of [mailerTo(url), createDevMailbox()]) {
        expect((await failureOf(mailer.deliver({ ...mail, ...injected }))).code).toMatch(/^bad_/);
      }
      expect(received).toEqual([]);
    });
  }
});

describe('the dev mailbox', () => {
  it('lists mails newest first, with their links', async () => {
    const mailbox = createDevMailbox();
    await mailbox.deliver(mail);
    await mailbox.deliver({
      ...mail,
      text: 'Open https://id.example/verify?token=a-b_c.d&x=1. Or (http://localhost:3000/x), or <https://id.example/y>!',
    });
    const [newest, oldest] = mailbox.messages();
    expect(newest?.links).toEqual([
      'https://id.example/verify?token=a-b_c.d&x=1',
      'http://localhost:3000/x',
      'https://id.example/y',
    ]);
    expect(oldest).toMatchObject({
      ...mail,
      links: [],
      at: expect.any(Date),
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it('keeps no more than its limit', async () => {
    const mailbox = createDevMailbox(2);
    for (const subject of ['1', '2', '3']) await mailbox.deliver({ ...mail, subject });
    expect(mailbox.messages().map(({ subject }) => subject)).toEqual(['3', '2']);
  });
});

it('without SMTP_URL delivery fails, so that the job is kept', async () => {
  await expect(noMailer.deliver(mail)).rejects.toThrow('SMTP_URL is not set');
});
