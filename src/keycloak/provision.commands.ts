/**
 * Provisions accounts to a realm of Keycloak: `countersign sync keycloak`. Only who changed since is looked at, and who somebody
 * is there is written down at once, so that it can stop at any time and go on later.
 */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import type { Secrets } from '../secrets.ts';
import {
  idAttribute,
  type KeycloakAdmin,
  type KeycloakPerson,
  KeycloakRefusal,
  mergePerson,
  toKeycloakPerson,
} from './provisioning.ts';
import { findProvisioned, listToProvision, saveProvisioned, type ToProvision } from './references.queries.ts';

export interface ProvisionDeps {
  db: Db;
  secrets: Secrets;
  keycloak: KeycloakAdmin;
  /** Names the realm: people are known by other ids in each. */
  system: string;
}

export const provisionOutcomes = [
  ...(['created', 'adopted', 'updated', 'disabled', 'unchanged', 'gone', 'conflict', 'failed'] as const),
] as const;
export type ProvisionOutcome = (typeof provisionOutcomes)[number];

export interface ProvisionReport {
  dryRun: boolean;
  /** Whether everybody was looked at. */
  complete: boolean;
  counts: Record<ProvisionOutcome, number>;
  /** The first of them, by the id of the account here. */
  users: { id: string; outcome: ProvisionOutcome; reason?: string }[];
}

const pageSize = 100;
const concurrency = 4;
/** Then it is Keycloak, and not the person. */
const failuresMax = 10;
const namedMax = 500;

interface Done {
  outcome: ProvisionOutcome;
  externalId?: string;
  reason?: string;
}

/**
 * Somebody there has the address already. They are the same person if the address is proven there as it is here, or if this
 * service made them; else it could be anybody's account, made to be taken for this one.
 */
const adopt = async (
  { db, keycloak, system }: ProvisionDeps,
  dryRun: boolean,
  user: ToProvision,
  wanted: KeycloakPerson,
  found: KeycloakPerson,
): Promise<Done> => {
  const conflict = (reason: string): Done => ({ outcome: 'conflict', reason });
  const isOurs = found.attributes?.[idAttribute]?.[0] === user.id;
  const externalId = found.id as string;
  if ((await findProvisioned(db, system, externalId)) !== undefined)
    return conflict('the user there belongs to another account');
  // Of a realm that lets people write attributes, anybody can say that this service made them: what it makes is verified.
  if (!found.emailVerified && (wanted.emailVerified || !isOurs))
    return conflict('a user there has the address, and it is not verified');
  if (!isOurs && !wanted.emailVerified) return conflict('a user there has the address, which is not verified here');
  if (!isOurs && !found.enabled) return conflict('a user there has the address, and is disabled');
  if (dryRun) return { outcome: 'adopted', externalId };
  const result = await keycloak.update(externalId, mergePerson(found, wanted));
  if (result !== 'updated') return conflict('the user there changed meanwhile');
  return { outcome: 'adopted', externalId };
};

const create = async (
  deps: ProvisionDeps,
  dryRun: boolean,
  user: ToProvision,
  wanted: KeycloakPerson,
): Promise<Done> => {
  const { keycloak } = deps;
  if (dryRun) {
    const found = await keycloak.findByEmail(user.email);
    return found ? adopt(deps, dryRun, user, wanted, found) : { outcome: 'created' };
  }
  const externalId = await keycloak.create({ username: user.email, ...wanted });
  if (externalId) return { outcome: 'created', externalId };
  const found = await keycloak.findByEmail(user.email);
  if (found) return adopt(deps, dryRun, user, wanted, found);
  return { outcome: 'conflict', reason: 'a user there has the address as their username' };
};

const change = async (
  deps: ProvisionDeps,
  dryRun: boolean,
  user: ToProvision & { externalId: string },
  wanted: KeycloakPerson,
): Promise<Done> => {
  const { externalId, status } = user;
  const there = await deps.keycloak.get(externalId);
  if (!there) return status === 'active' ? create(deps, dryRun, user, wanted) : { outcome: 'gone', externalId };
  const outcome = there.enabled && !wanted.enabled ? 'disabled' : 'updated';
  if (dryRun) return { outcome, externalId };
  const result = await deps.keycloak.update(externalId, mergePerson(there, wanted));
  if (result === 'gone') return { outcome: 'gone', externalId };
  if (result === 'taken') return { outcome: 'conflict', reason: 'another user there has the address' };
  return { outcome, externalId };
};

/** Sees to one account. @throws KeycloakRefusal when it would be the same for all, whatever else when Keycloak does not answer */
const provisionUser = async (deps: ProvisionDeps, actor: Actor, dryRun: boolean, user: ToProvision): Promise<Done> => {
  const { db, secrets, system } = deps;
  const { id, version } = user;
  const wanted = toKeycloakPerson(secrets, user);
  const fingerprint = secrets.mac('external-reference', JSON.stringify(wanted));
  if (user.externalId !== null && user.fingerprint === fingerprint) {
    // Something changed of which Keycloak knows nothing, such as the password.
    if (!dryRun) await saveProvisioned(db, system, { externalId: user.externalId, localId: id, fingerprint, version });
    return { outcome: 'unchanged' };
  }
  const done =
    user.externalId === null
      ? await create(deps, dryRun, user, wanted)
      : await change(deps, dryRun, { ...user, externalId: user.externalId }, wanted);
  const { externalId, outcome } = done;
  if (dryRun || externalId === undefined) return done;
  await db.transaction(async (db) => {
    await saveProvisioned(db, system, { externalId, localId: id, fingerprint, version });
    await recordEvent(db, actor, { action: 'keycloak.provision', target: { type: 'user', id }, meta: { outcome } });
  });
  return done;
};

/** Runs over a list with so many at a time. After a failure nothing more is begun, and what runs is waited for. */
const inParallel = async <T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> => {
  const queue = items.values();
  const errors: unknown[] = [];
  const run = async () => {
    for (const item of queue) {
      if (errors.length) return;
      await work(item).catch((error: unknown) => errors.push(error));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, run));
  if (errors.length) throw errors[0];
};

/** The database broke, and not Keycloak: nothing is known about the person. */
const isDatabaseError = (error: unknown) => typeof (error as { severity?: unknown }).severity === 'string';

/**
 * Creates, changes and disables users in Keycloak until they are as they are here.
 * @param options `until`: milliseconds since 1970; it stops after that, and the next run goes on
 * @throws KeycloakRefusal when Keycloak refuses the service account, Error when it does not answer
 */
export const provisionKeycloak = async (
  deps: ProvisionDeps,
  actor: Actor,
  { dryRun, until }: { dryRun: boolean; until?: number },
): Promise<ProvisionReport> => {
  const counts = Object.fromEntries(provisionOutcomes.map((outcome) => [outcome, 0])) as ProvisionReport['counts'];
  const report: ProvisionReport = { dryRun, complete: false, counts, users: [] };
  let failures = 0;
  const see = async (user: ToProvision): Promise<void> => {
    let done: Done;
    try {
      done = await provisionUser(deps, actor, dryRun, user);
      failures = 0;
    } catch (error) {
      if (error instanceof KeycloakRefusal || isDatabaseError(error) || ++failures >= failuresMax) throw error;
      done = { outcome: 'failed', reason: error instanceof Error ? error.message : String(error) };
    }
    const { outcome, reason } = done;
    counts[outcome]++;
    if (outcome !== 'unchanged' && report.users.length < namedMax)
      report.users.push({ id: user.id, outcome, ...(reason ? { reason } : {}) });
  };
  let after: string | undefined;
  for (;;) {
    if (until !== undefined && Date.now() > until) return report;
    const page = await listToProvision(deps.db, deps.system, { after, limit: pageSize });
    await inParallel(page, see);
    after = page.at(-1)?.id;
    if (page.length < pageSize) return { ...report, complete: true };
  }
};

/** Whether there is something left that somebody must see to. */
export const provisionExitCode = ({ counts }: ProvisionReport): number => (counts.conflict + counts.failed ? 2 : 0);

/** For a terminal. */
export const provisionText = ({ dryRun, counts, users }: ProvisionReport): string => {
  const lines = [dryRun ? 'What a run would do in Keycloak (nothing was changed):' : 'In Keycloak:'];
  for (const outcome of provisionOutcomes)
    if (counts[outcome]) lines.push(`  ${outcome.padEnd(10)} ${counts[outcome]}`);
  if (lines.length === 1) lines.push('  nothing has changed');
  const named = dryRun ? users : users.filter(({ reason }) => reason);
  for (const { id, outcome, reason } of named) lines.push(`    ${id} ${outcome}${reason ? `: ${reason}` : ''}`);
  return `${lines.join('\n')}\n`;
};
