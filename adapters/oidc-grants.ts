/**
 * Grants: one per session and client, so that a replay or a sign-out on one device does not end another's. A request in
 * flight must not bring back what was ended meanwhile: a Grant that was read is only updated, and a new one needs its
 * session.
 */
import { type Adapter, errors, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { transact } from '../db/transact.ts';
import { lockLiveApiKey } from '../src/api-keys/api-keys.queries.ts';
import { isTrusted } from '../src/clients/standing.queries.ts';
import { revokeGrants } from '../src/sessions/sessions.commands.ts';
import { currentDecision } from './oidc-pending.ts';
import { assertFreshSignIn, directSignIn, type RequestState, requestState, unused } from './oidc-storage.ts';

/**
 * Grants that live. A token that was exchanged, and one that a person approved by the back channel, is not in its session's
 * list of applications, where the engine looks (and which has room for one grant of a client): its grant says with which
 * session it ends. That its source is there is the foreign key's to see to.
 */
export const liveGrants = (db: Db) =>
  db('grants')
    .where('expiresAt', '>', db.fn.now())
    .whereRaw(
      `(source_grant_id is null and payload->>'endsWithSession' is null or session_uid is null or exists (
         select from sessions where uid = grants.session_uid and user_id = grants.user_id and sessions.expires_at > now()))`,
    );

export const createGrantAdapter = (db: Db): Adapter => ({
  ...unused('Grant'),

  upsert: async (id, { jti: _jti, ...payload }, expiresIn = 0) => {
    const decision = currentDecision();
    const changes = {
      payload: JSON.stringify(decision?.endsWithSession ? { ...payload, endsWithSession: true } : payload),
      expiresAt: new Date(Date.now() + expiresIn * 1000),
    };
    const state = requestState();
    if (state.grants?.has(id)) {
      await db('grants').where({ id }).update(changes);
      return;
    }
    const { accountId: userId, clientId } = payload;
    const direct = directSignIn();
    const sessionUid = decision?.sessionUid ?? direct?.sessionUid ?? Provider.ctx?.oidc.session?.uid ?? null;
    await (decision?.db ?? db).transaction(async (db) => {
      if (userId) await assertFreshSignIn(db, userId);
      if ((decision || direct || state.sessionFrom) && sessionUid) await assertSession(db, sessionUid);
      if (state.apiKeyId) await assertApiKey(db, state.apiKeyId);
      const source = state.source ? await takeSource(db, state.source) : { sessionUid };
      // Whoever gives an application their password, or a key of theirs, has agreed to it there.
      if (userId && clientId && !direct && !state.apiKeyId) await assertConsent(db, userId, clientId);
      await db('grants')
        .insert({
          ...{ id, userId, clientId, ...source, ...changes },
          apiKeyId: state.apiKeyId ?? null,
        })
        .onConflict('id')
        .merge(['payload', 'expiresAt']);
      await state.recordExchange?.(db, id);
    });
  },

  find: async (id) => {
    const row = await liveGrants(db).where({ id }).first('payload');
    if (!row) return undefined;
    const state = requestState();
    state.grants ??= new Set();
    state.grants.add(id);
    return { ...row.payload, jti: id };
  },

  destroy: async (id) => {
    // What came of it by token exchange ends with it, in the order in which everybody ends grants.
    await transact(db, (db) => revokeGrants(db, [id]));
  },
});

/** The lock keeps the session from being ended until the Grant is there to be ended with it. */
const assertSession = async (db: Db, uid: string): Promise<void> => {
  const session = await db('sessions').where({ uid }).forKeyShare().first('uid');
  if (!session) throw new errors.AccessDenied('the session has ended');
};

/** Likewise the API key: its revocation waits until the Grant is there to be ended with it. */
const assertApiKey = async (db: Db, id: string): Promise<void> => {
  if (!(await lockLiveApiKey(db, id))) throw new errors.InvalidRequest('the subject_token is not valid');
};

/**
 * Likewise the grant of a token that is exchanged. What came of an exchange before ends with the same session.
 * @returns what the new Grant ends with
 */
const takeSource = async (
  db: Db,
  { grantId: id, sessionUid }: NonNullable<RequestState['source']>,
): Promise<{ sourceGrantId: string; sessionUid: string | null }> => {
  const source = await liveGrants(db).where({ id }).forKeyShare().first('sourceGrantId', 'sessionUid', 'payload');
  if (!source) throw new errors.InvalidRequest('the subject_token is not valid');
  const endsWithSession = source.sourceGrantId || source.payload.endsWithSession;
  return { sourceGrantId: id, sessionUid: sessionUid ?? (endsWithSession ? source.sessionUid : null) };
};

/**
 * Likewise the consent that the Grant is made from. The operator's own applications need none; of those it is the client
 * that stays as it is, since a change of it ends their Grants.
 */
const assertConsent = async (db: Db, userId: string, clientId: string): Promise<void> => {
  if (!Provider.ctx?.oidc.client) return;
  await db('clients').where({ clientId }).forShare().first('clientId');
  if (await isTrusted(db, clientId, userId)) return;
  const consent = await db('consents').where({ userId, clientId }).forKeyShare().first('userId');
  if (!consent) throw new errors.AccessDenied('the consent was withdrawn');
};
