/** What the adapters of all models share. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Adapter, type AdapterPayload, errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Bind } from '../db/bindings.ts';
import type { Db } from '../db/connect.ts';
import { transact } from '../db/transact.ts';
import { type Actor, recordEvent, system } from '../src/audit/logs.commands.ts';
import type { Meetings } from '../src/resource-servers/meetings.ts';
import type { Secrets } from '../src/secrets.ts';
import type { DeviceBinding } from '../src/sessions/device-binding.ts';
import { type QueueLogout, revokeGrants } from '../src/sessions/sessions.commands.ts';
import type { Begun } from './begun-sessions.ts';
import type { Redemption } from './code-redemptions.ts';
import type { FindClientMetadata } from './oidc-clients.ts';
import type { TokenReads } from './token-reads.ts';

/** What holds for sessions beyond their lifetimes. */
export interface SessionRules {
  /** How many a person may have; 0: any number. */
  perUser: number;
  binding: DeviceBinding;
  /** What a browser shows of itself to an account; without a device cookie no hash. */
  shown(
    ctx: Pick<KoaContextWithOIDC, 'cookies' | 'get'>,
    userId: string,
  ): { deviceHash: string | undefined; userAgent: string };
  /** Tells somebody that a session of theirs was ended because another device had its cookie. */
  tellOwner(db: Db, actor: Actor, userId: string): Promise<void>;
  queueLogout: QueueLogout;
}

export interface OidcStorage {
  db: Db;
  findClientMetadata: FindClientMetadata;
  meetings: Meetings;
  secrets: Secrets;
  /** For how long a refresh whose answer was lost may be repeated. */
  refreshTokenGraceSeconds: number;
  /** Longest life of an access token: how long the revocation of a JWT must be remembered. */
  accessTokenMaxSeconds: number;
  /** Audience of tokens for our own API. */
  ownAudience: string;
  /** Whether people may give tokens for APIs that are not known here. */
  openResources: boolean;
  /** Unless given, nothing more holds. */
  sessions?: SessionRules | undefined;
  /** Reads a token with what its life hangs on. */
  reads: TokenReads;
  /** Turns the opaque name of a JWT access token into the payload that the engine would have stored, if it is alive. */
  findJwt(model: 'AccessToken' | 'ClientCredentials', name: string): Promise<AdapterPayload | undefined>;
}

/** What an adapter does for the methods that the engine never calls on its model. */
export const unused = (model: string): Adapter => {
  const refuse = (method: string) => () => Promise.reject(new Error(`${model}.${method} is not a thing`));
  return {
    upsert: refuse('upsert'),
    find: refuse('find'),
    findByUid: refuse('findByUid'),
    findByUserCode: refuse('findByUserCode'),
    consume: refuse('consume'),
    destroy: refuse('destroy'),
    revokeByGrantId: refuse('revokeByGrantId'),
  };
};

/** A token as it is stored. */
export interface TokenRow {
  model: string;
  idHash: string;
  payload: string;
  grantId: string | null;
  userCodeHash: string | null;
  expiresAt: Date | null;
}

/** What the adapters remember of the request that they serve. */
export interface RequestState {
  /** Under which identifier (hashed) the browser's session was read or last saved. */
  sessionFrom?: string;
  /** That cookie came from another device than the one that signed in: whoever has it must show who they are. */
  otherDevice?: boolean;
  /** The Grants that were read. */
  grants?: Set<string>;
  /** The API key that is exchanged for a token. */
  apiKeyId?: string;
  /** The grant of the token that is exchanged, and the session that this token is bound to. */
  source?: { grantId: string; sessionUid: string | null };
  /** The refresh token (hashed) that its successor is to take the place of. */
  rotates?: string;
  /**
   * Puts the successor into its place, with the access token that is stored at the same time. Until then nothing is written: a
   * refresh that fails leaves the token as it was.
   * @throws InvalidGrant when the token was used before, and may not be presented again
   */
  rotation?(accessToken?: TokenRow): Promise<void>;
  /** The same, once it is under way. */
  rotated?: Promise<void>;
  /** The interaction (hashed) that was deleted when it was read. */
  taken?: string;
  /** What is saved with the session that begins. */
  begun?: Begun;
  /** Of the client's row, by which it was the operator's own to this person a moment ago; undefined where it was not. */
  trust?: { clientId: string; userId: string; version: string | undefined };
  /** The code that is exchanged, and what it gives. */
  redemption?: Redemption;
  /** Writes the exchange down, in the transaction that saves its Grant. */
  recordExchange?(db: Db, grantId: string): Promise<void>;
}

/** Of the engine's current request; outside one, a state that nobody sees again. */
export const requestState = (): RequestState => {
  const { ctx } = Provider;
  if (!ctx) return {};
  ctx.state.storage ??= {};
  return ctx.state.storage as RequestState;
};

/** To be called when an access token was made: a refresh that gives one that is stored nowhere has not replaced its token yet. */
export const startRotation = async (): Promise<void> => requestState().rotation?.();

/** To be called before anything that a refresh gives is handed out. @throws InvalidGrant when the refresh token was used before */
export const finishRotation = async (): Promise<void> => requestState().rotated;

/** Whose session the engine's request has, unless its cookie comes from another device than the one that signed in. */
export const sessionAccount = ({ oidc }: KoaContextWithOIDC): string | undefined =>
  requestState().otherDevice ? undefined : oidc.session?.accountId;

/** A sign-in's result, with when the password that was given had been set (milliseconds; 0: never). */
export interface FreshLogin {
  credential?: number;
  /** The row of `sign_ins` that the session is bound to. */
  signInId?: string;
}

/** A sign-in that did not come through the authorization endpoint: REST, or the password grant. */
export interface DirectSignIn extends Required<Pick<FreshLogin, 'credential'>>, Pick<FreshLogin, 'signInId'> {
  /** How it was made, for the tokens that come of it. */
  authentication: { acr: string; amr: string[]; authTime: number };
  /** The session that it begins. */
  sessionUid: string;
  userAgent: string | null;
  address: string | null;
}

const directSignIns = new AsyncLocalStorage<DirectSignIn>();

/** Saves models as part of a direct sign-in: they learn from it what a request to the engine would otherwise tell. */
export const inDirectSignIn = <T>(signIn: DirectSignIn, save: () => Promise<T>): Promise<T> =>
  directSignIns.run(signIn, save);

export const directSignIn = (): DirectSignIn | undefined => directSignIns.getStore();

/** The sign-in that the current request finishes; empty when it finishes none. */
export const freshLogin = (): FreshLogin => directSignIn() ?? ((Provider.ctx?.oidc.result?.login ?? {}) as FreshLogin);

/**
 * A sign-in waits in its interaction until the browser comes back for it. If the password has changed meanwhile, it is
 * the sign-in of somebody who may not know the new one. Pass a transaction: the user's row is locked in it, so that a
 * change of password either waits for what is saved here and then ends it, or is seen.
 */
export const assertFreshSignIn = async (db: Db, userId: string): Promise<void> => {
  const { credential } = freshLogin();
  if (credential === undefined) return;
  const user = await db('users').where({ id: userId, status: 'active' }).forShare().first('passwordChangedAt');
  if (!user || Number(user.passwordChangedAt ?? 0) !== credential)
    throw new errors.AccessDenied('the password has changed since this sign-in');
};

/** SQL of what `assertFreshSignIn` asks, for a statement that writes only where it holds: one row, locked. */
export const freshPerson = (userId: string, credential: number, bind: Bind): string =>
  `select from users where id = ${bind(userId)} and status = 'active'
     and coalesce(floor(extract(epoch from password_changed_at) * 1000)::bigint, 0) = ${bind(credential)}::bigint for share`;

/** A single-use value was used again: whatever came of it ends, and the log says so (RFC 9700 section 4.14.2). */
export const endFamily = (db: Db, grantId: string): Promise<void> =>
  transact(db, async (db) => {
    await revokeGrants(db, [grantId]);
    await recordEvent(db, system, { action: 'token.replay', target: { type: 'grant', id: grantId } });
  });
