/** Reads and writes of `sign_ins`. */
import { type Bind, createBindings, insertion } from '../../db/bindings.ts';
import { type Db, queryDirectly } from '../../db/connect.ts';
import { hashToken } from '../secrets.ts';
import type { Assessment, RiskFactor, RiskOutcome } from './risk.ts';

export interface NewSignIn {
  id: string;
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

/** SQL that writes a sign-in down. */
export const signInInsertion = ({ assessment, amr, ...signIn }: NewSignIn, bind: Bind): string => {
  const { country, city, latitude, longitude, network } = assessment.place ?? {};
  const row = {
    id: signIn.id,
    user_id: signIn.userId,
    client_id: signIn.clientId,
    amr: [...amr],
    address: signIn.address,
    user_agent: signIn.userAgent,
    device_hash: signIn.deviceHash,
    token_hash: signIn.tokenHash,
    outcome: assessment.outcome,
    score: assessment.score,
    factors: JSON.stringify(assessment.factors),
    ...{ country, city, latitude, longitude, network },
    created_at: new Date(),
  };
  return insertion('sign_ins', row, bind);
};

export const insertSignIn = async (db: Db, signIn: NewSignIn): Promise<void> => {
  const { values, bind } = createBindings();
  await queryDirectly(db, signInInsertion(signIn, bind), values);
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
