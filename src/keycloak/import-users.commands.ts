/** Brings users of a realm over, a batch in a transaction, with everything that belongs to them. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { dropMailedLinks } from '../auth/action-tokens.commands.ts';
import type { Passwords } from '../auth/passwords.ts';
import { AppError } from '../errors.ts';
import { joinByAddress } from '../roles/joining.commands.ts';
import type { Secrets } from '../secrets.ts';
import { sealPii } from '../users/pii.ts';
import { insertBelongings, untangle } from './belongings.commands.ts';
import { fingerprintOf, isUnchanged, mark, onlyByGroups } from './fingerprints.ts';
import {
  findAddressHolders,
  findImportedUsers,
  findReferences,
  findTakenIds,
  type ImportedUser,
  lockImports,
  saveReferences,
} from './references.queries.ts';
import type { NoteCode, Outcome, Reporter } from './report.ts';
import type { PlannedUser } from './users.ts';

export interface UserImportDeps {
  db: Db;
  secrets: Secrets;
  passwords: Pick<Passwords, 'hash'>;
  endSessions(db: Db, actor: Actor, userId: string, except: string | undefined, reason: string): Promise<void>;
}

export interface UserImport {
  actor: Actor;
  /** What the references of the realm are kept under. */
  system: string;
  realm: string;
  dryRun: boolean;
  reporter: Reporter;
  /** Our roles by the key of Keycloak's. */
  roleIds: ReadonlyMap<string, string>;
  groupIds: ReadonlyMap<string, string>;
  /** Our providers by the alias of Keycloak's. */
  providerIds: ReadonlyMap<string, string>;
}

/** What is done about one user. */
export interface Decision {
  user: PlannedUser;
  outcome: Outcome;
  notes: NoteCode[];
  id: string;
  fingerprint: string;
  /** As it is here now. */
  present?: ImportedUser;
  /** An earlier version gave them the roles of their groups one by one, which the groups give now. */
  untangles?: boolean;
}

type Hashes = ReadonlyMap<PlannedUser, string>;

const decideAgain = (
  secrets: Secrets,
  user: PlannedUser,
  present: ImportedUser,
  holder: string | undefined,
): Decision => {
  const base = { user, id: present.localId, fingerprint: fingerprintOf(secrets, user), present };
  const untangles = !present.fingerprint.startsWith(mark);
  const isTangled = untangles && onlyByGroups(user).length > 0;
  const leave = (...notes: NoteCode[]): Decision => ({ ...base, outcome: 'unchanged', notes });
  if (isUnchanged(secrets, user, present.fingerprint)) return { ...leave(), untangles };
  if (present.status === 'closed') return leave('user-closed');
  if (!present.untouched || present.elevated)
    return leave('user-changed-here', ...(isTangled ? (['group-roles-direct'] as const) : []));
  if (holder !== undefined && holder !== present.localId) return leave('user-email-taken');
  return { ...base, outcome: 'updated', notes: [], untangles };
};

/** What is to be done about each, from what is there now. */
const decide = async (db: Db, secrets: Secrets, system: string, users: readonly PlannedUser[]): Promise<Decision[]> => {
  const known = await findImportedUsers(
    db,
    system,
    users.map(({ externalId }) => externalId),
  );
  const holders = await findAddressHolders(
    db,
    users.map(({ email }) => email),
  );
  const taken = await findTakenIds(
    db,
    users.flatMap(({ id }) => id ?? []),
  );
  return users.map((user) => {
    const present = known.get(user.externalId);
    const holder = holders.get(user.email);
    if (present) return decideAgain(secrets, user, present, holder);
    const fingerprint = fingerprintOf(secrets, user);
    if (holder) return { user, outcome: 'left out', notes: ['user-email-taken'], id: '', fingerprint };
    const keepsId = user.id !== undefined && !taken.has(user.id);
    const id = keepsId ? (user.id as string) : uuid();
    return { user, outcome: 'created', notes: keepsId ? [] : ['user-new-id'], id, fingerprint };
  });
};

const rowOf = (secrets: Secrets, { user, id, present }: Decision, hash: string | undefined, version: Date) => ({
  email: user.email,
  emailVerifiedAt: user.emailVerified ? version : null,
  name: user.name,
  locale: user.locale,
  status: user.enabled ? 'active' : 'deactivated',
  ...(hash ? { passwordHash: hash, passwordChangedAt: version } : {}),
  ...(Object.keys(user.pii).length
    ? sealPii(secrets, id, user.pii, present?.piiKey)
    : { piiKey: null, piiEncrypted: null, phoneIndex: null }),
  updatedAt: version,
});

const write = async (
  { secrets, endSessions }: UserImportDeps,
  db: Db,
  { actor, system, realm, ...run }: UserImport,
  decisions: readonly Decision[],
  hashes: Hashes,
): Promise<void> => {
  // To the millisecond, as it comes back.
  const version = new Date();
  const created = decisions.filter(({ outcome }) => outcome === 'created');
  const updated = decisions.filter(({ outcome }) => outcome === 'updated');
  const changed = [...created, ...updated];
  const untangled = await untangle(db, { actor, system, realm, ...run }, decisions);
  if (!changed.length && !untangled) return;
  const role: { id: string } = await db('roles').where({ name: 'user' }).first('id');
  if (created.length)
    await db('users').insert(
      created.map((decision) => ({
        id: decision.id,
        roleId: role.id,
        passwordHash: null,
        passwordChangedAt: null,
        ...rowOf(secrets, decision, hashes.get(decision.user), version),
      })),
    );
  for (const decision of updated) {
    const { id, user, present } = decision;
    await db('users')
      .where({ id })
      .update(rowOf(secrets, decision, hashes.get(user), version));
    if (present?.email !== user.email) await dropMailedLinks(db, id);
    if (present?.status === 'active' && !user.enabled) await endSessions(db, actor, id, undefined, 'deactivated');
  }
  await insertBelongings(db, secrets, changed, { actor, system, realm, ...run });
  await saveReferences(
    db,
    system,
    'user',
    changed.map(({ user, id, fingerprint }) => ({
      externalId: user.externalId,
      localId: id,
      fingerprint,
      localVersion: version,
    })),
  );
  await recordEvent(db, actor, {
    action: 'keycloak.import',
    target: { type: 'realm', id: realm },
    meta: {
      ...{ kind: 'users', created: created.length, updated: updated.length },
      ...(untangled ? { untangled } : {}),
    },
  });
  await joinByAddress(
    db,
    actor,
    changed.map(({ id }) => id),
  );
};

/**
 * Passwords that the export has in clear, as hashes of our own, for those who are new or have changed. Not in the transaction:
 * it takes its time.
 */
const hashPasswords = async (
  { db, secrets, passwords }: UserImportDeps,
  { system, dryRun, reporter }: UserImport,
  users: readonly PlannedUser[],
): Promise<Hashes> => {
  const hashes = new Map<PlannedUser, string>();
  const references = await findReferences(
    db,
    system,
    'user',
    users.map(({ externalId }) => externalId),
  );
  for (const user of users) {
    const { password } = user;
    if (password === undefined) continue;
    if ('hash' in password) hashes.set(user, password.hash);
    else if (!dryRun && !isUnchanged(secrets, user, references.get(user.externalId)?.fingerprint))
      try {
        hashes.set(user, await passwords.hash(password.plain));
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'password_too_long')) throw error;
        reporter.note('password-unknown', user.username);
      }
  }
  return hashes;
};

/** Whether the database has something against a row, and not against us. */
const isAboutData = (error: unknown): boolean => {
  const { code, table } = error as { code?: unknown; table?: unknown };
  return /^2[23]/.test(String(code)) && table !== 'audit_logs';
};

const say = ({ reporter }: UserImport, { user, outcome, notes }: Decision): void => {
  reporter.count('users', outcome);
  for (const note of notes) reporter.note(note, user.username);
  if (outcome !== 'created' && outcome !== 'updated') return;
  if (user.password) reporter.also('passwords');
  reporter.also('roles given', user.roles.length);
  reporter.also('places in groups', user.groups.length);
  reporter.also('authenticator apps', user.totp.length);
  reporter.also('passkeys', user.passkeys.length);
  reporter.also('accounts at identity providers', user.identities.length);
};

/**
 * Imports some users in one transaction. If the database refuses it, each is tried by itself, so that one does not stop the
 * others.
 */
export const importUsers = async (
  deps: UserImportDeps,
  run: UserImport,
  users: readonly PlannedUser[],
): Promise<void> => {
  const hashes = await hashPasswords(deps, run, users);
  try {
    const decisions = await deps.db.transaction(async (db) => {
      await lockImports(db);
      const decisions = await decide(db, deps.secrets, run.system, users);
      if (!run.dryRun) await write(deps, db, run, decisions, hashes);
      return decisions;
    });
    for (const decision of decisions) say(run, decision);
  } catch (error) {
    if (!isAboutData(error)) throw error;
    if (users.length > 1) {
      for (const user of users) await importUsers(deps, run, [user]);
      return;
    }
    run.reporter.count('users', 'left out');
    run.reporter.note('user-refused', users[0]?.username ?? '');
  }
};
