/** The pages of an account, in the order of its menu. */
import type Router from '@koa/router';
import { requestsPath } from '../../src/auth/backchannel.commands.ts';

/** A page of the menu. Its text is the translation `account-menu.<key>`. */
export interface Entry {
  key: string;
  href: string;
  /** Entries of one group stand together; the text is `account-menu.groups.<group>`. */
  group: 'account' | 'security' | 'access' | 'records';
}

export const accountPath = '/account';
export const profilePath = '/account/profile';
export const emailPath = '/account/profile/email';
export const passwordPath = '/account/password';
export const twoStepPath = '/account/two-step';
export const passkeysPath = '/account/passkeys';
export const linkedPath = '/account/linked';
export const sessionsPath = '/account/sessions';
export const applicationsPath = '/account/applications';
export const activityPath = '/account/activity';
export const dataPath = '/account/data';
export const organizationsPath = '/account/organizations';
export const invitationsPath = '/account/invitations';
export const closePath = '/account/data/close';

/** Every page there may be. One that this service does not serve is left out of the menu. */
export const navigation: readonly Entry[] = [
  { key: 'overview', href: accountPath, group: 'account' },
  { key: 'profile', href: profilePath, group: 'account' },
  { key: 'password', href: passwordPath, group: 'security' },
  { key: 'two-step', href: twoStepPath, group: 'security' },
  { key: 'passkeys', href: passkeysPath, group: 'security' },
  { key: 'linked', href: linkedPath, group: 'security' },
  { key: 'sessions', href: sessionsPath, group: 'access' },
  { key: 'applications', href: applicationsPath, group: 'access' },
  { key: 'requests', href: requestsPath, group: 'access' },
  { key: 'organizations', href: organizationsPath, group: 'access' },
  { key: 'invitations', href: invitationsPath, group: 'access' },
  { key: 'activity', href: activityPath, group: 'records' },
  { key: 'data', href: dataPath, group: 'records' },
];

/** Where signing in leads back to. */
export const returnPaths: readonly string[] = [...navigation.map(({ href }) => href), emailPath, closePath];

const longestAbove = (path: string, pages: readonly string[]): string =>
  pages
    .filter((href) => path === href || path.startsWith(`${href}/`))
    .reduce((longest, href) => (href.length > longest.length ? href : longest), accountPath);

/** The page of the menu that an address belongs to: itself, or what it is below. */
export const pageOf = (path: string): string =>
  longestAbove(
    path,
    navigation.map(({ href }) => href),
  );

/** The page to come back to from signing in, for somebody who wanted to see or send to this address. */
export const returnPathOf = (path: string): string => longestAbove(path, returnPaths);

/** The pages that a router answers for. */
export const servedPages = (router: Router): readonly Entry[] =>
  navigation.filter(({ href }) => router.match(href, 'GET').route);
