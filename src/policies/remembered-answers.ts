/**
 * What permissions have answered, remembered with the facts that they were answered from. An answer follows from what is asked, from
 * how the subject stands to the thing, and from what they hold: facts that nobody can change any more have the same answer for as long as
 * they are kept, and where they are kept they go when they change (`access-cache.ts`).
 */
import type { Decision, Question, SubjectFacts } from './decide.ts';
import type { Asked } from './permission-index.ts';

/** So many answers are remembered of one subject: callers choose what they ask about. */
const rememberedMax = 64;
/** Of members of more organizations than that nothing is remembered: a standing has a bit for each. */
const organizationsMax = 5;
/** Where a standing would not say all that the answer follows from. */
const unclear = -1;

/** What is remembered of one subject's facts: what is needed first lies in the object itself, since to fetch memory is what takes time. */
interface Remembered {
  /** The organizations in their order: most people have one. */
  first: string | undefined;
  others: readonly string[];
  /** The answer that was given last, and what it was given to: see `Asked.standings`. */
  lastKey: object | undefined;
  lastAnswer: Decision | undefined;
  answers: Map<object, Decision>;
}

/**
 * How the subject stands to the thing, as bits: whether it is theirs, and in which of their organizations it lies. Of several
 * ways up each one counts for itself, which no standing says.
 */
const standingOf = ({ subject, resource }: Question, { first, others }: Remembered): number => {
  let standing = resource.owner === subject.id && subject.type === 'user' ? 1 : 0;
  const paths = resource.organizations;
  if (first === undefined || paths === undefined || !paths.length) return standing;
  if (paths.length > 1 || others.length >= organizationsMax) return unclear;
  const path = paths[0] as readonly string[];
  for (const id of path) if (id === first) standing |= 2;
  for (let at = 0; at < others.length; at++) if (path.includes(others[at] as string)) standing |= 4 << at;
  return standing;
};

const remembered = new WeakMap<SubjectFacts, Remembered>();

/** @returns undefined for facts that could change: each request has its own of these, and asks once or twice */
const rememberFrom = (facts: SubjectFacts): Remembered | undefined => {
  const { permissions, organizations } = facts;
  if (![facts, permissions, organizations, ...organizations].every(Object.isFrozen)) return undefined;
  const [first, ...others] = organizations.map(({ id }) => id);
  const one: Remembered = { first, others, lastKey: undefined, lastAnswer: undefined, answers: new Map() };
  remembered.set(facts, one);
  return one;
};

/** What stands for what is asked by whoever stands to the thing like that. */
const keyOf = (asked: Asked, standing: number): object => {
  const known = asked.standings[standing];
  if (known !== undefined) return known;
  const key = {};
  asked.standings[standing] = key;
  return key;
};

/** The answer that `find` has given to the same question, or gives now. */
export const rememberedAnswer = (
  question: Question,
  asked: Asked,
  facts: SubjectFacts,
  find: (question: Question, asked: Asked, facts: SubjectFacts) => Decision,
): Decision => {
  const known = remembered.get(facts) ?? rememberFrom(facts);
  if (known === undefined) return find(question, asked, facts);
  const standing = standingOf(question, known);
  if (standing === unclear) return find(question, asked, facts);
  const key = keyOf(asked, standing);
  if (known.lastKey === key) return known.lastAnswer as Decision;
  let answer = known.answers.get(key);
  if (answer === undefined) {
    answer = find(question, asked, facts);
    if (known.answers.size >= rememberedMax) known.answers.clear();
    known.answers.set(key, answer);
  }
  known.lastKey = key;
  known.lastAnswer = answer;
  return answer;
};
