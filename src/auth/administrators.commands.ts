/** Administrators: the first one by the set-up link, others at the command line. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { AppError } from '../errors.ts';
import { joinByAddress } from '../roles/joining.commands.ts';
import { insertUser, normalizeEmail, roleIsHeld } from '../users/users.queries.ts';
import { type AccountDeps, checkPassword, expired } from './accounts.commands.ts';
import { consumeActionToken, createActionToken, findActionToken, lockActionTokens } from './action-tokens.commands.ts';

export interface NewAdministrator {
  email: string;
  password: string;
  name: string;
}

const createSuperAdmin = async (
  db: Db,
  actor: Actor,
  passwordHash: string,
  { email, name }: NewAdministrator,
): Promise<string> => {
  const id = uuid();
  if (
    !(await insertUser(db, {
      id,
      email: normalizeEmail(email),
      name,
      passwordHash,
      role: 'super_admin',
      emailVerifiedAt: new Date(),
    }))
  ) {
    throw new AppError(409, 'email_taken', 'Another account has this address', {
      fields: [{ field: 'email', code: 'email_taken', message: 'is taken' }],
    });
  }
  await recordEvent(db, actor, { action: 'user.create', target: userTarget(id), meta: { role: 'super_admin' } });
  await joinByAddress(db, actor, [id]);
  return id;
};

/** Creates an administrator with a verified address. @throws AppError 400 for the password, 409 email_taken */
export const createAdministrator = async (
  { db, passwords }: Pick<AccountDeps, 'db' | 'passwords'>,
  actor: Actor,
  input: NewAdministrator,
): Promise<string> => {
  await checkPassword(passwords, 'password', input.password, input);
  const passwordHash = await passwords.hash(input.password);
  return db.transaction((db) => createSuperAdmin(db, actor, passwordHash, input));
};

/** A set-up link's token while nobody administers the service; undefined once somebody does. */
export const createSetupToken = (db: Db): Promise<string | undefined> =>
  db.transaction(async (db) =>
    (await roleIsHeld(db, 'super_admin')) ? undefined : createActionToken(db, 'setup', null),
  );

/** Creates the first administrator by the set-up link. @throws AppError 400 invalid_token or for the password */
export const setUp = async (
  { db, passwords }: Pick<AccountDeps, 'db' | 'passwords'>,
  actor: Actor,
  input: NewAdministrator & { token: string },
): Promise<string> => {
  if (!(await findActionToken(db, 'setup', input.token))) throw expired('setup');
  await checkPassword(passwords, 'password', input.password, input);
  const passwordHash = await passwords.hash(input.password);
  return db.transaction(async (db) => {
    // One at a time: two links that are alive at once must not make two first administrators.
    await lockActionTokens(db, 'setup', null);
    if (!(await consumeActionToken(db, 'setup', input.token)) || (await roleIsHeld(db, 'super_admin')))
      throw expired('setup');
    return createSuperAdmin(db, actor, passwordHash, input);
  });
};
