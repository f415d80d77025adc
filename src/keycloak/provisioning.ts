/** What provisioning needs of Keycloak, and how a person looks there. The adapter speaks the Admin REST API. */
import type { Secrets } from '../secrets.ts';
import { openPii } from '../users/pii.ts';

/** Members of Keycloak's UserRepresentation that are read or written; further ones are left as they are. */
export interface KeycloakPerson {
  id?: string;
  username?: string;
  email?: string;
  emailVerified?: boolean;
  enabled?: boolean;
  firstName?: string;
  lastName?: string;
  attributes?: Record<string, string[]>;
  [member: string]: unknown;
}

export interface KeycloakAdmin {
  /** Whoever has exactly this address. */
  findByEmail(email: string): Promise<KeycloakPerson | undefined>;
  get(id: string): Promise<KeycloakPerson | undefined>;
  /** @returns the id; undefined when the username or address is taken */
  create(person: KeycloakPerson): Promise<string | undefined>;
  update(id: string, person: KeycloakPerson): Promise<'updated' | 'gone' | 'taken'>;
}

/** Keycloak said no in a way that would be the same for everybody (a refused service account, no such realm). */
export class KeycloakRefusal extends Error {}

/** A row as it is provisioned. */
export interface Provisionable {
  id: string;
  email: string;
  name: string;
  locale: string | null;
  status: 'active' | 'deactivated' | 'closed';
  emailVerified: boolean;
  piiKey: Uint8Array | null;
  piiEncrypted: Uint8Array | null;
}

/** Names the account here: what Keycloak keeps of attributes is for its user profile to say. */
export const idAttribute = 'countersign_id';

const splitName = (name: string): { firstName: string; lastName: string } => {
  const at = name.lastIndexOf(' ');
  return at === -1 ? { firstName: name, lastName: '' } : { firstName: name.slice(0, at), lastName: name.slice(at + 1) };
};

/**
 * What Keycloak should have of a person. Neither password nor second factor: people sign in there through this service, or set
 * a password of their own. A closed account is disabled there, and nothing more of it is known here.
 */
export const toKeycloakPerson = (secrets: Secrets, user: Provisionable): KeycloakPerson => {
  if (user.status === 'closed') return { enabled: false };
  const { given_name: given, family_name: family } = openPii(secrets, user);
  return {
    email: user.email,
    emailVerified: user.emailVerified,
    enabled: user.status === 'active',
    ...(given || family ? { firstName: given ?? '', lastName: family ?? '' } : splitName(user.name)),
    attributes: { [idAttribute]: [user.id], ...(user.locale ? { locale: [user.locale] } : {}) },
  };
};

/**
 * The representation to send: Keycloak takes what is missing in one for empty, so what is there is kept. The username stays;
 * where a realm uses the address for it, Keycloak changes it by itself.
 */
export const mergePerson = (there: KeycloakPerson, wanted: KeycloakPerson): KeycloakPerson => ({
  ...there,
  ...wanted,
  ...(wanted.attributes ? { attributes: { ...there.attributes, ...wanted.attributes } } : {}),
});
