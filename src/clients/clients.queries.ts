/** Reads of `clients`. Members of `ClientMetadata` carry the names of RFC 7591 and OpenID Connect Registration. */
import type { Db } from '../../db/connect.ts';

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
  firstParty: boolean;
  requirePkce: boolean;
  theme: ClientTheme | null;
  /** Of whoever registered it: what it does on its own goes no further than they could. */
  rank: number;
  createdAt: Date;
}

/** What a client may change about the look of the pages it sends people to. */
export interface ClientTheme {
  accent?: string;
  accentDark?: string;
  radius?: string;
  font?: string;
  logo?: string;
}

const columns = [
  'clientId',
  'clientSecretHash',
  'clientSecretExpiresAt',
  'clientName',
  'clientUri',
  'logoUri',
  'policyUri',
  'tosUri',
  'contacts',
  'applicationType',
  'redirectUris',
  'postLogoutRedirectUris',
  'grantTypes',
  'responseTypes',
  'scope',
  'tokenEndpointAuthMethod',
  'tokenEndpointAuthSigningAlg',
  'jwks',
  'jwksUri',
  'idTokenSignedResponseAlg',
  'userinfoSignedResponseAlg',
  'subjectType',
  'sectorIdentifierUri',
  'initiateLoginUri',
  'defaultMaxAge',
  'requireAuthTime',
  'defaultAcrValues',
  'backchannelLogoutUri',
  'backchannelLogoutSessionRequired',
  'firstParty',
  'requirePkce',
  'theme',
  'rank',
  'createdAt',
] as const;

/** RFC 6749 appendix A.1: anything else is nobody's identifier, and some of it PostgreSQL would not even take. */
const isClientId = (id: string) => /^[\x20-\x7e]+$/.test(id);

export const findClient = async (db: Db, clientId: string): Promise<Client | undefined> =>
  !isClientId(clientId)
    ? undefined
    : db('clients')
        .where({ clientId })
        .first(...columns);

export const listClients = (db: Db): Promise<Client[]> =>
  db('clients')
    .orderBy('createdAt')
    .orderBy('clientId')
    .select(...columns);

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The row as RFC 7591 metadata: members that are not set are left out, and so is everything about the secret. */
export const clientMetadata = ({
  clientSecretHash: _hash,
  clientSecretExpiresAt: _expires,
  rank: _rank,
  createdAt,
  ...client
}: Client): Record<string, unknown> => ({
  ...Object.fromEntries(
    Object.entries(client).flatMap(([name, value]) => (value === null ? [] : [[snake(name), value]])),
  ),
  client_id_issued_at: Math.floor(createdAt.getTime() / 1000),
});
