/**
 * APIs that nobody registered here, and for which a person may give a client a token all the same (OPEN_RESOURCES): an MCP
 * server learns who its authorization server is, and not the other way round. The token is good there alone (RFC 8707), and
 * holds what that person agreed to.
 *
 * An API that *is* known here is not open, and neither is anything else on its origin: who may have tokens for it is for its
 * administrator to say. Known is what is registered, what takes tokens of this service or another one's by the configuration,
 * and what is a client: a token whose audience is a client_id could be taken for an id_token.
 */
import type { Db } from '../../db/connect.ts';
import { literally } from '../../db/patterns.ts';
import type { Config } from '../config.ts';
import { loopback } from '../settings.ts';

const identifierLengthMax = 500;

type OpenSettings = Pick<Config, 'OPEN_RESOURCES' | 'JWT_ISSUER' | 'JWT_AUD' | 'AUTH_OIDC_AUDIENCE' | 'NODE_ENV'>;

/**
 * Whether an unknown API may be called so: an https URL, or in development http on loopback, spelled as it is compared; none of
 * our own origin, nor of an audience's that we or the operator's other issuer have.
 */
const canBeOpen = (settings: OpenSettings, identifier: string): boolean => {
  const { OPEN_RESOURCES, JWT_ISSUER, JWT_AUD, AUTH_OIDC_AUDIENCE, NODE_ENV } = settings;
  if (!OPEN_RESOURCES || identifier.length > identifierLengthMax || !/^https?:\/\/[\x21-\x7e]+$/.test(identifier))
    return false;
  const url = URL.parse(identifier);
  if (!url || url.username || url.password || identifier.includes('#') || identifier.includes('*')) return false;
  if (url.href !== identifier && url.href !== `${identifier}/`) return false;
  if (url.protocol === 'http:' && (NODE_ENV === 'production' || !loopback.has(url.hostname))) return false;
  return ![JWT_ISSUER, JWT_AUD, ...AUTH_OIDC_AUDIENCE].some((own) => URL.parse(own)?.origin === url.origin);
};

/**
 * Whether any API on this origin is known here, or this is a client's id. A stranger's document beside an API must not close it,
 * so of those the very address counts.
 */
const isKnown = async (db: Db, identifier: string): Promise<boolean> => {
  const { origin } = new URL(identifier);
  const { rows } = (await db.raw(
    `select identifier as name from resource_servers where identifier ilike :pattern
     union select audience from clients where audience is not null and audience ilike :pattern
     union select client_id from clients where client_id in (:identifier, :identifier || '/', rtrim(:identifier, '/'))
     union select entry from clients, jsonb_array_elements_text(
         coalesce(token_exchange -> 'subject_audiences', '[]') || coalesce(token_exchange -> 'resources', '[]')) entry
       where token_exchange is not null and entry ilike :pattern`,
    { pattern: `${literally(origin)}%`, identifier },
  )) as { rows: { name: string }[] };
  return rows.some(({ name }) => URL.parse(name)?.origin === origin);
};

/** Whether a client may be given tokens for an API of this name that nobody registered. */
export const isOpenResource = async (db: Db, settings: OpenSettings, identifier: string): Promise<boolean> =>
  canBeOpen(settings, identifier) && !(await isKnown(db, identifier));

/** The scopes of resource servers that every client may ask for; of these a client that registers itself may name any. */
export const listOpenScopes = async (db: Db): Promise<string[]> => {
  const rows: { scopes: { name: string }[] }[] = await db('resourceServers').where({ allow: 'any' }).select('scopes');
  return [...new Set(rows.flatMap(({ scopes }) => scopes.map(({ name }) => name)))];
};
