/** Each provider of SMS against a stand-in that speaks as it does: the request it wants, and the answers it gives. */
import { createHmac } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDevMailbox } from '../../adapters/mailer.ts';
import type { Sms, SmsFailure } from '../../adapters/sms.ts';
import { createSmsSender } from '../../adapters/sms-provider.ts';
import { isFromTwilio, sendByTwilio, signTwilioRequest } from '../../adapters/sms-twilio.ts';
import { signWebhook } from '../../adapters/sms-webhook.ts';
import { loadConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { type SmsGateway, startSmsGateway, twilioProblem } from '../support/sms-gateway.ts';

let gateway: SmsGateway;
let lines: string[] = [];
let counted: string[] = [];
beforeAll(async () => {
  gateway = await startSmsGateway();
});
afterAll(() => gateway.stop());
afterEach(() => void vi.useRealTimers());
beforeEach(() => {
  lines = [];
  counted = [];
  gateway.requests.length = 0;
  gateway.answers.length = 0;
});

const message = (change: Partial<Sms> = {}): Sms => ({
  id: '0199f0c1-7d2e-7c3a-9b55-3f6f0d1c2b4a',
  to: '+4930901820',
  text: '048151 is your code & more = ü\n\n@id.example #048151',
  expiresAt: new Date(Date.now() + 600_000).toISOString(),
  ...change,
});
const accountSid = `AC${'0123456789abcdef'.repeat(2)}`;
const authToken = 'the-auth-token-of-the-account';
const serviceSid = `MG${'0123456789abcdef'.repeat(2)}`;
const whsec = `whsec_${Buffer.from('a key of thirty-two bytes or so!').toString('base64')}`;

const senderWith = (settings: Record<string, string>, statusCallback = 'https://id.example/sms/twilio/status') => {
  const config = loadConfig({ NODE_ENV: 'test', ENCRYPTION_MASTER_KEY: 'x', ...settings });
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  const mailbox = createDevMailbox();
  const count = (outcome: string) => void counted.push(outcome);
  const sender = createSmsSender({ config, mailbox, statusCallback, log, count });
  if (!sender) throw new Error('no sender');
  return { ...sender, mailbox };
};
const twilio = (settings: Record<string, string> = {}, statusCallback?: string) =>
  senderWith(
    {
      SMS_PROVIDER: 'twilio',
      TWILIO_ACCOUNT_SID: accountSid,
      TWILIO_AUTH_TOKEN: authToken,
      TWILIO_FROM: '+15005550006',
      TWILIO_API_URL: gateway.url,
      ...settings,
    },
    statusCallback,
  );
const webhook = (settings: Record<string, string> = {}) =>
  senderWith({
    SMS_PROVIDER: 'webhook',
    SMS_WEBHOOK_URL: `${gateway.url}/sms?x=1`,
    SMS_WEBHOOK_SECRET: whsec,
    ...settings,
  });

const failureOf = (promise: Promise<unknown>): Promise<SmsFailure> =>
  promise.then(
    () => expect.fail('it was taken'),
    (error) => error,
  );

describe('Twilio', () => {
  it('gets its Messages request: Basic credentials and a form', async () => {
    await twilio().deliver(message());
    const [request] = gateway.requests;
    expect(request).toMatchObject({ method: 'POST', url: `/2010-04-01/Accounts/${accountSid}/Messages.json` });
    const basic = `Basic ${Buffer.from(`${accountSid}:${authToken}`).toString('base64')}`;
    expect(request?.headers).toMatchObject({
      authorization: basic,
      'content-type': 'application/x-www-form-urlencoded',
    });
    const { ValidityPeriod, ...form } = Object.fromEntries(new URLSearchParams(request?.body));
    expect(form).toEqual({
      To: '+4930901820',
      From: '+15005550006',
      Body: message().text,
      StatusCallback: 'https://id.example/sms/twilio/status',
    });
    expect(Number(ValidityPeriod)).toBeGreaterThan(590);
    expect(Number(ValidityPeriod)).toBeLessThanOrEqual(600);
    expect(counted).toEqual(['accepted']);
  });

  it('is told a messaging service as such, and no callback that it could not reach', async () => {
    await twilio({ TWILIO_FROM: serviceSid }, 'http://localhost:3000/sms/twilio/status').deliver(message());
    const form = new URLSearchParams(gateway.requests[0]?.body);
    expect([form.get('MessagingServiceSid'), form.has('From'), form.has('StatusCallback')]).toEqual([
      serviceSid,
      false,
      false,
    ]);
  });

  for (const [what, answer, expected] of [
    ['a number that is none', twilioProblem(400, 21211), { code: 'twilio_21211', permanent: true }],
    ['somebody who has unsubscribed', twilioProblem(400, 21610), { code: 'twilio_21610', permanent: true }],
    ['wrong credentials', twilioProblem(401, 20003), { code: 'twilio_20003', permanent: false }],
    ['an outage', twilioProblem(503, 20503), { code: 'twilio_20503', permanent: false }],
    ['an answer of a proxy', { status: 502 }, { code: 'sms_http_502', permanent: false }],
    ['a redirect', { status: 302, headers: { location: '/elsewhere' } }, { code: 'sms_http_302', permanent: false }],
    [
      'too many requests',
      twilioProblem(429, 20429, { 'retry-after': '7' }),
      { retryAfterSeconds: 7, permanent: false },
    ],
  ] as const) {
    it(`may answer with ${what}`, async () => {
      gateway.answers.push(answer);
      const error = await failureOf(twilio().deliver(message()));
      expect(error).toMatchObject(expected);
      expect(gateway.requests).toHaveLength(1);
      expect(counted).toEqual([expected.permanent ? 'refused' : 'postponed']);
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error)) + lines).not.toMatch(
        /4930901820|048151|auth-token/,
      );
    });
  }

  it('is left alone for as long as it asks for', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const sender = twilio();
    gateway.answers.push(twilioProblem(429, 20429, { 'retry-after': '60' }));
    await failureOf(sender.deliver(message()));
    expect(await failureOf(sender.deliver(message()))).toMatchObject({ code: 'sms_paused', permanent: false });
    expect(gateway.requests).toHaveLength(1);
    vi.setSystemTime(Date.now() + 60_000);
    await sender.deliver(message());
    expect(gateway.requests).toHaveLength(2);
  });

  it('is not reached: that is no fault of the message, and the error does not quote it', async () => {
    const sender = twilio({ TWILIO_API_URL: 'http://127.0.0.1:9' });
    expect(await failureOf(sender.deliver(message()))).toMatchObject({
      code: 'sms_provider_unreachable',
      permanent: false,
    });
  });

  it('never answers: the request ends', async () => {
    const fetch = () => Promise.reject(new DOMException('The operation timed out', 'TimeoutError'));
    const send = sendByTwilio({ apiUrl: gateway.url, accountSid, authToken, from: '+15005550006', fetch });
    expect(await failureOf(send(message()))).toMatchObject({ code: 'sms_provider_unreachable', permanent: false });
  });
});

describe('the signature of Twilio', () => {
  // The example of https://www.twilio.com/docs/usage/security
  const url = 'https://example.com/myapp.php?foo=1&bar=2';
  const fields = {
    CallSid: 'CA1234567890ABCDE',
    Caller: '+14158675310',
    Digits: '1234',
    From: '+14158675310',
    To: '+18005551212',
  };
  const signature = 'L/OH5YylLD5NRKLltdqwSvS0BnU=';
  it('is as documented', () => expect(signTwilioRequest('12345', url, fields)).toBe(signature));
  for (const [what, token, address, form, given] of [
    ['another token', '54321', url, fields, signature],
    ['another URL', '12345', `${url}&x`, fields, signature],
    ['another field', '12345', url, { ...fields, To: '+18005551213' }, signature],
    ['one field more', '12345', url, { ...fields, A: '1' }, signature],
    ['a request without one', '12345', url, fields, ''],
  ] as const)
    it(`does not fit ${what}`, () => expect(isFromTwilio(token, address, form, given)).toBe(false));
});

describe('the webhook', () => {
  it('gets JSON, signed as Standard Webhooks has it', async () => {
    await webhook().deliver(message());
    const [request] = gateway.requests;
    const { to, text, expiresAt } = message({ expiresAt: JSON.parse(request?.body ?? '').data.expiresAt });
    expect(JSON.parse(request?.body ?? '')).toEqual({
      type: 'sms',
      timestamp: expect.any(String),
      data: { to, text, expiresAt },
    });
    expect(request).toMatchObject({ method: 'POST', url: '/sms?x=1' });
    const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = request?.headers ?? {};
    expect(id).toBe(message().id);
    expect(Math.abs(Number(timestamp) - Date.now() / 1000)).toBeLessThan(60);
    const signed = createHmac('sha256', 'a key of thirty-two bytes or so!').update(
      `${id}.${timestamp}.${request?.body}`,
    );
    expect(signature).toBe(`v1,${signed.digest('base64')}`);
  });

  it('is signed as the example of the specification is', () => {
    // https://github.com/standard-webhooks/standard-webhooks, libraries/javascript
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    const signature = signWebhook(secret, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}');
    expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  it('may have a key that is plain text', async () => {
    const secret = 'a text of more than thirty-two characters';
    await webhook({ SMS_WEBHOOK_SECRET: secret }).deliver(message());
    const { headers, body = '' } = gateway.requests[0] ?? {};
    const [id, timestamp] = [String(headers?.['webhook-id']), Number(headers?.['webhook-timestamp'])];
    expect(headers?.['webhook-signature']).toBe(signWebhook(secret, id, timestamp, body));
  });

  it('is called with the same id at every try', async () => {
    gateway.answers.push({ status: 500 });
    const sender = webhook();
    await failureOf(sender.deliver(message()));
    await sender.deliver(message());
    expect(new Set(gateway.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  });

  for (const [status, headers, expected] of [
    [400, {}, { permanent: true }],
    [422, {}, { permanent: true }],
    [401, {}, { permanent: false }],
    [404, {}, { permanent: false }],
    [307, { location: '/elsewhere' }, { permanent: false }],
    [429, { 'retry-after': '30' }, { permanent: false, retryAfterSeconds: 30 }],
    [503, { 'retry-after': '99999' }, { permanent: false, retryAfterSeconds: 600 }],
    [503, { 'retry-after': 'soon' }, { permanent: false }],
    [500, {}, { permanent: false }],
  ] as const) {
    it(`may answer ${status} ${JSON.stringify(headers)}`, async () => {
      gateway.answers.push({ status, headers });
      const error = await failureOf(webhook().deliver(message()));
      expect(error).toMatchObject({ code: `sms_http_${status}`, ...expected });
      expect(gateway.requests).toHaveLength(1);
    });
  }
});

describe('any provider', () => {
  it('is not asked to carry what is too late', async () => {
    await webhook().deliver(message({ expiresAt: new Date(Date.now() - 1).toISOString() }));
    expect([gateway.requests.length, counted]).toEqual([0, ['late']]);
  });

  it('console: shows the message among the mails of development, and logs nothing of it', async () => {
    const { deliver, mailbox } = senderWith({});
    await deliver(message());
    expect(mailbox.messages()).toMatchObject([{ to: '+4930901820', subject: 'SMS', text: message().text }]);
    expect(lines.join()).not.toMatch(/4930901820|048151/);
  });
});
