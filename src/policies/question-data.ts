/**
 * What conditions of policies look at: a question and the facts about its subject, each part found out when a condition asks for it, since
 * most ask for little.
 */
import type { ConditionData } from './conditions.ts';
import type { Question, SubjectFacts } from './decide.ts';

const none: readonly never[] = [];
const noProperties = Object.freeze({});

const idsOf = (groups: SubjectFacts['groups'] = none, kind: string): readonly string[] =>
  groups.filter((group) => group.kind === kind).map(({ id }) => id);

/** Groups and organizations are told by ids, since anybody may give theirs any name. */
class SubjectData implements Required<ConditionData['subject']> {
  readonly type: string;
  readonly id: string;
  readonly properties: object;
  readonly #facts: SubjectFacts;

  constructor({ type, id, properties = noProperties }: Question['subject'], facts: SubjectFacts) {
    this.type = type;
    this.id = id;
    this.properties = properties;
    this.#facts = facts;
  }

  get roles() {
    return this.#facts.roles;
  }

  get domains() {
    return this.#facts.domains ?? none;
  }

  get groups() {
    return idsOf(this.#facts.groups, 'group');
  }

  get teams() {
    return idsOf(this.#facts.groups, 'team');
  }

  get organizations() {
    return this.#facts.organizations.map(({ id }) => id);
  }
}

class ResourceData implements Required<ConditionData['resource']> {
  readonly type: string;
  readonly id: string | undefined;
  readonly owner: string | undefined;
  readonly properties: object;
  readonly #paths: readonly (readonly string[])[];

  constructor({ type, id, owner, properties = noProperties, organizations = none }: Question['resource']) {
    this.type = type;
    this.id = id;
    this.owner = owner;
    this.properties = properties;
    this.#paths = organizations;
  }

  /** Those of all the ways up. */
  get organizations() {
    return this.#paths.length > 1 ? [...new Set(this.#paths.flat())] : (this.#paths[0] ?? none);
  }
}

class QuestionData implements ConditionData {
  readonly question: Question;
  readonly facts: SubjectFacts;
  #subject: SubjectData | undefined;
  #resource: ResourceData | undefined;
  #context: ConditionData['context'] | undefined;

  constructor(question: Question, facts: SubjectFacts) {
    this.question = question;
    this.facts = facts;
  }

  get subject() {
    this.#subject ??= new SubjectData(this.question.subject, this.facts);
    return this.#subject;
  }

  get resource() {
    this.#resource ??= new ResourceData(this.question.resource);
    return this.#resource;
  }

  get action() {
    const { action: name, actionProperties: properties = noProperties } = this.question;
    return { name, properties };
  }

  get context() {
    const { context } = this.question;
    this.#context ??= context?.time === undefined ? { ...context, time: new Date().toISOString() } : context;
    return this.#context;
  }
}

/** Makes the data of questions: the same one where a question is put to one policy after the other. */
export const createDataOf = (): ((question: Question, facts: SubjectFacts) => ConditionData) => {
  let last: QuestionData | undefined;
  return (question, facts) => {
    if (last?.question !== question || last.facts !== facts) last = new QuestionData(question, facts);
    return last;
  };
};
