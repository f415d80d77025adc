/** What the engine reports, as audit events and log lines. */
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Db } from '../../db/connect.ts';
import type { Action } from '../audit/actions.ts';
import { type Actor, type AuditEvent, recordEvent } from '../audit/logs.commands.ts';
import { touchClient } from '../clients/self-registration.commands.ts';
import { databaseAway, isOutage } from '../errors.ts';
import { createGrowingCache } from '../growing-cache.ts';
import { actorOf } from '../http/actor.ts';
import type { Log } from '../log.ts';
import { tokenGrants } from '../observing.ts';

export interface EventParts {
  db: Db;
  log: Log;
  /** Whether what comes unasked of this client from this address is little enough to be written down one by one. */
  countUnasked(clientId: string, address: string): Promise<boolean>;
}

interface ProtocolError extends Error {
  error?: string;
  error_description?: string;
  error_detail?: string;
}

const clientActor = (ctx: KoaContextWithOIDC): Actor => {
  const clientId = ctx.oidc.entities.Client?.clientId;
  return { ...actorOf(ctx), ...(clientId ? { type: 'client' as const, id: clientId } : {}) };
};

/** Subscribes to an instance. The engine does not wait for listeners, so each handles its own failure. */
export const recordProviderEvents = (provider: Provider, { db, log, countUnasked }: EventParts): void => {
  const record = (actor: Actor, event: AuditEvent) => {
    recordEvent(db, actor, event).catch((error: unknown) =>
      log.error({ err: error, action: event.action }, 'an audit event was not written'),
    );
  };

  // A public client proves nothing: whoever asks as one must not fill the log. Nor is one filled while nothing can be counted.
  const recordUnasked = (ctx: KoaContextWithOIDC, event: AuditEvent & { target: { id: string } }) => {
    countUnasked(event.target.id, ctx.ip).then(
      (counted) => {
        if (counted) record(clientActor(ctx), event);
      },
      () => {},
    );
  };

  const refused = (action: Action) => (ctx: KoaContextWithOIDC, error: ProtocolError) => {
    // Nobody was refused anything, and there is nowhere to write it.
    if (error.error === 'temporarily_unavailable') return;
    // Whoever polls is told so again and again (RFC 8628 section 3.5).
    if (error.error === 'authorization_pending' || error.error === 'slow_down') return;
    const client = ctx.oidc.entities.Client?.clientId;
    log.debug(
      {
        requestId: ctx.state.requestId,
        client,
        error: error.error,
        description: error.error_description,
        detail: error.error_detail,
      },
      action,
    );
    if (!client) return;
    recordUnasked(ctx, {
      action,
      target: { type: 'client', id: client },
      meta: { error: error.error, detail: error.error_detail ?? error.error_description },
    });
  };

  provider.on('authorization.error', refused('authorization.refuse'));
  provider.on('grant.error', refused('token.refuse'));
  provider.on('introspection.error', refused('introspection.refuse'));
  provider.on('revocation.error', refused('revocation.refuse'));
  provider.on('pushed_authorization_request.error', refused('authorization.refuse'));

  provider.on('device_authorization.error', refused('authorization.refuse'));
  provider.on('backchannel_authentication.error', refused('authorization.refuse'));
  provider.on('device_authorization.success', (ctx) => {
    const id = ctx.oidc.client?.clientId ?? '';
    recordUnasked(ctx, { action: 'device.authorize', target: { type: 'client', id } });
  });

  provider.on('grant.revoked', (ctx, grantId) => {
    // At the token endpoint the engine revokes a grant for one reason: a code or refresh token was used again.
    const action = ctx.oidc.route === 'token' ? 'token.replay' : 'grant.revoke';
    record(clientActor(ctx), { action, target: { type: 'grant', id: grantId } });
  });

  provider.on('end_session.success', (ctx) => {
    const id = ctx.oidc.session?.accountId;
    if (!id) return;
    const signedOut = ctx.oidc.params?.logout !== undefined;
    record(
      { ...actorOf(ctx), type: 'user', id },
      { action: signedOut ? 'session.sign_out' : 'session.leave_client', target: { type: 'user', id } },
    );
  });

  // What is of interest to the day need not be looked at for each token.
  const noted = createGrowingCache<true>(5000, 3_600_000);
  // Of clients that nobody registered, those that nobody uses are deleted one day (`expireClients`).
  provider.on('grant.success', ({ oidc: { client, params }, state }) => {
    tokenGrants.tell?.(String(params?.grant_type));
    if (!client || client.kind === 'registered' || noted.has(client.clientId)) return;
    noted.set(client.clientId, true);
    touchClient(db, client.clientId).catch((error: unknown) => {
      noted.delete(client.clientId);
      log.warn({ err: error, requestId: state.requestId }, 'the use of a client was not noted');
    });
  });

  // Only if the job could not even be queued: the delivery itself is the queue's.
  provider.on('backchannel.error', (ctx, error, client) => {
    log.error(
      { err: error, requestId: ctx.state.requestId, client: client.clientId },
      'a back-channel logout was not queued',
    );
  });

  provider.on('server_error', (ctx, error) => {
    if (isOutage(error) || isOutage(error.cause)) {
      log.warn({ requestId: ctx.state.requestId, path: ctx.path }, 'a request failed: the database is out of reach');
      // What asked for it was no adapter, whose failures the engine knows; it takes this for a mistake of ours.
      if ((ctx.body as ProtocolError | undefined)?.error !== 'server_error') return;
      ctx.status = 503;
      ctx.body = { error: 'temporarily_unavailable', error_description: databaseAway().message };
    } else log.error({ err: error, requestId: ctx.state.requestId, path: ctx.path }, 'a request failed');
  });
};
