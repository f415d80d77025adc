/**
 * Setting up a second factor while signing in, by whoever has shown all that was asked for and must have a better one: the
 * `mfaToken` of the answer `enrolment-required` stands for them. What is set up counts whether the sign-in is finished or not.
 */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { AppError } from '../errors.ts';
import type { FactorDeps } from '../mfa/factor-changes.ts';
import { invalidCode } from '../mfa/factor-codes.commands.ts';
import { findFactors, hasStrongFactor } from '../mfa/factors.queries.ts';
import type { RegistrationResponse } from '../mfa/passkey-responses.ts';
import { type AddedPasskey, passkeyRegistrationOptions, registerPasskey } from '../mfa/passkeys.commands.ts';
import { beginTotp, confirmTotp, type TotpEnrolment } from '../mfa/totp.commands.ts';
import { lockUser, type User } from '../users/users.queries.ts';
import type { MfaDeps } from './mfa.commands.ts';
import { invalidMfaToken, noteEnrolment, openMfaToken, type Pending } from './mfa-tokens.commands.ts';
import type { SecondFactorPolicy } from './second-factor-policy.ts';

/**
 * Until when somebody who must have a second factor may do with a mailed code. The grace begins with the first time that
 * they are asked. In the transaction of `db`, if it is one.
 * @returns undefined when there is none
 */
export const graceUntil = async (
  db: Db,
  { enrolmentGraceSeconds }: Pick<SecondFactorPolicy, 'enrolmentGraceSeconds'>,
  userId: string,
): Promise<Date | undefined> => {
  if (!enrolmentGraceSeconds) return undefined;
  const [row] = await db('users')
    .where({ id: userId })
    .update({
      // A grace that was made shorter since is as short for everybody.
      mfaGraceUntil: db.raw("least(coalesce(mfa_grace_until, 'infinity'), now() + ? * interval '1 second')", [
        enrolmentGraceSeconds,
      ]),
    })
    .returning('mfaGraceUntil');
  return row?.mfaGraceUntil;
};

type Enrolling = Pending & { user: User };

/**
 * Opens the token of somebody who must set up a factor.
 * @throws AppError 401 invalid_mfa_token for any other
 */
export const openEnrolment = async (
  deps: Pick<MfaDeps, 'db' | 'secrets'>,
  mfaToken: string,
  clientId: string,
): Promise<Enrolling> => {
  const pending = await openMfaToken(deps, mfaToken);
  if (pending.clientId !== clientId) throw invalidMfaToken();
  if (pending.due !== 'enrolment')
    throw new AppError(
      401,
      'invalid_mfa_token',
      'This sign-in waits for a second factor that exists, by POST /auth/mfa/verify; its token sets up no other',
    );
  return pending;
};

/** The password was shown just now, and that stands for as long as it is not changed. */
const standingOf = ({ user, credential }: Enrolling) => ({ userId: user.id, standing: { credential } });

const actorAs = (actor: Actor, { user }: Enrolling): Actor => ({ ...actor, type: 'user', id: user.id });

/**
 * Does what sets up the first factor of an account, in a transaction in which nobody else does. Who has set one up meanwhile
 * is asked for it: the token shows less than that, whoever holds it, and adds nothing beside it.
 * @throws AppError 401 invalid_mfa_token
 */
const asFirst = <T>({ db }: Pick<MfaDeps, 'db'>, { userId }: Enrolling, work: (db: Db) => Promise<T>): Promise<T> =>
  transact(db, async (db) => {
    await lockUser(db, userId);
    if (hasStrongFactor(await findFactors(db, userId))) throw invalidMfaToken();
    return work(db);
  });

/** @throws AppError 401 invalid_mfa_token, or invalid_token when the password has changed; 403 email_not_verified */
export const enrolApp = (
  deps: MfaDeps,
  actor: Actor,
  enrolling: Enrolling,
  { name, brand }: { name: string; brand: string },
): Promise<TotpEnrolment> =>
  asFirst(deps, enrolling, (db) =>
    beginTotp(deps, db, actorAs(actor, enrolling), {
      ...standingOf(enrolling),
      name,
      label: { issuer: brand, account: enrolling.user.email },
    }),
  );

/** Somebody here must have a factor. */
const factorDeps = (deps: MfaDeps): FactorDeps => ({ ...deps, needsFactor: () => Promise.resolve(true) });

/**
 * The try is counted as one of a second factor.
 * @returns backup codes, shown this once
 * @throws AppError 400 invalid_code, 401 invalid_mfa_token or invalid_token, 403 email_not_verified, 429
 */
export const confirmApp = async (
  deps: MfaDeps,
  actor: Actor,
  enrolling: Enrolling,
  code: string,
): Promise<string[]> => {
  const { id } = enrolling.user;
  await deps.limitFactorTries(id);
  const input = { ...standingOf(enrolling), code };
  const made = await asFirst(deps, enrolling, async (db) => {
    const confirmed = await confirmTotp(factorDeps(deps), db, actorAs(actor, enrolling), input);
    if (confirmed) await noteEnrolment(db, enrolling);
    return confirmed;
  });
  if (!made) throw invalidCode();
  await deps.returnFactorTry(id);
  return made.backupCodes;
};

export const askEnrolmentPasskey = (
  deps: MfaDeps,
  enrolling: Enrolling,
): ReturnType<typeof passkeyRegistrationOptions> => {
  const { email, name } = enrolling.user;
  return passkeyRegistrationOptions(deps, { ...standingOf(enrolling), email, name });
};

/** @throws AppError 400 invalid_passkey, 401 invalid_mfa_token or invalid_token, 403 email_not_verified, 409 passkey_exists */
export const enrolPasskey = (
  deps: MfaDeps,
  actor: Actor,
  enrolling: Enrolling,
  { name, response }: { name: string; response: RegistrationResponse },
): Promise<AddedPasskey> =>
  asFirst(deps, enrolling, async (db) => {
    const input = { ...standingOf(enrolling), name, response };
    const relyingParty = { relyingParty: deps.relyingParty };
    const added = await registerPasskey({ ...factorDeps(deps), ...relyingParty }, db, actorAs(actor, enrolling), input);
    await noteEnrolment(db, enrolling);
    return added;
  });
