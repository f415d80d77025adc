/** Organizations as `rest-api.ts` puts them together: what giving and taking in them needs of roles. */
import type { Db } from '../db/connect.ts';
import type { Route } from './http/route.ts';
import type { MemberDeps } from './organizations/members.commands.ts';
import { memberRoutes } from './organizations/members.routes.ts';
import { organizationRoutes } from './organizations/organizations.routes.ts';
import { assertMayChangeAccount } from './roles/accounts-of-others.ts';
import { findGivenRoles, giveMemberRoles } from './roles/member-roles.queries.ts';
import { assertMayActOn, assertMayGive, assertMayTake } from './roles/passing-on.ts';
import { findRole, findRolePermissions } from './roles/roles.queries.ts';

/** What an owner of an organization holds in it; `heldBy` says so too. */
const ownersRole = 'manager';

export const createMemberDeps = (db: Db): MemberDeps => ({
  db,
  assertMayActOn,
  assertMayChangeAccount,
  assertMayGive,
  assertMayTake,
  findRoles: findGivenRoles,
  giveRoles: giveMemberRoles,
  whatOwnersHold: async (db) => ({
    permissions: await findRolePermissions(db, ownersRole),
    rank: (await findRole(db, ownersRole))?.rank ?? -1,
  }),
});

export const createOrganizationRoutes = (db: Db): Route[] => [
  ...organizationRoutes({ db }),
  ...memberRoutes(createMemberDeps(db)),
];
