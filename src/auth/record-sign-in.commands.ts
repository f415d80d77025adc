/** The last step of every sign-in, and of every one that failed: what is written down of it, in one transaction. */
import { createBindings } from '../../db/bindings.ts';
import { type Db, queryDirectly } from '../../db/connect.ts';
import { type Actor, type AuditEvent, eventInsertion, recordEvent, system } from '../audit/logs.commands.ts';
import { step } from '../observing.ts';
import type { User } from '../users/users.queries.ts';
import { deviceInsertion, forgetExcessDevices } from './known-devices.queries.ts';
import type { Risk } from './risk.commands.ts';
import type { Assessment } from './risk.ts';
import { insertSignIn, signInInsertion } from './sign-ins.queries.ts';

/** What became of a sign-in, for `sign_ins_total`. */
export type SignInMetric =
  | 'signed_in'
  | 'unknown'
  | 'wrong_password'
  | 'wrong_passkey'
  | 'email_not_verified'
  | 'deactivated'
  | 'locked'
  | 'delayed'
  | 'risk'
  | 'mfa_required'
  | 'wrong_code'
  | 'no_second_factor'
  | 'method_not_allowed'
  | 'enrolment_required';

/** A sign-in as the engine is to remember it. */
export interface SignIn {
  userId: string;
  /** Authentication methods (RFC 8176). */
  amr: string[];
  /** When the oldest factor was shown, in seconds since the epoch: `auth_time`. */
  ts: number;
  /** When the account's password had been set, in milliseconds; 0: never. A change since then undoes the sign-in. */
  credential: number;
  /** Its row in `sign_ins`, to which the session is bound. */
  signInId?: string;
  /** By when a second factor must be set up, where that was put off. */
  enrolBy?: Date;
}

/** What is written down of a sign-in. */
export interface SignInFacts {
  amr: string[];
  /** In seconds since the epoch. */
  ts: number;
  clientId?: string | undefined;
  deviceHash?: string | undefined;
  /** For how many days the device is not asked for a second factor. */
  mfaDays?: number | undefined;
  assessment?: Assessment | undefined;
  /** What belongs to the sign-in and must not happen without it; if it throws, nobody is signed in. Done last of all. */
  effect?: ((db: Db) => Promise<void>) | undefined;
}

export interface RecordDeps {
  db: Db;
  risk?: Pick<Risk, 'describe'> | undefined;
}

/**
 * Writes down that somebody has signed in, and knows their device from now on, in one statement, and in one transaction with what
 * else belongs to it. In the transaction of `db`, if it is one.
 */
export const recordSignIn = (
  { db, risk }: RecordDeps,
  actor: Actor,
  user: User,
  { amr, ts, clientId, deviceHash, mfaDays, assessment, effect }: SignInFacts,
): Promise<SignIn> =>
  step('sign-in record', async () => {
    const { id: userId, passwordChangedAt } = user;
    const signIn = assessment && risk?.describe(actor, user, { assessment, clientId, amr, deviceHash });
    const meta = { ...(clientId ? { clientId } : {}), amr, ...(signIn ? { signIn: signIn.id } : {}) };
    const event: AuditEvent = { action: 'session.sign_in', target: { type: 'user', id: userId }, meta };
    const write = async (db: Db): Promise<void> => {
      const { values, bind } = createBindings();
      const parts = [
        `person as (update users set last_sign_in_at = now() where id = ${bind(userId)} returning id)`,
        ...(signIn ? [`kept as (${signInInsertion(signIn, bind)})`] : []),
        ...(deviceHash ? [`device as (${deviceInsertion({ userId, deviceHash, mfaDays }, bind)})`] : []),
        `noted as (${eventInsertion({ ...actor, type: 'user', id: userId }, event, bind)})`,
      ];
      // In this order, as everybody writes: the person first.
      const sql = `with ${parts.join(', ')} select (select count(*) from person) as found,
        ${deviceHash ? '(select is_new from device)' : 'false'} as is_new`;
      const [written] = await queryDirectly<{ is_new: boolean }>(db, sql, values);
      if (written?.is_new) await forgetExcessDevices(db, userId);
      await signIn?.tell?.(db);
      await effect?.(db);
    };
    // A statement that is all there is needs no transaction around it.
    await (effect || signIn?.tell ? db.transaction(write) : write(db));
    return { userId, amr, ts, credential: Number(passwordChangedAt ?? 0), ...(signIn ? { signInId: signIn.id } : {}) };
  });

export interface Failure {
  user: User | undefined;
  clientId: string | undefined;
  reason: SignInMetric;
  /** The account takes no more passwords for a while. */
  locks?: boolean;
  /** How a sign-in was assessed that was refused for it. */
  refused?: { assessment: Assessment; amr: readonly string[]; deviceHash: string | undefined };
}

export const recordFailure = (
  { db, risk }: RecordDeps,
  actor: Actor,
  { user, clientId, reason, locks, refused }: Failure,
): Promise<void> =>
  step('sign-in record failure', () =>
    db.transaction(async (db) => {
      const target = user ? { target: { type: 'user', id: user.id } } : {};
      const signIn = user && refused && risk?.describe(actor, user, { clientId, ...refused });
      if (signIn) await insertSignIn(db, signIn);
      await signIn?.tell?.(db);
      const meta = { ...(clientId ? { clientId } : {}), reason, ...(signIn ? { signIn: signIn.id } : {}) };
      await recordEvent(db, actor, { action: 'session.sign_in_failed', ...target, meta });
      // Nobody in particular did it: the attempts came from many places.
      if (locks) await recordEvent(db, system, { action: 'account.lock', ...target, meta: {} });
    }),
  );
