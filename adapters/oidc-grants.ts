/**
 * Grants: one per session and client, so that a replay or a sign-out on one device does not end another's. A request in
 * flight must not bring back what was ended meanwhile: a Grant that was read is only updated, and a new one needs its
 * session.
 */
import { type Adapter, type AdapterPayload, errors, Provider } from 'oidc-provider';
import { createBindings } from '../db/bindings.ts';
import { type Db, queryDirectly } from '../db/connect.ts';
import { transact } from '../db/transact.ts';
import { lockLiveApiKey } from '../src/api-keys/api-keys.queries.ts';
import { findTrust, isTrusted } from '../src/clients/standing.queries.ts';
import { revokeGrants } from '../src/sessions/sessions.commands.ts';
import { type Begun, beginsSession, type NewGrant } from './begun-sessions.ts';
import { currentDecision } from './oidc-pending.ts';
import {
  assertFreshSignIn,
  directSignIn,
  freshLogin,
  freshPerson,
  type OidcStorage,
  type RequestState,
  requestState,
  unused,
} from './oidc-storage.ts';
import { cameWithToken, forgetRead, grantLives } from './token-reads.ts';

export const liveGrants = (db: Db) => db('grants').where('expiresAt', '>', db.fn.now()).whereRaw(grantLives);

export const createGrantAdapter = ({ db, sessions: rules }: Pick<OidcStorage, 'db' | 'sessions'>): Adapter => ({
  ...unused('Grant'),

  upsert: async (id, { jti: _jti, ...payload }, expiresIn = 0) => {
    forgetRead();
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
    const saveGrant = () => saveAtLength(decision?.db ?? db, id, payload, changes);
    const trusted = decision ? undefined : await findTrusted(db, { id, userId, clientId, ...changes });
    if (trusted && isSavedWithSession(rules)) state.begun = { ...trusted, saveGrant };
    else if (!trusted || !(await saveTrusted(db, trusted))) await saveGrant();
  },

  find: async (id) => {
    const known = cameWithToken('grants', id);
    const payload = known ? known.found : (await liveGrants(db).where({ id }).first('payload'))?.payload;
    if (!payload) return undefined;
    const state = requestState();
    state.grants ??= new Set();
    state.grants.add(id);
    return { ...payload, jti: id };
  },

  destroy: async (id) => {
    forgetRead();
    // What came of it by token exchange ends with it, in the order in which everybody ends grants.
    await transact(db, (db) => revokeGrants(db, [id]));
  },
});

/** In a transaction, which finds out what a Grant is made from, and keeps it from being ended meanwhile. */
const saveAtLength = async (
  db: Db,
  id: string,
  { accountId: userId, clientId }: AdapterPayload,
  changes: { payload: string; expiresAt: Date },
): Promise<void> => {
  const state = requestState();
  const direct = directSignIn();
  const decision = currentDecision();
  const sessionUid = decision?.sessionUid ?? direct?.sessionUid ?? Provider.ctx?.oidc.session?.uid ?? null;
  await db.transaction(async (db) => {
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
};

/**
 * What most sign-ins come to: a Grant for an application of the operator's own, in a session that begins with it. Whether it is one
 * is found out first; then the Grant is saved if the client and the password are still those that it was found out of.
 * @returns undefined when it is not, and the longer way has to say what is
 */
const findTrusted = async (
  db: Db,
  { userId, clientId, ...grant }: Partial<NewGrant> & Omit<NewGrant, 'userId' | 'clientId'>,
): Promise<Pick<Begun, 'grant' | 'version'> | undefined> => {
  const { ctx } = Provider;
  const { sessionFrom, apiKeyId, source, recordExchange, trust } = requestState();
  const { credential } = freshLogin();
  if (!userId || !clientId || ctx?.oidc.client?.first_party !== true || credential === undefined) return undefined;
  if (sessionFrom || apiKeyId || source || recordExchange || directSignIn()) return undefined;
  const isKnown = trust?.clientId === clientId && trust.userId === userId;
  const version = isKnown ? trust.version : await findTrust(db, clientId, userId);
  return version === undefined ? undefined : { grant: { ...grant, userId, clientId }, version };
};

/** Whether the session is saved at the end of this request, and nothing but a code comes of the Grant before that. */
const isSavedWithSession = (rules: OidcStorage['sessions']): boolean => {
  const { route, params } = Provider.ctx?.oidc ?? {};
  return route === 'resume' && params?.response_type === 'code' && beginsSession(rules);
};

/** @returns false when the client or the password are not those any more, and the longer way has to say what is */
const saveTrusted = async (db: Db, { grant, version }: Pick<Begun, 'grant' | 'version'>): Promise<boolean> => {
  const { id, userId, clientId, payload, expiresAt } = grant;
  const { values, bind } = createBindings();
  const saved = await queryDirectly(
    db,
    `with person as (${freshPerson(userId, freshLogin().credential ?? 0, bind)}),
       client as (select from clients where client_id = ${bind(clientId)} and xmin::text = ${bind(version)} for share)
     insert into grants (id, user_id, client_id, session_uid, payload, expires_at)
     select ${bind(id)}::text, ${bind(userId)}::uuid, ${bind(clientId)}::text, ${bind(Provider.ctx?.oidc.session?.uid)}::text,
       ${bind(payload)}::jsonb, ${bind(expiresAt)}::timestamptz
     where exists (select from person) and exists (select from client)
     on conflict (id) do nothing returning 1 as one`,
    values,
  );
  return saved.length > 0;
};

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
