/** To whom something is given or denied: that they are there and in sight, and that the caller may change what they have. */
import type { Db } from '../../db/connect.ts';
import { conflict, notFound } from '../errors.ts';
import { assertRank, type Caller } from '../http/caller.ts';
import { findPaths } from '../organizations/paths.queries.ts';
import { lockAccount } from '../users/users.queries.ts';
import { findHighestRankIn, type Subject } from './grants.queries.ts';
import { assertMayActOn, mayAssign, rankOf } from './passing-on.ts';

export interface TakenSubject extends Subject {
  /** The person, or whose key it is; undefined for a group. */
  userId: string | undefined;
  /** That of the person everywhere; -1 for a group or a key. */
  rank: number;
  /** Nobody gives somebody anything who ranks higher. @throws AppError 403 rank_too_low */
  assertMayGain(): Promise<void>;
  /** Nobody takes anything from somebody who ranks higher; of a group that is each of its members. @throws AppError 403 rank_too_low */
  assertMayLose(): Promise<void>;
}

/** Somebody of another organization is not there for those who are limited to theirs. */
const assertMember = async (
  db: Db,
  caller: Caller,
  userId: string,
  organizationId: string,
  what: 'user' | 'api_key',
): Promise<void> => {
  const member = await db('organizationMembers').where({ organizationId, userId }).forKeyShare().first('userId');
  if (member) return;
  if (!(await mayAssign(db, caller))) throw notFound(what);
  throw conflict('not_a_member', 'The person is no member of the organization');
};

const takeGroup = async (
  db: Db,
  caller: Caller,
  id: string,
  organizationId: string | undefined,
  before: boolean,
): Promise<TakenSubject> => {
  // Nobody joins it meanwhile, who would gain what is given, or lose it, unseen.
  const group = await db('groups').where({ id }).forNoKeyUpdate().first('organizationId');
  if (!group) throw notFound('group');
  const [place = []] = organizationId ? await findPaths(db, 'organization', organizationId) : [];
  if (organizationId && !place.includes(group.organizationId) && !(await mayAssign(db, caller)))
    throw notFound('group');
  if (organizationId && group.organizationId && !before && !place.includes(group.organizationId))
    throw conflict('not_a_member', 'The group lies in another organization');
  const assertMayLose = async () =>
    assertRank({ rank: await rankOf(db, caller, organizationId) }, await findHighestRankIn(db, id, place));
  return { type: 'group', id, userId: undefined, rank: -1, assertMayGain: async () => undefined, assertMayLose };
};

/**
 * The subject, which nobody else changes until the transaction ends.
 * @param organizationId where something is given: people must be members, groups of that organization, or of one above
 * @param before what is taken away was given before: whether they are members still does not matter
 * @throws AppError 404 user_not_found, group_not_found or api_key_not_found; 409 not_a_member
 */
export const takeSubject = async (
  db: Db,
  caller: Caller,
  { type, id }: Subject,
  organizationId: string | undefined,
  before = false,
): Promise<TakenSubject> => {
  if (type === 'group') return takeGroup(db, caller, id, organizationId, before);
  const key =
    type === 'api_key' ? await db('apiKeys').where({ id, revokedAt: null }).forShare().first('userId') : undefined;
  if (type === 'api_key' && !key) throw notFound('api_key');
  const userId: string = key?.userId ?? id;
  const account = await lockAccount(db, userId);
  if (!account) throw notFound(type);
  if (organizationId && !before) await assertMember(db, caller, userId, organizationId, type);
  const assertMayChange = () => assertMayActOn(db, caller, userId, organizationId);
  return {
    type,
    id,
    userId,
    rank: type === 'user' ? account.rank : -1,
    assertMayGain: assertMayChange,
    assertMayLose: assertMayChange,
  };
};
