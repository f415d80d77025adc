/** Business domains over REST: areas such as marketing or sales, and who works in them. */
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import { type Caller, may } from '../http/caller.ts';
import { keyOf, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { assignmentRoutes } from './assignments.routes.ts';
import {
  AllDomainSearch,
  ChangeDomain,
  CreateDomain,
  Domain,
  DomainSearch,
  domainParams,
  ListedDomain,
  toDomain,
} from './domain-fields.ts';
import { createDomain, deleteDomain, updateDomain } from './domains.commands.ts';
import { findDomain, listActiveTrees, listDomains, listRoots, type Domain as Row } from './domains.queries.ts';

type Tree = ReturnType<typeof toDomain> & { children: Tree[] };

const listTrees = async (db: Db, limit: number, cursor: string | undefined) => {
  const roots = pageOf(await listRoots(db, { limit: limit + 1, after: keyOf(cursor) }), limit, ({ key }) => key);
  const ids = roots.data.map(({ id }) => id);
  const nodes = (await listActiveTrees(db, ids)).map((row): Tree => ({ ...toDomain(row), children: [] }));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  for (const node of nodes) if (node.parentId) byId.get(node.parentId)?.children.push(node);
  return { data: nodes.filter(({ id }) => ids.includes(id)), nextCursor: roots.nextCursor };
};

/** The domain, as far as the caller sees it: those that are not active are for whoever looks after them. */
const requireSeen = async (db: Db, caller: Caller, reference: string): Promise<Row> => {
  const domain = await findDomain(db, reference);
  if (!domain || !(domain.isActive || may(caller, 'domains:read:any'))) throw notFound('domain');
  return domain;
};

const reading = (db: Db): Route[] => [
  route({
    id: 'listDomains',
    method: 'get',
    path: '/domains',
    tag: 'Domains',
    summary: 'List the active business domains in the order of their keys, or as trees',
    access: 'domains:read:own',
    reach: true,
    query: DomainSearch,
    returns: listOf(ListedDomain),
    status: 200,
    handle: async ({ query: { limit, cursor, tree, parentId } }) => {
      if (tree) return listTrees(db, limit, cursor);
      const rows = await listDomains(db, { isActive: true, parentId }, { limit: limit + 1, after: keyOf(cursor) });
      return pageOf(rows.map(toDomain), limit, ({ key }) => key);
    },
  }),
  route({
    id: 'listAllDomains',
    method: 'get',
    path: '/domains/all',
    tag: 'Domains',
    summary: 'List the business domains, those that are not active among them',
    access: 'domains:read:any',
    query: AllDomainSearch,
    returns: listOf(Domain),
    status: 200,
    handle: async ({ query: { limit, cursor, ...filter } }) => {
      const rows = await listDomains(db, filter, { limit: limit + 1, after: keyOf(cursor) });
      return pageOf(rows.map(toDomain), limit, ({ key }) => key);
    },
  }),
  route({
    id: 'getDomain',
    method: 'get',
    path: '/domains/:id',
    tag: 'Domains',
    summary: 'See a business domain, by its id or key',
    description: 'One that is not active is shown with domains:read:any alone.',
    access: 'domains:read:own',
    reach: true,
    params: domainParams,
    returns: Domain,
    status: 200,
    problems: { 404: ['domain_not_found'] },
    handle: async ({ params, caller }) => toDomain(await requireSeen(db, caller, params.id)),
  }),
];

const writing = (db: Db): Route[] => [
  route({
    id: 'createDomain',
    method: 'post',
    path: '/domains',
    tag: 'Domains',
    summary: 'Make a business domain',
    access: 'domains:write:any',
    body: CreateDomain,
    returns: Domain,
    status: 201,
    problems: { 409: ['domain_key_taken', 'tree_too_deep'] },
    handle: async ({ body, actor }) => toDomain(await createDomain(db, actor, body)),
  }),
  route({
    id: 'updateDomain',
    method: 'patch',
    path: '/domains/:id',
    tag: 'Domains',
    summary: 'Change a business domain, move it, shut it or open it again',
    access: 'domains:write:any',
    params: domainParams,
    body: ChangeDomain,
    returns: Domain,
    status: 200,
    problems: { 404: ['domain_not_found'], 409: ['tree_cycle', 'tree_too_deep'] },
    handle: async ({ params, body, actor }) => toDomain(await updateDomain(db, actor, params.id, body)),
  }),
  route({
    id: 'deleteDomain',
    method: 'delete',
    path: '/domains/:id',
    tag: 'Domains',
    summary: 'Delete a business domain that has no parts',
    access: 'domains:write:any',
    params: domainParams,
    status: 204,
    problems: { 404: ['domain_not_found'], 409: ['has_children'] },
    handle: ({ params, actor }) => deleteDomain(db, actor, params.id),
  }),
];

export const domainRoutes = ({ db }: { db: Db }): Route[] => [
  ...reading(db),
  ...writing(db),
  ...assignmentRoutes({ db }),
];
