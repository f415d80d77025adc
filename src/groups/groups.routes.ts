/**
 * Groups over REST, and teams: the groups of that kind, under paths of their own. What a caller may not see is to them as if it
 * were not there.
 */
import type { Caller } from '../http/caller.ts';
import { idKeyOf, listOf, pageOf } from '../http/lists.ts';
import { reachOf } from '../http/reach.ts';
import { type Route, route } from '../http/route.ts';
import {
  AllTeamSearch,
  ChangeGroup,
  CreateGroup,
  CreateTeam,
  Group,
  GroupSearch,
  groupParams,
  passingOn,
  TeamSearch,
  toGroup,
} from './group-fields.ts';
import { createGroup, deleteGroup, type GroupDeps, updateGroup } from './groups.commands.ts';
import { findGroup, type GroupFilter, type GroupKind, listGroups } from './groups.queries.ts';
import { memberRoutes } from './members.routes.ts';
import { requireSeen, sightOf } from './sight.ts';

export interface GroupRouteDeps extends GroupDeps {
  /** So that a place in a list of people says nothing about anybody. */
  sealCursor(id: string): string;
  /** @throws Error for what was not sealed here */
  openCursor(sealed: string): string;
}

/** Groups of every kind, or teams alone. */
export interface Face {
  kind: 'team' | undefined;
  path: '/groups' | '/teams';
  tag: 'Groups' | 'Teams';
  /** As operations and texts name one. */
  Name: 'Group' | 'Team';
  name: 'group' | 'team';
}

const faces: readonly Face[] = [
  { kind: undefined, path: '/groups', tag: 'Groups', Name: 'Group', name: 'group' },
  { kind: 'team', path: '/teams', tag: 'Teams', Name: 'Team', name: 'team' },
];

const search = async (
  { db }: GroupRouteDeps,
  caller: Caller,
  { limit, cursor, ...filter }: GroupFilter & { limit: number; cursor?: string | undefined },
) => {
  const rows = await listGroups(db, sightOf(caller), filter, { limit: limit + 1, after: idKeyOf(cursor) });
  return pageOf(rows.map(toGroup), limit, ({ id }) => id);
};

const listing = (deps: GroupRouteDeps): Route[] => [
  route({
    id: 'listGroups',
    method: 'get',
    path: '/groups',
    tag: 'Groups',
    summary: 'List groups and teams in the order in which they were made',
    description:
      'All of them with groups:read:any, those of one’s organizations with groups:read:organization, else those that one is in, and the teams that are open to one.',
    access: 'groups:read:own',
    reach: true,
    query: GroupSearch,
    returns: listOf(Group),
    status: 200,
    handle: ({ query, caller }) => search(deps, caller, query),
  }),
  route({
    id: 'listTeams',
    method: 'get',
    path: '/teams',
    tag: 'Teams',
    summary: 'List active teams in the order in which they were made',
    description:
      'Everybody sees those that are of no organization, those of their own organizations, and those that they are in.',
    access: 'groups:read:own',
    reach: true,
    query: TeamSearch,
    returns: listOf(Group),
    status: 200,
    handle: ({ query, caller }) => search(deps, caller, { ...query, kind: 'team', isActive: true }),
  }),
  route({
    id: 'listAllTeams',
    method: 'get',
    path: '/teams/all',
    tag: 'Teams',
    summary: 'List teams, those that are not active among them',
    access: 'groups:read:any',
    reach: true,
    query: AllTeamSearch,
    returns: listOf(Group),
    status: 200,
    handle: async ({ query: { limit, cursor, ...filter }, caller }) => {
      const sight = { ...sightOf(caller), reach: { ...reachOf(caller, 'groups:read:any'), own: false } };
      const page = { limit: limit + 1, after: idKeyOf(cursor) };
      const rows = await listGroups(deps.db, sight, { ...filter, kind: 'team' }, page);
      return pageOf(rows.map(toGroup), limit, ({ id }) => id);
    },
  }),
];

const creating = (deps: GroupRouteDeps): Route[] => {
  const shared = {
    method: 'post',
    access: 'groups:write:any',
    reach: true,
    returns: Group,
    status: 201,
    problems: { 404: ['organization_not_found'], 409: ['tree_too_deep', 'other_organization'] },
    description:
      'It is of the organization of the one above it. In an organization it takes groups:write:organization there, in none groups:write:any.',
  } as const;
  return [
    route({
      ...shared,
      id: 'createGroup',
      path: '/groups',
      tag: 'Groups',
      summary: 'Make a group or team',
      body: CreateGroup,
      handle: async ({ body, caller, actor }) => toGroup(await createGroup(deps, actor, caller, body)),
    }),
    route({
      ...shared,
      id: 'createTeam',
      path: '/teams',
      tag: 'Teams',
      summary: 'Make a team',
      body: CreateTeam,
      handle: async ({ body, caller, actor }) =>
        toGroup(await createGroup(deps, actor, caller, { ...body, kind: 'team' as GroupKind })),
    }),
  ];
};

const single = (deps: GroupRouteDeps, { kind, path, tag, Name, name }: Face): Route[] => [
  route({
    id: `get${Name}`,
    method: 'get',
    path: `${path}/:id`,
    tag,
    summary: `See a ${name}`,
    access: 'groups:read:own',
    reach: true,
    params: groupParams,
    returns: Group,
    status: 200,
    problems: { 404: ['group_not_found'] },
    handle: async ({ params, caller }) =>
      toGroup((await requireSeen(deps.db, caller, await findGroup(deps.db, params.id, kind))).group),
  }),
  route({
    id: `update${Name}`,
    method: 'patch',
    path: `${path}/:id`,
    tag,
    summary: `Change a ${name}, move it, shut it or open it again`,
    description:
      'What is moved beneath a group gains what that passes down, and one that is shut loses what it had: moving, shutting and opening take what giving or taking that away would.',
    access: 'groups:write:any',
    reach: true,
    params: groupParams,
    body: ChangeGroup,
    returns: Group,
    status: 200,
    problems: {
      403: passingOn,
      404: ['group_not_found'],
      409: ['tree_cycle', 'tree_too_deep', 'other_organization', 'last_super_admin'],
    },
    handle: async ({ params, body, caller, actor }) =>
      toGroup(await updateGroup(deps, actor, caller, { id: params.id, kind }, body)),
  }),
  route({
    id: `delete${Name}`,
    method: 'delete',
    path: `${path}/:id`,
    tag,
    summary: `Delete a ${name} that nothing lies beneath`,
    access: 'groups:write:any',
    reach: true,
    params: groupParams,
    status: 204,
    problems: { 403: passingOn, 404: ['group_not_found'], 409: ['has_children'] },
    handle: ({ params, caller, actor }) => deleteGroup(deps, actor, caller, { id: params.id, kind }),
  }),
];

export const groupRoutes = (deps: GroupRouteDeps): Route[] => [
  ...listing(deps),
  ...creating(deps),
  ...faces.flatMap((face) => [...single(deps, face), ...memberRoutes(deps, face)]),
];
