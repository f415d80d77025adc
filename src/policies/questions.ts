/** Brings questions together with the facts that they are decided by: a query for each kind of fact, whatever many ask. */
import type { Db } from '../../db/connect.ts';
import type { Caller } from '../http/caller.ts';
import { findAccessOfMany, type UserAccess } from '../roles/access.queries.ts';
import { findLiveKeys, type KeyUse, throughKey } from '../roles/key-powers.ts';
import { canonicalType } from '../roles/permissions.ts';
import type { NormalCheck } from './checks.ts';
import { type Decision, decide, type Facts, type Question } from './decide.ts';
import { findResources, isOwnType, isUuid, type ResourceFacts } from './facts.queries.ts';

/** What somebody may do, and with what. */
type Subject = Omit<Facts, 'policiesFor'>;

export interface QuestionDeps {
  db: Db;
  /** The access of active users by id, from what is remembered where that is certain; not for transactions. */
  accessOf?(userIds: Iterable<string>): Promise<ReadonlyMap<string, UserAccess>>;
  /** What applications may do by themselves, by `client_id`. */
  standingsOf(
    clientIds: readonly string[],
  ): Promise<ReadonlyMap<string, { rank: number; permissions: readonly string[] }>>;
}

/** A question with its facts. `subject` is undefined where there is nobody of that id. */
export interface Prepared {
  check: NormalCheck;
  question: Question;
  subject: Subject | undefined;
  /** What the subject may do without the token that the question came with. */
  untied?: Subject | undefined;
}

const idsOf = (checks: readonly NormalCheck[], type: string): string[] => [
  ...new Set(checks.filter(({ subject }) => subject.type === type).map(({ subject }) => subject.id)),
];

/** A key's owner, as far as the key goes. */
const narrowed = (access: UserAccess, key: KeyUse): Subject => {
  const subject = throughKey(access, key);
  return { subject, scope: subject.scope };
};

/** The subject of a question as decisions know it: a key stands for its owner. */
const findSubjects = async (
  deps: QuestionDeps,
  checks: readonly NormalCheck[],
): Promise<(check: NormalCheck) => { id: string; type: string; facts: Subject } | undefined> => {
  const keys = await findLiveKeys(deps.db, idsOf(checks, 'api_key').filter(isUuid));
  const wanted = new Set([...idsOf(checks, 'user'), ...[...keys.values()].map(({ userId }) => userId)]);
  const people = await (deps.accessOf?.(wanted) ?? findAccessOfMany(deps.db, wanted));
  const clientIds = idsOf(checks, 'client');
  const clients = clientIds.length ? await deps.standingsOf(clientIds) : undefined;
  return ({ subject: { type, id } }) => {
    if (type === 'client') {
      const standing = clients?.get(id);
      return standing && { type, id, facts: { subject: { ...standing, roles: [], organizations: [] } } };
    }
    const key = type === 'api_key' ? keys.get(id) : undefined;
    const access = people.get(key?.userId ?? (type === 'user' ? id : ''));
    if (!access) return undefined;
    return key
      ? { type: 'user', id: key.userId, facts: narrowed(access, key) }
      : { type, id, facts: { subject: access } };
  };
};

/** Of our own things nobody is believed, but for what was found out when it was recorded. */
const isTold = ({ type, isKnown }: NormalCheck['resource']): boolean => isKnown === true || !isOwnType(type);

/** Facts about the things that are asked about, each kind by one query; of organizations that are told, the ways up. */
const findThings = async (db: Db, checks: readonly NormalCheck[]) => {
  const idsByType = new Map<string, Set<string>>();
  const want = (type: string, id: string) => idsByType.set(type, (idsByType.get(type) ?? new Set()).add(id));
  for (const { resource } of checks) {
    if (isTold(resource)) for (const id of resource.organizations) want('organizations', id);
    else if (resource.id !== undefined) want(canonicalType(resource.type), resource.id);
    else for (const id of resource.organizations) want('organizations', id);
  }
  const found = new Map<string, Map<string, ResourceFacts>>();
  for (const [type, ids] of idsByType) found.set(type, await findResources(db, type, ids));
  return (type: string, id: string): ResourceFacts | undefined => found.get(type)?.get(id);
};

type Things = Awaited<ReturnType<typeof findThings>>;

/** What a permission without a thing is about: one's own, what lies in one's organizations, or anything. */
const targetOfScope = (check: NormalCheck, subject: { id: string; facts: Subject }, things: Things) => {
  if (check.scope === 'own') return { owner: subject.id };
  if (check.scope !== 'organization') return {};
  const named = check.resource.organizations.flatMap((id) => things('organizations', id)?.organizations ?? []);
  return { organizations: named.length ? named : subject.facts.subject.organizations.map(({ id }) => [id]) };
};

const resourceOf = (
  check: NormalCheck,
  subject: { id: string; facts: Subject },
  things: Things,
): Question['resource'] => {
  const { type: given, id, owner, organizations, properties, every } = check.resource;
  const type = canonicalType(given);
  if (!isTold(check.resource)) {
    if (id === undefined) return { type, ...targetOfScope(check, subject, things) };
    const found = things(type, id);
    return { type, id, owner: found?.owner, organizations: found?.organizations, every: check.action !== 'read' };
  }
  const told = { id, owner, properties, every };
  if (check.scope && id === undefined && owner === undefined)
    return { type, ...told, ...targetOfScope(check, subject, things) };
  return {
    type,
    ...told,
    organizations: organizations.flatMap((one) => things('organizations', one)?.organizations ?? []),
  };
};

/**
 * The server's own clock; of a request about oneself its address, `acr`, risk and organization as well, whatever is told. Routes are
 * told nothing besides, so nothing counts where it is about our own things.
 */
const contextOf = (
  { context, resource }: NormalCheck,
  asker: Caller | undefined,
  time: string,
): Question['context'] => {
  if (!asker) return { ...context, time };
  const { address: _address, acr: _acr, risk: _risk, organization: _organization, ...told } = context;
  return { ...(isOwnType(resource.type) ? {} : told), ...asker.context, time };
};

/** Whether the question is about whoever asks. */
export const isAboutAsker = ({ subject: { type, id } }: Pick<NormalCheck, 'subject'>, caller: Caller): boolean =>
  caller.kind === type && caller.id === id;

/**
 * @param asker whose own questions are answered as far as their token goes, as the routes would; undefined: nobody asks
 * @param timeOf when a question is taken to be asked; now unless told otherwise
 */
export const prepare = async (
  deps: QuestionDeps,
  checks: readonly NormalCheck[],
  asker?: Caller,
  timeOf: (check: NormalCheck, index: number) => string = () => new Date().toISOString(),
): Promise<Prepared[]> => {
  const subjectOf = await findSubjects(deps, checks);
  const things = await findThings(deps.db, checks);
  return checks.map((check, index) => {
    const found = subjectOf(check);
    const isOwn = asker !== undefined && isAboutAsker(check, asker);
    const time = timeOf(check, index);
    const { properties } = check.subject;
    const { action, actionProperties } = check;
    const subject = found ?? { type: check.subject.type, id: check.subject.id, facts: nobody };
    const question: Question = {
      subject: { type: subject.type, id: subject.id, ...(isOwnType(check.resource.type) ? {} : { properties }) },
      action,
      ...(actionProperties && !(isOwn && isOwnType(check.resource.type)) ? { actionProperties } : {}),
      resource: resourceOf(check, subject, things),
      context: contextOf(check, isOwn ? asker : undefined, time),
    };
    if (!isOwn) return { check, question, subject: found?.facts };
    const { organizations = [], scope } = asker;
    const grants = found?.facts.subject.grants;
    const own = { ...asker, organizations, ...(grants ? { grants } : {}) };
    return { check, question, subject: { subject: own, scope }, untied: found?.facts };
  });
};

const nobody: Subject = { subject: { roles: [], rank: -1, permissions: [], organizations: [] } };

/** The answer to a question. */
export const answer = ({ check, question, subject, untied }: Prepared, policiesFor: Facts['policiesFor']): Decision => {
  if (!subject) return { allowed: false, because: { rule: 'subject' } };
  const { type, action } = { type: question.resource.type, action: question.action };
  // What is one's own is a person's: an application has no account, sessions or keys.
  if (check.scope === 'own' && question.resource.id === undefined && question.subject.type !== 'user')
    return { allowed: false, because: { rule: 'default', permission: `${type}:${action}:own` } };
  const decision = decide(question, { ...subject, policiesFor });
  // The token has narrowed what they hold: whether it is that which is missing is worth a second look.
  if (decision.because.rule === 'default' && untied && decide(question, { ...untied, policiesFor }).allowed)
    return { allowed: false, because: { rule: 'scope', permission: decision.because.permission } };
  // Which permission is missing would tell whoever asks about themselves who else belongs to their organizations.
  if (decision.because.rule === 'default' && untied && isOwnType(type) && question.resource.id !== undefined)
    return {
      allowed: false,
      because: { rule: 'default', permission: decision.because.permission.replace(/:organization$/, ':any') },
    };
  return decision;
};
