/** Changes to organizations. Where one lies, whether it counts and what kind it is of is decided above it; the rest by its own. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict, notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { assertNoChildren, assertParent, lockTree } from '../trees.ts';
import { assertMayDelete, assertMayLift, assertMayWriteBeneath } from './authority.ts';
import {
  countDependents,
  deleteOrganization,
  deniesElsewhere,
  insertOrganization,
  lockOrganization,
  type Organization,
  type OrganizationFields,
  type OrganizationKind,
  updateOrganization,
} from './organizations.queries.ts';

const target = (id: string) => ({ type: 'organization', id });

/** The organization, which nobody else changes until the transaction ends. @throws AppError 404 organization_not_found */
export const lockThis = async (db: Db, id: string, kind?: OrganizationKind): Promise<Organization> => {
  const organization = await lockOrganization(db, id, kind);
  if (!organization) throw notFound('organization');
  return organization;
};

/**
 * Makes an organization. Nobody owns it, nobody belongs to it: whoever may make it rules it from above.
 * @throws AppError 400 for an unknown parent, 403 missing_permission, 409 tree_too_deep
 */
export const createOrganization = (
  db: Db,
  actor: Actor,
  caller: Caller,
  fields: OrganizationFields,
): Promise<Organization> =>
  transact(db, async (db) => {
    await lockTree(db, 'organizations');
    await assertMayWriteBeneath(db, caller, fields.parentId);
    if (fields.parentId) await assertParent(db, 'organizations', undefined, fields.parentId);
    const organization = await insertOrganization(db, fields);
    await recordEvent(db, actor, {
      action: 'organization.create',
      target: target(organization.id),
      meta: { kind: organization.kind, ...(organization.parentId ? { parentId: organization.parentId } : {}) },
    });
    return organization;
  });

const decidedAbove = ['parentId', 'kind', 'isActive'] as const;

const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);

/**
 * Changes an organization. Whoever moves it has a say where it was and where it goes.
 * @param kind what it must be; without it either does
 * @throws AppError 404, 400 for an unknown parent, 403 missing_permission, 409 tree_cycle or tree_too_deep
 */
export const changeOrganization = (
  db: Db,
  actor: Actor,
  caller: Caller,
  { id, kind }: { id: string; kind?: OrganizationKind | undefined },
  wanted: { [Field in keyof OrganizationFields]?: OrganizationFields[Field] | undefined },
): Promise<Organization> =>
  transact(db, async (db) => {
    // Before the row, as whoever moves another one beneath this one does.
    if (wanted.parentId !== undefined) await lockTree(db, 'organizations');
    const organization = await lockThis(db, id, kind);
    const changes = Object.fromEntries(
      Object.entries(wanted).filter(
        ([field, value]) => value !== undefined && !isSame(value, organization[field as keyof OrganizationFields]),
      ),
    ) as Partial<OrganizationFields>;
    const members = Object.keys(changes);
    if (!members.length) return organization;
    if (decidedAbove.some((field) => field in changes)) await assertMayWriteBeneath(db, caller, organization.parentId);
    if (changes.parentId !== undefined) {
      await assertMayWriteBeneath(db, caller, changes.parentId);
      if (changes.parentId) await assertParent(db, 'organizations', organization.id, changes.parentId);
    }
    await recordEvent(db, actor, {
      action: 'organization.update',
      target: target(organization.id),
      meta: { members, ...('parentId' in changes ? { from: organization.parentId, to: changes.parentId } : {}) },
    });
    return updateOrganization(db, organization.id, changes);
  });

/**
 * Deletes an organization that nothing lies beneath. Its people and its groups, what they were given there, invitations and mail
 * domains go with it, so that it takes `force` while there are people other than the caller, or groups.
 * @throws AppError 404, 403 owner_needed, or missing_permission where its groups deny something elsewhere, 409 has_children or has_members
 */
export const removeOrganization = (
  db: Db,
  actor: Actor,
  caller: Caller,
  { id, kind, force }: { id: string; kind?: OrganizationKind | undefined; force: boolean },
): Promise<void> =>
  transact(db, async (db) => {
    await lockTree(db, 'organizations');
    const organization = await lockThis(db, id, kind);
    await assertMayDelete(db, caller, organization);
    if (await deniesElsewhere(db, organization.id)) assertMayLift(caller);
    await assertNoChildren(db, 'organizations', organization.id);
    const dependents = await countDependents(db, organization.id, caller.kind === 'user' ? caller.id : undefined);
    if (!force && (dependents.members || dependents.groups))
      throw conflict('has_members', 'People or groups belong to it: take them out first, or say force');
    await deleteOrganization(db, organization.id);
    await recordEvent(db, actor, { action: 'organization.delete', target: target(organization.id), meta: dependents });
  });
