/** Reads of `clients`. */
import type { Db } from '../../db/connect.ts';
import { camelCase } from '../../db/names.ts';
import { literally } from '../../db/patterns.ts';
import { isClientId } from './client-ids.ts';
import { members } from './client-members.ts';
import type { ExchangePolicy } from './exchange-policy.ts';

/** A row, in code's case. */
export interface Client {
  clientId: string;
  clientSecretHash: string | null;
  clientSecretExpiresAt: Date | null;
  clientName: string | null;
  clientUri: string | null;
  logoUri: string | null;
  policyUri: string | null;
  tosUri: string | null;
  contacts: string[];
  applicationType: 'web' | 'native';
  redirectUris: string[];
  postLogoutRedirectUris: string[];
  grantTypes: string[];
  responseTypes: string[];
  scope: string | null;
  tokenEndpointAuthMethod: string;
  tokenEndpointAuthSigningAlg: string | null;
  jwks: { keys: Record<string, unknown>[] } | null;
  jwksUri: string | null;
  idTokenSignedResponseAlg: string | null;
  userinfoSignedResponseAlg: string | null;
  subjectType: 'public' | 'pairwise';
  sectorIdentifierUri: string | null;
  initiateLoginUri: string | null;
  defaultMaxAge: number | null;
  requireAuthTime: boolean;
  defaultAcrValues: string[];
  backchannelLogoutUri: string | null;
  backchannelLogoutSessionRequired: boolean;
  requestObjectSigningAlg: string | null;
  requestObjectEncryptionAlg: string | null;
  requestObjectEncryptionEnc: string | null;
  authorizationSignedResponseAlg: string | null;
  authorizationEncryptedResponseAlg: string | null;
  authorizationEncryptedResponseEnc: string | null;
  idTokenEncryptedResponseAlg: string | null;
  idTokenEncryptedResponseEnc: string | null;
  userinfoEncryptedResponseAlg: string | null;
  userinfoEncryptedResponseEnc: string | null;
  introspectionSignedResponseAlg: string | null;
  introspectionEncryptedResponseAlg: string | null;
  introspectionEncryptedResponseEnc: string | null;
  tlsClientAuthSubjectDn: string | null;
  tlsClientAuthSanDns: string | null;
  tlsClientAuthSanUri: string | null;
  tlsClientAuthSanIp: string | null;
  tlsClientAuthSanEmail: string | null;
  backchannelTokenDeliveryMode: string | null;
  backchannelClientNotificationEndpoint: string | null;
  backchannelAuthenticationRequestSigningAlg: string | null;
  softwareId: string | null;
  softwareVersion: string | null;
  requirePushedAuthorizationRequests: boolean;
  requireSignedRequestObject: boolean;
  dpopBoundAccessTokens: boolean;
  tlsClientCertificateBoundAccessTokens: boolean;
  useMtlsEndpointAliases: boolean;
  responseModes: string[] | null;
  authorizationDetailsTypes: string[];
  /** A name of `profiles`. */
  profile: string | null;
  firstParty: boolean;
  requirePkce: boolean;
  /** Everybody who signs in there needs a second factor. */
  requireMfa: boolean;
  /** Everybody signs in there for one organization. */
  requireOrganization: boolean;
  theme: ClientTheme | null;
  /** Which tokens it may exchange for others, beside API keys. */
  tokenExchange: ExchangePolicy | null;
  /** `aud` of its access tokens, where it is not JWT_AUD. */
  audience: string | null;
  accessTokenFormat: 'jwt' | 'opaque';
  /** Follows the configuration: nobody else changes it. */
  builtIn: boolean;
  /** The secret before this one, while it is rotated. */
  previousSecretHash: string | null;
  previousSecretExpiresAt: Date | null;
  /** Of whoever registered it: what it does on its own goes no further than they could. */
  rank: number;
  /** Who answers for it: null for the operator. */
  createdBy: string | null;
  createdAt: Date;
  /** `registered` by somebody who may, `dynamic` by itself (RFC 7591), or read from the document that its id is the URL of. */
  kind: 'registered' | 'dynamic' | 'metadata-document';
  /** What it was let register by, and may change by. */
  softwarePolicy: string | null;
  /** Of the token that it manages its registration with (RFC 7592). */
  registrationTokenHash: string | null;
  /** Of a metadata document: until when it need not be fetched again. */
  metadataExpiresAt: Date | null;
  /** To the day, of clients that nobody registered; null: never. */
  lastUsedAt: Date | null;
  /** Of a metadata document: since when it is nobody's, because an administrator said so. */
  blockedAt: Date | null;
  /** Whether somebody answers for it: an administrator, or whoever made the token that it registered with. */
  vouchedFor: boolean;
  /** Goes up when its tokens are revoked: those that it got for itself carry the one that they were made in. */
  tokenGeneration: number;
}

/** What a client may change about the look of the pages it sends people to. */
export interface ClientTheme {
  accent?: string;
  accentDark?: string;
  radius?: string;
  font?: string;
  logo?: string;
}

/** Every column that metadata sets: full replacement takes those that are not named back to their defaults. */
export const metadataColumns = Object.keys(members).map(camelCase) as (keyof Client)[];

const columns = [
  ...metadataColumns,
  'clientId',
  'clientSecretHash',
  'clientSecretExpiresAt',
  'builtIn',
  'previousSecretHash',
  'previousSecretExpiresAt',
  'rank',
  'createdBy',
  'createdAt',
  'kind',
  'softwarePolicy',
  'registrationTokenHash',
  'metadataExpiresAt',
  'lastUsedAt',
  'blockedAt',
  'vouchedFor',
  'tokenGeneration',
] as const;

export const findClient = async (db: Db, clientId: string): Promise<Client | undefined> =>
  !isClientId(clientId)
    ? undefined
    : db('clients')
        .where({ clientId })
        .first(...columns);

/** Whether everybody who signs in to an application needs a second factor there. */
export const requiresMfa = async (db: Db, clientId: string): Promise<boolean> =>
  isClientId(clientId) && (await db('clients').where({ clientId, requireMfa: true }).first('clientId')) !== undefined;

/** What the service's own clients are called. */
export const listBuiltInNames = async (db: Db): Promise<string[]> => {
  const rows: { clientName: string | null }[] = await db('clients').where({ builtIn: true }).select('clientName');
  return rows.flatMap(({ clientName }) => clientName ?? []);
};

/** Whether it is the audience that some client has for its tokens. */
export const isClientAudience = async (db: Db, audience: string): Promise<boolean> =>
  (await db('clients').where({ audience }).first('clientId')) !== undefined;

/**
 * The client, locked until the transaction ends against whoever else would change it. Rows that refer to it may still come
 * to be: with a stronger lock, a deletion and a request that holds such a row would wait for each other.
 */
export const lockClient = async (db: Db, clientId: string): Promise<Client | undefined> =>
  !isClientId(clientId)
    ? undefined
    : db('clients')
        .where({ clientId })
        .forNoKeyUpdate()
        .first(...columns);

/**
 * Clients in order of their ids, all unless `limit` is given.
 * @param q part of a name, or the beginning of an id
 */
export const listClients = (
  db: Db,
  { after, limit, q }: { after?: string | undefined; limit?: number; q?: string | undefined } = {},
): Promise<Client[]> =>
  db('clients')
    .modify((query) => {
      if (after !== undefined) query.where('clientId', '>', after);
      if (limit !== undefined) query.limit(limit);
      if (q !== undefined)
        query.where((either) =>
          either.where('clientName', 'ilike', `%${literally(q)}%`).orWhere('clientId', 'like', `${literally(q)}%`),
        );
    })
    .orderBy('clientId')
    .select(...columns);
