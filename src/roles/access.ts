/** Who may do what, as it is now, for requests: from what is remembered where that is certain, else from the database. */
import type { Db } from '../../db/connect.ts';
import { findPaths, type Placed } from '../organizations/paths.queries.ts';
import { findAccessOfMany, findUserAccess, isId, type UserAccess } from './access.queries.ts';
import type { AccessCache } from './access-cache.ts';
import { createSharedAccess } from './shared-access.ts';

export interface Access {
  /**
   * An active user's access; undefined for anybody else. What this process has changed shows at once, what others have within a
   * second. For requests that only read: a transaction asks `findUserAccess(db, …)`, and so does whoever gives somebody something.
   * Nobody may change the answer, which is frozen. `changesInMs` is as of when it was read.
   */
  of(userId: string): Promise<UserAccess | undefined>;
  /** As `of`, of many people: what is not remembered comes by one query. */
  ofMany(userIds: Iterable<string>): Promise<ReadonlyMap<string, UserAccess>>;
  /** As `of` without waiting; undefined as well when it is not known without asking. */
  peek(userId: string): UserAccess | undefined;
  /** As `findPaths`: the ways up from the organizations that a thing lies in, each from there to its root. */
  paths(type: Placed, id: string): Promise<readonly (readonly string[])[]>;
  /**
   * For what else rests on what notifications on the channel `access` name: `policies:*` drops all of the shelf `policies`. Each
   * shelf is made once.
   */
  shelf: AccessCache['shelf'];
}

/** How much of people's access is kept in memory: so many people, and so much (in things of about 200 bytes) of theirs. */
const peopleMax = 10_000;
const sizeMax = 250_000;
const pathsMax = 10_000;

export const createAccess = (cache: AccessCache, db: Db): Access => {
  const { share, sizeOf } = createSharedAccess();
  const people = cache.shelf<UserAccess>({
    name: 'user',
    max: peopleMax,
    size: { max: sizeMax, of: sizeOf },
    prepare: share,
    shared: true,
    changesInMs: ({ changesInMs }) => changesInMs,
  });
  const paths = cache.shelf<string[][]>({ name: 'path', max: pathsMax });
  return {
    // What notifications name is written in one way.
    of: async (userId) => {
      const id = userId.toLowerCase();
      return isId(id) ? people.get(id, () => findUserAccess(db, id)) : undefined;
    },
    ofMany: (userIds) => people.getMany([...userIds].filter(isId), (ids) => findAccessOfMany(db, ids)),
    peek: people.peek,
    paths: async (type, id) => {
      const found = await paths.get(`${type}/${id.toLowerCase()}`, async () => {
        const found = await findPaths(db, type, id);
        // What lies nowhere may not be there yet, and nothing tells when it is.
        return found.length ? found : undefined;
      });
      return found ?? [];
    },
    shelf: cache.shelf,
  };
};
