/** How far a client can be trusted now: no further than whoever answers for it. */
import type { Db } from '../../db/connect.ts';
import { intersect } from '../roles/permissions.ts';
import { type AccessRow, accessOf, findUserAccess, toAccess } from '../roles/roles.queries.ts';
import { isClientId } from './clients.queries.ts';

export interface Standing {
  firstParty: boolean;
  /** The lower one of its own and its registrar's. A registrar who is gone counts as somebody of the lowest role. */
  rank: number;
  /** False once its registrar is gone, or ranks lower than when they gave it its scope. */
  isBacked: boolean;
  /** What it may do on its own; nothing unless it is backed. */
  permissions: string[];
  /** Whoever answers for it; null for the operator. */
  registrar: string | null;
}

interface Row extends Omit<AccessRow, 'rank'> {
  own: number;
  scope: string | null;
  trusted: boolean;
  registrar: string | null;
  lowest: number;
  /** Null when the registrar has no access, or there is none. */
  rank: number | null;
}

/** The standing of a client; undefined when there is none. One query, since requests of applications ask it. */
export const findStanding = async (db: Db, clientId: string): Promise<Standing | undefined> => {
  if (!isClientId(clientId)) return undefined;
  const { rows } = (await db.raw(
    `select clients.rank as own, clients.scope, clients.first_party as trusted, clients.created_by as registrar,
       (select min(rank) from roles) as lowest, access.*
     from clients left join lateral (${accessOf('clients.created_by')}) access on true
     where clients.client_id = :clientId`,
    { clientId },
  )) as { rows: Row[] };
  const [row] = rows;
  if (!row) return undefined;
  const { own, scope, trusted: firstParty, registrar, lowest, rank } = row;
  const scopes = scope?.split(' ') ?? [];
  if (registrar === null) return { firstParty, rank: own, isBacked: true, permissions: scopes, registrar };
  const access = rank === null ? undefined : toAccess({ ...row, rank });
  const isBacked = access !== undefined && access.rank >= own;
  return {
    firstParty,
    rank: Math.min(own, access?.rank ?? lowest),
    isBacked,
    permissions: isBacked ? intersect(access.permissions, scopes) : [],
    registrar,
  };
};

/**
 * Whether a client is the operator's own to somebody of this rank. To people who rank above whoever answers for it it is
 * somebody else's: an administrator must not be given tokens of a higher one for the mere following of a link.
 */
export const isOwnTo = (standing: Standing | undefined, rank: number | undefined): boolean =>
  standing?.firstParty === true && rank !== undefined && rank <= standing.rank;

/** As `isOwnTo`, of an active user: the client needs no consent of theirs. */
export const isTrusted = async (db: Db, clientId: string, userId: string): Promise<boolean> => {
  const standing = await findStanding(db, clientId);
  return standing?.firstParty === true && isOwnTo(standing, (await findUserAccess(db, userId))?.rank);
};

/**
 * Whether a client was registered here by somebody who ranks no lower than this person and still answers for it: then it is
 * what it says, as far as anybody here knows.
 */
export const isVouchedFor = async (
  db: Db,
  { clientId, kind }: { clientId: string; kind: string },
  userId: string,
): Promise<boolean> => {
  const standing = kind === 'registered' ? await findStanding(db, clientId) : undefined;
  const access = standing?.isBacked ? await findUserAccess(db, userId) : undefined;
  return standing !== undefined && access !== undefined && access.rank <= standing.rank;
};
