/** Who is in a group, and in which groups somebody is, over REST. */
import type { Caller } from '../http/caller.ts';
import { cursorNotOurs, idKeyOf, keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { reachOf } from '../http/reach.ts';
import { type Route, route } from '../http/route.ts';
import { AddGroupMember, Group, GroupMember, groupParams, memberParams, passingOn, toGroup } from './group-fields.ts';
import { findGroup, listGroupMembers, listGroupsOf } from './groups.queries.ts';
import type { Face, GroupRouteDeps } from './groups.routes.ts';
import { addGroupMember, removeGroupMember } from './members.commands.ts';
import { missing, requireSeen } from './sight.ts';

/** The id that a page begins after. @throws AppError 400 invalid_request */
const openCursor = ({ openCursor }: GroupRouteDeps, cursor: string | undefined): string | undefined => {
  const key = keyOf(cursor);
  if (key === undefined) return undefined;
  try {
    return openCursor(key);
  } catch {
    throw cursorNotOurs();
  }
};

const listMembers = async (
  deps: GroupRouteDeps,
  caller: Caller,
  { id, kind, limit, cursor }: { id: string; kind: Face['kind']; limit: number; cursor: string | undefined },
) => {
  const { reads, isMember } = await requireSeen(deps.db, caller, await findGroup(deps.db, id, kind));
  // A team that is open to somebody shows that it is there, not who is in it.
  if (!reads && !isMember) throw missing('groups:read:any');
  const rows = await listGroupMembers(deps.db, id, { limit: limit + 1, after: openCursor(deps, cursor) });
  const { data, nextCursor } = pageOf(rows, limit, (row) => deps.sealCursor(row.id));
  return { data: reads ? data : data.map(({ name }) => ({ name })), nextCursor };
};

export const memberRoutes = (deps: GroupRouteDeps, { kind, path, tag, Name, name }: Face): Route[] => [
  route({
    id: `list${Name}Members`,
    method: 'get',
    path: `${path}/:id/members`,
    tag,
    summary: `List who is in a ${name}`,
    description:
      'Those who are in it themselves learn names alone; ids and addresses are for whoever may see it by groups:read:organization or groups:read:any.',
    access: 'groups:read:own',
    reach: true,
    params: groupParams,
    query: ListQuery,
    returns: listOf(GroupMember),
    status: 200,
    problems: { 404: ['group_not_found'] },
    handle: ({ params: { id }, query: { limit, cursor }, caller }) =>
      listMembers(deps, caller, { id, kind, limit, cursor }),
  }),
  route({
    id: `add${Name}Member`,
    method: 'post',
    path: `${path}/:id/members`,
    tag,
    summary: `Put somebody into a ${name}`,
    description:
      'They have then what the group has and what those above it pass down, so that it takes what giving them that would.',
    access: 'groups:write:any',
    reach: true,
    params: groupParams,
    body: AddGroupMember,
    returns: GroupMember,
    status: 201,
    problems: {
      403: passingOn,
      404: ['group_not_found', 'user_not_found'],
      409: ['already_member', 'not_a_member', 'last_super_admin'],
    },
    handle: ({ params: { id }, body: { userId }, caller, actor }) =>
      addGroupMember(deps, actor, caller, { groupId: id, kind, userId }),
  }),
  route({
    id: `remove${Name}Member`,
    method: 'delete',
    path: `${path}/:id/members/:userId`,
    tag,
    summary: `Take somebody out of a ${name}`,
    access: 'groups:write:any',
    reach: true,
    params: memberParams,
    status: 204,
    problems: { 403: passingOn, 404: ['group_not_found', 'member_not_found'] },
    handle: ({ params: { id, userId }, caller, actor }) =>
      removeGroupMember(deps, actor, caller, { groupId: id, kind, userId }),
  }),
  route({
    id: `listUser${Name}s`,
    method: 'get',
    path: `/users/:id${path}`,
    tag,
    summary: `List the ${name}s that somebody is in`,
    description: `Of oneself the active ones; of somebody else those that one may see by groups:read:organization or groups:read:any.`,
    access: 'groups:read:own',
    owner: ({ id }) => id,
    within: ({ id }) => ({ type: 'user', id }),
    params: groupParams,
    query: ListQuery,
    returns: listOf(Group),
    status: 200,
    handle: async ({ params: { id }, query: { limit, cursor }, caller }) => {
      const isOwn = caller.kind === 'user' && caller.id === id.toLowerCase();
      const { everywhere, organizations, except } = reachOf(caller, 'groups:read:any');
      const page = { limit: limit + 1, after: idKeyOf(cursor) };
      const reach = isOwn ? undefined : { everywhere, organizations, except };
      const rows = await listGroupsOf(deps.db, id, { kind, activeOnly: isOwn, reach }, page);
      return pageOf(rows.map(toGroup), limit, ({ id }) => id);
    },
  }),
];
