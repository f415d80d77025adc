/**
 * What people hold alike is kept once: most of those in a group, or of a role, hold exactly the same. It saves memory, and what is
 * made of a list when a decision first looks something up in it serves all who share it.
 */
import { createHash } from 'node:crypto';
import { createGrowingCache } from '../growing-cache.ts';
import type { Membership, UserAccess } from './access.queries.ts';

/** How many lists, grants and memberships are known to be had by others too. */
const sharedMax = 50_000;
/** Sizes are in things of about 200 bytes, such as a grant. What somebody takes besides what they hold: */
const personSize = 5;
/** How many entries of a list that are kept elsewhere take as much. */
const entriesPerSize = 25;

export interface SharedAccess {
  /** The same access, made of what others have too. */
  share(access: UserAccess): UserAccess;
  /** How much is kept for this person; what is shared counts for whoever came first. */
  sizeOf(access: UserAccess): number;
}

export const createSharedAccess = (): SharedAccess => {
  const known = createGrowingCache<object>(sharedMax);
  const sizes = new WeakMap<UserAccess, number>();

  return {
    share: (access) => {
      let size = personSize;
      /** What reads the same is the same. */
      const once = <T extends object>(thing: T, itsSize: number): T => {
        const text = JSON.stringify(thing);
        const key = text.length > 200 ? createHash('sha256').update(text).digest('base64') : text;
        const found = known.get(key) as T | undefined;
        if (found) return found;
        known.set(key, thing);
        size += Math.ceil(itsSize);
        return thing;
      };
      const names = (list: string[]): string[] => once(list, list.length / 4);
      const sizeOfMembership = ({ roles, permissions }: Membership): number =>
        2 + roles.length / 4 + permissions.length / 4;
      /** A list of things that are shared by themselves as well. */
      const things = <T extends object>(list: T[], sizeOfOne: (thing: T) => number): T[] =>
        once(
          list.map((thing) => once(thing, sizeOfOne(thing))),
          list.length / entriesPerSize,
        );
      const one: UserAccess = {
        roles: names(access.roles),
        rank: access.rank,
        permissions: names(access.permissions),
        organizations: things(access.organizations, sizeOfMembership),
        groups: things(access.groups, () => 1),
        domains: names(access.domains),
        grants: things(access.grants, () => 1),
        changesInMs: access.changesInMs,
      };
      sizes.set(one, size);
      return one;
    },
    sizeOf: (access) => sizes.get(access) ?? personSize,
  };
};
