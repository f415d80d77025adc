/**
 * What most sign-ins come to: a session that begins with them, an application of the operator's own, and a code. All of it is saved in
 * one statement at the end of the request, where the engine saves the session: either there is all of it, or nothing.
 */
import { Provider } from 'oidc-provider';
import { type Bind, createBindings } from '../db/bindings.ts';
import { type Db, queryDirectly } from '../db/connect.ts';
import { isClash } from '../db/transact.ts';
import { findUserAndTrust } from '../src/clients/standing.queries.ts';
import { findUser, type User } from '../src/users/users.queries.ts';
import {
  directSignIn,
  freshLogin,
  freshPerson,
  requestState,
  type SessionRules,
  type TokenRow,
} from './oidc-storage.ts';

/** A Grant as it is first saved. */
export interface NewGrant {
  id: string;
  userId: string;
  clientId: string;
  payload: string;
  expiresAt: Date;
}

/** What is saved with the session. */
export interface Begun {
  grant: NewGrant;
  /** Of the client's row, by which the application is the operator's own to this person. */
  version: string;
  code?: TokenRow;
  /** Saves the Grant by itself, the longer way. @throws AccessDenied when it may not be saved any more */
  saveGrant(): Promise<void>;
}

/** A session as it is first saved. */
export interface BegunSession {
  idHash: string;
  uid: string;
  userId: string;
  payload: string;
  expiresAt: Date;
  startedAt?: Date;
  userAgent?: string | null;
  address?: string | null;
  deviceHash?: string | null;
  deviceUserAgent?: string | null;
}

/** Whether the engine's request begins a session with a sign-in, and will save it. */
export const beginsSession = (rules: Pick<SessionRules, 'perUser'> | undefined): boolean => {
  const { ctx } = Provider;
  const { credential, signInId } = freshLogin();
  if (!ctx || credential === undefined || !signInId || rules?.perUser) return false;
  return !directSignIn() && !requestState().sessionFrom;
};

/**
 * The account of whoever signs in. Where a Grant for an application of the operator's own is what comes next, it is found out in the
 * same statement whether it is one.
 */
export const findArriving = async (db: Db, userId: string): Promise<User | undefined> => {
  const { client, route } = Provider.ctx?.oidc ?? {};
  if (route !== 'resume' || client?.first_party !== true || freshLogin().credential === undefined)
    return findUser(db, userId);
  const { clientId } = client;
  const { user, version } = await findUserAndTrust(db, clientId, userId);
  requestState().trust = { clientId, userId, version };
  return user;
};

const grantInsertion = ({ id, userId, clientId, payload, expiresAt }: NewGrant, sessionUid: string, bind: Bind) =>
  `insert into grants (id, user_id, client_id, session_uid, payload, expires_at)
   select ${bind(id)}::text, ${bind(userId)}::uuid, ${bind(clientId)}::text, ${bind(sessionUid)}::text,
     ${bind(payload)}::jsonb, ${bind(expiresAt)}::timestamptz from bound`;

const codeInsertion = ({ model, idHash, payload, grantId, expiresAt }: TokenRow, bind: Bind) =>
  `insert into oidc_payloads (model, id_hash, payload, grant_id, expires_at)
   select ${bind(model)}::text, ${bind(idHash)}::text, ${bind(payload)}::jsonb, ${bind(grantId)}::text,
     ${bind(expiresAt)}::timestamptz from bound`;

/**
 * Saves it if the password is still the one that was given, the client is as it was, and the owner of the account has not taken the
 * sign-in back.
 * Only for what `beginsSession`.
 * @returns false when that is not so: the longer way has to say what is
 */
export const saveBegun = async (db: Db, session: BegunSession, begun: Begun | undefined): Promise<boolean> => {
  const { credential = 0, signInId } = freshLogin();
  const { uid, userId } = session;
  const { values, bind } = createBindings();
  const isClient = begun
    ? `client as (select from clients where client_id = ${bind(begun.grant.clientId)} and xmin::text = ${bind(begun.version)} for share),`
    : '';
  // In this order, as everybody locks: the person first.
  const sql = `with person as (${freshPerson(userId, credential, bind)}), ${isClient}
    bound as (
      update sign_ins set session_uid = ${bind(uid)}
      where id = ${bind(signInId)} and disowned_at is null and voided_at is null and exists (select from person)
        ${begun ? 'and exists (select from client)' : ''}
      returning country, city
    )
    ${begun ? `, granted as (${grantInsertion(begun.grant, uid, bind)})` : ''}
    ${begun?.code ? `, coded as (${codeInsertion(begun.code, bind)})` : ''}
    insert into sessions (id_hash, uid, user_id, payload, expires_at, started_at, user_agent, address,
      device_hash, device_user_agent, country, city, last_seen_at)
    select ${bind(session.idHash)}::text, ${bind(uid)}::text, ${bind(userId)}::uuid, ${bind(session.payload)}::jsonb,
      ${bind(session.expiresAt)}::timestamptz, coalesce(${bind(session.startedAt)}::timestamptz, now()),
      ${bind(session.userAgent)}::text, ${bind(session.address)}::text, ${bind(session.deviceHash)}::text,
      ${bind(session.deviceUserAgent)}::text, country, city, now()
    from bound returning 1 as one`;
  try {
    return (await queryDirectly(db, sql, values)).length > 0;
  } catch (error) {
    // Whoever ends something of it has these rows in another order. Nothing was done.
    if (isClash(error)) return false;
    throw error;
  }
};
