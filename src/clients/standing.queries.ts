/** How far a client can be trusted now: no further than whoever answers for it. */
import type { Db } from '../../db/connect.ts';
import { intersect } from '../roles/permissions.ts';
import { type AccessRow, accessOf, findUserAccess, toAccess } from '../roles/roles.queries.ts';
import { isClientId } from './client-ids.ts';
import type { Client } from './clients.queries.ts';

export interface Standing {
  kind: Client['kind'];
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
  clientId: string;
  kind: Client['kind'];
  own: number;
  scope: string | null;
  trusted: boolean;
  registrar: string | null;
  lowest: number;
  /** Null when the registrar has no access, or there is none. */
  rank: number | null;
}

const toStanding = (row: Row): Standing => {
  const { kind, own, scope, trusted: firstParty, registrar, lowest, rank } = row;
  const scopes = scope?.split(' ') ?? [];
  if (registrar === null) return { kind, firstParty, rank: own, isBacked: true, permissions: scopes, registrar };
  const access = rank === null ? undefined : toAccess({ ...row, rank });
  const isBacked = access !== undefined && access.rank >= own;
  return {
    kind,
    firstParty,
    rank: Math.min(own, access?.rank ?? lowest),
    isBacked,
    permissions: isBacked ? intersect(access.permissions, scopes) : [],
    registrar,
  };
};

/** The standings of clients, by id. One query, since requests of applications ask it. */
export const findStandings = async (db: Db, clientIds: readonly string[]): Promise<Map<string, Standing>> => {
  const ids = clientIds.filter(isClientId);
  if (!ids.length) return new Map();
  const { rows } = (await db.raw(
    `select clients.client_id, clients.kind, clients.rank as own, clients.scope, clients.first_party as trusted,
       clients.created_by as registrar, (select min(rank) from roles) as lowest, access.*
     from clients left join lateral (${accessOf('clients.created_by')}) access on true
     where clients.client_id in (${ids.map(() => '?').join(', ')})`,
    ids,
  )) as { rows: Row[] };
  return new Map(rows.map((row) => [row.clientId, toStanding(row)]));
};

/** The standing of a client; undefined when there is none. */
export const findStanding = async (db: Db, clientId: string): Promise<Standing | undefined> =>
  (await findStandings(db, [clientId])).get(clientId);

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
export const isVouchedFor = (standing: Standing | undefined, rank: number | undefined): boolean =>
  standing?.kind === 'registered' && standing.isBacked && rank !== undefined && rank <= standing.rank;
