/** What may be said of somebody's access in a token: as `decide` would answer, and no more than one organization knows of it. */
import type { Held, Membership, UserAccess } from './access.queries.ts';
import { allows, catalogue, denies, intersect, mayPassOn } from './permissions.ts';

/** The membership in one organization; undefined without one. */
export const membershipIn = (access: UserAccess, organizationId: string | undefined): Membership | undefined =>
  organizationId === undefined ? undefined : access.organizations.find(({ id }) => id === organizationId);

const isDenial = (name: string): boolean => name.startsWith('!');

/** A denial of what may be done in organizations, as one of everything of its kind; undefined for others. */
const inFull = (denial: string): string | undefined =>
  /^!.*:(organization|[*])$/.test(denial) ? denial.replace(/[^:]*$/, '*') : undefined;

/**
 * What counts for a token that is for one organization alone: what is held everywhere and there, and nothing of the other
 * organizations. What is denied in one of those, or in every one, is denied altogether: the token knows no more which things lie
 * there, and nobody gets past a denial by signing in for another organization. Undefined for whoever does not belong to it.
 */
export const inOrganization = (
  access: UserAccess | undefined,
  organizationId: string | undefined,
): UserAccess | undefined => {
  if (!access || organizationId === undefined) return access;
  const membership = membershipIn(access, organizationId);
  if (!membership) return undefined;
  const elsewhere = access.organizations.filter(({ id }) => id !== organizationId);
  const denials = [...access.permissions, ...elsewhere.flatMap(({ permissions }) => permissions)].filter(isDenial);
  return {
    ...access,
    permissions: [...new Set([...access.permissions, ...denials.flatMap((denial) => inFull(denial) ?? [])])],
    organizations: [membership],
    groups: access.groups.filter((group) => !group.organizationId || group.organizationId === organizationId),
    grants: access.grants.filter(({ organizationId: place }) => place === undefined || place === organizationId),
  };
};

/** What of it a token passes on whose scope holds these permissions; denials stay. */
export const passedOnBy = (access: UserAccess, scope: readonly string[]): UserAccess => ({
  ...access,
  permissions: intersect(access.permissions, scope),
  organizations: access.organizations.map((one) => ({ ...one, permissions: intersect(one.permissions, scope) })),
});

/** The roles that are held everywhere and, with an organization, in it; the highest is the first. */
export const claimableRoles = (access: UserAccess, membership: Held | undefined): string[] => {
  const places = membership && membership.rank > access.rank ? [membership, access] : [access, membership];
  return [...new Set(places.flatMap((place) => place?.roles ?? []))];
};

/** Whether some of it is to be spelled out, since it overlaps what is denied. */
const needsSpelling = (held: readonly string[], name: string): boolean => !mayPassOn(held, name);

const scopes = ['own', 'organization', 'any'];
const split = (name: string): [start: string, scope: string] => {
  const at = name.lastIndexOf(':');
  return [name.slice(0, at), name.slice(at + 1)];
};

/** The permission in each scope; nothing for one of many resources or actions. */
const inEveryScope = (name: string): string[] => {
  const [start] = split(name);
  return start.includes('*') ? [] : scopes.map((scope) => `${start}:${scope}`);
};

/** What must not be denied for it to be claimed: what its scope includes, and one's own things may lie in an organization. */
const touched = (name: string): string[] => {
  const [start, scope] = split(name);
  return (scope === 'any' ? scopes : ['own', 'organization']).map((one) => `${start}:${one}`);
};

/** What is held everywhere and, with an organization, in it; and what is denied in any that one belongs to. */
const heldIn = (access: UserAccess, membership: Held | undefined): string[] => [
  ...access.permissions,
  // What is one's own is so everywhere, or not at all.
  ...(membership?.permissions ?? []).filter((name) => isDenial(name) || !name.endsWith(':own')),
  ...access.organizations.flatMap(({ permissions }) => permissions.filter(isDenial)),
];

/** Whether a wildcard overlaps a denial, so that the names of all permissions are needed to spell it out. */
export const needsNames = (access: UserAccess, membership: Held | undefined): boolean => {
  const held = heldIn(access, membership);
  return held.some((name) => !isDenial(name) && name.includes('*') && needsSpelling(held, name));
};

/**
 * The permissions that are held everywhere and, with an organization, in it, such that a wider scope includes the narrower. What
 * overlaps a denial is spelled out, name by name and scope by scope, as far as the names are known; whatever is denied, or
 * includes what is, is left out. So a reader may be told less than `decide` would say, and never more.
 * @param names of permissions that wildcards may stand for, beside those of this service
 */
export const claimablePermissions = (
  access: UserAccess,
  membership: Held | undefined,
  names: readonly string[] = [],
): string[] => {
  const held = heldIn(access, membership);
  const here = new Set(Object.keys(catalogue).map((name) => split(name)[0]));
  const elsewhere = names.filter((name) => !here.has(split(name)[0])).flatMap(inEveryScope);
  const known = [...Object.keys(catalogue), ...elsewhere];
  const isFree = (name: string): boolean => !touched(name).some((one) => denies(held, one));
  const spelledOut = (name: string): string[] =>
    [...known, ...inEveryScope(name)].filter((one) => allows([name], one) && isFree(one));
  const claimed = held
    .filter((name) => !isDenial(name))
    .flatMap((name) => (needsSpelling(held, name) ? spelledOut(name) : [name]));
  return [...new Set(claimed)].sort();
};
