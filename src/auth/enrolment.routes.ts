/** REST of setting up a second factor while signing in, where the answer to the login was `enrolment_required`. */
import { z } from 'zod';
import { type Route, route } from '../http/route.ts';
import { BackupCodes, FactorName, TotpEnrolment } from '../mfa/factor-fields.ts';
import { RegistrationResponse } from '../mfa/passkey-responses.ts';
import { PasskeyOptions } from '../mfa/passkeys.routes.ts';
import { qrCode, qrSvg } from '../mfa/qr.ts';
import { enrolmentMinutes } from '../mfa/totp.commands.ts';
import { askEnrolmentPasskey, confirmApp, enrolApp, enrolPasskey, openEnrolment } from './enrolment.commands.ts';
import type { MfaDeps } from './mfa.commands.ts';
import { MfaToken } from './tokens.routes.ts';

export interface EnrolmentRouteDeps {
  mfa: MfaDeps;
  /** The client that the REST API is. */
  clientId: string;
  /** The service's name, as authenticator apps show it. */
  brand: string;
}

const mfaToken = MfaToken.meta({ description: 'From the answer `enrolment_required`' });
const tag = 'Sign-in';
const refused = { 401: ['invalid_mfa_token', 'invalid_token'], 403: ['email_not_verified'] } as const;

const apps = ({ mfa, clientId, brand }: EnrolmentRouteDeps): Route[] => [
  route({
    id: 'enrolApp',
    method: 'post',
    path: '/auth/mfa/totp/enable',
    tag,
    summary: 'Begin to set up the authenticator app that a sign-in waits for',
    description: `As \`POST /mfa/totp/enable\`, for whoever cannot sign in without a second factor any more: the \`mfaToken\` stands for them. It counts once a code of it is shown to \`POST /auth/mfa/totp/verify\`, within ${enrolmentMinutes} minutes.`,
    access: 'public',
    body: z
      .object({ mfaToken, name: FactorName.default('Authenticator app').meta({ description: 'To tell apps apart' }) })
      .meta({ id: 'EnrolApp', example: { mfaToken: 'aV3kT8mW2sLxBv5cQ9dZ', name: 'My phone' } }),
    returns: TotpEnrolment,
    status: 200,
    problems: { ...refused, 409: ['totp_limit_reached'] },
    handle: async ({ body, actor }) => {
      const enrolling = await openEnrolment(mfa, body.mfaToken, clientId);
      const begun = await enrolApp(mfa, actor, enrolling, { name: body.name, brand });
      return { ...begun, qr: qrSvg(await qrCode(begun.otpauthUrl)), expiresIn: enrolmentMinutes * 60 };
    },
  }),
  route({
    id: 'confirmEnrolledApp',
    method: 'post',
    path: '/auth/mfa/totp/verify',
    tag,
    summary: 'Turn on the authenticator app that a sign-in waits for, by a code of it',
    description:
      'Answers the backup codes that come with it. `POST /auth/mfa/verify { mfaToken }` then finishes the sign-in.',
    access: 'public',
    body: z
      .object({ mfaToken, code: z.string().min(1).max(64).meta({ example: '123456' }) })
      .meta({ id: 'ConfirmEnrolledApp' }),
    returns: BackupCodes,
    status: 200,
    problems: { ...refused, 400: ['invalid_code'] },
    handle: async ({ body, actor }) => {
      const enrolling = await openEnrolment(mfa, body.mfaToken, clientId);
      return { backupCodes: await confirmApp(mfa, actor, enrolling, body.code) };
    },
  }),
];

const passkeys = ({ mfa, clientId }: EnrolmentRouteDeps): Route[] => [
  route({
    id: 'askEnrolledPasskey',
    method: 'post',
    path: '/auth/mfa/passkeys/options',
    tag,
    summary: 'Begin to make the passkey that a sign-in waits for: what to ask the browser for',
    description: 'As `POST /mfa/passkeys/options`; the `mfaToken` stands for whoever signs in.',
    access: 'public',
    body: z.object({ mfaToken }).meta({ id: 'AskEnrolledPasskey' }),
    returns: PasskeyOptions,
    status: 200,
    problems: { 401: ['invalid_mfa_token'] },
    handle: async ({ body }) => {
      const options = await askEnrolmentPasskey(mfa, await openEnrolment(mfa, body.mfaToken, clientId));
      return { options: { ...options } };
    },
  }),
  route({
    id: 'enrolPasskey',
    method: 'post',
    path: '/auth/mfa/passkeys',
    tag,
    summary: 'Add the passkey that a sign-in waits for',
    description:
      'Answers the backup codes that come with it. `POST /auth/mfa/verify { mfaToken }` then finishes the sign-in.',
    access: 'public',
    body: z
      .object({
        mfaToken,
        name: FactorName.default('Passkey').meta({ description: 'To tell passkeys apart' }),
        credential: RegistrationResponse,
      })
      .meta({ id: 'EnrolPasskey' }),
    returns: BackupCodes,
    status: 201,
    problems: {
      ...refused,
      400: ['invalid_passkey'],
      409: ['passkey_exists', 'passkey_limit_reached'],
    },
    handle: async ({ body: { name, credential, ...body }, actor }) => {
      const enrolling = await openEnrolment(mfa, body.mfaToken, clientId);
      const { backupCodes } = await enrolPasskey(mfa, actor, enrolling, { name, response: credential });
      return { backupCodes };
    },
  }),
];

export const enrolmentRoutes = (deps: EnrolmentRouteDeps): Route[] => [...apps(deps), ...passkeys(deps)];
