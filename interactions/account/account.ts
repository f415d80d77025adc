/** The account pages: what one may see and change of one's own account. Each has a file beside this one. */
import Router from '@koa/router';
import type Koa from 'koa';
import type { Db } from '../../db/connect.ts';
import type { AccountDeps } from '../../src/auth/accounts.commands.ts';
import type { AddressChangeDeps } from '../../src/auth/address-change.commands.ts';
import type { Secrets } from '../../src/secrets.ts';
import type { QueueLogout } from '../../src/sessions/sessions.commands.ts';
import type { Pages } from '../pages.ts';
import { mountActivity } from './activity.ts';
import { mountApplications } from './applications.ts';
import { mountData } from './data.ts';
import { mountEmail } from './email.ts';
import { accountPath, servedPages } from './navigation.ts';
import { mountOrganizations } from './organizations.ts';
import { mountOverview } from './overview.ts';
import { mountPassword } from './password.ts';
import { mountProfile } from './profile.ts';
import { type DecideRequest, mountRequests } from './requests.ts';
import { mountSessions } from './sessions.ts';
import { type AccountFrame, createAccountFrame } from './signed-in.ts';

/** A page that is mounted by who owns what it is about; its place in the menu is in `navigation.ts`. */
export type MountPage = (router: Router, frame: AccountFrame) => void;

export interface AccountPagesDeps {
  db: Db;
  pages: Pages;
  secrets: Secrets;
  deps: AccountDeps;
  queueLogout: QueueLogout;
  addressChange: AddressChangeDeps;
  decideRequest: DecideRequest;
  passwordMinLength: number;
  /** Pages beyond those of every account. */
  more?: readonly MountPage[];
}

export const account = ({ more = [], ...deps }: AccountPagesDeps): Koa.Middleware => {
  const { db, pages, secrets } = deps;
  const router = new Router({ prefix: accountPath });
  const frame = createAccountFrame({ db, pages, issuer: deps.deps.issuer, served: () => servedPages(router) });
  mountOverview(router, frame, deps);
  mountProfile(router, frame, deps);
  mountPassword(router, frame, deps);
  mountSessions(router, frame, deps);
  mountApplications(router, frame, deps);
  mountOrganizations(router, frame, deps);
  mountEmail(router, frame, deps);
  mountActivity(router, frame, deps);
  mountData(router, frame, deps);
  mountRequests(router, frame, { db, pages, secrets, decide: deps.decideRequest });
  for (const mount of more) mount(router, frame);
  return router.routes() as unknown as Koa.Middleware;
};
