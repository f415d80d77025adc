/**
 * SMS by a service of the operator's own: a POST that is signed as Standard Webhooks has it
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), so that libraries for the
 * receiving end exist. The receiver answers 2xx, and knows by `webhook-id` what it has already sent.
 */
import { createHmac } from 'node:crypto';
import { request, retryAfterOf, type Sms, smsFailure } from './sms.ts';

/** Answers that say: this message never. Whatever else is wrong may be mended before the message is too late. */
const permanentStatuses = new Set([400, 413, 422]);

const keyOf = (secret: string): Buffer =>
  secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : Buffer.from(secret);

/** The value of `webhook-signature`; `timestamp` in seconds. */
export const signWebhook = (secret: string, id: string, timestamp: number, body: string): string =>
  `v1,${createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64')}`;

export const sendByWebhook =
  ({ url, secret, fetch }: { url: string; secret: string; fetch: typeof globalThis.fetch }) =>
  async ({ id, to, text, expiresAt }: Sms): Promise<undefined> => {
    const now = new Date();
    const timestamp = Math.floor(now.getTime() / 1000);
    const body = JSON.stringify({ type: 'sms', timestamp: now.toISOString(), data: { to, text, expiresAt } });
    const response = await request(fetch, url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': signWebhook(secret, id, timestamp, body),
      },
      body,
    });
    await response.body?.cancel();
    if (response.ok) return undefined;
    throw smsFailure(`sms_http_${response.status}`, {
      permanent: permanentStatuses.has(response.status),
      retryAfterSeconds: retryAfterOf(response.headers),
    });
  };
