/** Makes, changes and deletes business domains, and assigns people to them. A domain permits nothing; policies may ask about it. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { conflict, invalid, notFound } from '../errors.ts';
import { assertNoChildren, assertParent, lockTree } from '../trees.ts';
import { type By, lockTarget } from '../users/users.commands.ts';
import type { Account } from '../users/users.queries.ts';
import { type Domain, findDomain, findDomains, listDomainsOf, lockDomain } from './domains.queries.ts';

const target = (id: string) => ({ type: 'domain', id });

export type NewDomain = Pick<Domain, 'key' | 'name' | 'description' | 'parentId' | 'isActive'>;

/** @throws AppError 400 invalid_request for an unknown parent; 409 domain_key_taken or tree_too_deep */
export const createDomain = (db: Db, actor: Actor, domain: NewDomain): Promise<Domain> =>
  transact(db, async (db) => {
    if (domain.parentId) await assertParent(db, 'domains', undefined, domain.parentId);
    const row = { ...domain, id: uuid() };
    const [created] = await db('domains').insert(row).onConflict('key').ignore().returning('id');
    if (!created) throw conflict('domain_key_taken', 'Another business domain has this key');
    await recordEvent(db, actor, { action: 'domain.create', target: target(created.id), meta: { key: domain.key } });
    return (await findDomain(db, created.id)) as Domain;
  });

export type DomainChanges = { [M in Exclude<keyof NewDomain, 'key'>]?: NewDomain[M] | undefined };

/** @throws AppError 404 domain_not_found; 400 invalid_request for an unknown parent; 409 tree_cycle or tree_too_deep */
export const updateDomain = (db: Db, actor: Actor, reference: string, changes: DomainChanges): Promise<Domain> =>
  transact(db, async (db) => {
    if (changes.parentId !== undefined) await lockTree(db, 'domains');
    const domain = await lockDomain(db, reference);
    if (!domain) throw notFound('domain');
    const { id } = domain;
    const changed = Object.entries(changes).filter(
      ([member, value]) => value !== undefined && value !== domain[member as keyof DomainChanges],
    );
    if (!changed.length) return domain;
    const { parentId } = Object.fromEntries(changed) as DomainChanges;
    if (parentId) await assertParent(db, 'domains', id, parentId);
    await db('domains')
      .where({ id })
      .update({ ...Object.fromEntries(changed), updatedAt: db.fn.now() });
    await recordEvent(db, actor, {
      action: 'domain.update',
      target: target(id),
      meta: { key: domain.key, members: changed.map(([member]) => member) },
    });
    return (await findDomain(db, id)) as Domain;
  });

/** @throws AppError 404 domain_not_found, 409 has_children */
export const deleteDomain = (db: Db, actor: Actor, reference: string): Promise<void> =>
  transact(db, async (db) => {
    await lockTree(db, 'domains');
    const domain = await lockDomain(db, reference);
    if (!domain) throw notFound('domain');
    await assertNoChildren(db, 'domains', domain.id);
    await db('domains').where({ id: domain.id }).delete();
    await recordEvent(db, actor, { action: 'domain.delete', target: target(domain.id), meta: { key: domain.key } });
  });

interface Place {
  /** The domain's id or key. */
  reference: string;
  userId: string;
}

/** The domain, which stays until the transaction ends. @throws AppError 404 domain_not_found */
const keepDomain = async (db: Db, reference: string): Promise<Domain> => {
  const [domain] = await findDomains(db, [reference]);
  if (!domain) throw notFound('domain');
  return domain;
};

/** @throws AppError 404 domain_not_found or user_not_found, 403 rank_too_low, 409 already_member */
export const addDomainMember = (db: Db, actor: Actor, by: By, { reference, userId }: Place): Promise<Account> =>
  transact(db, async (db) => {
    const { id: domainId, key } = await keepDomain(db, reference);
    const account = await lockTarget(db, by, userId);
    const row = { domainId, userId: account.id };
    const [added] = await db('domainMembers')
      .insert(row)
      .onConflict(['domainId', 'userId'])
      .ignore()
      .returning('userId');
    if (!added) throw conflict('already_member', 'They are assigned to the domain already');
    await recordEvent(db, actor, {
      action: 'domain.add_member',
      target: userTarget(account.id),
      meta: { domain: key },
    });
    return account;
  });

/** @throws AppError 404 domain_not_found, user_not_found or member_not_found, 403 rank_too_low */
export const removeDomainMember = (db: Db, actor: Actor, by: By, { reference, userId }: Place): Promise<void> =>
  transact(db, async (db) => {
    const { id: domainId, key } = await keepDomain(db, reference);
    const account = await lockTarget(db, by, userId);
    if (!(await db('domainMembers').where({ domainId, userId: account.id }).delete())) throw notFound('member');
    await recordEvent(db, actor, {
      action: 'domain.remove_member',
      target: userTarget(account.id),
      meta: { domain: key },
    });
  });

/**
 * Sets all domains that somebody is assigned to, those that are not active among them.
 * @param references ids or keys
 * @throws AppError 400 invalid_request for one that is not there, 404 user_not_found, 403 rank_too_low
 */
export const assignDomains = (
  db: Db,
  actor: Actor,
  by: By,
  { userId, references }: { userId: string; references: readonly string[] },
): Promise<Domain[]> =>
  transact(db, async (db) => {
    const account = await lockTarget(db, by, userId);
    const wanted = await findDomains(db, references);
    const known = new Set(wanted.flatMap(({ id, key }) => [id, key]));
    if (references.some((reference) => !known.has(reference.toLowerCase())))
      throw invalid('invalid_request', 'The request is not valid', {
        fields: [{ field: 'domains', code: 'unknown', message: 'one of them is no business domain' }],
      });
    const present: { domainId: string }[] = await db('domainMembers').where({ userId: account.id }).select('domainId');
    const before = new Set(present.map(({ domainId }) => domainId));
    const after = new Set(wanted.map(({ id }) => id));
    const added = [...after].filter((id) => !before.has(id));
    const removed = [...before].filter((id) => !after.has(id));
    if (removed.length) await db('domainMembers').where({ userId: account.id }).whereIn('domainId', removed).delete();
    if (added.length)
      await db('domainMembers')
        .insert(added.map((domainId) => ({ domainId, userId: account.id })))
        .onConflict(['domainId', 'userId'])
        .ignore();
    if (added.length || removed.length)
      await recordEvent(db, actor, {
        action: 'user.assign_domains',
        target: userTarget(account.id),
        meta: { domains: wanted.map(({ key }) => key) },
      });
    return listDomainsOf(db, account.id, { activeOnly: false, limit: references.length + 1, after: undefined });
  });
