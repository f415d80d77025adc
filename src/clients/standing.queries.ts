/** How far a client can be trusted now: no further than whoever answers for it. */
import { type Db, queryDirectly } from '../../db/connect.ts';
import { type AccessRow, accessOf, heldAnywhere, toAccess, type UserAccess } from '../roles/access.queries.ts';
import { intersect, mayPassOn } from '../roles/permissions.ts';
import { type User, userSelection } from '../users/users.queries.ts';
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
  permissions: readonly string[];
  /** What whoever answers for it may do everywhere. */
  backing: readonly string[];
  /** Whoever answers for it; null for the operator. */
  registrar: string | null;
}

/** What a standing is made of, beside what its registrar may do. */
export interface Backing {
  kind: Client['kind'];
  own: number;
  scope: string | null;
  trusted: boolean;
  registrar: string | null;
  /** The rank of the lowest role. */
  lowest: number;
}

/** @param access what the registrar may do; undefined of one who is gone */
export const toStanding = (
  { kind, own, scope, trusted: firstParty, registrar, lowest }: Backing,
  access: UserAccess | undefined,
): Standing => {
  const scopes = scope?.split(' ') ?? [];
  if (registrar === null)
    return { kind, firstParty, rank: own, isBacked: true, permissions: scopes, backing: ['*:*:*'], registrar };
  const isBacked = access !== undefined && access.rank >= own;
  return {
    kind,
    firstParty,
    rank: Math.min(own, access?.rank ?? lowest),
    isBacked,
    permissions: isBacked ? intersect(access.permissions, scopes) : [],
    backing: access?.permissions ?? [],
    registrar,
  };
};

/** SQL of the columns of a `Backing`. */
const backing = `clients.kind, clients.rank as own, clients.scope, clients.first_party as trusted,
       clients.created_by as registrar, (select min(rank) from roles) as lowest`;

/** What the standings of clients are made of, by id. */
export const findBackings = async (db: Db, clientIds: readonly string[]): Promise<Map<string, Backing>> => {
  const { rows } = (await db.raw(`select client_id, ${backing} from clients where client_id = any(:clientIds)`, {
    clientIds,
  })) as { rows: (Backing & { clientId: string })[] };
  return new Map(rows.map(({ clientId, ...row }) => [clientId, row]));
};

/** A row of `accessOf` that is joined: of nobody it has no values. */
type JoinedAccess = AccessRow | Record<keyof AccessRow, null>;

const accessIn = (row: JoinedAccess | null): UserAccess | undefined =>
  row === null || row.held_roles === null ? undefined : toAccess(row);

const standings = `select clients.client_id, ${backing}, access.*
     from clients left join lateral (${accessOf('clients.created_by')}) access on true
     where clients.client_id = any($1)`;

/** The standings of clients, by id. One query, since requests of applications ask it. */
export const findStandings = async (db: Db, clientIds: readonly string[]): Promise<Map<string, Standing>> => {
  const ids = clientIds.filter(isClientId);
  if (!ids.length) return new Map();
  type Row = { client_id: string } & Backing & JoinedAccess;
  const rows = await queryDirectly<Row>(db, standings, [ids]);
  return new Map(rows.map((row) => [row.client_id, toStanding(row, accessIn(row))]));
};

/** The standing of a client; undefined when there is none. */
export const findStanding = async (db: Db, clientId: string): Promise<Standing | undefined> =>
  (await findStandings(db, [clientId])).get(clientId);

/**
 * Whether a client is the operator's own to a person. To people who rank above whoever answers for it, or may do more, it is
 * somebody else's: an administrator must not be given tokens of those for the mere following of a link.
 */
export const isOwnTo = (
  standing: Standing | undefined,
  person: Pick<UserAccess, 'rank' | 'permissions' | 'organizations'> | undefined,
): boolean =>
  standing?.firstParty === true &&
  person !== undefined &&
  person.rank <= standing.rank &&
  heldAnywhere(person).every(
    (name) => name.startsWith('!') || name.endsWith(':own') || mayPassOn(standing.backing, name),
  );

/** SQL of what the trust of a person (`$2`) in a client (`$1`) is made of. */
const trustOf = `select clients.xmin::text as version, ${backing},
       to_jsonb(registrant) as registrant, to_jsonb(person) as person
     from clients left join lateral (${accessOf('clients.created_by')}) registrant on true
       left join lateral (${accessOf('$2::uuid')}) person on true
     where clients.client_id = $1`;

const userAndTrust = `select ${userSelection}, to_jsonb(trust) as trust
     from users left join lateral (${trustOf}) trust on true where users.id = $2`;

type TrustRow = Backing & { version: string; registrant: AccessRow | null; person: AccessRow | null };

const versionOf = (row: TrustRow | undefined): string | undefined =>
  row && isOwnTo(toStanding(row, accessIn(row.registrant)), accessIn(row.person)) ? row.version : undefined;

/**
 * As `isOwnTo`, of an active user: the client needs no consent of theirs.
 * @returns which version of the client's row it is true of; undefined when it is not
 */
export const findTrust = async (db: Db, clientId: string, userId: string): Promise<string | undefined> =>
  versionOf((await queryDirectly<TrustRow>(db, trustOf, [clientId, userId]))[0]);

/** An account, and `findTrust` of it. */
export const findUserAndTrust = async (
  db: Db,
  clientId: string,
  userId: string,
): Promise<{ user: User | undefined; version: string | undefined }> => {
  const [row] = await queryDirectly<User & { trust: TrustRow | null }>(db, userAndTrust, [clientId, userId]);
  if (!row) return { user: undefined, version: undefined };
  const { trust, ...user } = row;
  return { user, version: versionOf(trust ?? undefined) };
};

/** Whether it is true of the client as it is now. */
export const isTrusted = async (db: Db, clientId: string, userId: string): Promise<boolean> =>
  (await findTrust(db, clientId, userId)) !== undefined;

/**
 * Whether a client was registered here by somebody who ranks no lower than this person and still answers for it: then it is
 * what it says, as far as anybody here knows.
 */
export const isVouchedFor = (standing: Standing | undefined, rank: number | undefined): boolean =>
  standing?.kind === 'registered' && standing.isBacked && rank !== undefined && rank <= standing.rank;
