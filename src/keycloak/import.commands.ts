/**
 * Moves a realm of Keycloak here: `countersign import keycloak`. What came over is remembered by Keycloak's ids, so that it can be
 * done again, and users who changed there since follow, unless they were changed here as well.
 */
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import type { ValidateClient } from '../clients/client-changes.ts';
import type { IdentityProvider } from '../federation/identity-providers.ts';
import { planClient } from './clients.ts';
import { importClient, importGroups, importProvider, importRoles, type RealmImport } from './import-realm.commands.ts';
import { importUsers, type UserImportDeps } from './import-users.commands.ts';
import { planProvider } from './providers.ts';
import { KeycloakClient, KeycloakProvider, KeycloakUser, Realm } from './realm.ts';
import { readRealm, readUsers } from './realm-file.ts';
import { createReporter, type ImportReport, type Reporter } from './report.ts';
import { isOwnClient, planGroups, planRoles } from './roles.ts';
import { type PlannedUser, planUser, type UserContext } from './users.ts';

export interface ImportDeps extends UserImportDeps {
  db: Db;
  validateClient: ValidateClient;
  /** What passkeys are bound to here: the host of the issuer, or a domain above it. */
  relyingPartyId: string;
  /** Ours, in front of the redirect URIs of identity providers. */
  issuer: string;
  /** Of the operator's file. */
  findFileProvider(id: string): IdentityProvider | undefined;
}

export interface ImportOptions {
  /** A file, or the folder of a realm's files. */
  path: string;
  dryRun: boolean;
  /** Clients of which Keycloak asked no consent are the operator's own. */
  firstParty: boolean;
  /** Keycloak answered where this service does, so passkeys go on working. */
  passkeys: boolean;
}

/** In a transaction. */
const batchSize = 200;

/** What a realm has that there is nothing of here. */
const noteRest = (realm: Realm, reporter: Reporter): void => {
  for (const { alias, builtIn, topLevel } of realm.authenticationFlows)
    if (builtIn === false && topLevel !== false) reporter.note('realm-flows', alias);
  for (const { name } of realm.components['org.keycloak.storage.UserStorageProvider'] ?? [])
    reporter.note('realm-storage', name);
  const builtIn =
    /^(address|email|phone|profile|offline_access|acr|basic|microprofile-jwt|role_list|roles|web-origins)$/;
  const more = /^(service_account|organization|saml_organization)$/;
  for (const { name } of realm.clientScopes)
    if (!builtIn.test(name) && !more.test(name)) reporter.note('realm-scopes', name);
  for (const { name } of realm.organizations) reporter.note('realm-organizations', name);
  if (realm.smtpServer.host) reporter.note('realm-mail', realm.smtpServer.host);
  if (realm.passwordPolicy) reporter.note('realm-password-policy', realm.passwordPolicy);
  reporter.note('realm-keys', realm.realm);
};

const importProviders = async ({ db, secrets, findFileProvider }: ImportDeps, run: RealmImport, realm: Realm) => {
  const providerIds = new Map<string, string>();
  for (const entry of realm.identityProviders) {
    const parsed = KeycloakProvider.safeParse(entry);
    const planned = parsed.success ? planProvider(parsed.data, run.reporter) : undefined;
    const id = planned && (await importProvider(db, secrets, run, planned, findFileProvider(planned.id)));
    if (planned && id !== undefined) providerIds.set(planned.alias, id);
  }
  return providerIds;
};

const importClients = async (
  { db, validateClient }: ImportDeps,
  run: RealmImport,
  realm: Realm,
  firstParty: boolean,
) => {
  const { reporter } = run;
  for (const [at, entry] of realm.clients.entries()) {
    const parsed = KeycloakClient.safeParse(entry);
    if (!parsed.success) {
      reporter.count('clients', 'left out');
      reporter.note('client-unreadable', String((entry as { name?: unknown } | null)?.name ?? `the ${at + 1}. client`));
    } else if (!isOwnClient(parsed.data.clientId, realm.realm)) {
      const planned = planClient(parsed.data, { firstParty, reporter });
      if (planned) await importClient(db, run, planned, validateClient);
    }
  }
};

const parseUser = (text: string): KeycloakUser | undefined => {
  try {
    return KeycloakUser.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
};

/** Users as they come, in batches; of two with the same address the first. */
async function* planUsers(path: string, context: UserContext): AsyncGenerator<PlannedUser[]> {
  const { reporter } = context;
  const addresses = new Set<string>();
  let batch: PlannedUser[] = [];
  let number = 0;
  for await (const text of readUsers(path)) {
    number++;
    const user = parseUser(text);
    if (!user) {
      reporter.count('users', 'left out');
      reporter.note('user-unreadable', `the ${number}. user`);
      continue;
    }
    const planned = planUser(user, context);
    if (!planned) continue;
    if (addresses.has(planned.email)) {
      reporter.count('users', 'left out');
      reporter.note('user-email-taken', planned.username);
      continue;
    }
    addresses.add(planned.email);
    batch.push(planned);
    if (batch.length === batchSize) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length) yield batch;
}

/**
 * Imports a realm. A dry run reads, decides and reports the same, and writes nothing.
 * @throws Error when the file is not there or no realm export; AppError or the database's error when it cannot go on: what was
 *   imported until then stays, and the next run goes on from there
 */
export const importKeycloak = async (
  deps: ImportDeps,
  actor: Actor,
  { path, dryRun, firstParty, passkeys }: ImportOptions,
): Promise<ImportReport> => {
  const parsed = Realm.safeParse(await readRealm(path));
  if (!parsed.success) throw new Error(`${path}: no realm export of Keycloak (it has no \`realm\`, which names it)`);
  const realm = parsed.data;
  const reporter = createReporter(realm.realm, dryRun);
  const run: RealmImport = {
    actor,
    issuer: deps.issuer,
    system: `keycloak:${realm.id ?? realm.realm}`,
    realm: realm.realm,
    dryRun,
    reporter,
  };

  const roles = planRoles(realm, reporter);
  const groups = planGroups(realm, roles, reporter);
  const roleIds = await importRoles(deps.db, run, roles.roles);
  const groupIds = await importGroups(deps.db, run, groups, roleIds);
  await importClients(deps, run, realm, firstParty);
  const providerIds = await importProviders(deps, run, realm);

  const sameRelyingParty = [realm.webAuthnPolicyRpId, realm.webAuthnPolicyPasswordlessRpId].includes(
    deps.relyingPartyId,
  );
  const context: UserContext = {
    roles,
    groups: new Map(groups.map((group) => [group.path, group])),
    linksWith: (alias) => providerIds.has(alias),
    passkeys: passkeys || sameRelyingParty,
    reporter,
  };
  for await (const batch of planUsers(path, context))
    await importUsers(deps, { ...run, roleIds, groupIds, providerIds }, batch);
  noteRest(realm, reporter);
  return reporter.report();
};
