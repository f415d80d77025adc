/** Inputs made from JSON Schemas: as they should be, nearly so, and wild. */
import fc from 'fast-check';
import { values } from './odd-inputs.ts';

/** A JSON Schema as far as it is read here. */
export interface InputSchema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  pattern?: string;
  const?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  properties?: Record<string, InputSchema>;
  additionalProperties?: boolean | InputSchema;
  required?: string[];
  items?: InputSchema;
  allOf?: InputSchema[];
  anyOf?: InputSchema[];
  oneOf?: InputSchema[];
}

export interface InputContext {
  schemas: Readonly<Record<string, InputSchema>>;
  /** Values that mean something to the service, by the name of the member that they are for. */
  known: Readonly<Record<string, readonly unknown[]>>;
  /** Optional members without which little can come of an input. */
  usual: readonly string[];
}

const stringOf = ({ format, pattern, minLength = 0, maxLength = 60 }: InputSchema): fc.Arbitrary<string> => {
  const longest = Math.min(maxLength, 300);
  const plain = fc.string({ minLength, maxLength: Math.max(minLength, longest), unit: 'grapheme' });
  if (format === 'uuid') return fc.uuid();
  if (format === 'date-time')
    return fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }).map((d) => d.toISOString());
  if (format === 'email') return fc.emailAddress();
  if (format === 'uri') return fc.webUrl();
  if (!pattern) return plain;
  const matching = matchingOf(pattern);
  // What the generator cannot read, such as `\P{C}`, is a bound on what is otherwise free.
  if (!matching) return plain.map((text) => text.replace(/\p{C}/gu, ' '));
  return matching.filter((text) => text.length >= minLength && text.length <= maxLength);
};

const matchings = new Map<string, fc.Arbitrary<string> | undefined>();
/** Texts of a pattern, made once: a large one takes long, and meanwhile idle connections end. Undefined if it cannot be read. */
const matchingOf = (pattern: string): fc.Arbitrary<string> | undefined => {
  if (!matchings.has(pattern)) {
    let matching: fc.Arbitrary<string> | undefined;
    try {
      matching = fc.stringMatching(new RegExp(pattern, 'u'), { size: 'small' });
    } catch {}
    matchings.set(pattern, matching);
  }
  return matchings.get(pattern);
};

const numberOf = ({ type, minimum = -(2 ** 31), maximum = 2 ** 31 }: InputSchema): fc.Arbitrary<number> =>
  fc.oneof(
    fc.constantFrom(minimum, maximum, Math.min(minimum + 1, maximum)),
    type === 'number'
      ? fc.double({ min: minimum, max: maximum, noNaN: true })
      : fc.integer({ min: Math.max(minimum, -(2 ** 31)), max: Math.min(maximum, 2 ** 31 - 1) }),
  );

/** @param name of the member that the value is for */
export const inputOf = (schema: InputSchema, context: InputContext, name = ''): fc.Arbitrary<unknown> => {
  const { $ref, allOf, ...own } = schema;
  if ($ref) return inputOf({ ...context.schemas[$ref.split('/').at(-1) as string], ...own }, context, name);
  if (allOf) return inputOf(Object.assign({}, ...allOf, own) as InputSchema, context, name);
  const known = context.known[name];
  const made = madeOf(schema, context, name);
  return known?.length ? fc.oneof({ arbitrary: fc.constantFrom(...known), weight: 4 }, made) : made;
};

const madeOf = (schema: InputSchema, context: InputContext, name: string): fc.Arbitrary<unknown> => {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return fc.oneof(...choices.map((choice) => inputOf(choice, context, name)));
  const [type, ...others] = [schema.type ?? (schema.properties ? 'object' : 'string')].flat();
  if (others.length)
    return fc.oneof(...[type as string, ...others].map((one) => madeOf({ ...schema, type: one }, context, name)));
  switch (type) {
    case 'null':
      return fc.constant(null);
    case 'boolean':
      return fc.boolean();
    case 'integer':
    case 'number':
      return numberOf(schema);
    case 'array': {
      const { minItems = 0, maxItems = 4 } = schema;
      return fc.array(inputOf(schema.items ?? {}, context, name), {
        minLength: minItems,
        maxLength: Math.max(minItems, Math.min(maxItems, 4)),
      });
    }
    case 'object':
      return objectOf(schema, context);
    default:
      return stringOf(schema);
  }
};

const objectOf = (schema: InputSchema, context: InputContext): fc.Arbitrary<unknown> => {
  const { properties = {}, required = [], additionalProperties } = schema;
  const members = Object.entries(properties).map(([name, member]) => [name, inputOf(member, context, name)] as const);
  const optional = Object.keys(properties).filter((name) => !required.includes(name));
  // A few at a time: of many that are optional one would always be wrong, and hide the others.
  const whole = fc
    .tuple(
      fc.record(Object.fromEntries(members)),
      fc.subarray(optional, { maxLength: Math.min(3, optional.length) }),
      fc.nat(3).map((n) => (n ? [...required, ...context.usual] : required)),
    )
    .map(([all, some, kept]) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => kept.includes(name) || some.includes(name))),
    );
  if (members.length || additionalProperties === undefined || additionalProperties === false) return whole;
  const extra = additionalProperties === true ? {} : additionalProperties;
  return fc.dictionary(fc.string({ minLength: 1, maxLength: 20 }), inputOf(extra, context), { maxKeys: 5 });
};

const nested = (depth: number): unknown => {
  let value: unknown = 0;
  for (let level = 0; level < depth; level++) value = level % 2 ? [value] : { a: value };
  return value;
};

/** Names that a careless reader of objects finds something under. */
const poisonous = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '', 'a.b', 'a[b]', '\0'];

/** Any value at all, of any type; text above all. */
export const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: fc.constantFrom(...values), weight: 4 },
  { arbitrary: fc.string({ unit: 'binary', maxLength: 60 }), weight: 2 },
  {
    arbitrary: fc.constantFrom('\ud800', '\udfff\ud800', 'a\0b', '\u202e\u0007', 'x'.repeat(20_000), '😀'.repeat(400)),
    weight: 2,
  },
  {
    arbitrary: fc.constantFrom<unknown>(null, true, [], {}, [[]], [null], { length: -1 }, nested(50)),
    weight: 2,
  },
  {
    arbitrary: fc.constantFrom(0, -0, -1, 1.5, 1e21, 2 ** 31, 2 ** 53, -(2 ** 63), Number.MAX_VALUE, Number.MIN_VALUE),
    weight: 2,
  },
  { arbitrary: fc.dictionary(fc.constantFrom(...poisonous), fc.string(), { maxKeys: 3 }), weight: 1 },
  { arbitrary: fc.jsonValue({ maxDepth: 4 }), weight: 1 },
);

/** As it should be but for one member, which is odd, missing, or of a name that nobody knows. */
export const nearly = (made: fc.Arbitrary<unknown>, names: readonly string[]): fc.Arbitrary<unknown> =>
  fc
    .tuple(made, fc.nat(), fc.constantFrom('odd', 'odd', 'odd', 'missing', 'surplus', 'item'), oddValue, fc.nat())
    .map(([value, at, kind, odd, poison]) => {
      if (value === null || typeof value !== 'object' || Array.isArray(value)) return odd;
      const name = names.length ? (names[at % names.length] as string) : 'a';
      const { [name]: old, ...rest } = value as Record<string, unknown>;
      if (kind === 'missing') return rest;
      if (kind === 'item' && Array.isArray(old)) return { ...value, [name]: [...old, odd] };
      const key = kind === 'surplus' ? (poisonous[poison % poisonous.length] as string) : name;
      return Object.fromEntries([...Object.entries(value).filter(([other]) => other !== key), [key, odd]]);
    });

/** Texts that are no JSON, or more of it than anybody wants. */
export const oddText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    '',
    '{',
    'null',
    '[]',
    '"x"',
    '{"a":1}{"b":2}',
    '\ufeff{}',
    '['.repeat(40_000),
    `${'['.repeat(20_000)}${']'.repeat(20_000)}`,
    `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
    'x'.repeat(120_000),
  ),
  fc.string({ unit: 'binary', maxLength: 100 }).map((text) => text.toWellFormed()),
  fc.json({ maxDepth: 5 }),
);
