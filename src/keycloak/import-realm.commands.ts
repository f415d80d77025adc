/** Brings roles, groups, clients and identity providers of a realm over. There are few of them, and users refer to them. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { assertValid, readMetadata, type ValidateClient } from '../clients/client-changes.ts';
import { type NewClient, toRow, usesSecret, withDefaults } from '../clients/client-metadata.ts';
import { operatorPowers } from '../clients/clients.commands.ts';
import { findClient } from '../clients/clients.queries.ts';
import { AppError } from '../errors.ts';
import { findProviderRow, sealProviderSecrets } from '../federation/identity-providers.queries.ts';
import { callbackPath, type IdentityProvider } from '../federation/identity-providers.ts';
import { hashToken, randomToken, type Secrets } from '../secrets.ts';
import type { PlannedClient } from './clients.ts';
import { isSameProvider, type PlannedProvider } from './providers.ts';
import { findReferences, lockImports, type ReferenceKind, saveReferences } from './references.queries.ts';
import type { Kind, Reporter } from './report.ts';
import type { PlannedGroup, PlannedRole } from './roles.ts';

export interface RealmImport {
  actor: Actor;
  /** Ours. */
  issuer: string;
  system: string;
  realm: string;
  dryRun: boolean;
  reporter: Reporter;
}

/** They are told from each other by their id alone, and never changed by a second import. */
const unchanging = '';
/** Of a group that was given its roles. An earlier version gave them to its members, and left this empty. */
const withRoles = 'roles';

/** Above nobody: somebody who holds one is no higher than before. */
const importedRank = 1;
/** As those of the operator's own file: whoever ranks higher does not come in by way of them. */
const providerRank = 99;

const record = (db: Db, { actor, realm }: RealmImport, kind: Kind, created: number, updated?: number): Promise<void> =>
  recordEvent(db, actor, {
    action: 'keycloak.import',
    target: { type: 'realm', id: realm },
    meta: { kind, created, ...(updated ? { updated } : {}) },
  });

/** The ids of what was planned, old or new, as `create` makes it; each kind in one transaction. */
const importKind = <Planned extends { externalId: string }>(
  db: Db,
  run: RealmImport,
  { kind, name, exists }: { kind: ReferenceKind; name: Kind; exists(db: Db, ids: string[]): Promise<Set<string>> },
  planned: readonly Planned[],
  {
    keyOf,
    create,
    gone,
    fingerprint = unchanging,
    complete,
  }: {
    keyOf(one: Planned): string;
    create(db: Db, one: Planned, id: string, ids: ReadonlyMap<string, string>): Promise<void>;
    gone(one: Planned): void;
    fingerprint?: string;
    /** Adds what an earlier version left out. */
    complete?(db: Db, one: Planned, id: string): Promise<void>;
  },
): Promise<Map<string, string>> =>
  db.transaction(async (db) => {
    await lockImports(db);
    const references = await findReferences(
      db,
      run.system,
      kind,
      planned.map(({ externalId }) => externalId),
    );
    const present = await exists(
      db,
      [...references.values()].map(({ localId }) => localId),
    );
    const ids = new Map<string, string>();
    const made: { externalId: string; localId: string; fingerprint: string }[] = [];
    const completed: typeof made = [];
    for (const one of planned) {
      const reference = references.get(one.externalId);
      const isComplete = reference?.fingerprint === fingerprint || !present.has(reference?.localId ?? '');
      run.reporter.count(name, reference ? (isComplete ? 'unchanged' : 'updated') : 'created');
      if (reference && !present.has(reference.localId)) {
        gone(one);
        continue;
      }
      const id = reference?.localId ?? uuid();
      ids.set(keyOf(one), id);
      const saved = { externalId: one.externalId, localId: id, fingerprint };
      if (!reference) {
        await create(db, one, id, ids);
        made.push(saved);
      } else if (!isComplete) {
        if (!run.dryRun) await complete?.(db, one, id);
        completed.push(saved);
      }
    }
    if (run.dryRun || !(made.length + completed.length)) return ids;
    await saveReferences(db, run.system, kind, [...made, ...completed]);
    await record(db, run, name, made.length, completed.length);
    return ids;
  });

const presentIn =
  (table: 'roles' | 'groups') =>
  async (db: Db, ids: string[]): Promise<Set<string>> =>
    new Set<string>(await db(table).whereIn('id', ids).pluck('id'));

/**
 * Imported roles rank low and permit nothing, whatever they are called: in Keycloak it was applications that gave them a
 * meaning. A name that is taken here is somebody else's, so that nobody becomes an administrator by it.
 * @returns our ids by the key of Keycloak's role
 */
export const importRoles = async (
  db: Db,
  run: RealmImport,
  planned: readonly PlannedRole[],
): Promise<Map<string, string>> => {
  const names = planned.flatMap(({ name, otherName }) => [name, otherName]);
  const rows: { name: string }[] = await db('roles').whereIn('name', names).select('name');
  const taken = new Set(rows.map(({ name }) => name));
  return importKind(db, run, { kind: 'role', name: 'roles', exists: presentIn('roles') }, planned, {
    keyOf: ({ key }) => key,
    gone: ({ name }) => run.reporter.note('role-missing', name),
    create: async (db, { name, otherName, description }, id) => {
      let chosen = name;
      if (taken.has(name)) chosen = taken.has(otherName) || otherName.length > 64 ? `keycloak/${id}` : otherName;
      if (chosen !== name) run.reporter.note('role-renamed', `${name} -> ${chosen}`);
      taken.add(chosen);
      if (run.dryRun) return;
      await db('roles').insert({
        id,
        name: chosen,
        description: description.replace(/\p{C}/gu, '').slice(0, 500),
        rank: importedRank,
      });
    },
  });
};

/**
 * Groups have the roles that they had in Keycloak, which their members and the groups within them have by that.
 * @returns our ids by Keycloak's path
 */
export const importGroups = (
  db: Db,
  run: RealmImport,
  planned: readonly PlannedGroup[],
  roleIds: ReadonlyMap<string, string>,
): Promise<Map<string, string>> => {
  const giveRoles = async (db: Db, { ownRoles }: PlannedGroup, groupId: string) => {
    const grants = ownRoles
      .flatMap((key) => roleIds.get(key) ?? [])
      .map((roleId) => ({ groupId, roleId, grantedBy: 'keycloak' }));
    if (grants.length) await db('roleGrants').insert(grants).onConflict().ignore();
  };
  return importKind(db, run, { kind: 'group', name: 'groups', exists: presentIn('groups') }, planned, {
    keyOf: ({ path }) => path,
    gone: () => {},
    fingerprint: withRoles,
    complete: giveRoles,
    create: async (db, one, id, ids) => {
      if (run.dryRun) return;
      const { name, parentPath, externalId } = one;
      const parentId = parentPath === undefined ? null : (ids.get(parentPath) ?? null);
      await db('groups').insert({ id, parentId, name, externalRef: `${run.system}:${externalId}` });
      await giveRoles(db, one, id);
    },
  });
};

/** As it can be registered: without the redirect URIs that are refused. @throws AppError when it cannot be at all */
const makeValid = async (
  { clientId, metadata: planned, secret }: PlannedClient,
  validate: ValidateClient,
  reporter: Reporter,
): Promise<{ metadata: NewClient; secret: string | undefined }> => {
  const attempt = async (uris: string[]) => {
    const metadata = withDefaults(readMetadata({ ...planned, redirect_uris: uris }));
    const kept = usesSecret(metadata) ? (secret ?? randomToken()) : undefined;
    await assertValid(validate, clientId, metadata, kept);
    return { metadata, secret: kept };
  };
  const uris = planned.redirect_uris ?? [];
  try {
    return await attempt(uris);
  } catch (error) {
    if (!(error instanceof AppError) || uris.length < 2) throw error;
    const fine: string[] = [];
    for (const uri of uris)
      await attempt([uri]).then(
        () => fine.push(uri),
        () => reporter.note('client-redirect-refused', `${clientId}: ${uri}`),
      );
    return attempt(fine);
  }
};

/** Registers a client of Keycloak's under its own id, so that the application needs another issuer and nothing else. */
export const importClient = async (
  db: Db,
  run: RealmImport,
  planned: PlannedClient,
  validate: ValidateClient,
): Promise<void> => {
  const { system, dryRun, reporter, actor } = run;
  const { clientId, externalId } = planned;
  if ((await findReferences(db, system, 'client', [externalId])).size) return reporter.count('clients', 'unchanged');
  const leaveOut = (code: 'client-taken' | 'client-refused', item: string) => {
    reporter.count('clients', 'left out');
    reporter.note(code, item);
  };
  if (await findClient(db, clientId)) return leaveOut('client-taken', clientId);
  let valid: Awaited<ReturnType<typeof makeValid>>;
  try {
    // Not in the transaction: the engine may have to fetch what the client points at.
    valid = await makeValid(planned, validate, reporter);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return leaveOut('client-refused', `${clientId}: ${error.message}`);
  }
  if (!dryRun)
    await db.transaction(async (db) => {
      await db('clients').insert({
        ...toRow(valid.metadata),
        clientId,
        clientSecretHash: valid.secret ? hashToken(valid.secret) : null,
        rank: operatorPowers.rank,
        createdBy: null,
      });
      await saveReferences(db, system, 'client', [{ externalId, localId: clientId, fingerprint: unchanging }]);
      await recordEvent(db, actor, {
        action: 'client.create',
        target: { type: 'client', id: clientId },
        meta: { from: 'keycloak' },
      });
    });
  reporter.count('clients', 'created');
};

/**
 * Brings an identity provider over, under the id that its alias makes.
 * @param fromFile one of that id in the operator's file
 * @returns the id that links with it are kept under; undefined when they mean nothing here
 */
export const importProvider = async (
  db: Db,
  secrets: Secrets,
  run: RealmImport,
  planned: PlannedProvider,
  fromFile: IdentityProvider | undefined,
): Promise<string | undefined> => {
  const { system, dryRun, reporter } = run;
  const { id, alias, externalId, metadata } = planned;
  const links = planned.sameSubjects ? id : undefined;
  if ((await findReferences(db, system, 'identity-provider', [externalId])).size) {
    reporter.count('identity providers', 'unchanged');
    return links;
  }
  const present = fromFile ?? (await findProviderRow(db, id));
  if (present) {
    const same = isSameProvider(planned, present.metadata);
    reporter.count('identity providers', same ? 'unchanged' : 'left out');
    if (!same) reporter.note('provider-taken', alias);
    return same ? links : undefined;
  }
  reporter.note('provider-callback', `${alias}: ${run.issuer}${callbackPath(id)}`);
  reporter.count('identity providers', 'created');
  if (dryRun) return links;
  await db.transaction(async (db) => {
    await db('identityProviders').insert({
      id,
      metadata: JSON.stringify(metadata),
      secretsEncrypted: sealProviderSecrets(secrets, id, planned.secrets),
      rank: providerRank,
      createdBy: null,
    });
    await saveReferences(db, system, 'identity-provider', [{ externalId, localId: id, fingerprint: unchanging }]);
    await record(db, run, 'identity providers', 1);
  });
  return links;
};
