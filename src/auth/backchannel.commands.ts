/**
 * Client-Initiated Backchannel Authentication (CIBA): an application asks a person to confirm something on a device of their
 * own. Here is what the person is told and what they decide; `provider/ciba.ts` is the engine's side of it.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { requiresMfa } from '../clients/clients.queries.ts';
import { isTrusted } from '../clients/standing.queries.ts';
import { AppError, forbidden, notFound } from '../errors.ts';
import type { Secrets } from '../secrets.ts';
import { type Agreement, grantConsent } from '../sessions/sessions.commands.ts';
import { findSessionSignIn } from '../sessions/sessions.queries.ts';
import { findUser } from '../users/users.queries.ts';
import type { AccountDeps } from './accounts.commands.ts';
import { acrOf, hasSecondFactor, satisfies } from './authentication-context.ts';
import { decideWaiting, findWaiting, insertBackchannelRequest } from './backchannel.queries.ts';

/** What is sealed of a request. */
export interface RequestDetails extends Agreement {
  /** Lets the client fetch what comes of it. */
  authReqId: string;
  /** What the application shows on the other device, for the person to compare. */
  bindingMessage?: string | undefined;
  /** The authentication context classes that the sign-in is to have reached one of. */
  acr?: { values: string[]; essential: boolean };
  /** How long ago the sign-in may be, in seconds. */
  maxAge?: number;
}

export interface BackchannelDeps extends Pick<AccountDeps, 'db' | 'issuer' | 'secrets' | 'queueMail'> {
  /** Whether one more mail about a request may go to this address. */
  mayMail(email: string): Promise<boolean>;
}

/** Where a person sees what waits for them. */
export const requestsPath = '/account/requests';

export const backchannelRow = (id: string) => `backchannel:${id}`;

export const openRequest = (secrets: Secrets, { id, sealed }: { id: string; sealed: Uint8Array }): RequestDetails =>
  JSON.parse(secrets.open('oidc-payload', backchannelRow(id), sealed).toString()) as RequestDetails;

/**
 * Puts a request before a person, and mails them that it is there. The mail does not quote what the application wants to
 * show: it would be a message of somebody else's with our name on it.
 */
export const askPerson = async (
  deps: BackchannelDeps,
  actor: Actor,
  {
    userId,
    client,
    details,
    expiresAt,
  }: { userId: string; client: { id: string; name: string }; details: RequestDetails; expiresAt: Date },
): Promise<void> => {
  const user = await findUser(deps.db, userId);
  if (!user) return;
  const mayMail = await deps.mayMail(user.email);
  const id = uuid();
  const sealed = deps.secrets.seal('oidc-payload', backchannelRow(id), JSON.stringify(details));
  await deps.db.transaction(async (db) => {
    const address = actor.address ?? null;
    await insertBackchannelRequest(db, { id, userId, clientId: client.id, sealed, address, expiresAt });
    const link = `${deps.issuer}${requestsPath}`;
    const minutes = Math.max(1, Math.round((expiresAt.getTime() - Date.now()) / 60_000));
    const props = { name: user.name, client: client.name, link, minutes, at: new Date() };
    if (mayMail) await deps.queueMail(db, user, { mail: 'backchannel-request', props });
    await recordEvent(db, actor, {
      action: 'backchannel.request',
      target: { type: 'user', id: userId },
      meta: { request: id, client: client.id },
    });
  });
};

/** How the person who decides has signed in. */
export interface DecidingSession {
  userId: string;
  sessionUid: string;
}

export interface Approval {
  clientId: string;
  userId: string;
  sessionUid: string;
  details: RequestDetails;
  acr: string;
  amr: string[];
  /** In seconds since 1970. */
  authTime: number;
}

/**
 * Whether a sign-in is what the application asked for. One that was made for this request is never too old: the person
 * has yet to read what they approve.
 */
const isAsked = (
  { acr, maxAge }: RequestDetails,
  { amr, authTime }: { amr: string[]; authTime: number },
  askedAt: Date,
): boolean =>
  (!acr || satisfies(acrOf(amr), acr.values)) &&
  (maxAge === undefined || Date.now() / 1000 - authTime <= maxAge || authTime >= Math.floor(askedAt.getTime() / 1000));

/** The class that the tokens tell: of essential ones always one that was asked for, if need be a weaker one. */
const toldAcr = ({ acr: wanted }: RequestDetails, amr: string[]): string => {
  const reached = acrOf(amr);
  if (!wanted?.essential || wanted.values.includes(reached)) return reached;
  return wanted.values.find((value) => satisfies(reached, [value])) ?? reached;
};

/**
 * What is to be decided, and how whoever decides has signed in: the tokens will tell the application so.
 * @throws AppError 404 request_not_found, also for one that is another person's, was decided or has expired; 403
 * session_needed when the session is gone, lacks a second factor that the account needs or, to approve, is not the sign-in
 * that the application asked for (`acr_values`, the claim `acr`, `max_age`)
 */
export const prepareDecision = async (
  { db, secrets, needsMfa }: { db: Db; secrets: Secrets; needsMfa(userId: string): Promise<boolean> },
  { userId, sessionUid }: DecidingSession,
  { id, decision }: { id: string; decision: 'approved' | 'denied' },
): Promise<Approval> => {
  const row = await findWaiting(db, userId, id);
  if (!row) throw notFound('request');
  const signIn = await findSessionSignIn(db, userId, sessionUid);
  const byClient = decision === 'approved' && (await requiresMfa(db, row.clientId));
  const enough =
    signIn && (byClient ? signIn.amr.includes('mfa') : hasSecondFactor(signIn) || !(await needsMfa(userId)));
  if (!signIn || !enough)
    throw forbidden('session_needed', 'This needs a sign-in that is alive, and its second factor');
  const details = openRequest(secrets, row);
  if (decision === 'approved' && !isAsked(details, signIn, row.createdAt))
    throw forbidden('session_needed', 'The application asks for a stronger or a newer sign-in than this one');
  return { clientId: row.clientId, userId, sessionUid, details, acr: toldAcr(details, signIn.amr), ...signIn };
};

/**
 * Writes a decision down in the transaction that the engine's part of it is saved in.
 * @throws AppError 404 request_not_found when it was decided meanwhile, or its client has changed since it asked
 */
export const recordDecision = async (
  db: Db,
  actor: Actor,
  { clientId, userId, details }: Approval,
  { id, decision }: { id: string; decision: 'approved' | 'denied' },
): Promise<void> => {
  const asked = await findWaiting(db, userId, id);
  if (!asked || !(await decideWaiting(db, { userId, id, decision }))) throw notFound('request');
  if (decision === 'approved' && !(await isTrusted(db, clientId, userId))) {
    const { scopes, claims, resources } = details;
    const askedAt = Math.floor(asked.createdAt.getTime() / 1000);
    await grantConsent(db, actor, userId, clientId, { scopes, claims, resources }, askedAt).catch((error: unknown) => {
      throw error instanceof AppError && error.code === 'session_not_found' ? notFound('request') : error;
    });
  }
  await recordEvent(db, actor, {
    action: decision === 'approved' ? 'backchannel.approve' : 'backchannel.deny',
    target: { type: 'client', id: clientId },
    meta: { request: id },
  });
};
