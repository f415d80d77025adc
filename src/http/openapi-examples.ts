/**
 * Examples for every request and response, composed from those of the fields. What has no example of its own gets one
 * from what its schema says; a test validates every example against its schema, so a field for which that is not enough
 * is found there.
 */

/** A JSON Schema as far as it is read here. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  example?: unknown;
  examples?: unknown[];
  const?: unknown;
  default?: unknown;
  enum?: unknown[];
  minimum?: number;
  minLength?: number;
  minItems?: number;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  items?: Schema;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
}

export type Schemas = Readonly<Record<string, Schema>>;

const formats: Readonly<Record<string, unknown>> = {
  'date-time': '2026-03-04T09:05:00.000Z',
  date: '2026-03-04',
  email: 'ada@example.com',
  uuid: '0199f0c1-7d2e-7c3a-9b55-3f6f0d1c2b4a',
  uri: 'https://app.example.com/',
  ipv4: '192.0.2.17',
  ipv6: '2001:db8::17',
};

/** Fields that mean the same wherever they stand. */
const names: Readonly<Record<string, unknown>> = {
  name: 'Ada Lovelace',
  password: 'correct horse battery staple',
  client_id: 'demo-machine',
  clientId: 'demo-machine',
  locale: 'en',
  scope: 'openid profile email',
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36',
  address: '192.0.2.17',
};

/** The schema with what its references say. */
const resolve = (schema: Schema, schemas: Schemas): Schema => {
  const { $ref, ...own } = schema;
  return $ref ? resolve({ ...schemas[$ref.split('/').at(-1) ?? ''], ...own }, schemas) : schema;
};

/** The example that a schema was given, or the only value that it has. */
const given = (schema: Schema): { value: unknown } | undefined => {
  if (schema.example !== undefined) return { value: schema.example };
  if (schema.examples?.length) return { value: schema.examples[0] };
  if (schema.const !== undefined) return { value: schema.const };
  return undefined;
};

/**
 * @param lean leaves out members that are optional and have no example of their own: a request as one would send it
 * @param name of the member that the value is for
 */
export const exampleOf = (schema: Schema, schemas: Schemas, lean: boolean, name = ''): unknown => {
  const whole = resolve(schema, schemas);
  const own = given(whole);
  if (own) return own.value;
  if (whole.default !== undefined) return whole.default;
  if (whole.enum) return whole.enum[0];
  if (whole.allOf)
    return Object.assign({}, ...whole.allOf.map((part) => exampleOf(part, schemas, lean, name) as object));
  const choice = (whole.anyOf ?? whole.oneOf)?.find(({ type }) => type !== 'null');
  if (choice) return exampleOf(choice, schemas, lean, name);
  return byType(whole, schemas, lean, name);
};

const byType = (schema: Schema, schemas: Schemas, lean: boolean, name: string): unknown => {
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== 'null') : schema.type;
  switch (type ?? (schema.properties ? 'object' : 'string')) {
    case 'object':
      return exampleObject(schema, schemas, lean);
    case 'array':
      return schema.items ? [exampleOf(schema.items, schemas, lean, name.replace(/s$/, ''))] : [];
    case 'boolean':
      return true;
    case 'integer':
    case 'number':
      return Math.max(1, schema.minimum ?? 1);
    case 'null':
      return null;
    default:
      return formats[schema.format ?? ''] ?? names[name] ?? 'text'.padEnd(schema.minLength ?? 0, ' text');
  }
};

const exampleObject = (schema: Schema, schemas: Schemas, lean: boolean): Record<string, unknown> => {
  const members = Object.entries(schema.properties ?? {}).filter(
    ([name, member]) => !lean || schema.required?.includes(name) || given(resolve(member, schemas)) !== undefined,
  );
  return Object.fromEntries(members.map(([name, member]) => [name, exampleOf(member, schemas, lean, name)]));
};

/** The parts of an OpenAPI document that carry examples. */
interface Content {
  [type: string]: { schema?: Schema; example?: unknown; examples?: unknown };
}
interface Parameter {
  $ref?: string;
  name?: string;
  in?: string;
  required?: boolean;
  schema?: Schema;
  example?: unknown;
}
interface Operation {
  parameters?: Parameter[];
  requestBody?: { content?: Content };
  responses?: Record<string, { content?: Content }>;
}

const fill = (content: Content | undefined, schemas: Schemas, lean: boolean): void => {
  for (const media of Object.values(content ?? {})) {
    if (!media.schema || media.example !== undefined || media.examples !== undefined) continue;
    media.example = exampleOf(media.schema, schemas, lean);
  }
};

/** Parameters that must be sent get an example to try out with; one for an optional one stays in its schema, so that no form is filled with it. */
const fillParameter = (parameter: Parameter, schemas: Schemas): void => {
  const { schema, required, name } = parameter;
  if (!schema) return;
  if (required) {
    parameter.example ??= exampleOf(schema, schemas, true, name);
  } else if (schema.example !== undefined) {
    schema.examples = [schema.example];
    delete schema.example;
  }
};

/** Completes an operation in place. */
export const addExamples = (operation: Operation, schemas: Schemas): void => {
  for (const parameter of operation.parameters ?? []) fillParameter(parameter, schemas);
  fill(operation.requestBody?.content, schemas, true);
  for (const response of Object.values(operation.responses ?? {})) fill(response.content, schemas, false);
};
