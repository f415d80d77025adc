/** Who has a say in which organization, beyond what a route can ask for: what a body names, and what only owners do. */
import type { Db } from '../../db/connect.ts';
import { forbidden } from '../errors.ts';
import { type Caller, decideFor } from '../http/caller.ts';
import type * as accountsOfOthers from '../roles/accounts-of-others.ts';
import type * as passingOn from '../roles/passing-on.ts';
import { unknownParent } from '../trees.ts';
import { ownsOnTheWay } from './members.queries.ts';
import { findPaths } from './paths.queries.ts';

/** What roles say of giving and taking, which stand to the right of organizations. */
export interface PassingOn
  extends Pick<typeof passingOn, 'assertMayGive' | 'assertMayTake' | 'assertMayActOn'>,
    Pick<typeof accountsOfOthers, 'assertMayChangeAccount'> {
  /** What owners hold in theirs. */
  whatOwnersHold(db: Db): Promise<{ permissions: string[]; rank: number }>;
}

const write = 'organizations:write:any';

/**
 * For what is decided above an organization: where something lies, and what lies there.
 * @param parentId what something is to lie beneath, or lies beneath now; null: it is a root, which takes `organizations:write:any`
 * @throws AppError 403 missing_permission; 400 invalid_request for a parent that the caller may not see, as for one that is not there
 */
export const assertMayWriteBeneath = async (db: Db, caller: Caller, parentId: string | null): Promise<void> => {
  const organizations = parentId ? await findPaths(db, 'organization', parentId) : [];
  if (decideFor(caller, write, { organizations }).allowed) return;
  if (parentId && !decideFor(caller, 'organizations:read:any', { organizations }).allowed) throw unknownParent();
  throw forbidden('missing_permission', `This needs the permission ${write}`, { permission: write });
};

/** Whether somebody owns it or one above, or may do everything to every organization. What their token may do, the route has asked. */
const rules = async (db: Db, caller: Caller, organizationId: string): Promise<boolean> =>
  decideFor(caller, write).allowed || (caller.kind === 'user' && (await ownsOnTheWay(db, organizationId, caller.id)));

/** For making and unmaking owners. @throws AppError 403 owner_needed */
export const assertRules = async (db: Db, caller: Caller, organizationId: string): Promise<void> => {
  if (!(await rules(db, caller, organizationId)))
    throw forbidden('owner_needed', 'This is for owners of the organization, or of one above it');
};

/** For doing away with it. @throws AppError 403 owner_needed */
export const assertMayDelete = async (
  db: Db,
  caller: Caller,
  { id, parentId }: { id: string; parentId: string | null },
): Promise<void> => {
  const organizations = parentId ? await findPaths(db, 'organization', parentId) : [];
  if (!decideFor(caller, write, { organizations }).allowed) await assertRules(db, caller, id);
};

/** For lifting what is denied beyond an organization. @throws AppError 403 missing_permission */
export const assertMayLift = (caller: Caller): void => {
  const permission = 'roles:assign:any';
  if (!decideFor(caller, permission).allowed)
    throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};
