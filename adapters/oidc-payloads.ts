/** Codes, opaque access tokens, interactions, pushed requests and whatever else has no table of its own. */
import { type Adapter, type AdapterPayload, errors } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { findClient } from '../src/clients/clients.queries.ts';
import { isAudienceLive } from '../src/resource-servers/resource-servers.queries.ts';
import { hashToken } from '../src/secrets.ts';
import { isPending, keptSeconds, pacePoll, savePending } from './oidc-pending.ts';
import { endFamily, type OidcStorage, unused } from './oidc-storage.ts';

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

const isJwtModel = (model: string): model is 'AccessToken' | 'ClientCredentials' =>
  model === 'AccessToken' || model === 'ClientCredentials';

/** A value that may be used once was used before, or is being used by another request. */
export class ReplayedError extends errors.InvalidRequest {}

interface Row {
  payload: AdapterPayload & { sealed?: string };
  consumedAt: Date | null;
}

export const createPayloadAdapter = (storage: OidcStorage, model: string): Adapter => {
  const { db, secrets } = storage;
  const sealed = sealedModels.has(model);

  const toStored = (idHash: string, whole: AdapterPayload) => {
    const { jti: _jti, userCode: _userCode, ...payload } = whole;
    return JSON.stringify(
      sealed
        ? { sealed: secrets.seal('oidc-payload', `${model}:${idHash}`, JSON.stringify(whole)).toString('base64') }
        : payload,
    );
  };

  const fromStored = (idHash: string, { payload, consumedAt }: Row): AdapterPayload => {
    const content = payload.sealed
      ? (JSON.parse(
          secrets.open('oidc-payload', `${model}:${idHash}`, Buffer.from(payload.sealed, 'base64')).toString(),
        ) as AdapterPayload)
      : payload;
    return { ...content, ...(consumedAt ? { consumed: Math.floor(consumedAt.getTime() / 1000) } : {}) };
  };

  /** A token for a resource server that no longer gives its client so much, or is gone, is dead. */
  const forSomebody = async (found: AdapterPayload | undefined): Promise<AdapterPayload | undefined> => {
    const { aud, clientId = '', scope, grantId } = found ?? {};
    for (const audience of isJwtModel(model) && aud !== undefined ? [aud].flat() : [])
      if (
        audience !== storage.ownAudience &&
        !(await isAudienceLive(db, { audience, clientId, scope, grantId }, storage))
      )
        return undefined;
    return found;
  };

  const live = (where: Record<string, unknown>) =>
    db('oidcPayloads')
      .where({ model, ...where })
      .where((row) => row.whereNull('expiresAt').orWhere('expiresAt', '>', db.fn.now()));

  return {
    ...unused(model),

    upsert: async (id, payload, expiresIn) => {
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
      await db('oidcPayloads')
        .insert(row)
        .onConflict(['model', 'idHash'])
        .merge(['payload', 'grantId', 'userCodeHash', 'expiresAt']);
    },

    find: async (id) => {
      if (isJwtModel(model) && id.startsWith(jwtName)) return forSomebody(await storage.findJwt(model, id));
      const idHash = hashToken(id);
      const row: Row | undefined = await live({ idHash }).first('payload', 'consumedAt');
      // What a client got for itself has no grant that would end with the client.
      if (row && model === 'ClientCredentials' && !(await findClient(db, row.payload.clientId as string)))
        return undefined;
      const found = row && { ...fromStored(idHash, row), jti: id };
      if (found && isPending(model)) await pacePoll(db, model, idHash, found);
      return forSomebody(found);
    },

    findByUserCode: async (userCode) => {
      const row = await live({ userCodeHash: hashToken(userCode) }).first('idHash', 'payload', 'consumedAt');
      return row && fromStored(row.idHash, row);
    },

    consume: (id) => consumeOnce(db, model, hashToken(id)),

    destroy: async (id) => {
      const deleted = await db('oidcPayloads')
        .delete()
        .where({ model, idHash: hashToken(id) });
      if (deleted || !isJwtModel(model)) return;
      // A JWT access token: it is stored nowhere, so its revocation is what is remembered, until it would expire.
      const expiresAt = new Date(Date.now() + storage.accessTokenMaxSeconds * 1000);
      await db('revokedTokens')
        .insert({ jtiHash: hashToken(id), expiresAt })
        .onConflict('jtiHash')
        .ignore();
    },

    revokeByGrantId: async (grantId) => {
      await db('oidcPayloads').delete().where({ model, grantId });
    },
  };
};

/**
 * Single use is the database's decision (RFC 6749 section 4.1.2): of racing requests exactly one updates the row, and
 * the others revoke what the value gave.
 */
const consumeOnce = async (db: Db, model: string, idHash: string): Promise<void> => {
  const won = await db('oidcPayloads').where({ model, idHash, consumedAt: null }).update({ consumedAt: db.fn.now() });
  if (won === 1) return;
  const row = await db('oidcPayloads').where({ model, idHash }).first('grantId');
  if (row?.grantId) await endFamily(db, row.grantId);
  throw model === 'PushedAuthorizationRequest'
    ? new errors.InvalidRequestUri('already used')
    : new errors.InvalidGrant('already used');
};
