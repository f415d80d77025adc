/**
 * What may be done, as `resource:action:scope`. The scope says to whose things: `own`, those of one's `organization`, or
 * `any`; a wider scope includes the narrower, and `*` stands for every value of its part. A person's permissions come from their
 * roles; a token, an API key or a client passes on those of them that its `scope` names.
 */
import { z } from 'zod';

/** Every permission that a route of this service asks for, by name, with what it allows. */
export const catalogue = {
  'users:read:own': 'See one’s own account',
  'users:read:any': 'See every account',
  'users:read:organization': 'See the accounts of one’s organization',
  'users:write:own': 'Change one’s own account',
  'users:write:organization': 'Create accounts in one’s organization, and change those that belong to no other',
  'users:write:any': 'Create and change accounts',
  'users:close:own': 'Close one’s own account',
  'users:close:any': 'Close accounts',
  'users:deactivate:any': 'Deactivate and reactivate accounts',
  'users:administer:any': 'List accounts with their roles and states',
  'roles:read:any': 'See roles and who has them',
  'roles:read:organization': 'See roles, and who has them in one’s organization',
  'roles:write:any': 'Create, change and delete roles, as far as one’s own permissions go',
  'roles:assign:any': 'Give people roles and permissions, as far as one’s own go',
  'roles:assign:organization':
    'Give the people of one’s organization roles and permissions in it, as far as one’s own go',
  'organizations:read:own': 'See the organizations that one belongs to',
  'organizations:leave:own': 'Leave organizations that one belongs to',
  'organizations:read:organization': 'See one’s organization, those beneath it, and who belongs to them',
  'organizations:read:any': 'See every organization',
  'organizations:write:organization': 'Change one’s organization and those beneath it, and who belongs to them',
  'organizations:write:any': 'Create, change and delete organizations',
  'groups:read:own': 'See the groups and teams that one belongs to, and the teams that are open to all',
  'groups:read:organization': 'See the groups and teams of one’s organization',
  'groups:read:any': 'See every group and team',
  'groups:write:organization': 'Create, change and delete groups and teams of one’s organization',
  'groups:write:any': 'Create, change and delete groups and teams',
  'domains:read:own': 'See the business domains, and which ones one belongs to',
  'domains:read:any': 'See every business domain, and who belongs to it',
  'domains:write:any': 'Create, change and delete business domains, and assign people',
  'policies:read:any': 'See policies and the decisions that they are tried on',
  'policies:write:any': 'Write, activate and delete policies, as far as one’s own permissions go',
  'authz:check:own': 'Ask what one may do oneself',
  'authz:check:any': 'Ask what anybody may do',
  'sessions:read:own': 'See where one is signed in',
  'sessions:read:any': 'See where anybody is signed in',
  'sessions:end:own': 'End one’s own sessions',
  'sessions:end:any': 'End anybody’s sessions',
  'api_keys:read:own': 'See one’s own API keys',
  'api_keys:read:any': 'See everybody’s API keys',
  'api_keys:write:own': 'Create and revoke one’s own API keys',
  'api_keys:write:any': 'Revoke anybody’s API keys',
  'requests:read:own': 'See which applications ask one to confirm something',
  'requests:decide:own': 'Confirm or refuse what applications ask',
  'mfa:read:own': 'See one’s own second factors and passkeys',
  'mfa:write:own': 'Set up, change and remove one’s own second factors and passkeys',
  'mfa:reset:any': 'Remove the second factors of somebody who has lost them',
  'identities:read:own': 'See which accounts elsewhere one signs in with',
  'identities:write:own': 'Connect and disconnect accounts elsewhere that one signs in with',
  'identity_providers:read:any': 'See the identity providers that people can sign in with',
  'identity_providers:write:any': 'Register, change and delete identity providers',
  'clients:read:any': 'See registered clients',
  'clients:write:any': 'Register, change and delete clients',
  'resource_servers:read:any': 'See the APIs that tokens can be asked for',
  'resource_servers:write:any': 'Register, change and delete APIs that tokens can be asked for',
  'keys:read:any': 'See the signing keys',
  'keys:rotate:any': 'Rotate the signing keys',
  'tokens:introspect:any': 'Introspect every token, as a client (RFC 7662)',
  'tokens:revoke:any': 'Revoke tokens by user, client or grant',
  'audit:read:own': 'See one’s own activity',
  'audit:read:any': 'Search the audit log',
  'audit:export:any': 'Export the audit log',
} as const;

/** A permission that a route may ask for. */
export type Permission = keyof typeof catalogue;

/** A type or an action, or `*` for all of them. */
export const permissionPart = /^(\*|[a-z][a-z0-9_-]{0,39})$/;
const scopes = ['own', 'organization', 'any'];

/** Types that go by another name as well. */
const alias: Readonly<Record<string, string>> = { companies: 'organizations', teams: 'groups' };

/** The type as permissions name it. */
export const canonicalType = (type: string): string => (Object.hasOwn(alias, type) ? (alias[type] as string) : type);

/** The type that a permission is about. */
const typeOf = (name: string): string => name.split(':')[0] ?? '';

/** The three parts of a permission; undefined for any other name, which permits nothing whatever it begins with. */
export const partsOf = (name: string): [resource: string, action: string, scope: string] | undefined => {
  const [resource = '', action = '', scope = '', ...rest] = name.split(':');
  const wellFormed =
    permissionPart.test(resource) && permissionPart.test(action) && (scope === '*' || scopes.includes(scope));
  return wellFormed && !rest.length ? [resource, action, scope] : undefined;
};

/** A permission as it may be held or granted, wildcards included. */
const nameLengthMax = 120;
export const PermissionName = z
  .string()
  .max(nameLengthMax)
  .refine(
    (name) => partsOf(name) !== undefined,
    'expected resource:action:scope in small letters, digits, _ and -, such as users:read:any',
  )
  // It would never count for anything, and a denial that does not is worse than none.
  .refine((name) => canonicalType(typeOf(name)) === typeOf(name), {
    error: ({ input }) =>
      `expected a permission for ${canonicalType(typeOf(String(input)))}, which include ${typeOf(String(input))}`,
  })
  .meta({ example: 'users:read:any', description: 'resource:action:scope; `*` stands for every value of a part' });

/** Whether a permission that is held covers the one that is needed. `widens`: a wider scope includes the narrower. */
const covers = (held: string, needed: string, widens: boolean): boolean => {
  const [has, needs] = [partsOf(held), partsOf(needed)];
  if (!has || !needs) return false;
  const [resource, action, scope] = has;
  const [neededResource, neededAction, neededScope] = needs;
  const wider = widens && scopes.includes(neededScope) && scopes.indexOf(scope) > scopes.indexOf(neededScope);
  return (
    (resource === '*' || resource === neededResource) &&
    (action === '*' || action === neededAction) &&
    (scope === '*' || scope === neededScope || wider)
  );
};

/** Marks a permission that is denied; a denial beats every allowance. */
export const denied = (name: string): string => `!${name}`;

/** What a permission, given or denied inside an organization, is there: nothing reaches further than that. */
export const narrowed = (name: string): string => name.replace(/:(any|[*])$/, ':organization');

/** Whether one of the permissions held includes the one that is needed, whatever is denied. */
export const allows = (held: readonly string[], needed: string): boolean =>
  held.some((name) => covers(name, needed, true));

/** Whether the permission is denied: a denial is of its own scope alone. */
export const denies = (held: readonly string[], needed: string): boolean =>
  held.some((name) => name.startsWith('!') && covers(name.slice(1), needed, false));

/** Whether one of the permissions held includes the one that is needed, and none denies it. */
export const permits = (held: readonly string[], needed: string): boolean =>
  allows(held, needed) && !denies(held, needed);

/** What two permissions have in common: part by part the narrower one; undefined when that is nothing. */
const meet = (left: string, right: string): string | undefined => {
  const [a, b] = [partsOf(left), partsOf(right)];
  if (!a || !b) return undefined;
  const [resource, action] = [0, 1].map((at) => {
    const [one, other] = [a[at as 0 | 1], b[at as 0 | 1]];
    if (one === '*' || one === other) return other;
    return other === '*' ? one : undefined;
  });
  if (!resource || !action) return undefined;
  const [one, other] = [a[2], b[2]];
  const scope = one === '*' ? other : other === '*' || scopes.indexOf(one) < scopes.indexOf(other) ? one : other;
  return `${resource}:${action}:${scope}`;
};

/** What of `held` a token may pass on whose scope is `scope`: what each two have in common, and every denial. */
export const intersect = (held: readonly string[], scope: readonly string[]): string[] => [
  ...new Set([
    ...held.filter((name) => name.startsWith('!')),
    ...held.flatMap((one) => scope.flatMap((other) => meet(one, other) ?? [])),
  ]),
];

/** The permissions of the catalogue that a wildcard stands for. */
export const expand = (name: string): string[] => Object.keys(catalogue).filter((one) => covers(name, one, true));

/** Whether two permissions have something in common, whatever their scopes. */
const overlap = (left: string, right: string): boolean => {
  const [a, b] = [left.split(':'), right.split(':')];
  return [0, 1].every((at) => a[at] === '*' || b[at] === '*' || a[at] === b[at]);
};

/**
 * Whether all that the name stands for is held: unlike `permits`, a wildcard must not include anything that is denied. For
 * what is given to somebody else, whom the denial does not follow.
 */
export const mayPassOn = (held: readonly string[], name: string): boolean =>
  permits(held, name) && !held.some((denial) => denial.startsWith('!') && overlap(denial.slice(1), name));

/** The permissions among the names of a scope; the others mean something to other APIs. */
export const permissionsOf = (scope: readonly string[]): string[] =>
  scope.filter((name) => name.length <= nameLengthMax && partsOf(name) !== undefined);
