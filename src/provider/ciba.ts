/**
 * Client-Initiated Backchannel Authentication (OpenID Connect CIBA Core 1.0), in poll and ping mode: what the engine is told
 * of a request, and how a person's decision gets back to it.
 */
import type Koa from 'koa';
import { type Client, errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { inDecision, pollSeconds } from '../../adapters/oidc-pending.ts';
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import {
  type Approval,
  type DecidingSession,
  prepareDecision,
  type RequestDetails,
  recordDecision,
} from '../auth/backchannel.commands.ts';
import { notFound } from '../errors.ts';
import { actorOf } from '../http/actor.ts';
import { isId } from '../roles/access.queries.ts';
import { randomToken, type Secrets } from '../secrets.ts';
import { findUserByEmail } from '../users/users.queries.ts';
import { addAgreed, type NeedsMfa, requested } from './consent.ts';
import { limited } from './device-flow.ts';
import { requestedSignIn } from './step-up.ts';

/** How long a request waits, and how long a client may ask it to wait (`requested_expiry`), in seconds. */
const requestSeconds = 600;
const requestSecondsMax = 1800;

/** `ttl.BackchannelAuthenticationRequest`; by then the engine knows that it is a positive integer. */
export const backchannelSeconds = (ctx: KoaContextWithOIDC | undefined): number => {
  const wanted = Number(ctx?.oidc.params?.requested_expiry);
  return wanted > 0 ? Math.min(wanted, requestSecondsMax) : requestSeconds;
};

export interface BackchannelLimits {
  /** @throws AppError 429 when this client has asked this person, or anybody has, too often */
  ask(clientId: string, userId: string): Promise<void>;
  /** Counts a hint that fits nobody. @throws AppError 429 */
  missed(clientId: string): Promise<void>;
}

export interface BackchannelParts {
  db: Db;
  limits: BackchannelLimits;
  /** Puts a request before the person. */
  askPerson(
    actor: Actor,
    request: { userId: string; client: { id: string; name: string }; details: RequestDetails; expiresAt: Date },
  ): Promise<void>;
}

/**
 * Who is meant by a `login_hint`: the address of an account, or its `sub`. An address that nobody has confirmed may be
 * anybody's, so it names nobody.
 */
const accountOfHint = async (db: Db, { oidc }: KoaContextWithOIDC, hint: string): Promise<string | undefined> => {
  if (hint.length > 254) throw new errors.InvalidRequest('login_hint is too long');
  if (hint.includes('@')) {
    const user = await findUserByEmail(db, hint);
    return user?.emailVerifiedAt ? user.id : undefined;
  }
  // A client that knows people by a pairwise sub does not know their ids.
  return oidc.client?.subjectType !== 'pairwise' && isId(hint) ? hint : undefined;
};

/** Letters, digits, punctuation and spaces of any script: what can be seen, and compared with what another screen shows. */
const bindingMessage = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]{1,100}$/u;

/** Section 7.1: only for clients that authenticate. */
const assertConfidential = (client: Client | undefined): void => {
  if (client?.clientAuthMethod === 'none')
    throw new errors.UnauthorizedClient('a public client cannot use backchannel authentication');
};

/** `features.ciba`. */
export const ciba = ({ db, limits, askPerson }: BackchannelParts) => ({
  enabled: true,
  deliveryModes: ['poll', 'ping'] as const,
  processLoginHint: async (ctx: KoaContextWithOIDC, hint = '') => {
    const accountId = await accountOfHint(db, ctx, hint);
    if (!accountId) await limited(ctx, limits.missed(ctx.oidc.client?.clientId ?? ''));
    return accountId;
  },
  processLoginHintToken: () => {
    throw new errors.InvalidRequest('login_hint_token is not taken here; use login_hint or id_token_hint');
  },
  verifyUserCode: async (ctx: KoaContextWithOIDC, account: { accountId: string }, userCode?: string) => {
    if (userCode !== undefined) throw new errors.InvalidRequest('user_code is not taken here');
    // Only now the engine has put together what is asked of the sign-in; nothing is kept of what can never be approved.
    requestedSignIn(ctx);
    await limited(ctx, limits.ask(ctx.oidc.client?.clientId ?? '', account.accountId));
  },
  validateBindingMessage: (_ctx: KoaContextWithOIDC, message?: string) => {
    if (message !== undefined && !(bindingMessage.test(message) && message.trim()))
      throw new errors.InvalidBindingMessage('binding_message must be 1 to 100 characters that can be seen');
  },
  validateRequestContext: (ctx: KoaContextWithOIDC) => {
    assertConfidential(ctx.oidc.client);
    if (ctx.oidc.params?.authorization_details !== undefined)
      throw new errors.InvalidRequest('authorization_details are not taken here');
  },
  triggerAuthenticationDevice: async (
    ctx: KoaContextWithOIDC,
    request: { jti: string; expiration: number },
    account: { accountId: string },
    client: Client,
  ) => {
    Object.assign(ctx.body as object, { interval: pollSeconds });
    const message = ctx.oidc.params?.binding_message as string | undefined;
    await askPerson(
      { ...actorOf(ctx), type: 'client', id: client.clientId },
      {
        userId: account.accountId,
        client: { id: client.clientId, name: client.clientName ?? client.clientId },
        details: {
          authReqId: request.jti,
          ...(message ? { bindingMessage: message } : {}),
          ...requested(ctx),
          ...requestedSignIn(ctx),
        },
        expiresAt: new Date(Date.now() + request.expiration * 1000),
      },
    );
  },
});

/**
 * `issueRefreshToken`. What a backchannel request gives belongs to no session at the client, so that a refresh token without
 * `offline_access` would have nothing to end with.
 */
export const mayRefresh = (client: Client, source: { kind?: string; scopes: Set<string> }): boolean =>
  client.grantTypeAllowed('refresh_token') &&
  (source.kind !== 'BackchannelAuthenticationRequest' || source.scopes.has('offline_access'));

interface PingingClient {
  backchannelPing(request: { jti: string }): Promise<void>;
}

/** A client that refuses its notification's token will refuse it again (section 10.2 leaves errors to the provider). */
const isRefusal = (error: unknown): boolean =>
  [401, 403].includes((error as { response?: { status: number } }).response?.status ?? 0);

/**
 * Attached to every instance. The engine would notify the client while the person waits; here the decision has queued that,
 * in its transaction. Nor does it know that nobody has a user code here.
 * @returns what delivers a notification
 */
export const attachCiba = (provider: Provider) => {
  const prototype = provider.Client.prototype as unknown as PingingClient;
  const ping = prototype.backchannelPing;
  prototype.backchannelPing = () => Promise.resolve();

  const describe: Koa.Middleware = async (ctx, next) => {
    await next();
    const { oidc } = ctx as Partial<KoaContextWithOIDC>;
    if (oidc?.route === 'discovery' && ctx.status === 200)
      Object.assign(ctx.body as object, { backchannel_user_code_parameter_supported: false });
  };
  provider.use((ctx, next) => (ctx.method === 'POST' ? next() : describe(ctx, next)));

  /** @throws when the client did not take it; `permanent` when it never will */
  return async ({ clientId, authReqId }: { clientId: string; authReqId: string }): Promise<void> => {
    const client = (await provider.Client.find(clientId)) as unknown as PingingClient | undefined;
    const request = (await provider.BackchannelAuthenticationRequest.find(authReqId)) as { jti: string } | undefined;
    // Nothing is left to be fetched.
    if (!client || !request || (request as { consumed?: unknown }).consumed) return;
    await ping.call(client, request).catch((error: unknown) => {
      throw isRefusal(error) ? Object.assign(error as Error, { permanent: true }) : error;
    });
  };
};

export interface DecisionDeps {
  db: Db;
  secrets: Secrets;
  needsMfa: NeedsMfa;
  /** The engine's instance that serves now. */
  provider(): Provider;
  queuePing(db: Db, ping: { clientId: string; authReqId: string }): Promise<void>;
}

/**
 * A Grant of its own, in the approving session: it ends when the person ends that or takes their consent back and, without
 * `offline_access`, in whatever way the session ends. The engine's `expiresWithSession` would not do, since it holds for
 * the one Grant that the session knows of a client.
 */
const grantFor = (provider: Provider, { userId: accountId, clientId, details }: Approval) => {
  const grant = new provider.Grant({ accountId, clientId, jti: randomToken() } as never);
  addAgreed(grant, details);
  return grant;
};

/**
 * Decides a request that waits for a person. Decision, consent, Grant, audit event and the client's notification are one
 * transaction, which `inDecision` has the engine's own save begin.
 * @throws AppError 404 request_not_found, 403 session_needed
 */
export const decideRequest = async (
  { db, secrets, needsMfa, provider: current, queuePing }: DecisionDeps,
  actor: Actor,
  session: DecidingSession,
  { id, decision }: { id: string; decision: 'approved' | 'denied' },
): Promise<void> => {
  const approval = await prepareDecision({ db, secrets, needsMfa }, session, { id, decision });
  const provider = current();
  const { acr, amr, authTime, clientId, details } = approval;
  const endsWithSession = !details.scopes.includes('offline_access');
  const client = await provider.Client.find(clientId);
  const grant = grantFor(provider, approval);
  const record = async (db: Db) => {
    await recordDecision(db, actor, approval, { id, decision });
    if (decision === 'approved') await grant.save();
    if (client?.backchannelTokenDeliveryMode === 'ping')
      await queuePing(db, { clientId, authReqId: details.authReqId });
  };
  const result = decision === 'approved' ? grant : new errors.AccessDenied('the person has refused');
  await inDecision({ sessionUid: session.sessionUid, endsWithSession, record }, () =>
    provider.backchannelResult(details.authReqId, result, { acr, amr, authTime }),
  ).catch((error: unknown) => {
    // Somebody was faster, where the engine's own row was the first to know.
    throw error instanceof errors.InvalidRequest ? notFound('request') : error;
  });
};
