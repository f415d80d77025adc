/** Development without sign-in (AUTH_ALLOW_DEV_HEADERS): `X-User-Email` says who calls. Production refuses the setting. */
import { v7 as uuid } from 'uuid';
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { recordEvent, system } from '../audit/logs.commands.ts';
import type { Caller } from '../http/caller.ts';
import { findUserAccess } from '../roles/access.queries.ts';
import { joinByAddress } from '../roles/joining.commands.ts';
import { findUserByEmail, insertUser, normalizeEmail } from '../users/users.queries.ts';
import { Email, PersonName } from './credentials.ts';

const Headers = z.object({ email: Email, name: PersonName.optional() });

/**
 * Whom the headers name; an address without an account becomes a user of role `user`.
 * @returns undefined for headers that are missing or no address, and for an account that is not active
 */
export const callerOfHeaders = async (
  db: Db,
  headers: { email: string; name?: string },
): Promise<Caller | undefined> => {
  const parsed = Headers.safeParse({ email: headers.email, name: headers.name || undefined });
  if (!parsed.success) return undefined;
  const { email, name = email.split('@')[0] ?? email } = parsed.data;
  const user = (await findUserByEmail(db, email)) ?? (await createUser(db, email, name));
  const access = user && (await findUserAccess(db, user.id));
  return access && { kind: 'user', id: user.id, ...access };
};

const createUser = (db: Db, email: string, name: string): Promise<{ id: string } | undefined> =>
  db.transaction(async (db) => {
    const id = uuid();
    const user = {
      id,
      email: normalizeEmail(email),
      name,
      passwordHash: null,
      role: 'user',
      emailVerifiedAt: new Date(),
    };
    // Of two first requests at once one makes the account.
    if (!(await insertUser(db, user))) return findUserByEmail(db, email);
    await recordEvent(db, system, { action: 'user.create', target: { type: 'user', id }, meta: { by: 'dev_headers' } });
    await joinByAddress(db, system, [id]);
    return { id };
  });
