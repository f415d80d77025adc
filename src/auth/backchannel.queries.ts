/** Reads and single-statement writes of `backchannel_requests`. */
import type { Db } from '../../db/connect.ts';

interface Row {
  id: string;
  userId: string;
  clientId: string;
  sealed: Uint8Array;
  address: string | null;
  createdAt: Date;
  expiresAt: Date;
}

/** One that waits, with the name of the application that asks. */
export interface WaitingRow extends Row {
  clientName: string | null;
  clientKind: 'registered' | 'dynamic' | 'metadata-document';
}

const columns = ['id', 'userId', 'clientId', 'sealed', 'address', 'createdAt', 'expiresAt'] as const;

export const insertBackchannelRequest = async (db: Db, row: Omit<Row, 'createdAt'>): Promise<void> => {
  await db('backchannelRequests').insert(row);
};

const waiting = (db: Db, userId: string) =>
  db('backchannelRequests').where({ userId, decision: null }).where('backchannelRequests.expiresAt', '>', db.fn.now());

/** What waits for a person's decision, the latest first. `before`: the id of the last one of the page before. */
export const pageWaiting = (
  db: Db,
  userId: string,
  { limit, before }: { limit: number; before?: string | undefined },
): Promise<WaitingRow[]> =>
  waiting(db, userId)
    .join('clients', 'clients.clientId', 'backchannelRequests.clientId')
    .modify((query) => {
      if (before !== undefined) query.where('id', '<', before);
    })
    .orderBy('id', 'desc')
    .limit(limit)
    .select(
      'clients.clientName',
      'clients.kind as clientKind',
      ...columns.map((name) => `backchannelRequests.${name}`),
    );

export const countWaiting = async (db: Db, userId: string): Promise<number> => {
  const [row] = await waiting(db, userId).count<{ count: string | number }[]>('* as count');
  return Number(row?.count ?? 0);
};

export const findWaiting = (db: Db, userId: string, id: string): Promise<Row | undefined> =>
  waiting(db, userId)
    .where({ id })
    .first(...columns);

/** Of decisions that race the first one counts. @returns false when it was decided, has expired, or is not there */
export const decideWaiting = async (
  db: Db,
  { userId, id, decision }: { userId: string; id: string; decision: 'approved' | 'denied' },
): Promise<boolean> => (await waiting(db, userId).where({ id }).update({ decision, decidedAt: db.fn.now() })) === 1;
