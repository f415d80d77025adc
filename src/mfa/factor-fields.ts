/** What the routes of second factors have in common. */
import { z } from 'zod';
import { assertSignedInHere, type Caller } from '../http/caller.ts';
import { Id } from '../http/schemas.ts';
import type { ProofDeps, ResetDeps } from './factors.commands.ts';
import { enrolmentMinutes } from './totp.commands.ts';

export interface MfaRouteDeps extends ProofDeps, ResetDeps {
  /** The service's name, as authenticator apps show it. */
  brand: string;
  /** Where codes are sent to who has set up no second factor. */
  listFallbacks(userId: string): Promise<{ kind: 'email' | 'sms'; hint: string }[]>;
}

export const tag = 'Second factors';

export const Code = z
  .string()
  .trim()
  .min(6)
  .max(40)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not contain control characters')
  .meta({
    description: 'Of an authenticator app, or a backup code; spaces and dashes do no harm',
    example: '123456',
  });
export const FactorName = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not contain control characters')
  .meta({ example: 'My phone' });
export const proof = {
  code: Code.optional(),
  password: z.string().min(1).max(1024).optional().meta({
    description: 'Of an account that has neither an authenticator app nor backup codes',
    example: 'correct horse battery staple',
  }),
};
export const FactorProof = z.object(proof).meta({ id: 'FactorProof', example: { code: '123456' } });
export const FactorCode = z.object({ code: Code }).meta({ id: 'FactorCode' });

export const BackupCodes = z
  .object({
    backupCodes: z.array(z.string()).meta({
      description: 'Shown this once; none for who has some already',
      example: ['0f3k-9wq2-m7hd'],
    }),
  })
  .meta({ id: 'BackupCodes' });
export const TotpEnrolment = z
  .object({
    id: Id,
    secret: z.string().meta({ description: 'Base 32, to be typed in', example: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP' }),
    otpauthUrl: z.string().meta({
      description: 'What the QR code says',
      example:
        'otpauth://totp/Countersign:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Countersign',
    }),
    qr: z.string().meta({ description: 'The QR code as SVG', example: '<svg xmlns="http://www.w3.org/2000/svg"/>' }),
    expiresIn: z
      .int()
      .meta({ description: 'Seconds in which a code of the app must be shown', example: enrolmentMinutes * 60 }),
  })
  .meta({ id: 'TotpEnrolment' });

/** Who changes their own factors: a key or somebody else's application must not add what outlives it. @throws AppError 403 */
export const own = (caller: Caller) => {
  assertSignedInHere(caller);
  const { id: userId, sessionUid } = caller;
  return { userId, sessionUid, standing: { sessionUid } };
};
