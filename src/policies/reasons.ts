/**
 * The answers that permissions give, each with what gives or denies it. An answer is made when it is first given, frozen, and given
 * again as long as the list of grants that it rests on lasts.
 */
import type { Grant } from '../roles/access.queries.ts';
import { narrowed } from '../roles/permissions.ts';
import type { Because, Decision } from './decide.ts';
import { type Asked, keyIn, type Scope } from './permission-index.ts';

export type Rule = 'permission' | 'denial' | 'default';

/** The answers of one rule by scope; null where no grant is the reason. */
type ByScope = { [scope in Scope]?: Decision | null };
type Answers = { [rule in Rule]?: ByScope };
type AnswersByKey = Map<string, Answers>;

/** So many are remembered of one list in one place: callers choose what they ask about. */
const rememberedMax = 2000;

const answersOf = (known: AnswersByKey, key: string, rule: Rule): ByScope => {
  let answers = known.get(key);
  if (!answers) {
    if (known.size >= rememberedMax) known.clear();
    answers = {};
    known.set(key, answers);
  }
  answers[rule] ??= {};
  return answers[rule];
};

const answer = (rule: Rule, permission: string, grant?: Grant): Decision => {
  const because = { rule, permission } as Extract<Because, { rule: 'permission' | 'denial' }>;
  if (grant) {
    because.granted = grant.permission;
    if (grant.role) because.role = grant.role;
    if (grant.groupId) because.groupId = grant.groupId;
    if (grant.organizationId) because.organizationId = grant.organizationId;
  }
  return Object.freeze({ allowed: rule === 'permission', because: Object.freeze(because) });
};

const plain: AnswersByKey = new Map();

/** The answer that names the permission alone. */
export const plainAnswer = ({ key }: Asked, rule: Rule, scope: Scope): Decision => {
  const answers = answersOf(plain, key, rule);
  answers[scope] ??= answer(rule, `${key}:${scope}`);
  return answers[scope];
};

/** The place of what counts everywhere, beside the ids of organizations. */
const everywhere = '';

/** The most particular grant that says so, of those that count in a place. */
const grantIn = (
  grants: readonly Grant[],
  place: string,
  { key, wildKeys }: Asked,
  effect: Grant['effect'],
  scope: Scope,
): Grant | undefined => {
  const keys = [key, ...wildKeys];
  let found: Grant | undefined;
  for (const grant of grants) {
    if (grant.effect !== effect || (grant.organizationId ?? everywhere) !== place) continue;
    const about = keyIn(place === everywhere ? grant.permission : narrowed(grant.permission), effect, scope);
    const at = about === undefined ? -1 : keys.indexOf(about);
    if (at < 0) continue;
    found = grant;
    // What is left to find is more particular.
    keys.length = at;
    if (!at) break;
  }
  return found;
};

/** What has been answered from a list of grants, by the place where they count. */
const answered = new WeakMap<readonly Grant[], Map<string, AnswersByKey>>();

const answeredIn = (grants: readonly Grant[], place: string): AnswersByKey => {
  const known = answered.get(grants)?.get(place);
  if (known) return known;
  const places = answered.get(grants) ?? new Map<string, AnswersByKey>();
  const answers: AnswersByKey = new Map();
  answered.set(grants, places.set(place, answers));
  return answers;
};

const answerIn = (
  grants: readonly Grant[],
  place: string,
  asked: Asked,
  rule: 'permission' | 'denial',
  scope: Scope,
): Decision | null => {
  const answers = answersOf(answeredIn(grants, place), asked.key, rule);
  const known = answers[scope];
  if (known !== undefined) return known;
  const grant = grantIn(grants, place, asked, rule === 'permission' ? 'allow' : 'deny', scope);
  const found = grant ? answer(rule, `${asked.key}:${scope}`, grant) : null;
  answers[scope] = found;
  return found;
};

/**
 * The answer that names what gives or denies it.
 * @param grants without them the permission alone is named
 * @param path the way up from the organization that it is answered for: what counts there is named where nothing else is found
 */
export const reasonedAnswer = (
  { grants, organizations }: { grants?: readonly Grant[]; organizations: readonly { id: string }[] },
  asked: Asked,
  rule: 'permission' | 'denial',
  scope: Scope,
  path: readonly string[] = [],
): Decision => {
  if (!grants) return plainAnswer(asked, rule, scope);
  const general = answerIn(grants, everywhere, asked, rule, scope);
  if (general) return general;
  for (const { id } of organizations) {
    const found = path.includes(id) ? answerIn(grants, id, asked, rule, scope) : null;
    if (found) return found;
  }
  return plainAnswer(asked, rule, scope);
};
