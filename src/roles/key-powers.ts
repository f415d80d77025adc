/**
 * What an API key passes on of what its owner holds: what its scopes name, and what was given to the key itself, everywhere or
 * inside organizations; nothing that is denied to the key; and never more than the owner holds now.
 */
import type { Db } from '../../db/connect.ts';
import { inForce } from '../users/held-roles.queries.ts';
import type { Membership, UserAccess } from './access.queries.ts';
import { denied, intersect, narrowed } from './permissions.ts';

/** A permission that is given or denied to a key, in an organization or everywhere. */
export type KeyPower = [permission: string, effect: 'allow' | 'deny', organizationId: string | null];

/** SQL of the powers of a key as they are now, as JSON. @param id SQL of the key's id */
export const powersOf = (id: string): string => `(with recursive held (role_id, organization_id) as (
       select role_id, organization_id from role_grants where api_key_id = ${id} and ${inForce()}
       union
       select role_inheritance.parent_id, organization_id
       from held join role_inheritance on role_inheritance.role_id = held.role_id
     ), powers as (
       select permissions.name, 'allow' as effect, organization_id
       from held join role_permissions on role_permissions.role_id = held.role_id
         join permissions on permissions.id = role_permissions.permission_id
       union
       select permissions.name, effect, organization_id
       from permission_grants join permissions on permissions.id = permission_id
       where api_key_id = ${id} and ${inForce()}
     ) select coalesce(jsonb_agg(jsonb_build_array(name, effect, organization_id)), '[]') from powers)`;

/** Of keys that work, by id: whose they are, and what they may be used for. */
export const findLiveKeys = async (db: Db, ids: readonly string[]): Promise<Map<string, KeyUse>> => {
  if (!ids.length) return new Map();
  const { rows } = (await db.raw(
    `select id, user_id, scopes, ${powersOf('api_keys.id')} as powers from api_keys
     where id = any(cast(:ids as uuid[])) and revoked_at is null and (expires_at is null or expires_at > now())`,
    { ids },
  )) as { rows: (KeyUse & { id: string })[] };
  return new Map(rows.map(({ id, ...key }) => [id, key]));
};

/**
 * The key that a token of this grant was exchanged for, or the token that this one was exchanged for, and so on; undefined of a grant
 * that came of no key. It may be used no more once the key is not (`isLive`).
 */
export const findKeyOfGrant = async (db: Db, grantId: string): Promise<(KeyUse & { isLive: boolean }) | undefined> => {
  const { rows } = (await db.raw(
    `with recursive sources as (
       select api_key_id, source_grant_id, 0 as depth from grants where id = :grantId
       union all
       select grants.api_key_id, grants.source_grant_id, depth + 1
       from sources join grants on grants.id = sources.source_grant_id where depth < 100
     )
     select user_id, scopes, revoked_at is null and (expires_at is null or expires_at > now()) as is_live,
       ${powersOf('api_keys.id')} as powers
     from api_keys where id in (select api_key_id from sources)`,
    { grantId },
  )) as { rows: (KeyUse & { isLive: boolean })[] };
  return rows[0];
};

export interface KeyUse {
  userId: string;
  scopes: string[];
  powers: KeyPower[];
}

export interface KeyHolder extends Pick<UserAccess, 'roles' | 'rank' | 'permissions' | 'groups' | 'domains'> {
  /** What the key may be used for everywhere. */
  scope: string[];
  /** `scope`: what it may be used for there besides. */
  organizations: (Membership & { scope: string[] })[];
}

/** The owner as far as the key goes. */
export const throughKey = (
  { roles, rank, permissions, organizations, groups, domains }: UserAccess,
  { scopes, powers }: Pick<KeyUse, 'scopes' | 'powers'>,
): KeyHolder => {
  const given = (effect: 'allow' | 'deny', place: string | null): string[] =>
    powers.filter(([, is, where]) => is === effect && where === place).map(([name]) => name);
  const scope = [...scopes, ...given('allow', null)];
  const allowances = permissions.filter((name) => !name.startsWith('!'));
  return {
    ...{ roles, rank, groups, domains, scope },
    permissions: [...intersect(permissions, scope), ...given('deny', null).map(denied)],
    organizations: organizations.map((one) => {
      const here = given('allow', one.id).map(narrowed);
      const passed = [
        ...intersect(one.permissions, [...scope, ...here]),
        // What is held everywhere counts there as well, where the key may use it.
        ...intersect(allowances, here),
        ...given('deny', one.id).map(narrowed).map(denied),
      ];
      return { ...one, permissions: [...new Set(passed)], scope: here };
    }),
  };
};
