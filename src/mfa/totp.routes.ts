/** REST of authenticator apps. */
import { z } from 'zod';
import { type Route, route } from '../http/route.ts';
import { findUser } from '../users/users.queries.ts';
import { invalidCode, tryFactorCode } from './factor-codes.commands.ts';
import {
  BackupCodes,
  FactorCode,
  FactorName,
  type MfaRouteDeps,
  own,
  proof,
  TotpEnrolment,
  tag,
} from './factor-fields.ts';
import { isFreshSession, withProof } from './factors.commands.ts';
import { qrCode, qrSvg } from './qr.ts';
import { beginTotp, confirmTotp, disableTotp, enrolmentMinutes, totpMax } from './totp.commands.ts';

const EnableTotp = z
  .object({ ...proof, name: FactorName.default('Authenticator app').meta({ description: 'To tell apps apart' }) })
  .meta({ id: 'EnableTotp', example: { name: 'My phone' } });
const CodeValid = z
  .object({
    valid: z.literal(true).meta({ example: true }),
    method: z.enum(['totp', 'backup-code']).meta({ example: 'totp' }),
  })
  .meta({ id: 'FactorCodeValid' });

const enable = (deps: MfaRouteDeps): Route =>
  route({
    id: 'enableTotp',
    method: 'post',
    path: '/mfa/totp/enable',
    tag,
    summary: 'Begin to set up an authenticator app',
    description: `It counts once a code of it is shown to \`POST /mfa/totp/verify\`, within ${enrolmentMinutes} minutes; a newer one takes its place. Up to ${totpMax} per account, whose address must be verified. A sign-in that is older than ten minutes, or was made without the second factor that the account has, gives a \`code\`, or of an account without any the \`password\`.`,
    access: 'mfa:write:own',
    body: EnableTotp.optional(),
    returns: TotpEnrolment,
    status: 200,
    problems: {
      400: ['invalid_code'],
      401: ['invalid_token'],
      403: ['session_needed', 'factor_proof_needed', 'email_not_verified'],
      409: ['totp_limit_reached'],
    },
    handle: async ({ body, caller, actor }) => {
      const { userId, sessionUid, standing } = own(caller);
      const { name = 'Authenticator app', code, password } = body ?? {};
      const label = { issuer: deps.brand, account: (await findUser(deps.db, userId))?.email ?? '' };
      const begin = (db: MfaRouteDeps['db']) => beginTotp(deps, db, actor, { userId, standing, name, label });
      const fresh = code === undefined && password === undefined && (await isFreshSession(deps.db, userId, sessionUid));
      const enrolment = fresh
        ? await begin(deps.db)
        : await withProof(deps, actor, { userId, sessionUid, code, password }, begin);
      return { ...enrolment, qr: qrSvg(await qrCode(enrolment.otpauthUrl)), expiresIn: enrolmentMinutes * 60 };
    },
  });

export const totpRoutes = (deps: MfaRouteDeps): Route[] => [
  enable(deps),
  route({
    id: 'verifyTotp',
    method: 'post',
    path: '/mfa/totp/verify',
    tag,
    summary: 'Turn the authenticator app on that is being set up, by a code of it',
    description:
      'Answers the backup codes that come with the first factor. The owner is told by mail, and browsers that were remembered are asked again.',
    access: 'mfa:write:own',
    body: FactorCode,
    returns: BackupCodes,
    status: 200,
    problems: { 400: ['invalid_code'], 401: ['invalid_token'], 403: ['session_needed', 'email_not_verified'] },
    handle: async ({ body, caller, actor }) => {
      const { userId, standing } = own(caller);
      // Whoever has come by a session must not guess the code of an app that its owner is setting up: backup codes come with it.
      await deps.limitFactorTries(userId);
      const confirmed = await confirmTotp(deps, deps.db, actor, { userId, standing, code: body.code });
      if (!confirmed) throw invalidCode();
      await deps.returnFactorTry(userId);
      return { backupCodes: confirmed.backupCodes };
    },
  }),
  route({
    id: 'validateTotp',
    method: 'post',
    path: '/mfa/totp/validate',
    tag,
    summary: 'Check a code of somebody who is signed in, before something that matters',
    description: 'The code is used up. A backup code does as well, and its owner is told by mail.',
    access: 'mfa:write:own',
    body: FactorCode,
    returns: CodeValid,
    status: 200,
    problems: { 400: ['invalid_code'], 403: ['session_needed'] },
    handle: async ({ body, caller, actor }) => {
      const { userId } = own(caller);
      const tried = { userId, code: body.code, operation: 'validate' } as const;
      const result = await tryFactorCode(deps, actor, tried, async (_db, kind) => kind);
      if (!result) throw invalidCode();
      return { valid: true as const, method: result.done };
    },
  }),
  route({
    id: 'disableTotp',
    method: 'post',
    path: '/mfa/totp/disable',
    tag,
    summary: 'Remove all authenticator apps, by a code of one or a backup code',
    description: 'Backup codes go with the last factor. The owner is told by mail.',
    access: 'mfa:write:own',
    body: FactorCode,
    status: 204,
    problems: { 400: ['invalid_code'], 401: ['invalid_token'], 403: ['session_needed'], 409: ['last_factor'] },
    handle: async ({ body, caller, actor }) => {
      const { userId, sessionUid, standing } = own(caller);
      await withProof(deps, actor, { userId, sessionUid, code: body.code }, (db) =>
        disableTotp(deps, db, actor, { userId, standing }),
      );
    },
  }),
];
