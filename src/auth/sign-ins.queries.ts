/** Reads and writes of `sign_ins`. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { hashToken } from '../secrets.ts';
import {
  type Assessment,
  failureMinutes,
  historyMax,
  type PastSignIn,
  type RiskFactor,
  type RiskOutcome,
} from './risk.ts';

/** More failures are not told apart. */
const failuresCounted = 100;

/**
 * What a sign-in is compared with, in one statement: the person's earlier ones, and how many failed just now. What was
 * refused, or disowned by the owner, makes nothing known.
 */
export const findHistory = async (db: Db, userId: string): Promise<{ history: PastSignIn[]; failures: number }> => {
  const { rows } = (await db.raw(
    `select past.*, failed.failures from (
       select count(*)::int as failures from (
         select from audit_logs where target_type = 'user' and target_id = ? and action = 'session.sign_in_failed'
           and at > now() - interval '${failureMinutes} minutes' limit ${failuresCounted}
       ) recent
     ) failed left join lateral (
       select created_at as at, country, network, latitude, longitude from sign_ins
       where user_id = ? and outcome <> 'refuse' and disowned_at is null
       order by created_at desc, id desc limit ${historyMax}
     ) past on true`,
    [userId, userId],
  )) as { rows: (Omit<PastSignIn, 'at'> & { at: Date | null; failures: number })[] };
  return {
    history: rows.flatMap(({ at, country, network, latitude, longitude }) =>
      at ? [{ at, country, network, latitude, longitude }] : [],
    ),
    failures: rows[0]?.failures ?? 0,
  };
};

export interface NewSignIn {
  userId: string;
  clientId: string | undefined;
  amr: readonly string[];
  address: string | undefined;
  userAgent: string | undefined;
  deviceHash: string | undefined;
  /** Of the link that ends its session. */
  tokenHash: string | undefined;
  assessment: Assessment;
}

/** @returns its id */
export const insertSignIn = async (db: Db, { assessment, amr, ...signIn }: NewSignIn): Promise<string> => {
  const id = uuid();
  const { country, city, latitude, longitude, network } = assessment.place ?? {};
  await db('signIns').insert({
    id,
    ...signIn,
    amr: [...amr],
    outcome: assessment.outcome,
    score: assessment.score,
    factors: JSON.stringify(assessment.factors),
    ...{ country, city, latitude, longitude, network },
    createdAt: new Date(),
  });
  return id;
};

/** A sign-in as the page shows it that can take it back. */
export interface DisownableSignIn {
  at: Date;
  userAgent: string | null;
  address: string | null;
  country: string | null;
  city: string | null;
}

export const findDisownable = (db: Db, token: string): Promise<DisownableSignIn | undefined> =>
  db('signIns')
    .where({ tokenHash: hashToken(token), disownedAt: null })
    .first('createdAt as at', 'userAgent', 'address', 'country', 'city');

export interface StoredSignIn extends DisownableSignIn {
  id: string;
  sessionUid: string | null;
  clientId: string | null;
  clientName: string | null;
  network: string | null;
  amr: string[];
  outcome: RiskOutcome;
  score: number;
  factors: RiskFactor[];
  disownedAt: Date | null;
}

/** A page of somebody's sign-ins, the newest first. `after`: the last of the page before. */
export const pageSignIns = (
  db: Db,
  userId: string,
  { limit, after }: { limit: number; after: Pick<StoredSignIn, 'at' | 'id'> | undefined },
): Promise<StoredSignIn[]> =>
  db('signIns')
    .leftJoin('clients', 'clients.clientId', 'signIns.clientId')
    .where({ userId })
    .modify((query) => {
      if (after)
        query.whereRaw('(sign_ins.created_at, sign_ins.id) < (cast(? as timestamptz), cast(? as uuid))', [
          after.at,
          after.id,
        ]);
    })
    .orderBy([
      { column: 'signIns.createdAt', order: 'desc' },
      { column: 'signIns.id', order: 'desc' },
    ])
    .limit(limit)
    .select(
      'signIns.id',
      'signIns.createdAt as at',
      'sessionUid',
      'signIns.clientId',
      'clientName',
      'userAgent',
      'address',
      'country',
      'city',
      'network',
      'amr',
      'outcome',
      'score',
      'factors',
      'disownedAt',
    );
