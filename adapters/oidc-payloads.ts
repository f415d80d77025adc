/** Codes, opaque access tokens, interactions, pushed requests and whatever else has no table of its own. */
import { type Adapter, type AdapterPayload, errors, Provider } from 'oidc-provider';
import { queryDirectly } from '../db/connect.ts';
import type { AudienceClaims } from '../src/resource-servers/resource-servers.queries.ts';
import { hashToken } from '../src/secrets.ts';
import { consumeOnce, putOffUse } from './code-redemptions.ts';
import { isPending, keptSeconds, pacePoll, savePending } from './oidc-pending.ts';
import { type OidcStorage, requestState, unused } from './oidc-storage.ts';
import { forgetRead } from './token-reads.ts';

/**
 * Their payload holds the live session cookie, a device code, a pushed request or a person's address. A device code's is
 * kept whole: found by its user code, it must come with the value under which the engine saves it again.
 */
const sealedModels = new Set([
  'Interaction',
  'PushedAuthorizationRequest',
  'BackchannelAuthenticationRequest',
  'DeviceCode',
]);

/** The prefix under which a JWT access token is handed to the engine, which refuses tokens that look like a JWT. */
export const jwtName = 'jwt~';

/** What is read with what its life hangs on. */
const tokenModels = new Set(['AccessToken', 'ClientCredentials', 'AuthorizationCode']);

const isJwtModel = (model: string): model is 'AccessToken' | 'ClientCredentials' =>
  model === 'AccessToken' || model === 'ClientCredentials';

/** A value that may be used once was used before, or is being used by another request. */
export class ReplayedError extends errors.InvalidRequest {}

interface Row {
  /** `ofNoSession`: of an interaction that was begun where nobody was signed in. */
  payload: AdapterPayload & { sealed?: string; ofNoSession?: true };
  consumedAt: Date | null;
}

const insertOrReplace = `insert into oidc_payloads (model, id_hash, payload, grant_id, user_code_hash, expires_at)
  values ($1, $2, $3, $4, $5, $6)
  on conflict (model, id_hash) do update
    set payload = excluded.payload, grant_id = excluded.grant_id, user_code_hash = excluded.user_code_hash, expires_at = excluded.expires_at`;
const replaceStored = `update oidc_payloads set payload = $3, grant_id = $4, user_code_hash = $5, expires_at = $6
  where model = $1 and id_hash = $2 returning 1 as one`;
const findStored = `select payload, consumed_at as "consumedAt" from oidc_payloads
  where model = $1 and id_hash = $2 and (expires_at is null or expires_at > now())`;
const takeStored = `with taken as (
    delete from oidc_payloads
    where model = $1 and id_hash = $2 and (expires_at is null or expires_at > now()) and payload->'ofNoSession' is not null
    returning payload, consumed_at
  )
  select payload, consumed_at as "consumedAt", true as "isTaken" from taken
  union all select payload, consumed_at, false from oidc_payloads
  where model = $1 and id_hash = $2 and (expires_at is null or expires_at > now()) and payload->'ofNoSession' is null`;
const deleteStored = 'delete from oidc_payloads where model = $1 and id_hash = $2 returning 1 as one';

/**
 * Whether the engine goes on with an interaction, which it deletes as soon as it has read it: one statement does both, so that of
 * racing requests one goes on. With a session it may have to ask first whose that is, and one that was begun in a session it refuses
 * without, and leaves for the browser that shows it.
 */
const isGoneOnWith = (model: string): boolean =>
  model === 'Interaction' && Provider.ctx?.oidc.route === 'resume' && !requestState().sessionFrom;

export const createPayloadAdapter = (storage: OidcStorage, model: string): Adapter => {
  const { db, secrets } = storage;
  const sealed = sealedModels.has(model);

  const toStored = (idHash: string, whole: AdapterPayload) => {
    const { jti: _jti, userCode: _userCode, ...payload } = whole;
    if (!sealed) return JSON.stringify(payload);
    const ofNoSession = model === 'Interaction' && (whole.session as { uid?: string } | undefined)?.uid === undefined;
    return JSON.stringify({
      sealed: secrets.seal('oidc-payload', `${model}:${idHash}`, JSON.stringify(whole)).toString('base64'),
      ...(ofNoSession ? { ofNoSession } : {}),
    });
  };

  const fromStored = (idHash: string, { payload, consumedAt }: Row): AdapterPayload => {
    const content = payload.sealed
      ? (JSON.parse(
          secrets.open('oidc-payload', `${model}:${idHash}`, Buffer.from(payload.sealed, 'base64')).toString(),
        ) as AdapterPayload)
      : payload;
    return { ...content, ...(consumedAt ? { consumed: Math.floor(consumedAt.getTime() / 1000) } : {}) };
  };

  /** Reads an interaction, and deletes it if it was begun in no session. */
  const take = async (idHash: string): Promise<Row | undefined> => {
    const [row] = await queryDirectly<Row & { isTaken: boolean }>(db, takeStored, [model, idHash]);
    if (row?.isTaken) requestState().taken = idHash;
    return row;
  };

  /** Whether a token's audience still stands: that which its client has for tokens of no resource server does. */
  const isLive = async (claims: AudienceClaims): Promise<boolean> =>
    (!(await storage.meetings.isResourceServer(claims.audience)) &&
      (await storage.findClientMetadata(claims.clientId))?.audience === claims.audience) ||
    storage.meetings.isAudienceLive(claims, storage);

  /** A token for a resource server that no longer gives its client so much, or is gone, is dead. */
  const forSomebody = async (found: AdapterPayload | undefined): Promise<AdapterPayload | undefined> => {
    const { aud, clientId = '', scope, grantId } = found ?? {};
    for (const audience of isJwtModel(model) && aud !== undefined ? [aud].flat() : [])
      if (audience !== storage.ownAudience && !(await isLive({ audience, clientId, scope, grantId }))) return undefined;
    return found;
  };

  return {
    ...unused(model),

    upsert: async (id, payload, expiresIn) => {
      forgetRead();
      const idHash = hashToken(id);
      const row = {
        model,
        idHash,
        payload: toStored(idHash, payload),
        // An interaction only names the grant that the session had: whoever changes accounts in it ends that, and goes on.
        grantId: model === 'Interaction' ? null : (payload.grantId ?? null),
        userCodeHash: payload.userCode ? hashToken(payload.userCode) : null,
        expiresAt: expiresIn === undefined ? null : new Date(Date.now() + expiresIn * 1000),
      };
      if (model === 'ReplayDetection') {
        // The engine looks and then saves; of two requests that replay each other, this insert decides which came first.
        const [first] = await db('oidcPayloads')
          .insert(row)
          .onConflict(['model', 'idHash'])
          .ignore()
          .returning('idHash');
        if (!first) throw new ReplayedError('the request was already used');
        return;
      }
      if (isPending(model)) {
        const expiresAt = new Date(Date.now() + ((expiresIn ?? 0) + keptSeconds) * 1000);
        await savePending(db, { ...row, expiresAt }, payload);
        return;
      }
      const { rotation, redemption } = requestState();
      if (model === 'AccessToken' && rotation) return rotation(row);
      if (model === 'AccessToken' && redemption?.use) {
        redemption.accessToken = row;
        return;
      }
      const { begun } = requestState();
      if (model === 'AuthorizationCode' && begun) {
        begun.code = row;
        return;
      }
      const values = [model, idHash, row.payload, row.grantId, row.userCodeHash, row.expiresAt];
      // Whatever has a result was read before: if it is gone meanwhile, somebody has gone on with it, and it must not come back.
      if (model !== 'Interaction' || payload.result === undefined) await queryDirectly(db, insertOrReplace, values);
      else if (!(await queryDirectly(db, replaceStored, values)).length)
        throw new errors.SessionNotFound('interaction session not found');
    },

    find: async (id) => {
      if (isJwtModel(model) && id.startsWith(jwtName)) return forSomebody(await storage.findJwt(model, id));
      const idHash = hashToken(id);
      const row = tokenModels.has(model)
        ? ((await storage.reads.read({ model, hash: idHash })) as Row | undefined)
        : isGoneOnWith(model)
          ? await take(idHash)
          : (await queryDirectly<Row>(db, findStored, [model, idHash]))[0];
      // What a client got for itself has no grant that would end with the client.
      if (row && model === 'ClientCredentials' && !(await storage.findClientMetadata(row.payload.clientId as string)))
        return undefined;
      const found = row && { ...fromStored(idHash, row), jti: id };
      if (found && isPending(model)) await pacePoll(db, model, idHash, found);
      return forSomebody(found);
    },

    findByUserCode: async (userCode) => {
      const row = await db('oidcPayloads')
        .where({ model, userCodeHash: hashToken(userCode) })
        .where((row) => row.whereNull('expiresAt').orWhere('expiresAt', '>', db.fn.now()))
        .first('idHash', 'payload', 'consumedAt');
      return row && fromStored(row.idHash, row);
    },

    consume: async (id) => {
      const idHash = hashToken(id);
      if (model !== 'AuthorizationCode' || !putOffUse(db, idHash)) await consumeOnce(db, model, idHash);
    },

    destroy: async (id) => {
      forgetRead();
      const idHash = hashToken(id);
      if (requestState().taken === idHash) return;
      const deleted = await queryDirectly(db, deleteStored, [model, idHash]);
      if (deleted.length || !isJwtModel(model)) return;
      // A JWT access token: it is stored nowhere, so its revocation is what is remembered, until it would expire.
      const expiresAt = new Date(Date.now() + storage.accessTokenMaxSeconds * 1000);
      await db('revokedTokens').insert({ jtiHash: idHash, expiresAt }).onConflict('jtiHash').ignore();
    },

    revokeByGrantId: async (grantId) => {
      await db('oidcPayloads').delete().where({ model, grantId });
    },
  };
};
