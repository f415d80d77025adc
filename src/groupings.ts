/** Groups, teams and business domains as `rest-api.ts` puts them together: what they need of roles and sessions. */
import type { AccountDeps } from './auth/accounts.commands.ts';
import { domainRoutes } from './domains/domains.routes.ts';
import { type GroupRouteDeps, groupRoutes } from './groups/groups.routes.ts';
import type { Route } from './http/route.ts';
import { assertMayActOn, assertMayGive, assertMayGiveGroup, assertMayTake } from './roles/passing-on.ts';
import type { EndSessions } from './roles/roles.commands.ts';

const cursors = 'a member of a group';

/** @param endSessions of somebody whose new rank asks for more than they signed in with */
export const createGroupDeps = ({ db, secrets }: AccountDeps, endSessions: EndSessions): GroupRouteDeps => ({
  ...{ db, assertMayActOn, assertMayGive, assertMayGiveGroup, assertMayTake, endSessions },
  sealCursor: (id) => secrets.seal('cursor', cursors, id).toString('base64url'),
  openCursor: (sealed) => secrets.open('cursor', cursors, Buffer.from(sealed, 'base64url')).toString(),
});

export const createGroupRoutes = (accounts: AccountDeps, endSessions: EndSessions): Route[] => [
  ...groupRoutes(createGroupDeps(accounts, endSessions)),
  ...domainRoutes({ db: accounts.db }),
];
