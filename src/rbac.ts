/** Roles, permissions and grants as `rest-api.ts` serves them. */
import type { Db } from '../db/connect.ts';
import type { Route } from './http/route.ts';
import { effectiveRoutes } from './roles/effective.routes.ts';
import { grantRoutes } from './roles/grants.routes.ts';
import { permissionRoutes } from './roles/permissions.routes.ts';
import type { EndSessions } from './roles/roles.commands.ts';
import { roleRoutes } from './roles/roles.routes.ts';

/**
 * @param requiredRank from which on people must have a second factor; undefined: nobody must
 * @param endSessions of somebody whose rank has become one that does
 */
export const createRbacRoutes = (db: Db, requiredRank: number | undefined, endSessions: EndSessions): Route[] => [
  ...roleRoutes({ db, endSessions }),
  ...permissionRoutes({ db }),
  ...grantRoutes({ db, requiredRank, endSessions }),
  ...effectiveRoutes({ db }),
];
