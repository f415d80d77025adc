/**
 * What a condition may be: JSON Logic of the operators listed here, with bounds on its size that hold before anything is evaluated.
 * Paths, networks and time zones are literal, so that a mistake in one shows when the policy is written and not at a decision.
 */

import { isIP } from 'node:net';
import { isTimeZone } from '../http/schemas.ts';

/** Levels, operators and literals, characters: far more than a policy that somebody can read has. */
export const conditionBounds = {
  depth: 20,
  nodes: 500,
  characters: 10_000,
  text: 500,
  path: 200,
  segments: 10,
} as const;

/** The operators: how many arguments each takes, and what it says. `docs/authorization.md` has the list. */
export const operators = {
  var: {
    arguments: [1, 2],
    means: 'what is at the path, such as `resource.owner`; the second argument where there is nothing',
  },
  and: { arguments: [1, 100], means: 'all of them; those after the first that does not hold are not looked at' },
  or: { arguments: [1, 100], means: 'one of them; those after the first that holds are not looked at' },
  '!': { arguments: [1, 1], means: 'it does not hold: it is false, null, 0, or an empty text or list' },
  '!!': { arguments: [1, 1], means: 'it holds' },
  if: { arguments: [2, 101], means: 'condition, result, perhaps more such pairs, and what it is otherwise' },
  '==': { arguments: [2, 2], means: 'equal, `1` and `"1"` too' },
  '!=': { arguments: [2, 2], means: 'not equal' },
  '===': { arguments: [2, 2], means: 'equal and of the same type' },
  '!==': { arguments: [2, 2], means: 'not equal, or of another type' },
  '<': {
    arguments: [2, 3],
    means: 'less: numbers, or texts by their characters; three arguments: the second lies between',
  },
  '<=': { arguments: [2, 3], means: 'at most; three arguments: the second lies between, or is one of the others' },
  '>': { arguments: [2, 3], means: 'greater' },
  '>=': { arguments: [2, 3], means: 'at least' },
  in: { arguments: [2, 2], means: 'the list has it, or the text contains it' },
  overlaps: { arguments: [2, 2], means: 'the two lists have something in common' },
  count: { arguments: [1, 1], means: 'how many items a list has, or characters a text; 0 of nothing' },
  some: { arguments: [2, 2], means: 'for one item of the list the second argument holds, where `var` is of the item' },
  all: { arguments: [2, 2], means: 'for each item of a list that is not empty' },
  none: { arguments: [2, 2], means: 'for no item of the list' },
  '+': { arguments: [2, 10], means: 'the sum of numbers' },
  '-': { arguments: [2, 2], means: 'the difference of two numbers' },
  '*': { arguments: [2, 10], means: 'the product of numbers' },
  '%': { arguments: [2, 2], means: 'what is left of a division' },
  starts_with: { arguments: [2, 2], means: 'the text begins with the other' },
  ends_with: { arguments: [2, 2], means: 'the text ends with the other' },
  in_network: {
    arguments: [2, 101],
    means:
      'the address lies in one of the networks (`10.0.0.0/8`, `2001:db8::/32`, or single addresses); not where there is none',
  },
  time_of_day: {
    arguments: [1, 1],
    means: 'the time of the decision in a time zone such as `Europe/Berlin`, as `HH:MM`',
  },
  weekday: { arguments: [1, 1], means: 'the day of the decision in a time zone, from 1 (Monday) to 7' },
  date: { arguments: [1, 1], means: 'the date of the decision in a time zone, as `YYYY-MM-DD`' },
} as const satisfies Record<string, { arguments: readonly [number, number]; means: string }>;

export type Operator = keyof typeof operators;

/** The top of each path that a condition may ask for. */
export const roots = ['subject', 'resource', 'action', 'context'] as const;

const isOperator = (name: string): name is Operator => Object.hasOwn(operators, name);
/** Names that lead to what an object is made of instead of what it holds. */
const unspeakable = new Set(['__proto__', 'constructor', 'prototype']);

const isPath = (path: string): boolean => {
  const segments = path.split('.');
  return (
    path.length <= conditionBounds.path &&
    segments.length <= conditionBounds.segments &&
    segments.every((segment) => segment !== '' && !unspeakable.has(segment))
  );
};

export const isNetwork = (text: string): boolean => {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (!family || rest.length) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
};

interface Walk {
  nodes: number;
  paths: Set<string>;
}

const control = /\p{Cc}/u;

/** What an operator's arguments must be beyond their number; inside `some`, `all` and `none` a path is of the item. */
const argumentsMistake = (
  name: Operator,
  args: readonly unknown[],
  walk: Walk,
  ofItem: boolean,
): string | undefined => {
  const zone = `${name} takes a time zone such as Europe/Berlin`;
  if (name === 'var') {
    const [path, otherwise] = args;
    if (typeof otherwise === 'object' && otherwise !== null) return 'what var is otherwise is a literal';
    if (ofItem && (path === '' || (typeof path === 'number' && Number.isInteger(path) && path >= 0))) return undefined;
    if (typeof path !== 'string' || !isPath(path)) return 'var takes a path such as resource.owner, as a literal text';
    if (!ofItem && !(roots as readonly string[]).includes(path.split('.')[0] as string))
      return `a path begins with ${roots.join(', ')}: ${path}`;
    if (!ofItem) walk.paths.add(path);
  }
  if (name === 'in_network' && !args.slice(1).every((network) => typeof network === 'string' && isNetwork(network)))
    return 'in_network takes an address, and networks such as 10.0.0.0/8 as literals';
  if (name === 'time_of_day' || name === 'weekday' || name === 'date') {
    if (typeof args[0] !== 'string' || !isTimeZone(args[0])) return zone;
    walk.paths.add('context.time');
  }
  return undefined;
};

/** The first mistake; undefined when there is none. */
const mistakeIn = (value: unknown, walk: Walk, depth: number, ofItem: boolean): string | undefined => {
  if (++walk.nodes > conditionBounds.nodes) return `more than ${conditionBounds.nodes} operators and values`;
  if (depth > conditionBounds.depth) return `more than ${conditionBounds.depth} levels deep`;
  if (typeof value === 'string')
    return value.length > conditionBounds.text || control.test(value)
      ? `a text of more than ${conditionBounds.text} characters, or with control characters`
      : undefined;
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'a number that is none';
  if (value === null || typeof value === 'boolean') return undefined;
  if (typeof value !== 'object') return 'neither an operator nor a value of JSON';
  if (Array.isArray(value)) {
    for (const item of value) {
      const mistake = mistakeIn(item, walk, depth + 1, ofItem);
      if (mistake) return mistake;
    }
    return undefined;
  }
  const names = Object.keys(value);
  const [name = ''] = names;
  if (names.length !== 1 || !isOperator(name))
    return `an object must have one member, named as an operator: ${names.slice(0, 3).join(', ').slice(0, 100) || 'none'}`;
  const given = (value as Record<string, unknown>)[name];
  const args: readonly unknown[] = Array.isArray(given) ? given : [given];
  const [least, most] = operators[name].arguments;
  if (args.length < least || args.length > most) return `${name} takes ${least} to ${most} arguments`;
  const mistake = argumentsMistake(name, args, walk, ofItem);
  if (mistake) return mistake;
  const iterates = name === 'some' || name === 'all' || name === 'none';
  for (const [at, argument] of args.entries()) {
    const inner = mistakeIn(argument, walk, depth + 1, ofItem || (iterates && at === 1));
    if (inner) return inner;
  }
  return undefined;
};

/**
 * Looks at a condition before it is stored.
 * @returns what is wrong with it, and the paths that it asks for
 */
export const inspectCondition = (condition: unknown): { mistake?: string; paths: string[] } => {
  const walk: Walk = { nodes: 0, paths: new Set() };
  if (
    typeof condition !== 'boolean' &&
    (typeof condition !== 'object' || condition === null || Array.isArray(condition))
  )
    return { mistake: 'a condition is an operator, or true', paths: [] };
  const mistake =
    mistakeIn(condition, walk, 1, false) ??
    (JSON.stringify(condition).length > conditionBounds.characters
      ? `more than ${conditionBounds.characters} characters`
      : undefined);
  return { ...(mistake === undefined ? {} : { mistake }), paths: [...walk.paths] };
};
