/**
 * What is read of a realm export. Keycloak has written it for ten years in ever other shapes: members that are not known are
 * ignored, and one that is not of its type is as if it were not there, so that one odd value does not cost the whole.
 */
import { z } from 'zod';

const text = z.string().max(4000).optional().catch(undefined);
/** What is looked up by: PostgreSQL takes no NUL, and half a surrogate pair is no text. */
const key = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^\p{Cc}\p{Cs}]+$/u);
const id = key.optional().catch(undefined);
const flag = z
  .union([z.boolean(), z.enum(['true', 'false']).transform((value) => value === 'true')])
  .optional()
  .catch(undefined);
const texts = z.array(z.string().max(2000)).max(2000).catch([]).default([]);
const byClient = z.record(z.string(), texts).catch({}).default({});
const attributes = z
  .record(z.string(), z.union([z.array(z.coerce.string()), z.string().transform((value) => [value])]).catch([]))
  .catch({})
  .default({});
const settings = z.record(z.string(), z.coerce.string()).catch({}).default({});

export const KeycloakCredential = z.object({
  type: text,
  userLabel: text,
  /** As people write an import by hand. */
  value: text,
  temporary: flag,
  /** JSON, since version 9. */
  credentialData: z.string().max(20_000).optional().catch(undefined),
  secretData: z.string().max(20_000).optional().catch(undefined),
  /** Before. */
  hashedSaltedValue: text,
  salt: text,
  hashIterations: z.int().optional().catch(undefined),
  algorithm: text,
  digits: z.int().optional().catch(undefined),
  period: z.int().optional().catch(undefined),
});
export type KeycloakCredential = z.output<typeof KeycloakCredential>;

export const KeycloakUser = z.object({
  id,
  username: key,
  email: text,
  emailVerified: flag,
  enabled: flag,
  firstName: text,
  lastName: text,
  attributes,
  credentials: z.array(KeycloakCredential).max(200).catch([]).default([]),
  requiredActions: texts,
  realmRoles: texts,
  clientRoles: byClient,
  groups: texts,
  federatedIdentities: z
    .array(z.object({ identityProvider: z.string().max(255), userId: z.string().max(1000) }))
    .max(100)
    .catch([])
    .default([]),
  serviceAccountClientId: text,
  federationLink: text,
});
export type KeycloakUser = z.output<typeof KeycloakUser>;

const Role = z.object({
  id,
  name: z.string().min(1).max(255),
  description: text,
  composites: z.object({ realm: texts, client: byClient }).optional().catch(undefined),
});
export type KeycloakRole = z.output<typeof Role>;

export interface KeycloakGroup {
  id?: string | undefined;
  name: string;
  attributes: Record<string, string[]>;
  realmRoles: string[];
  clientRoles: Record<string, string[]>;
  subGroups: KeycloakGroup[];
}
const Group: z.ZodType<KeycloakGroup> = z.object({
  id,
  name: z.string().min(1).max(255),
  attributes,
  realmRoles: texts,
  clientRoles: byClient,
  subGroups: z.lazy(() => z.array(Group).max(10_000).catch([]).default([])),
}) as z.ZodType<KeycloakGroup>;

export const KeycloakClient = z.object({
  id,
  clientId: key,
  name: text,
  enabled: flag,
  protocol: text,
  rootUrl: text,
  baseUrl: text,
  redirectUris: texts,
  webOrigins: texts,
  secret: text,
  clientAuthenticatorType: text,
  bearerOnly: flag,
  publicClient: flag,
  consentRequired: flag,
  standardFlowEnabled: flag,
  implicitFlowEnabled: flag,
  directAccessGrantsEnabled: flag,
  serviceAccountsEnabled: flag,
  authorizationServicesEnabled: flag,
  attributes: settings,
  defaultClientScopes: texts.optional(),
  optionalClientScopes: texts.optional(),
  protocolMappers: z
    .array(z.object({ name: z.string() }))
    .catch([])
    .default([]),
});
export type KeycloakClient = z.output<typeof KeycloakClient>;

export const KeycloakProvider = z.object({
  internalId: id,
  alias: key,
  displayName: text,
  providerId: z.string(),
  enabled: flag,
  trustEmail: flag,
  config: settings,
});
export type KeycloakProvider = z.output<typeof KeycloakProvider>;

const named = z
  .array(z.object({ name: z.string() }))
  .catch([])
  .default([]);

export const Realm = z.object({
  id,
  realm: key,
  roles: z
    .object({
      realm: z.array(Role).catch([]).default([]),
      client: z.record(z.string(), z.array(Role).catch([])).catch({}).default({}),
    })
    .optional()
    .catch(undefined),
  defaultRole: z.object({ name: z.string() }).optional().catch(undefined),
  defaultRoles: texts,
  groups: z.array(Group).catch([]).default([]),
  clients: z.array(z.unknown()).catch([]).default([]),
  identityProviders: z.array(z.unknown()).catch([]).default([]),
  authenticationFlows: z
    .array(z.object({ alias: z.string(), builtIn: flag, topLevel: flag }))
    .catch([])
    .default([]),
  clientScopes: named,
  components: z
    .record(z.string(), z.array(z.object({ name: z.string(), providerId: text })).catch([]))
    .catch({})
    .default({}),
  organizations: named,
  smtpServer: settings,
  passwordPolicy: text,
  webAuthnPolicyRpId: text,
  webAuthnPolicyPasswordlessRpId: text,
});
export type Realm = z.output<typeof Realm>;
