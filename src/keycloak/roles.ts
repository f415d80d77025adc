/**
 * Roles and groups of a realm as this service has them. Keycloak's roles are of the realm or of one client, and contain each
 * other; here a role has one name, and contains nothing. What Keycloak made for itself does not come over.
 */
import type { KeycloakGroup, KeycloakRole, Realm } from './realm.ts';
import type { Reporter } from './report.ts';

/** Of Keycloak itself, in every realm. */
const ownClients = new Set([
  'account',
  'account-console',
  'admin-cli',
  'broker',
  'realm-management',
  'security-admin-console',
]);
/** Whether a client is Keycloak's, and not of the operator's applications. */
export const isOwnClient = (clientId: string, realm: string) =>
  ownClients.has(clientId) || (realm === 'master' && clientId.endsWith('-realm'));

/** Names nobody can read, or tell from others, are no names; `RoleName` of the REST API says the same. */
export const isUsableName = (name: string, max: number) => name.length <= max && /^\P{C}+$/u.test(name);

/** A role of the realm, or of a client. */
interface RoleKey {
  clientId?: string | undefined;
  name: string;
}
const keyOf = ({ clientId, name }: RoleKey) => JSON.stringify(clientId === undefined ? [name] : [clientId, name]);
const shown = ({ clientId, name }: RoleKey) => (clientId === undefined ? name : `${clientId}/${name}`);

export interface PlannedRole {
  key: string;
  /** Keycloak's id, or what stands for it in an export without ids. */
  externalId: string;
  /** As it is called here, unless that is taken. */
  name: string;
  /** If it is. */
  otherName: string;
  description: string;
}

export interface RolePlan {
  roles: PlannedRole[];
  /** The keys of imported roles that somebody has who is given these, with what those contain; the others are reported. */
  expand(who: string, realmRoles: readonly string[], clientRoles: Record<string, readonly string[]>): string[];
}

export const planRoles = (realm: Realm, reporter: Reporter): RolePlan => {
  const ownRoles = new Set(
    ['offline_access', 'uma_authorization', `default-roles-${realm.realm.toLowerCase()}`, realm.defaultRole?.name].map(
      (name) => keyOf({ name: name ?? '' }),
    ),
  );
  const defined = new Map<string, KeycloakRole>();
  const roles: PlannedRole[] = [];

  const define = (role: KeycloakRole, clientId?: string) => {
    const key = keyOf({ clientId, name: role.name });
    defined.set(key, role);
    if (ownRoles.has(key) || (clientId !== undefined && isOwnClient(clientId, realm.realm))) return;
    const name = shown({ clientId, name: role.name });
    if (!isUsableName(name, 64)) {
      reporter.count('roles', 'left out');
      reporter.note('role-unusable-name', name);
      return;
    }
    const externalId = role.id ?? key;
    roles.push({ key, externalId, name, otherName: `${realm.realm}/${name}`, description: role.description ?? '' });
  };
  for (const role of realm.roles?.realm ?? []) define(role);
  for (const [clientId, list] of Object.entries(realm.roles?.client ?? {}))
    for (const role of list) define(role, clientId);

  const known = new Set(roles.map(({ key }) => key));
  const collect = (found: Set<string>, missing: RoleKey[], key: RoleKey): void => {
    const id = keyOf(key);
    if (found.has(id)) return;
    found.add(id);
    const role = defined.get(id);
    if (!role) missing.push(key);
    for (const name of role?.composites?.realm ?? []) collect(found, missing, { name });
    for (const [clientId, names] of Object.entries(role?.composites?.client ?? {}))
      for (const name of names) collect(found, missing, { clientId, name });
  };
  // The same few sets of roles come again and again; what a set contains is worked out once.
  const seen = new Map<string, string[]>();

  return {
    roles,
    expand: (who, realmRoles, clientRoles) => {
      // Everybody has these two, which let them see their own account.
      for (const [clientId, names] of Object.entries(clientRoles))
        for (const name of names.filter(
          (name) => !(clientId === 'account' && /^(view-profile|manage-account)$/.test(name)),
        ))
          if (isOwnClient(clientId, realm.realm)) reporter.note('keycloak-roles', `${who}: ${clientId}/${name}`);
      const cacheKey = JSON.stringify([realmRoles, clientRoles]);
      const cached = seen.get(cacheKey);
      if (cached) return cached;
      const found = new Set<string>();
      const missing: RoleKey[] = [];
      for (const name of realmRoles) collect(found, missing, { name });
      for (const [clientId, names] of Object.entries(clientRoles))
        for (const name of names) collect(found, missing, { clientId, name });
      for (const key of missing)
        if (!ownRoles.has(keyOf(key)) && !(key.clientId && isOwnClient(key.clientId, realm.realm)))
          reporter.note('role-unknown', shown(key));
      const keys = [...found].filter((key) => known.has(key));
      if (seen.size < 10_000) seen.set(cacheKey, keys);
      return keys;
    },
  };
};

export interface PlannedGroup {
  /** As users name it, beginning with a slash. */
  path: string;
  parentPath: string | undefined;
  externalId: string;
  name: string;
  /** Keys of the roles that it was given itself. */
  ownRoles: string[];
  /** Those of the groups it is within as well. */
  roles: string[];
}

/** As deep as groups can lie here. */
const levelsMax = 10;

/** Every group after the one it is within. */
export const planGroups = (realm: Realm, { expand }: RolePlan, reporter: Reporter): PlannedGroup[] => {
  const planned: PlannedGroup[] = [];
  const visit = (group: KeycloakGroup, parent: PlannedGroup | undefined, level: number): void => {
    // Keycloak writes a slash within a name as `~/`.
    const path = `${parent?.path ?? ''}/${group.name.replaceAll('/', '~/')}`;
    if (!isUsableName(group.name, 255)) {
      reporter.count('groups', 'left out');
      reporter.note('group-unusable-name', path);
      return;
    }
    if (level > levelsMax) {
      reporter.count('groups', 'left out');
      reporter.note('group-too-deep', path);
      return;
    }
    if (Object.keys(group.attributes).length) reporter.note('group-attributes', path);
    const ownRoles = expand(path, group.realmRoles, group.clientRoles);
    const roles = [...new Set([...(parent?.roles ?? []), ...ownRoles])];
    const here = { path, parentPath: parent?.path, externalId: group.id ?? path, name: group.name, ownRoles, roles };
    planned.push(here);
    for (const child of group.subGroups) visit(child, here, level + 1);
  };
  for (const group of realm.groups) visit(group, undefined, 1);
  return planned;
};
