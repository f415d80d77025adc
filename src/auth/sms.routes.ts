/** What Twilio reports of the SMS that it carried. */
import { z } from 'zod';
import { forbidden } from '../errors.ts';
import { type Route, route } from '../http/route.ts';

export interface SmsReportDeps {
  /** Whether Twilio signed the request. False as well where SMS do not go by Twilio. */
  isFromTwilio(fields: Readonly<Record<string, string>>, signature: string): boolean;
  /** Counts and logs what became of a message. */
  report(report: { status: string; message: string; problem?: string }): void;
}

/** The path that Twilio is told. */
export const twilioStatusPath = '/sms/twilio/status';

/** https://www.twilio.com/docs/messaging/api/message-resource#message-status-values */
const statuses = new Set(
  'accepted scheduled queued sending sent delivered undelivered failed canceled read partially_delivered'.split(' '),
);

const Report = z.record(z.string().max(100), z.string().max(4000)).meta({
  id: 'TwilioStatus',
  description: 'Twilio’s parameters, all of which are signed',
  example: { MessageSid: 'SM00000000000000000000000000000000', MessageStatus: 'delivered' },
});

export const smsRoutes = ({ isFromTwilio, report }: SmsReportDeps): Route[] => [
  route({
    id: 'reportSmsStatus',
    method: 'post',
    path: twilioStatusPath,
    tag: 'Callbacks',
    summary: 'Where Twilio reports what became of an SMS',
    access: 'public',
    limited: false,
    headers: ['x-twilio-signature'],
    consumes: 'application/x-www-form-urlencoded',
    body: Report,
    status: 204,
    problems: { 403: ['invalid_signature'] },
    handle: async ({ body, headers }) => {
      if (!isFromTwilio(body, headers['x-twilio-signature'] ?? ''))
        throw forbidden('invalid_signature', 'The request is not signed by Twilio');
      const { MessageStatus: status = '', MessageSid: message = '', ErrorCode: problem } = body;
      report({
        status: statuses.has(status) ? status : 'other',
        message: /^[A-Z]{2}[0-9a-f]{32}$/i.test(message) ? message : '',
        ...(problem && /^\d{1,6}$/.test(problem) ? { problem } : {}),
      });
    },
  }),
];
