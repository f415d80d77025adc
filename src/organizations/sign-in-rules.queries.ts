/**
 * What organizations ask of their people’s sign-ins: a second factor, and which ways in there are. The rules of an
 * organization are for its members and for those of everything beneath it. They come with the highest rank of the person, in one
 * query, because whoever asks needs both.
 */
import { type Db, queryDirectly } from '../../db/connect.ts';
import { heldBy } from '../users/held-roles.queries.ts';

/** How a sign-in can begin. */
export const signInMethods = ['password', 'passkey', 'magic-link', 'social'] as const;
export type SignInMethod = (typeof signInMethods)[number];

export interface SignInRules {
  /**
   * Of the highest role that is held everywhere, or will be: a role that needs a second factor finds it there when it begins. -1 for
   * whoever is not active.
   */
  rank: number;
  /** An organization asks for a second factor. */
  needsMfa: boolean;
  /** The ways in that all organizations allow; undefined where none says. It may be none. */
  methods: readonly SignInMethod[] | undefined;
}

/** What `signInRulesOf` selects. */
export interface RulesRow {
  rank: number | null;
  is_super_admin: boolean | null;
  rules: [requireMfa: boolean, methods: SignInMethod[] | null][] | null;
}

/** @param row null of whoever is not active */
export const toRules = (row: RulesRow | null | undefined): SignInRules => {
  const { rank, is_super_admin: isSuperAdmin, rules } = row ?? { rank: null, is_super_admin: null, rules: null };
  const lists = (rules ?? []).flatMap(([, methods]) => (methods ? [methods] : []));
  // Whoever may do everything must get in to mend what locks everybody out.
  const limited = lists.length > 0 && !isSuperAdmin;
  return {
    rank: rank ?? -1,
    needsMfa: (rules ?? []).some(([requireMfa]) => requireMfa),
    methods: limited ? signInMethods.filter((one) => lists.every((list) => list.includes(one))) : undefined,
  };
};

/** SQL of an active user's rules, of no row for anybody else. @param id SQL of the user's id */
export const signInRulesOf = (id: string): string =>
  `with recursive ${heldBy(id)}, way (id, parent_id, is_active, require_mfa, sign_in_methods) as (
     select id, parent_id, is_active, require_mfa, sign_in_methods from organizations
     where id in (select organization_id from belongs)
     union
     select parents.id, parents.parent_id, parents.is_active, parents.require_mfa, parents.sign_in_methods
     from way join organizations parents on parents.id = way.parent_id
   ), everywhere as (
     select name, rank from held join roles on roles.id = held.role_id where organization_id is null
   )
   select (select max(rank) from (
       with recursive ${heldBy(id, true)}
       select rank from held join roles on roles.id = held.role_id where organization_id is null) later) as rank,
     (select bool_or(name = 'super_admin') from everywhere) as is_super_admin,
     (select jsonb_agg(jsonb_build_array(require_mfa, sign_in_methods)) from way
       where is_active and (require_mfa or sign_in_methods is not null)) as rules
   from users where users.id = ${id} and status = 'active'`;

const ownRules = signInRulesOf('$1::uuid');

/** The rules that hold for a person now. Nobody’s are those of nobody: there is nothing to tell them apart by. */
export const findSignInRules = async (db: Db, userId: string): Promise<SignInRules> =>
  toRules((await queryDirectly<RulesRow>(db, ownRules, [userId]))[0]);

/** How a sign-in began, by the methods that were shown (RFC 8176): the first of them is the first factor’s. */
export const signInMethodOf = (amr: readonly string[]): SignInMethod => {
  if (amr.includes('fed')) return 'social';
  if (amr[0] === 'pop') return 'passkey';
  return amr[0] === 'otp' ? 'magic-link' : 'password';
};
