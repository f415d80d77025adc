/**
 * Writing, activating and ending policies. Nobody activates one that gives what they do not hold, or that locks themselves out,
 * and what somebody of a higher rank has activated only they or their equals change or end.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict, forbidden, invalid, notFound } from '../errors.ts';
import { type Caller, decideFor } from '../http/caller.ts';
import { findUserAccess } from '../roles/access.queries.ts';
import { assertHolds } from '../roles/passing-on.ts';
import { partsOf } from '../roles/permissions.ts';
import { compilePolicies } from './active-policies.ts';
import { inspectCondition } from './condition-shape.ts';
import {
  type ActiveRow,
  findPolicy,
  findVersion,
  listActive,
  lockPolicy,
  type Policy,
  type PolicyRule,
} from './policies.queries.ts';

/** So many there may be, each with so many versions. */
const policiesMax = 500;
const versionsMax = 100;

/** Who writes; undefined for somebody at the machine itself, who holds everything. */
export type Author = Caller | undefined;

const target = (id: string) => ({ type: 'policy', id });

/** One at a time: two changes that lock nobody out may do so together. */
const lockPolicies = async (db: Db): Promise<void> => {
  await db.raw(`select pg_advisory_xact_lock(hashtextextended('policies', 0))`);
};

const assertCondition = ({ condition }: PolicyRule): void => {
  const { mistake } = inspectCondition(condition);
  if (mistake === undefined) return;
  throw invalid('invalid_request', 'The request is not valid', {
    fields: [{ field: 'condition', code: 'invalid_condition', message: mistake }],
  });
};

const toRow = (policyId: string, version: number, author: Author, rule: PolicyRule) => ({
  policyId,
  version,
  effect: rule.effect,
  resources: rule.resources,
  actions: rule.actions,
  condition: JSON.stringify(rule.condition),
  createdBy: author?.id ?? null,
});

/** As a draft. @throws AppError 400 invalid_request for the condition, 409 policy_exists or too_many_policies */
export const createPolicy = (
  db: Db,
  actor: Actor,
  author: Author,
  { name, description, ...rule }: { name: string; description: string } & PolicyRule,
): Promise<Policy> => {
  assertCondition(rule);
  return db.transaction(async (db) => {
    await lockPolicies(db);
    const { rows } = (await db.raw('select count(*)::int as count from policies')) as { rows: [{ count: number }] };
    if (rows[0].count >= policiesMax)
      throw conflict('too_many_policies', `There are ${policiesMax} policies, and there cannot be more`);
    const id = uuid();
    const created = await db('policies').insert({ id, name, description }).onConflict('name').ignore().returning('id');
    if (!created.length) throw conflict('policy_exists', 'There is a policy of that name');
    await db('policyVersions').insert(toRow(id, 1, author, rule));
    await recordEvent(db, actor, { action: 'policy.create', target: target(id) });
    return (await findPolicy(db, { id })) as Policy;
  });
};

const takePolicy = async (db: Db, where: { id: string } | { name: string }): Promise<Policy> => {
  const policy = await lockPolicy(db, where);
  if (!policy) throw notFound('policy');
  return policy;
};

/**
 * A new version, as a draft; an active one stays so. Of many versions the oldest go.
 * @throws AppError 404 policy_not_found, 400 invalid_request for the condition
 */
export const addPolicyVersion = (
  db: Db,
  actor: Actor,
  author: Author,
  { id, description, ...rule }: { id: string; description?: string | undefined } & PolicyRule,
): Promise<number> => {
  assertCondition(rule);
  return db.transaction(async (db) => {
    const policy = await takePolicy(db, { id });
    const latest = await db('policyVersions').where({ policyId: id }).max('version as version').first();
    const version = Number(latest?.version ?? 0) + 1;
    await db('policyVersions').insert(toRow(id, version, author, rule));
    await db('policyVersions')
      .where({ policyId: id })
      .where('version', '<=', version - versionsMax)
      .whereNot('version', policy.activeVersion ?? 0)
      .delete();
    await db('policies')
      .where({ id })
      .update({ updatedAt: db.fn.now(), ...(description === undefined ? {} : { description }) });
    await recordEvent(db, actor, { action: 'policy.add_version', target: target(id), meta: { version } });
    return version;
  });
};

/** What an allowing policy may give somebody: all that it is about. */
const givenBy = ({ effect, resources, actions }: PolicyRule): string[] =>
  effect === 'deny'
    ? []
    : resources.flatMap((type) =>
        actions.map((action) => {
          // What no permission can be about is for whoever holds everything.
          const part = (name: string) => (partsOf(`${name}:x:any`) ? name : '*');
          return `${part(type)}:${part(action)}:any`;
        }),
      );

/** The rank that the author has now, as far as their token goes. */
const presentRank = async (db: Db, author: Author): Promise<number> => {
  if (!author) return 100;
  if (author.kind !== 'user') return author.rank;
  return Math.min(author.rank, (await findUserAccess(db, author.id))?.rank ?? -1);
};

/** @throws AppError 403 rank_too_low, exceeds_yours or session_needed */
const assertMayChange = async (db: Db, author: Author, policy: Policy, given: readonly string[]): Promise<void> => {
  if (author) await assertHolds(db, author, { permissions: given, rank: policy.activatedRank ?? -1 });
};

/** @throws AppError 409 policy_locks_out */
const assertKeepsAuthor = (author: Author, rows: readonly ActiveRow[]): void => {
  if (!author) return;
  const { policiesFor } = compilePolicies(rows);
  const { allowed } = decideFor({ ...author, policiesFor }, 'policies:write:any');
  if (!allowed)
    throw conflict('policy_locks_out', 'With this policy you could not change policies any more, this one included');
};

/** Denials come first, as `listActive` has them. */
const withPolicy = (rows: readonly ActiveRow[], row: ActiveRow): ActiveRow[] =>
  [...rows.filter(({ id }) => id !== row.id), row].sort(
    (a, b) => Number(a.effect === 'allow') - Number(b.effect === 'allow') || (a.name < b.name ? -1 : 1),
  );

/**
 * Puts a version into force; it binds nobody who ranks above whoever does this.
 * @throws AppError 404 policy_not_found or policy_version_not_found, 409 policy_locks_out,
 *   403 rank_too_low, exceeds_yours or session_needed
 */
export const activatePolicy = (
  db: Db,
  actor: Actor,
  author: Author,
  { id, version }: { id: string; version: number },
): Promise<void> =>
  db.transaction(async (db) => {
    await lockPolicies(db);
    const policy = await takePolicy(db, { id });
    const rule = await findVersion(db, id, version);
    if (!rule) throw notFound('policy_version');
    await assertMayChange(db, author, policy, givenBy(rule));
    const rank = await presentRank(db, author);
    if (rank < 0) throw forbidden('rank_too_low', 'This is for those with a higher role');
    assertKeepsAuthor(author, withPolicy(await listActive(db), { ...rule, id, name: policy.name, rank }));
    await db('policies')
      .where({ id })
      .update({
        activeVersion: version,
        activatedRank: rank,
        activatedBy: author?.id ?? null,
        activatedAt: db.fn.now(),
        updatedAt: db.fn.now(),
      });
    await recordEvent(db, actor, {
      action: 'policy.activate',
      target: target(id),
      meta: { version, before: policy.activeVersion, effect: rule.effect },
    });
  });

/**
 * Takes a policy out of force; it stays, as a draft.
 * @returns its id
 * @throws AppError 404 policy_not_found, 403 rank_too_low
 */
export const deactivatePolicy = (
  db: Db,
  actor: Actor,
  author: Author,
  where: { id: string } | { name: string },
): Promise<string> =>
  db.transaction(async (db) => {
    await lockPolicies(db);
    const policy = await takePolicy(db, where);
    const { id, activeVersion } = policy;
    if (activeVersion === null) return id;
    await assertMayChange(db, author, policy, []);
    await db('policies').where({ id }).update({
      activeVersion: null,
      activatedRank: null,
      activatedBy: null,
      activatedAt: null,
      updatedAt: db.fn.now(),
    });
    await recordEvent(db, actor, { action: 'policy.deactivate', target: target(id), meta: { version: activeVersion } });
    return id;
  });

/** With all its versions. @throws AppError 404 policy_not_found, 403 rank_too_low */
export const deletePolicy = (db: Db, actor: Actor, author: Author, id: string): Promise<void> =>
  db.transaction(async (db) => {
    await lockPolicies(db);
    const policy = await takePolicy(db, { id });
    await assertMayChange(db, author, policy, []);
    await db('policies').where({ id }).delete();
    await recordEvent(db, actor, {
      action: 'policy.delete',
      target: target(id),
      meta: { version: policy.activeVersion },
    });
  });
