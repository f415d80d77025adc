/**
 * Makes functions of the conditions of policies: JSON Logic, read once by json-logic-engine's interpreter, to which each operator gives back
 * what evaluates it. So a decision walks through no JSON, and no code is made of texts (the engine's own compiler does that, and is not
 * used). There are no operators but ours, which read own members alone, iterate over lists alone, make no texts, and spend of
 * a budget: whoever writes a policy or sends what it looks at can neither run code nor hold the process up.
 */
import { LogicEngine } from 'json-logic-engine';
import { inspectCondition, type Operator, roots } from './condition-shape.ts';
import {
  createNetworks,
  holds,
  isEqual,
  isSame,
  listOf,
  type Moment,
  memberOf,
  momentIn,
  numberOf,
  ordered,
  plain,
  textOf,
} from './condition-values.ts';

/** What there is to look at; of the context whatever was sent. */
const members = {
  subject: ['type', 'id', 'roles', 'domains', 'properties', 'groups', 'teams', 'organizations'],
  resource: ['type', 'id', 'owner', 'properties', 'organizations'],
  action: ['name', 'properties'],
} as const;
type MembersOf<Root extends keyof typeof members> = { readonly [Name in (typeof members)[Root][number]]?: unknown };

/** What a condition looks at. `context.time` is RFC 3339. */
export interface ConditionData {
  readonly subject: MembersOf<'subject'>;
  readonly resource: MembersOf<'resource'>;
  readonly action: MembersOf<'action'>;
  readonly context: Readonly<Record<string, unknown>>;
}

/** How many steps an evaluation may take: an operator, an item of a list, or a hundred characters are one. */
export const workMax = 10_000;

/** One evaluation. */
interface Run {
  left: number;
  data: ConditionData;
}

/** What is made of an operator or a literal. `item`: what paths begin at, the data or an item of a list. */
type Evaluate = (item: unknown, run: Run) => unknown;
/** What the engine has made of an argument: of an operator that, else the literal; of a list the list of both. */
type Argument = unknown;
type Make = (args: readonly Argument[]) => Evaluate;

const spend = (run: Run, steps: number): void => {
  run.left -= steps;
  if (run.left < 0) throw new Error(`it takes more than ${workMax} steps`);
};

const isLiteral = (argument: Argument): boolean =>
  Array.isArray(argument) ? argument.every(isLiteral) : typeof argument !== 'function';

const evaluating = (argument: Argument): Evaluate => {
  if (typeof argument === 'function') return argument as Evaluate;
  if (isLiteral(argument)) return () => argument;
  const items = (argument as Argument[]).map(evaluating);
  return (item, run) => {
    spend(run, items.length);
    return items.map((one) => one(item, run));
  };
};

const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0);
const costOfText = (text: unknown): number => (typeof text === 'string' ? text.length / 100 : 0);
const free = () => 0;

/** An operator of two arguments, which are evaluated before it is called. */
const binary =
  (call: (left: unknown, right: unknown) => unknown, cost: (left: unknown, right: unknown) => number = free): Make =>
  (args) => {
    const left = evaluating(args[0]);
    const right = evaluating(args[1]);
    return (item, run) => {
      const one = left(item, run);
      const other = right(item, run);
      spend(run, 1 + cost(one, other));
      return call(one, other);
    };
  };

/** One of two or three that must be in order. */
const inOrder = (isInOrder: (left: string | number, right: string | number) => boolean): Make => {
  const pair = ordered(isInOrder);
  const two = binary(pair);
  return (args) => {
    if (args.length < 3) return two(args);
    const [first, second, third] = args.map(evaluating) as [Evaluate, Evaluate, Evaluate];
    return (item, run) => {
      const left = first(item, run);
      const middle = second(item, run);
      const right = third(item, run);
      spend(run, 1);
      return pair(left, middle) && pair(middle, right);
    };
  };
};

/** One of any number of numbers. */
const folded =
  (start: number, call: (result: number, next: number) => number): Make =>
  (args) => {
    const all = args.map(evaluating);
    return (item, run) => {
      const values = all.map((one) => one(item, run));
      spend(run, 1);
      return values.reduce<number>((result, one) => call(result, numberOf(one)), start);
    };
  };

/** One of one argument that costs what it is, whatever that is. */
const unary =
  (call: (value: unknown) => unknown): Make =>
  ([argument]) => {
    const value = evaluating(argument);
    return (item, run) => {
      spend(run, 1);
      return call(value(item, run));
    };
  };

/** Looks at one after the other, until one holds or does not. */
const until =
  (stopAt: boolean): Make =>
  (args) => {
    const all = args.map(evaluating);
    return (item, run) => {
      spend(run, 1);
      for (const one of all) if (holds(one(item, run)) === stopAt) return stopAt;
      return !stopAt;
    };
  };

const choice: Make = (args) => {
  const all = args.map(evaluating);
  return (item, run) => {
    spend(run, 1);
    let at = 0;
    for (; at + 1 < all.length; at += 2) if (holds(all[at]?.(item, run))) return all[at + 1]?.(item, run);
    return at < all.length ? all[at]?.(item, run) : null;
  };
};

/** How many items there are for which the condition holds; it stops where the answer is known. */
const quantified =
  (stopAt: boolean, answer: (stopped: boolean, length: number) => boolean): Make =>
  (args) => {
    const [list, condition] = args.map(evaluating) as [Evaluate, Evaluate];
    return (item, run) => {
      spend(run, 1);
      const items = listOf(list(item, run));
      spend(run, items.length);
      const stopped = items.some((one) => holds(condition(one, run)) === stopAt);
      return answer(stopped, items.length);
    };
  };

const overlaps: Make = (args) => {
  const [, literal] = args;
  // Most of the time it is a list of what was written down.
  const known = Array.isArray(literal) && isLiteral(literal) && literal.every((one) => typeof one !== 'object');
  const others = known ? new Set(literal.map(plain)) : undefined;
  const haveCommonItem = (left: unknown, right: unknown): boolean => {
    const these = others ?? new Set(listOf(right).map(plain));
    for (const one of listOf(left)) if (these.has(plain(one))) return true;
    return false;
  };
  return binary(haveCommonItem, (left, right) => lengthOf(left) + lengthOf(right))(args);
};

/** Of the decision's time, in a time zone that is literal. */
const ofMoment =
  (part: (moment: Moment) => unknown): Make =>
  ([zone]) =>
  (_item, run) => {
    spend(run, 1);
    return part(momentIn(run.data.context.time, zone as string));
  };

const memberIn = (value: unknown, names: readonly string[]): unknown => {
  let found = value;
  for (const name of names) found = memberOf(found, name);
  return found;
};

/** What lies at a path of the data. */
const inData = ([root, name, ...inner]: readonly string[]): ((data: ConditionData) => unknown) => {
  if (root === 'context')
    return ({ context }) => memberIn(name === undefined ? context : memberOf(context, name), inner);
  const of = root as keyof typeof members;
  // As an object of its own members, since whatever looks into it from there looks at no others.
  if (name === undefined)
    return (data) => Object.fromEntries(members[of].map((one) => [one, (data[of] as Record<string, unknown>)[one]]));
  if (!(members[of] as readonly string[]).includes(name)) return () => undefined;
  return (data) => memberIn((data[of] as Record<string, unknown>)[name], inner);
};

const atPath: Make = ([path, otherwise = null]) => {
  const segments = String(path).split('.').filter(Boolean);
  const [root = ''] = segments;
  // Inside a list a path is of its items, and begins with anything.
  const ofData = (roots as readonly string[]).includes(root) ? inData(segments) : () => undefined;
  return (item, run) => {
    spend(run, 1);
    return (item === run.data ? ofData(run.data) : memberIn(item, segments)) ?? otherwise;
  };
};

const methods: Record<Operator, Make> = {
  var: atPath,
  and: until(false),
  or: until(true),
  '!': unary((value) => !holds(value)),
  '!!': unary(holds),
  if: choice,
  '==': binary(isEqual),
  '!=': binary((left, right) => !isEqual(left, right)),
  '===': binary(isSame),
  '!==': binary((left, right) => !isSame(left, right)),
  '<': inOrder((left, right) => left < right),
  '<=': inOrder((left, right) => left <= right),
  '>': inOrder((left, right) => left > right),
  '>=': inOrder((left, right) => left >= right),
  in: binary(
    (one, list) =>
      typeof list === 'string'
        ? typeof one === 'string' && one !== '' && list.includes(one)
        : one !== null && one !== undefined && listOf(list).some((other) => isSame(one, other)),
    (one, list) => lengthOf(list) + costOfText(one) + costOfText(list),
  ),
  overlaps,
  count: unary((value) => (typeof value === 'string' ? value.length : listOf(value).length)),
  some: quantified(true, (stopped) => stopped),
  all: quantified(false, (stopped, length) => length > 0 && !stopped),
  none: quantified(true, (stopped) => !stopped),
  '+': folded(0, (sum, one) => sum + one),
  '-': binary((left, right) => numberOf(left) - numberOf(right)),
  '*': folded(1, (product, one) => product * one),
  '%': binary((left, right) => numberOf(left) % numberOf(right)),
  starts_with: binary((text, start) => textOf(start) !== '' && textOf(text).startsWith(textOf(start))),
  ends_with: binary((text, end) => textOf(end) !== '' && textOf(text).endsWith(textOf(end))),
  in_network: ([address, ...networks]) => unary(createNetworks(networks as string[]))([address]),
  time_of_day: ofMoment(({ time }) => time),
  weekday: ofMoment(({ weekday }) => weekday),
  date: ofMoment(({ date }) => date),
};

/** It reads each condition once: to prepare one for more would take longer, and memory. */
const reader = new LogicEngine(methods, { disableInline: true, disableInterpretedOptimization: true });

/** The engine throws texts, objects and NaN as well. */
const errorOf = (thrown: unknown): Error =>
  thrown instanceof Error && !(thrown instanceof RangeError) ? thrown : new Error('it cannot be evaluated');

/**
 * Makes a condition ready to be asked.
 * @returns whether it holds of the data; it throws an Error when that cannot be said
 * @throws Error for what is no condition
 */
export const createCondition = (condition: unknown): ((data: ConditionData) => boolean) => {
  const { mistake } = inspectCondition(condition);
  if (mistake) throw new Error(mistake);
  if (typeof condition === 'boolean') return () => condition;
  const evaluate = reader.run(condition) as Evaluate;
  return (data) => {
    try {
      return holds(evaluate(data, { left: workMax, data }));
    } catch (thrown) {
      throw errorOf(thrown);
    }
  };
};
