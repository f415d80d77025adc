/**
 * Signing in by mail: a link that works in the browser that asked for it, and a code that is typed there. Either is a first
 * factor like any other, and what comes then is `proceed`'s; who has set up a second factor is asked for it, and a code by
 * mail is none after this.
 */

import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { AppError, invalid } from '../errors.ts';
import { equalInConstantTime, hashToken, type Secrets } from '../secrets.ts';
import { findUser, findUserByEmail, lockUserByEmail, normalizeEmail, type User } from '../users/users.queries.ts';
import { type AccountDeps, linkTo, type MailRequest, requestMail, resendVerification } from './accounts.commands.ts';
import { actionMinutes, consumeActionToken, findActionToken, issueActionToken } from './action-tokens.commands.ts';
import {
  type CodeLimits,
  consumeOneTimeCode,
  createOneTimeCode,
  emailSubject,
  matchOneTimeCode,
} from './one-time-codes.commands.ts';
import { forgotPassword } from './password.commands.ts';
import { recordFailure } from './record-sign-in.commands.ts';

export const linkPage = 'sign-in-link';
export const linkMinutes = actionMinutes['sign-in-link'];

const purpose = 'sign-in-link';

/**
 * Asks for a link and a code. The request only queues the question, so that the time to answer tells nothing.
 * @param browser a secret that the browser keeps which asks: the link works there alone
 * @throws AppError 429
 */
export const requestLink = (deps: AccountDeps, actor: Actor, email: string, browser?: string): Promise<void> =>
  requestMail(deps, actor, 'sign-in-link', email, browser === undefined ? undefined : hashToken(browser));

/**
 * Mails a link and a code if the address has an account that has proven it. One that has not is mailed what proves it
 * instead: else whoever registered a stranger's address would keep their password, once the stranger has signed in by mail.
 * For an address without an account there is a code as well, which nobody is sent.
 */
export const answerLinkRequest = async (
  deps: AccountDeps,
  { email, actor, browserHash }: Pick<MailRequest, 'email' | 'actor' | 'browserHash'>,
): Promise<void> => {
  const { secrets, issuer } = deps;
  const subject = emailSubject(secrets, email);
  const unproven = await deps.db.transaction(async (db) => {
    const user = await lockUserByEmail(db, email);
    const signsIn = user?.status === 'active' && user.emailVerifiedAt !== null ? user : undefined;
    const userId = signsIn?.id ?? null;
    const code = await createOneTimeCode(db, secrets, { purpose: 'sign-in', subject, userId, channel: 'email' });
    if (!signsIn) return user?.status === 'active' ? user : undefined;
    const token = await issueActionToken(db, purpose, signsIn.id, browserHash ?? null);
    await deps.queueMail(db, signsIn, {
      mail: 'sign-in-link',
      props: {
        name: signsIn.name,
        link: linkTo(issuer, linkPage, token),
        code,
        minutes: linkMinutes,
        device: deps.describeDevice(actor.userAgent),
        address: actor.address ?? '',
        at: new Date(),
      },
    });
    await recordEvent(db, actor, { action: 'sign_in_link.request', target: userTarget(signsIn.id) });
    return undefined;
  });
  if (unproven?.passwordHash) await resendVerification(deps, actor, email);
  else if (unproven) await forgotPassword(deps, actor, email);
};

/** Somebody who has shown that they read an account's mail. */
export interface MailProof {
  user: User;
  /**
   * Uses link and code up, both: do it in the transaction of what they are for.
   * @throws AppError 400 invalid_token or invalid_code when either was used meanwhile
   */
  settle(db: Db): Promise<void>;
}

/** They are one thing: with either the other is used up. The link's row decides, and is always taken first. */
const dropCode = (db: Db, secrets: Secrets, email: string): Promise<number> =>
  db('oneTimeCodes')
    .where({ purpose: 'sign-in', subject: emailSubject(secrets, email) })
    .delete();

const expired = () =>
  new AppError(400, 'invalid_token', 'The link has expired or was already used', {
    fields: [{ field: 'token', code: 'link_expired', message: 'expired or used' }],
  });

const activeUser = async (db: Db, userId: string | null): Promise<User | undefined> => {
  const user = userId === null ? undefined : await findUser(db, userId);
  return user?.status === 'active' && user.emailVerifiedAt ? user : undefined;
};

export type LinkOutcome = ({ kind: 'right' } & MailProof) | { kind: 'expired' } | { kind: 'elsewhere' };

/**
 * What a link proves. It changes nothing, so that a program which follows links in mails does not use them up; and it proves
 * something only in the browser that asked for it: else somebody could have a stranger open a link of theirs, and be signed
 * in by it, or have them sign in to an account that is not their own.
 */
export const readLink = async (
  { db, secrets }: Pick<AccountDeps, 'db' | 'secrets'>,
  token: string,
  browser: string | undefined,
): Promise<LinkOutcome> => {
  const found = await findActionToken(db, purpose, token);
  const user = found && (await activeUser(db, found.userId));
  if (!found || !user) return { kind: 'expired' };
  const { browserHash } = found;
  const here = browser !== undefined && browserHash !== null && equalInConstantTime(hashToken(browser), browserHash);
  if (!here) return { kind: 'elsewhere' };
  return {
    kind: 'right',
    user,
    settle: async (db) => {
      if (!(await consumeActionToken(db, purpose, token))) throw expired();
      await dropCode(db, secrets, user.email);
    },
  };
};

const invalidCode = () =>
  invalid('invalid_code', 'The code is wrong, or no longer valid; ask for a new one', {
    fields: [{ field: 'code', code: 'wrong_code', message: 'is wrong' }],
  });

/**
 * What a code proves that was mailed to an address. For one without an account the same is done, and nothing is right.
 * @throws AppError 429
 */
export const tryLinkCode = async (
  deps: Pick<AccountDeps, 'db' | 'secrets'> & CodeLimits,
  actor: Actor,
  { email: typed, code, clientId }: { email: string; code: string; clientId: string },
): Promise<MailProof | undefined> => {
  const { db, secrets } = deps;
  const email = normalizeEmail(typed);
  const address = actor.address ?? '';
  await deps.limitCodeAddress(address);
  const subject = emailSubject(secrets, email);
  const use = { purpose: 'sign-in', subject, code } as const;
  const matched = await matchOneTimeCode(db, secrets, use, () => deps.limitCodes('sign-in', subject));
  const user = await activeUser(db, matched?.userId ?? null);
  if (!matched || user?.email !== email) {
    await recordFailure({ db }, actor, { user: await findUserByEmail(db, email), clientId, reason: 'wrong_code' });
    return undefined;
  }
  await deps.returnCode('sign-in', subject, address);
  return {
    user,
    settle: (db) =>
      transact(db, async (db) => {
        const link = await db('actionTokens')
          .where({ purpose, userId: user.id, consumedAt: null })
          .update({ consumedAt: db.fn.now() });
        if (!link || !(await consumeOneTimeCode(db, matched.id))) throw invalidCode();
      }),
  };
};
