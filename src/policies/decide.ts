/**
 * Who may do what: the one decision of this service. The REST API's own guards, the decision endpoints and the permissions in
 * tokens all come from here. It is a pure function of a question and of facts, so that it can be compared with a model.
 *
 * A denial beats whatever allows, nothing is allowed by default, and the answer names what decided.
 */
import type { Grant, Held, Membership } from '../roles/access.queries.ts';
import { allows } from '../roles/permissions.ts';
import { type Asked, askedOf, isAllowed, isDenied, type Said, saidBy } from './permission-index.ts';
import { plainAnswer, reasonedAnswer } from './reasons.ts';
import { rememberedAnswer } from './remembered-answers.ts';

/** What is asked: whether the subject may do the action to the resource. */
export interface Question {
  /** `user`, `client` or `api_key`, and its id. */
  subject: { type: string; id: string; properties?: Readonly<Record<string, unknown>> | undefined };
  /** The middle part of a permission, such as `read`. */
  action: string;
  /** What policies may ask about the action. */
  actionProperties?: Readonly<Record<string, unknown>> | undefined;
  resource: {
    /** The first part of a permission, such as `users`. */
    type: string;
    id?: string | undefined;
    /** The user whose thing it is. */
    owner?: string | undefined;
    /** The organizations that it belongs to, each as the ids from itself up to its root. */
    organizations?: readonly (readonly string[])[] | undefined;
    /** It takes the permission in every one of its organizations, not in one: for what changes it for all of them. */
    every?: boolean | undefined;
    /** What policies may ask about it. */
    properties?: Readonly<Record<string, unknown>> | undefined;
  };
  /** What policies may ask about the moment: `time`, `address`, `acr`, `risk`, `organization`, and what an application adds. */
  context?: Readonly<Record<string, unknown>> | undefined;
}

/** A policy that is active, ready to be asked. */
export interface ActivePolicy {
  id: string;
  name: string;
  version: number;
  effect: 'allow' | 'deny';
  /** A policy binds nobody who ranks above whoever activated it. */
  rank: number;
  /** @throws Error when it cannot be evaluated, which denies */
  holds(question: Question, subject: SubjectFacts): boolean;
}

/** What the subject holds everywhere, and inside organizations. */
export interface SubjectFacts extends Readonly<Pick<Held, 'rank'>> {
  roles: readonly string[];
  permissions: readonly string[];
  /** `scope`: what a token may be used for there beside its own scope; see `throughKey`. */
  organizations: readonly (Readonly<Pick<Membership, 'id' | 'roles' | 'rank' | 'permissions'>> & {
    scope?: readonly string[];
  })[];
  groups?: readonly { id: string; kind: string; name: string }[];
  domains?: readonly string[];
  /** What to name as the reason; without it the permission alone is named. */
  grants?: readonly Grant[];
}

export interface Facts {
  subject: SubjectFacts;
  /** What the token may be used for; undefined when no token limits the subject. */
  scope?: readonly string[] | undefined;
  /**
   * The active policies about an action on a type of resource.
   * @param asked the same once more, where it has been looked up
   */
  policiesFor(type: string, action: string, asked?: Asked): readonly ActivePolicy[];
}

/** What decided. */
export type Because =
  /** A permission that is wanted: what gives or denies it, by which role or group, and in which organization. */
  | {
      rule: 'permission' | 'denial';
      permission: string;
      granted?: string;
      role?: string;
      groupId?: string;
      organizationId?: string;
    }
  | { rule: 'policy'; policy: string; version: number; effect: 'allow' | 'deny'; error?: string }
  /** The subject may, but not with this token. */
  | { rule: 'scope'; permission: string }
  /** Nothing allows it. */
  | { rule: 'default'; permission: string }
  /** There is nobody of this id, or they are not active. */
  | { rule: 'subject' };

export interface Decision {
  allowed: boolean;
  because: Because;
}

/** What counts for a member of an organization of the way up; undefined for whoever is a member of none. */
const saidInside = (
  path: readonly string[],
  { organizations }: SubjectFacts,
  everywhere: Said,
  asked: Asked,
): Said | undefined => {
  let said: Said | undefined;
  for (const { id, permissions } of organizations)
    if (path.includes(id)) said = (said ?? everywhere) | saidBy(permissions, asked);
  return said;
};

const nowhere: readonly (readonly string[])[] = [];

/**
 * What the permissions say. The subject stands to the resource in the relations `own` and `organization` as the case may be, else
 * in `any`: it takes a permission for one of them, which a wider one includes, and no denial of any of them. What is held
 * inside an organization goes no further than that organization and those beneath it.
 * Every request comes through here: answers are made beforehand, and nothing else is made.
 */
const byPermissions = ({ subject, resource }: Question, asked: Asked, facts: SubjectFacts): Decision => {
  const { organizations: paths = nowhere, every } = resource;
  const everywhere = saidBy(facts.permissions, asked);
  const isOwn = subject.type === 'user' && resource.owner === subject.id;
  if (isOwn && isDenied(everywhere, 'own')) return reasonedAnswer(facts, asked, 'denial', 'own');

  let isMember = false;
  let reached = 0;
  let reachedPath: readonly string[] | undefined;
  if (facts.organizations.length)
    for (const path of paths) {
      const said = saidInside(path, facts, everywhere, asked);
      if (said === undefined) continue;
      isMember = true;
      if (isDenied(said, 'organization')) return reasonedAnswer(facts, asked, 'denial', 'organization', path);
      if (!isAllowed(said, 'organization')) continue;
      reached++;
      reachedPath ??= path;
    }
  const first = isOwn ? 'own' : isMember ? 'organization' : 'any';
  if (first === 'any' && isDenied(everywhere, 'any')) return reasonedAnswer(facts, asked, 'denial', 'any');

  if (isOwn && isAllowed(everywhere, 'own')) return reasonedAnswer(facts, asked, 'permission', 'own');
  // For a change in all of its organizations it takes the permission in each, and so a relation to each.
  if (reachedPath && (!every || reached === paths.length))
    return reasonedAnswer(facts, asked, 'permission', 'organization', reachedPath);
  if (isAllowed(everywhere, 'any')) return reasonedAnswer(facts, asked, 'permission', 'any');
  return plainAnswer(asked, 'default', first);
};

/** What the active policies make of it: a denial of theirs, or what cannot be evaluated, beats everything. */
const byPolicies = (
  question: Question,
  subject: SubjectFacts,
  policies: readonly ActivePolicy[],
  said: Decision,
): Decision => {
  let decision = said;
  for (const policy of policies) {
    if (policy.rank < subject.rank) continue;
    const { name, version, effect } = policy;
    let holds: boolean;
    try {
      holds = policy.holds(question, subject);
    } catch (error) {
      return {
        allowed: false,
        because: { rule: 'policy', policy: name, version, effect: 'deny', error: (error as Error).message },
      };
    }
    if (!holds) continue;
    if (effect === 'deny') return { allowed: false, because: { rule: 'policy', policy: name, version, effect } };
    if (!decision.allowed) decision = { allowed: true, because: { rule: 'policy', policy: name, version, effect } };
  }
  return decision;
};

/** Whether the token may be used for it: anywhere, or where the resource lies. */
const isInScope = (
  { scope, subject }: Facts,
  permission: string,
  { organizations: paths = [], every }: Question['resource'],
): boolean => {
  if (!scope || allows(scope, permission)) return true;
  const isThere = (path: readonly string[]) =>
    subject.organizations.some((one) => one.scope && path.includes(one.id) && allows(one.scope, permission));
  return every ? paths.length > 0 && paths.every(isThere) : paths.some(isThere);
};

/** The decision, which may be frozen. It costs no query: whoever asks brings the facts. */
export const decide = (question: Question, facts: Facts): Decision => {
  const asked = askedOf(question.resource.type, question.action);
  const said = rememberedAnswer(question, asked, facts.subject, byPermissions);
  const policies = facts.policiesFor(question.resource.type, question.action, asked);
  if (!policies.length && !facts.scope) return said;
  if (said.because.rule === 'denial') return said;
  const decision = byPolicies(question, facts.subject, policies, said);
  if (!facts.scope || !decision.allowed) return decision;
  const { permission } = said.because as { permission: string };
  if (isInScope(facts, permission, question.resource)) return decision;
  return { allowed: false, because: { rule: 'scope', permission } };
};

/** Of a service without policies. */
const none: readonly ActivePolicy[] = [];
export const noPolicies: Facts['policiesFor'] = () => none;

/** What decided, as a sentence for people. */
export const explain = (because: Because): string => {
  switch (because.rule) {
    case 'permission':
    case 'denial': {
      const { rule, permission, granted = permission, role, groupId, organizationId } = because;
      const source = [
        role === undefined ? 'a grant' : `the role ${role}`,
        ...(groupId === undefined ? [] : [`of the group ${groupId}`]),
        ...(organizationId === undefined ? [] : [`in the organization ${organizationId}`]),
      ].join(' ');
      const wider = granted === permission ? '' : `, which includes ${permission}`;
      return `${source} ${rule === 'permission' ? 'gives' : 'denies'} ${granted}${wider}`;
    }
    case 'policy': {
      const { policy, version, effect, error } = because;
      if (error !== undefined) return `the policy ${policy} (version ${version}) could not be evaluated: ${error}`;
      return `the policy ${policy} (version ${version}) ${effect === 'allow' ? 'allows' : 'denies'} it`;
    }
    case 'scope':
      return `the token may not be used for ${because.permission}`;
    case 'default':
      return `nothing gives ${because.permission}`;
    case 'subject':
      return 'there is no such subject, or it is not active';
  }
};
