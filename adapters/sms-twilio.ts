/**
 * SMS by Twilio's Messages API (https://www.twilio.com/docs/messaging/api/message-resource), and the signature of the
 * callbacks in which Twilio tells what became of them (https://www.twilio.com/docs/usage/security).
 */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { equalInConstantTime } from '../src/secrets.ts';
import { request, retryAfterOf, type Sms, smsFailure } from './sms.ts';

export interface TwilioOptions {
  apiUrl: string;
  accountSid: string;
  authToken: string;
  /** A number or sender; a messaging service when it begins with MG. */
  from: string;
  /** Where Twilio reports to; it accepts only what it can reach. */
  statusCallback?: string | undefined;
  fetch: typeof globalThis.fetch;
}

const Problem = z.object({ code: z.number().int() });
const Message = z.object({ sid: z.string().regex(/^[A-Z]{2}[0-9a-f]{32}$/i) });

const read = async <T extends z.ZodType>(response: Response, schema: T): Promise<z.output<T> | undefined> =>
  schema.safeParse(await response.json().catch(() => undefined)).data;

/** What went wrong, in Twilio's own number where it gives one: 21211 (no such number), 21610 (unsubscribed), 20003 … */
const failureOf = async (response: Response) => {
  const problem = await read(response, Problem);
  return smsFailure(problem ? `twilio_${problem.code}` : `sms_http_${response.status}`, {
    // A message that is refused as such stays refused; credentials (401, 403), limits and outages are not its fault.
    permanent: response.status === 400,
    retryAfterSeconds: retryAfterOf(response.headers),
  });
};

export const sendByTwilio =
  ({ apiUrl, accountSid, authToken, from, statusCallback, fetch }: TwilioOptions) =>
  async ({ to, text, expiresAt }: Sms): Promise<string | undefined> => {
    const secondsLeft = Math.floor((Date.parse(expiresAt) - Date.now()) / 1000);
    const response = await request(fetch, new URL(`/2010-04-01/Accounts/${accountSid}/Messages.json`, apiUrl).href, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${accountSid}:${authToken}`).toString('base64')}`,
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
      },
      body: new URLSearchParams({
        To: to,
        ...(/^MG/i.test(from) ? { MessagingServiceSid: from } : { From: from }),
        Body: text,
        // Twilio queues, too: a code that is void by the time it arrives only confuses. It takes 1 to 36000 seconds.
        ValidityPeriod: String(Math.min(Math.max(secondsLeft, 1), 36_000)),
        ...(statusCallback ? { StatusCallback: statusCallback } : {}),
      }).toString(),
    });
    if (response.status !== 201) throw await failureOf(response);
    return (await read(response, Message))?.sid;
  };

/** What `X-Twilio-Signature` must be: HMAC-SHA1 over the URL and then each parameter, name and value, sorted by name. */
export const signTwilioRequest = (authToken: string, url: string, fields: Readonly<Record<string, string>>): string => {
  const text = Object.keys(fields)
    .sort()
    .reduce((text, name) => text + name + fields[name], url);
  return createHmac('sha1', authToken).update(text).digest('base64');
};

/** Whether a request came from Twilio: only it and we know the auth token. */
export const isFromTwilio = (
  authToken: string,
  url: string,
  fields: Readonly<Record<string, string>>,
  signature: string,
): boolean => equalInConstantTime(signature, signTwilioRequest(authToken, url, fields));
