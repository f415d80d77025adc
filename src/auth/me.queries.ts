/** What `/auth/me` and `/auth/validate` say of a person. */
import type { Db } from '../../db/connect.ts';

export interface Person {
  id: string;
  email: string;
  emailVerified: boolean;
  name: string;
  locale: string | null;
  role: string;
  organizations: { id: string; kind: 'organization' | 'company'; name: string; isOwner: boolean }[];
  /** Those that one is in oneself, teams among them. */
  groups: {
    id: string;
    kind: 'group' | 'team';
    name: string;
    externalRef: string | null;
    organizationId: string | null;
  }[];
  domains: { id: string; key: string; name: string }[];
  createdAt: Date;
  lastSignInAt: Date | null;
}

/** One query, since applications ask this for every request of theirs. @param userId an expression of SQL */
export const personQuery = (userId: string): string =>
  `select users.id, users.email, email_verified_at is not null as "emailVerified", users.name, locale,
       roles.name as role, users.created_at as "createdAt", last_sign_in_at as "lastSignInAt",
       coalesce((select json_agg(json_build_object('id', o.id, 'kind', o.kind, 'name', o.name, 'isOwner', is_owner)
           order by o.name, o.id)
         from organization_members m join organizations o on o.id = m.organization_id
         where m.user_id = users.id and o.is_active), '[]') as organizations,
       coalesce((select json_agg(json_build_object('id', g.id, 'kind', g.kind, 'name', g.name, 'externalRef', g.external_ref,
           'organizationId', g.organization_id) order by g.name, g.id)
         from group_members m join groups g on g.id = m.group_id
         where m.user_id = users.id and g.is_active), '[]') as groups,
       coalesce((select json_agg(json_build_object('id', d.id, 'key', d.key, 'name', d.name) order by d.name, d.id)
         from domain_members m join domains d on d.id = m.domain_id
         where m.user_id = users.id and d.is_active), '[]') as domains
     from users join roles on roles.id = users.role_id where users.id = ${userId} and status = 'active'`;

export const findPerson = async (db: Db, userId: string): Promise<Person | undefined> => {
  const { rows } = (await db.raw(personQuery('?'), [userId])) as { rows: Person[] };
  return rows[0];
};
