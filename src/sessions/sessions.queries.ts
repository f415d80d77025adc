/** Reads of `sessions`, `grants` and `consents`. A session's `payload` is oidc-provider's own. */
import type { Db } from '../../db/connect.ts';

export interface Session {
  uid: string;
  userAgent: string | null;
  address: string | null;
  /** Where it was begun, with GEOIP_DB. */
  country: string | null;
  city: string | null;
  startedAt: Date;
  lastSeenAt: Date;
  /** By client: what the engine keeps of each application that was signed in to. */
  authorizations: Record<string, { sid?: string; grantId?: string }>;
}

type StoredSession = Omit<Session, 'authorizations'> & { payload: Partial<Pick<Session, 'authorizations'>> };

const sessionColumns = [
  'uid',
  'userAgent',
  'address',
  'country',
  'city',
  'startedAt',
  'lastSeenAt',
  'payload',
] as const;

/** A user's live sessions, the one seen last first. */
export const listSessions = async (db: Db, userId: string): Promise<Session[]> => {
  const rows = await db('sessions')
    .where({ userId })
    .where('expiresAt', '>', db.fn.now())
    .orderBy('lastSeenAt', 'desc')
    .select(...sessionColumns);
  return rows.map(({ payload, ...row }) => ({ ...row, authorizations: payload.authorizations ?? {} }));
};

/** A page of a user's live sessions, the one begun last first. `after`: the last of the page before, to the millisecond. */
export const pageSessions = async (
  db: Db,
  userId: string,
  { limit, after }: { limit: number; after: { startedAt: Date; uid: string } | undefined },
): Promise<Session[]> => {
  const order = `date_trunc('milliseconds', started_at)`;
  const rows = await db('sessions')
    .where({ userId })
    .where('expiresAt', '>', db.fn.now())
    .modify((query) => {
      if (after) query.whereRaw(`(${order}, uid) < (cast(? as timestamptz), ?)`, [after.startedAt, after.uid]);
    })
    .orderByRaw(`${order} desc, uid desc`)
    .limit(limit)
    .select<StoredSession[]>(...sessionColumns);
  return rows.map(({ payload, ...row }) => ({ ...row, authorizations: payload.authorizations ?? {} }));
};

/** The session that a grant was given in, which may have ended since. */
export const findGrantSession = async (db: Db, grantId: string): Promise<string | undefined> =>
  (await db('grants').where({ id: grantId }).first('sessionUid'))?.sessionUid ?? undefined;

/** Whether a user's session is there; in a transaction it stays until that ends. */
export const isSessionLive = async (db: Db, userId: string, uid: string): Promise<boolean> =>
  (await db('sessions').where({ userId, uid }).where('expiresAt', '>', db.fn.now()).forKeyShare().first('uid')) !==
  undefined;

/** How the person of a live session signed in: by which methods (RFC 8176), and when, in seconds since 1970. */
export const findSessionSignIn = async (
  db: Db,
  userId: string,
  uid: string,
): Promise<{ amr: string[]; authTime: number } | undefined> => {
  const row = await db('sessions').where({ userId, uid }).where('expiresAt', '>', db.fn.now()).first('payload');
  return row && { amr: row.payload.amr ?? [], authTime: row.payload.loginTs };
};

/** What policies may ask about how a live session was signed in: its `acr`, and how risky that was (docs/risk.md). */
export const findSessionContext = async (
  db: Db,
  userId: string,
  uid: string,
): Promise<{ acr?: string; risk?: number }> => {
  const { rows } = (await db.raw(
    `select payload ->> 'acr' as acr, (select score from sign_ins where sign_ins.user_id = :userId and session_uid = :uid
       order by created_at desc limit 1) as risk
     from sessions where user_id = :userId and uid = :uid and expires_at > now() limit 1`,
    { userId, uid },
  )) as { rows: { acr: string | null; risk: number | null }[] };
  const [row] = rows;
  return { ...(row?.acr ? { acr: row.acr } : {}), ...(row?.risk == null ? {} : { risk: row.risk }) };
};

export interface Consent {
  clientId: string;
  scopes: string[];
  claims: string[];
  /** Scopes by resource indicator (RFC 8707). */
  resources: Record<string, string[]>;
  createdAt: Date;
}

const consentColumns = ['clientId', 'scopes', 'claims', 'resources', 'createdAt'] as const;

export const findConsent = (db: Db, userId: string, clientId: string): Promise<Consent | undefined> =>
  db('consents')
    .where({ userId, clientId })
    .first(...consentColumns);

/** What a person agreed to, with the client's name, the newest first. */
export const listConsents = (
  db: Db,
  userId: string,
): Promise<(Consent & { clientName: string | null; clientUri: string | null })[]> =>
  db('consents')
    .join('clients', 'clients.clientId', 'consents.clientId')
    .where({ userId })
    .orderBy('consents.updatedAt', 'desc')
    .select('clients.clientName', 'clients.clientUri', ...consentColumns.map((name) => `consents.${name}`));

/** Names of clients by id, for the ids given. */
export const clientNames = async (db: Db, clientIds: readonly string[]): Promise<Map<string, string>> => {
  const rows = await db('clients')
    .whereIn('clientId', [...clientIds])
    .select('clientId', 'clientName');
  return new Map(rows.map(({ clientId, clientName }) => [clientId, clientName ?? clientId]));
};
