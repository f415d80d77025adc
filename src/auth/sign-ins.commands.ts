/** What is kept of a sign-in, the mail that tells of a new device, and the link in it that ends the session. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { AppError } from '../errors.ts';
import { hashToken, randomToken } from '../secrets.ts';
import type { EndSession } from '../sessions/sessions.commands.ts';
import { lockUser, type User } from '../users/users.queries.ts';
import { type AccountDeps, linkTo } from './accounts.commands.ts';
import type { Assessment } from './risk.ts';
import type { NewSignIn } from './sign-ins.queries.ts';

export type KeepDeps = Pick<AccountDeps, 'issuer' | 'describeDevice' | 'queueMail'>;

/** What is written down of a sign-in, beside who and when. */
export interface KeptSignIn {
  assessment: Assessment;
  clientId: string | undefined;
  amr: readonly string[];
  deviceHash: string | undefined;
}

/** The page that the mail leads to. */
export const disownPage = 'not-me';

const isNewDevice = ({ factors }: Assessment): boolean =>
  factors.some(({ name, value }) => name === 'new-device' && value === 'new');

/** A sign-in that is about to be written down. */
export interface Described extends NewSignIn {
  /** Mails the owner that somebody signed in on a device that is new. Pass the transaction that writes the sign-in down. */
  tell?(db: Db): Promise<void>;
}

/** What is written down of a sign-in with how it was judged, and whether its owner hears of it. */
export const describeSignIn = (
  deps: KeepDeps,
  { address, userAgent }: Actor,
  user: Pick<User, 'id' | 'email' | 'name' | 'locale'>,
  { assessment, ...facts }: KeptSignIn,
): Described => {
  const token = isNewDevice(assessment) && assessment.outcome !== 'refuse' ? randomToken() : undefined;
  const described = {
    ...{ id: uuid(), userId: user.id, ...facts, address, userAgent, assessment },
    tokenHash: token && hashToken(token),
  };
  if (!token) return described;
  const { country, city } = assessment.place ?? {};
  const props = {
    name: user.name,
    at: new Date(),
    device: deps.describeDevice(userAgent),
    address: address ?? '',
    place: { ...(country ? { country } : {}), ...(city ? { city } : {}) },
    link: linkTo(deps.issuer, disownPage, token),
  };
  return { ...described, tell: (db) => deps.queueMail(db, user, { mail: 'new-sign-in', props }) };
};

const linkExpired = () => new AppError(400, 'invalid_token', 'The link has expired or was already used');

/**
 * Takes a sign-in back that its owner says was not theirs: its session ends with its grants, the device is not known any
 * more, and a sign-in that has not reached its session yet never will. Works once.
 * @throws AppError 400 invalid_token
 */
export const disownSignIn = (
  { db, endSession }: { db: Db; endSession: EndSession },
  actor: Actor,
  token: string,
): Promise<void> =>
  db.transaction(async (db) => {
    const owner = await db('signIns')
      .where({ tokenHash: hashToken(token), disownedAt: null })
      .first('userId');
    if (!owner) throw linkExpired();
    // The person first, as whoever saves a session does: else the two would wait for each other.
    await lockUser(db, owner.userId);
    const [taken] = await db('signIns')
      .where({ tokenHash: hashToken(token), disownedAt: null })
      .update({ disownedAt: db.fn.now() })
      .returning(['id', 'userId', 'sessionUid', 'deviceHash']);
    if (!taken) throw linkExpired();
    const { id, userId, sessionUid, deviceHash } = taken;
    if (deviceHash) await db('knownDevices').where({ userId, deviceHash }).delete();
    if (sessionUid) await endSession(db, actor, { userId, uid: sessionUid, reason: 'disowned' });
    await recordEvent(db, actor, { action: 'session.disown', target: userTarget(userId), meta: { signIn: id } });
  });

/**
 * Tells a sign-in which session it has become. Pass the transaction that saves the session.
 * @returns where it came from; undefined when its owner has said meanwhile that it was not theirs, or has ended all sessions
 */
export const bindSignIn = async (
  db: Db,
  id: string,
  sessionUid: string,
): Promise<{ country: string | null; city: string | null } | undefined> => {
  const [bound] = await db('signIns')
    .where({ id, disownedAt: null, voidedAt: null })
    .update({ sessionUid })
    .returning(['country', 'city']);
  return bound;
};
