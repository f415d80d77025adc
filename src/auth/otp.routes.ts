/** REST of one-time codes, by mail and by SMS. */
import { z } from 'zod';
import { forbidden, invalid, unauthenticated } from '../errors.ts';
import { assertSignedInHere, type Caller, may, type SignedInHere } from '../http/caller.ts';
import { type Route, type RouteRequest, route } from '../http/route.ts';
import { TypedPhoneNumber } from '../http/schemas.ts';
import { findUser } from '../users/users.queries.ts';
import { Email, SixDigits } from './credentials.ts';
import { type MfaDeps, sendMfaCode } from './mfa.commands.ts';
import { codeMinutes } from './one-time-codes.commands.ts';
import { type OtpDeps, requestEmailCode, sendSmsCode, verifyEmailByCode, verifyPhoneByCode } from './otp.commands.ts';
import { MfaToken } from './tokens.routes.ts';

const permission = 'users:write:own';

const recipient = {
  channel: z.enum(['email', 'sms']).meta({ description: 'How the code travels', example: 'email' }),
  email: Email.optional().meta({
    description: 'With the channel `email`; the caller’s own address unless given',
    example: 'ada@example.com',
  }),
  phoneNumber: TypedPhoneNumber.optional().meta({
    description: 'With the channel `sms`; the number in the profile unless given (E.164)',
    example: '+4930901820',
  }),
};

const SendCode = z
  .object({
    ...recipient,
    mfaToken: MfaToken.optional().meta({
      description:
        'Of a sign-in that asked for a second factor: the code finishes it, and goes to the account’s own address or number',
    }),
  })
  .meta({ id: 'SendCode', example: { channel: 'email', email: 'ada@example.com' } });
const CodeSent = z
  .object({
    sent: z.literal(true).meta({ description: 'If there is something to verify', example: true }),
    expiresIn: z
      .number()
      .int()
      .meta({ description: 'Seconds', example: codeMinutes * 60 }),
  })
  .meta({ id: 'CodeSent' });
const VerifyCode = z
  .object({
    ...recipient,
    code: SixDigits.meta({ description: 'Six digits; spaces between them do no harm', example: '123456' }),
  })
  .meta({ id: 'VerifyCode', example: { channel: 'email', email: 'ada@example.com', code: '123456' } });
const CodeVerified = z.object({ verified: z.literal(true).meta({ example: true }) }).meta({ id: 'CodeVerified' });

/**
 * Whose account the caller may verify something of. A token for a mere sign-in at some application does not suffice.
 * @throws AppError 401, 403 missing_permission
 */
const requireOwner = (caller: Caller | undefined): Caller => {
  if (!caller) throw unauthenticated('unauthenticated', 'A token is needed: Authorization: Bearer …');
  if (caller.kind === 'user' && may(caller, permission)) return caller;
  throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};

/** Likewise for a number, which becomes a second factor. @throws AppError 401, 403 missing_permission or session_needed */
const requireSignedIn = (caller: Caller | undefined): SignedInHere => {
  const owner = requireOwner(caller);
  assertSignedInHere(owner);
  return owner;
};

/** The address that is asked for, or else the caller's own. */
const emailOf = async (
  deps: OtpDeps,
  { caller, body }: Pick<RouteRequest<unknown, unknown, { email?: string }, Caller | undefined>, 'caller' | 'body'>,
): Promise<string> => {
  if (body.email !== undefined) return body.email;
  if (!caller) {
    throw invalid('invalid_request', 'The request is not valid', {
      fields: [{ field: 'email', code: 'required', message: 'is needed without a token' }],
    });
  }
  const user = await findUser(deps.db, requireOwner(caller).id);
  if (!user) throw unauthenticated('invalid_token', 'The token is not valid');
  return user.email;
};

export const otpRoutes = (deps: OtpDeps & { mfa: MfaDeps }): Route[] => [
  route({
    id: 'sendCode',
    method: 'post',
    path: '/auth/otp/send',
    tag: 'Accounts',
    summary: 'Send a code that verifies an address or a phone number',
    description:
      'By mail: to an address that waits to be verified; the answer is the same for any other. By SMS: needs a token with the ' +
      `permission \`${permission}\` of a sign-in at this API or at another application of the service’s own, and the account’s ` +
      'address to be verified. ' +
      `A code is valid for ${codeMinutes} minutes, five tries and one use; a newer one replaces it.`,
    access: 'optional',
    body: SendCode,
    returns: CodeSent,
    status: 202,
    problems: {
      400: ['email_unavailable', 'sms_unavailable', 'number_not_allowed'],
      401: ['unauthenticated', 'invalid_mfa_token'],
      403: ['missing_permission', 'session_needed', 'email_not_verified'],
    },
    handle: async (request) => {
      const { actor, caller, body } = request;
      const { channel, mfaToken } = body;
      if (mfaToken) await sendMfaCode(deps.mfa, actor, { mfaToken, channel });
      else if (body.channel === 'email') await requestEmailCode(deps, actor, await emailOf(deps, request));
      else {
        const { id: userId } = requireSignedIn(caller);
        await sendSmsCode(deps, actor, { userId, phoneNumber: body.phoneNumber });
      }
      return { sent: true as const, expiresIn: codeMinutes * 60 };
    },
  }),
  route({
    id: 'verifyCode',
    method: 'post',
    path: '/auth/otp/verify',
    tag: 'Accounts',
    summary: 'Verify an address or a phone number with the code',
    description:
      'A verified address ends the sessions that the account had, and revokes its API keys. A verified number becomes the one in the profile, and can be sent the second factor’s codes: it takes what `POST /auth/otp/send` does, and the owner is told by mail.',
    access: 'optional',
    body: VerifyCode,
    returns: CodeVerified,
    status: 200,
    problems: { 400: ['invalid_code'], 401: ['unauthenticated'], 403: ['missing_permission', 'session_needed'] },
    handle: async (request) => {
      const { actor, caller, body } = request;
      if (body.channel === 'email') {
        const email = await emailOf(deps, request);
        await verifyEmailByCode(deps, actor, { email, code: body.code });
      } else {
        const { id: userId, sessionUid } = requireSignedIn(caller);
        const { phoneNumber, code } = body;
        await verifyPhoneByCode(deps, actor, { userId, sessionUid, phoneNumber, code });
      }
      return { verified: true as const };
    },
  }),
];
