/**
 * APIs that tokens are made for (RFC 8707), and which clients may ask for what there. The REST API of this service is none of
 * them: what its scopes allow is the permissions' business.
 */
import type { Db } from '../../db/connect.ts';
import { permissionsOf, permits } from '../roles/permissions.ts';

export interface Scope {
  name: string;
  /** For people, on the consent page. */
  description: string | null;
}

/** What one client may do with a resource server. */
export interface ResourceClient {
  clientId: string;
  /** The scopes that it may ask for; null: all of them. */
  scopes: string[] | null;
  /** Whether it may introspect every token for this resource server: it is that API's own client. */
  introspects: boolean;
}

export interface ResourceServer {
  id: string;
  /** An absolute URI: the value of `resource`, and the audience of the tokens. */
  identifier: string;
  name: string;
  description: string | null;
  scopes: Scope[];
  accessTokenFormat: 'jwt' | 'opaque';
  /** In seconds; null: JWT_ACCESS_TTL. */
  accessTokenTtl: number | null;
  /** Null: that of clients which ask for none. */
  signingAlg: string | null;
  /** Whether every client may ask for tokens, or only those that are listed. */
  allow: 'any' | 'listed';
  rank: number;
  createdBy: string | null;
  createdAt: Date;
  updatedAt: Date;
}

export interface ListedResourceServer extends ResourceServer {
  clients: ResourceClient[];
}

const columns = ['id', 'identifier', 'name', 'description', 'scopes', 'access_token_format', 'access_token_ttl']
  .concat(['signing_alg', 'allow', 'rank', 'created_by', 'created_at', 'updated_at'])
  .map((name) => `resource_servers.${name}`);

const listed = `coalesce((select json_agg(json_build_object(
    'clientId', c.client_id, 'scopes', to_json(c.scopes), 'introspects', c.introspects) order by c.client_id)
  from resource_server_clients c where c.resource_server_id = resource_servers.id), '[]') as clients`;

const withClients = (db: Db) => db('resourceServers').select(...columns, db.raw(listed));

export const findResourceServer = (db: Db, id: string): Promise<ListedResourceServer | undefined> =>
  withClients(db).where({ id }).first();

/** In order of their ids, which is that in which they were made. */
export const listResourceServers = (
  db: Db,
  { after, limit }: { after?: string | undefined; limit: number },
): Promise<ListedResourceServer[]> =>
  withClients(db)
    .modify((query) => {
      if (after !== undefined) query.where('id', '>', after);
    })
    .orderBy('id')
    .limit(limit);

/** What people are told of resource servers, by identifier. */
export const findResourceTexts = (
  db: Db,
  identifiers: readonly string[],
): Promise<Pick<ResourceServer, 'identifier' | 'name' | 'scopes'>[]> =>
  db('resourceServers').whereIn('identifier', identifiers).select('identifier', 'name', 'scopes');

/** Whether there is a resource server of this identifier. */
export const isResourceServer = async (db: Db, identifier: string): Promise<boolean> =>
  (await db('resourceServers').where({ identifier }).first('id')) !== undefined;

/** A resource server as one client meets it. */
export interface Meeting extends Pick<ResourceServer, 'accessTokenFormat' | 'accessTokenTtl' | 'signingAlg'> {
  /** The scopes that the client may ask for. */
  allowed: string[];
  /** Whether it may introspect every token for this resource server. */
  introspects: boolean;
}

/** What a meeting is made of. */
export interface MeetingRow
  extends Pick<ResourceServer, 'accessTokenFormat' | 'accessTokenTtl' | 'signingAlg' | 'allow'> {
  /** Null where there is no such resource server. */
  scopes: Scope[] | null;
  isListed: boolean;
  clientScopes: string[] | null;
  introspects: boolean | null;
  /** Of the client: its registered scope, and the audience that it has for the default resource. */
  registered: string | null;
  audience: string | null;
  kind: 'registered' | 'dynamic' | 'metadata-document' | null;
  /** What its software policy lets its clients have. */
  policyScope: string | null;
}

/** One query, since every token for a resource server asks it. */
export const findMeetingRow = async (db: Db, identifier: string, clientId: string): Promise<MeetingRow> => {
  const { rows } = (await db.raw(
    `select server.scopes, server.allow, server.access_token_format, server.access_token_ttl, server.signing_alg,
       link.client_id is not null as is_listed, link.scopes as client_scopes, link.introspects,
       clients.scope as registered, clients.audience, clients.kind, policy.scope as policy_scope
     from (values (:identifier, :clientId)) as asked (identifier, client_id)
     left join resource_servers server on server.identifier = asked.identifier
     left join resource_server_clients link
       on link.resource_server_id = server.id and link.client_id = asked.client_id
     left join clients on clients.client_id = asked.client_id
     left join software_policies policy on policy.name = clients.software_policy`,
    { identifier, clientId },
  )) as { rows: MeetingRow[] };
  return rows[0] as MeetingRow;
};

/**
 * Whether a client that nobody registered, and that named no scope, may ask for this one: nothing that a client which names its
 * scopes would not get. So what a person agrees to, and no permission; what its software policy has, if that says anything. What
 * an administrator has listed for it stands.
 */
const isForUnbound = ({ clientScopes, policyScope }: MeetingRow, name: string, alone: boolean): boolean =>
  clientScopes !== null ||
  (!alone && !permissionsOf([name]).length && (policyScope === null || covers(policyScope.split(' '), name)));

/**
 * What the client may ask for: of what the resource server declares, what its own entry there leaves, and what it is registered
 * for, if it is registered for any scope at all. Undefined where it may ask for nothing, or there is no such resource server.
 * @param alone whether it asks for itself, and there is no person who agrees
 */
export const toMeeting = (row: MeetingRow, alone: boolean): Meeting | undefined => {
  const { scopes, allow, isListed, clientScopes, registered, introspects, kind } = row;
  if (!scopes || (allow === 'listed' && !isListed)) return undefined;
  const own = registered?.split(' ');
  const allowed = scopes
    .map(({ name }) => name)
    .filter((name) => clientScopes === null || clientScopes.includes(name))
    .filter((name) => (own ? covers(own, name) : kind === 'registered' || isForUnbound(row, name, alone)));
  return { ...row, allowed, introspects: introspects === true };
};

/** Whether a scope is among these: as it is written, or as a permission that one of them includes. */
const covers = (scopes: readonly string[], name: string): boolean =>
  scopes.includes(name) || (permissionsOf([name]).length > 0 && permits(permissionsOf(scopes), name));

/** Of an access token. */
export interface AudienceClaims {
  audience: string;
  clientId: string;
  scope: string | undefined;
  /** None: the client's own. */
  grantId: string | undefined;
}

/** Whether the client of a token may still have every scope of it there. */
export const standsThere = (
  row: MeetingRow,
  { scope, grantId }: Pick<AudienceClaims, 'scope' | 'grantId'>,
): boolean => {
  const meeting = toMeeting(row, grantId === undefined);
  return meeting !== undefined && (scope?.split(' ') ?? []).every((name) => covers(meeting.allowed, name));
};

/**
 * Whether a token for this audience still stands: its resource server is there and the client may still have every scope of
 * it. An audience that is none of a resource server must be the one that the client has for the default resource, or, where
 * people may give tokens for APIs that are not known here, one that the token's grant still has all of its scope for.
 */
export const isAudienceLive = async (
  db: Db,
  { audience, clientId, scope, grantId }: AudienceClaims,
  { openResources }: { openResources: boolean },
): Promise<boolean> => {
  const row = await findMeetingRow(db, audience, clientId);
  const names = scope?.split(' ') ?? [];
  if (row.scopes !== null) return standsThere(row, { scope, grantId });
  if (row.audience === audience) return true;
  if (!openResources || grantId === undefined) return false;
  const grant = await db('grants').where({ id: grantId }).first('payload');
  const granted = (grant?.payload as { resources?: Record<string, string> } | undefined)?.resources?.[audience];
  return names.every((name) => covers(granted?.split(' ') ?? [], name));
};

/** Whether one of these audiences is a resource server whose own client this is. */
export const introspectsFor = async (db: Db, clientId: string, audiences: readonly string[]): Promise<boolean> =>
  (await db('resourceServerClients')
    .join('resourceServers', 'resourceServers.id', 'resourceServerClients.resourceServerId')
    .where({ 'resourceServerClients.clientId': clientId, introspects: true })
    .whereIn('resourceServers.identifier', audiences)
    .first('resourceServers.id')) !== undefined;
