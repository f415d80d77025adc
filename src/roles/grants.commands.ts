/**
 * Gives people, groups and API keys roles and permissions, or denies them permissions, everywhere or inside an organization, from
 * a time until a time; and takes them back. What may be given by whom is in `passing-on.ts`.
 */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict, forbidden, invalid, notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { assertSuperAdminRemains } from '../users/users.commands.ts';
import { type TakenSubject, takeSubject } from './grant-subjects.ts';
import { columnOf, type GrantRow, isInGroup, listSignedInBelow, type Subject } from './grants.queries.ts';
import { assertMayGive, assertMayTake, mayAssign } from './passing-on.ts';
import { ensurePermissions } from './permissions.queries.ts';
import type { EndSessions } from './roles.commands.ts';
import { findRolePermissions, holdRole, type Role } from './roles.queries.ts';

export interface GrantDeps {
  db: Db;
  /** From which rank on people must have a second factor; undefined: nobody must. */
  requiredRank: number | undefined;
  /** Ends what somebody is signed in to, who has to sign in with more from now on. */
  endSessions: EndSessions;
}

/** Where something is given, and when. */
export interface Terms {
  organizationId?: string | undefined;
  /** Now without it, or since it was given first. */
  startsAt?: Date | undefined;
  /** Never without it. */
  expiresAt?: Date | undefined;
}

export interface RoleGrant extends GrantRow {
  role: string;
}

export interface PermissionGrant extends GrantRow {
  permission: string;
  effect: 'allow' | 'deny';
}

const grantColumns = ['id', 'organizationId', 'startsAt', 'expiresAt', 'createdAt'] as const;

const refuse = (field: string, message: string, code = 'custom') =>
  invalid('invalid_request', 'The request is not valid', { fields: [{ field, code, message }] });

/**
 * The period of a grant. What has begun keeps its beginning, and nothing begins in the past: who had what must stay true.
 * @throws AppError 400 invalid_request for one that is over, or ends before it begins
 */
const findPeriod = async (db: Db, { startsAt, expiresAt }: Terms, before: GrantRow | undefined) => {
  // By the clock that grants are judged by.
  const { now } = ((await db.raw('select now() as now')) as { rows: [{ now: Date }] }).rows[0];
  const counts = before && before.startsAt <= now && (!before.expiresAt || before.expiresAt > now);
  const begins = startsAt && startsAt > now ? startsAt : counts ? before.startsAt : now;
  if (expiresAt && expiresAt <= (begins > now ? begins : now))
    throw refuse('expiresAt', 'must lie after the beginning');
  return { startsAt: begins, expiresAt: expiresAt ?? null };
};

/** How many grants of a kind a subject may have: every decision about them reads all. */
const grantsMax = 500;

/** @throws AppError 409 too_many_grants */
const assertRoom = async (db: Db, table: 'roleGrants' | 'permissionGrants', { type, id }: Subject): Promise<void> => {
  const rows = await db(table)
    .where({ [columnOf[type]]: id })
    .limit(grantsMax)
    .select('id');
  if (rows.length >= grantsMax)
    throw conflict('too_many_grants', `There are ${grantsMax} already: take some back first`);
};

const givenBy = ({ kind, id }: Caller) => (id ? `${kind}:${id}` : null);

const keyOf = ({ type, id }: Subject, organizationId: string | undefined) => ({
  userId: null,
  groupId: null,
  apiKeyId: null,
  [columnOf[type]]: id,
  organizationId: organizationId ?? null,
});

const metaOf = ({ organizationId }: { organizationId?: string | null | undefined }) =>
  organizationId ? { organizationId } : {};

/** Has those sign in again who have to show a second factor from now on, also where what asks for it is yet to begin. */
const askForSecondFactor = async (
  { requiredRank, endSessions }: GrantDeps,
  db: Db,
  actor: Actor,
  { type, id, rank: before }: TakenSubject,
  rank: number,
): Promise<void> => {
  if (requiredRank === undefined || rank < requiredRank || type === 'api_key') return;
  if (type === 'user' && before < rank) await endSessions(db, actor, id, rank);
  if (type === 'group')
    for (const userId of await listSignedInBelow(db, id, requiredRank)) await endSessions(db, actor, userId, rank);
};

/**
 * Gives a role; what was given before is changed to these terms.
 * @throws AppError 400 for a role that is not there or a period, 404 for a subject or organization that is not there or not
 *   in sight, 409 not_a_member or too_many_grants, 403 as `assertMayGive`
 */
export const grantRole = (
  deps: GrantDeps,
  actor: Actor,
  caller: Caller,
  subject: Subject,
  { role: name, ...terms }: Terms & { role: string },
): Promise<RoleGrant> =>
  transact(deps.db, async (db) => {
    const { organizationId } = terms;
    await assertMayTake(db, caller, { rank: -1, organizationId });
    const taken = await takeSubject(db, caller, subject, organizationId);
    const role = await holdRole(db, name);
    if (!role) throw refuse('role', 'is no role', 'role_not_found');
    const permissions = await findRolePermissions(db, role.name);
    await assertMayGive(db, caller, { permissions, rank: role.rank, organizationId, expiresAt: terms.expiresAt });
    await taken.assertMayGain();
    const key = { ...keyOf(subject, organizationId), roleId: role.id, identityProviderId: null };
    const before = await db('roleGrants')
      .where(key)
      .forUpdate()
      .first(...grantColumns);
    if (!before) await assertRoom(db, 'roleGrants', subject);
    const period = await findPeriod(db, terms, before);
    const [row] = await db('roleGrants')
      .insert({ ...key, ...period, grantedBy: givenBy(caller) })
      .onConflict(['userId', 'groupId', 'apiKeyId', 'roleId', 'organizationId', 'identityProviderId'])
      .merge(['startsAt', 'expiresAt', 'grantedBy'])
      .returning([...grantColumns]);
    if (!organizationId) await askForSecondFactor(deps, db, actor, taken, role.rank);
    const { startsAt, expiresAt } = period;
    await recordEvent(db, actor, {
      action: 'role.grant',
      target: subject,
      meta: { grant: row.id, role: role.name, ...metaOf(terms), startsAt, expiresAt },
    });
    return { ...row, role: role.name };
  });

/**
 * A grant of the subject, locked. One in a place where the caller gives nothing is not there for them.
 * @throws AppError 404 grant_not_found
 */
const takeGrant = async <Row extends GrantRow>(
  db: Db,
  caller: Caller,
  table: 'roleGrants' | 'permissionGrants',
  { type, id: subjectId }: Subject,
  id: string,
): Promise<Row> => {
  const row = await db(table)
    .where({ id, [columnOf[type]]: subjectId })
    .forUpdate()
    .first();
  if (!row || !(await mayAssign(db, caller, row.organizationId))) throw notFound('grant');
  return row;
};

/** Takes a role back. @throws AppError 404, 403 rank_too_low */
export const revokeRole = (
  { db }: Pick<GrantDeps, 'db'>,
  actor: Actor,
  caller: Caller,
  subject: Subject,
  id: string,
): Promise<void> =>
  transact(db, async (db) => {
    const grant = await takeGrant<GrantRow & { roleId: string }>(db, caller, 'roleGrants', subject, id);
    const { organizationId, roleId } = grant;
    const { name, rank } = (await db('roles').where({ id: roleId }).first('name', 'rank')) as Role;
    await assertMayTake(db, caller, { rank, organizationId });
    const taken = await takeSubject(db, caller, subject, organizationId ?? undefined, true);
    await taken.assertMayLose();
    await db('roleGrants').where({ id }).delete();
    await recordEvent(db, actor, {
      action: 'role.revoke',
      target: subject,
      meta: { grant: id, role: name, ...metaOf(grant) },
    });
  });

/** What is denied to oneself: directly, by a group that one is in, or for a key of one's own. */
const assertNotOwnDenial = async (db: Db, { kind, id }: Caller, subject: TakenSubject): Promise<void> => {
  if (kind !== 'user') return;
  const isOwn = subject.type === 'group' ? await isInGroup(db, subject.id, id) : subject.userId === id;
  if (isOwn) throw forbidden('own_denial', 'Nobody lifts or changes what is denied to themselves');
};

/**
 * Gives a permission, or denies it; what was given or denied before is changed to this. Lifting a denial takes what giving takes.
 * @throws AppError as `grantRole`; 403 own_denial, 409 last_super_admin
 */
export const grantPermission = (
  { db }: Pick<GrantDeps, 'db'>,
  actor: Actor,
  caller: Caller,
  subject: Subject,
  { permission, effect, ...terms }: Terms & { permission: string; effect: 'allow' | 'deny' },
): Promise<PermissionGrant> =>
  transact(db, async (db) => {
    const { organizationId, expiresAt } = terms;
    await assertMayTake(db, caller, { rank: -1, organizationId });
    const taken = await takeSubject(db, caller, subject, organizationId);
    const [permissionId] = await ensurePermissions(db, [permission]);
    const key = { ...keyOf(subject, organizationId), permissionId };
    const before = await db('permissionGrants')
      .where(key)
      .forUpdate()
      .first(...grantColumns, 'effect');
    const gift = { permissions: [permission], rank: -1, organizationId };
    if (before?.effect === 'deny') await assertNotOwnDenial(db, caller, taken);
    if (effect === 'allow') await assertMayGive(db, caller, { ...gift, expiresAt });
    // A denial that is changed may end sooner than it did.
    else if (before?.effect === 'deny') await assertMayGive(db, caller, gift);
    await (effect === 'allow' && before?.effect !== 'deny' ? taken.assertMayGain() : taken.assertMayLose());
    if (!before) await assertRoom(db, 'permissionGrants', subject);
    const period = await findPeriod(db, terms, before?.effect === effect ? before : undefined);
    const [row] = await db('permissionGrants')
      .insert({ ...key, ...period, effect, grantedBy: givenBy(caller) })
      .onConflict(['userId', 'groupId', 'apiKeyId', 'permissionId', 'organizationId'])
      .merge(['startsAt', 'expiresAt', 'grantedBy', 'effect'])
      .returning([...grantColumns]);
    if (effect === 'deny') await assertSuperAdminRemains(db);
    await recordEvent(db, actor, {
      action: 'permission.grant',
      target: subject,
      meta: { grant: row.id, permission, effect, ...metaOf(terms), ...period },
    });
    return { ...row, permission, effect };
  });

/** Takes a permission back, or lifts a denial. @throws AppError 404, 403 as `assertMayGive` for a denial, or own_denial */
export const revokePermission = (
  { db }: Pick<GrantDeps, 'db'>,
  actor: Actor,
  caller: Caller,
  subject: Subject,
  id: string,
): Promise<void> =>
  transact(db, async (db) => {
    const grant = await takeGrant<GrantRow & Pick<PermissionGrant, 'effect'> & { permissionId: string }>(
      db,
      caller,
      'permissionGrants',
      subject,
      id,
    );
    const { organizationId, effect, permissionId } = grant;
    const { name } = await db('permissions').where({ id: permissionId }).first('name');
    await assertMayTake(db, caller, { rank: -1, organizationId });
    const taken = await takeSubject(db, caller, subject, organizationId ?? undefined, true);
    if (effect === 'deny') {
      await assertNotOwnDenial(db, caller, taken);
      await assertMayGive(db, caller, { permissions: [name], rank: -1, organizationId });
    }
    await taken.assertMayLose();
    await db('permissionGrants').where({ id }).delete();
    await recordEvent(db, actor, {
      action: 'permission.revoke',
      target: subject,
      meta: { grant: id, permission: name, effect, ...metaOf(grant) },
    });
  });
