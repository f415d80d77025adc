/** Judges an answer by the OpenAPI document: nothing may come that the operation does not document. */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { OpenApiDocument } from '../../src/http/openapi.ts';
import type { Answer } from './requests.ts';

interface ResponseObject {
  $ref?: string;
  content?: Record<string, { schema: object }>;
}

/** A member that is not described must not be answered; a problem may have members of its own (RFC 9457 section 3.2). */
const close = (schema: unknown): unknown => {
  if (schema === null || typeof schema !== 'object') return schema;
  if (Array.isArray(schema)) return schema.map(close);
  const closed = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, close(value)]));
  return 'properties' in schema && !('additionalProperties' in schema) && typeof closed.properties === 'object'
    ? { ...closed, additionalProperties: false }
    : closed;
};

export interface Operation {
  method: string;
  /** With `{name}` for parameters. */
  path: string;
  operationId: string;
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { required?: boolean; content: Record<string, { schema: object }> };
  responses: Record<string, ResponseObject>;
  'x-permission'?: string;
}

/** The operations of a document by their ids. */
export const operationsOf = (document: OpenApiDocument): Map<string, Operation> =>
  new Map(
    Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(([path, item]) =>
      Object.entries(item)
        .filter(([, { operationId }]) => operationId)
        .map(([method, operation]) => [operation.operationId, { ...operation, method, path }] as const),
    ),
  );

/** @returns a function that lists what an operation's answer has that its documentation has not; nothing when all is well */
export const createAnswerCheck = (document: OpenApiDocument): ((operationId: string, answer: Answer) => string[]) => {
  const operations = operationsOf(document);
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  formats.default(ajv);
  const { Problem, ...schemas } = document.components.schemas;
  ajv.addSchema({ $id: 'https://document/', components: { schemas: { ...(close(schemas) as object), Problem } } });
  const validators = new Map<object, ValidateFunction>();
  const validatorOf = (schema: object): ValidateFunction => {
    const known = validators.get(schema);
    if (known) return known;
    const absolute = JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"https://document/#/')) as object;
    const validate = ajv.compile(absolute);
    validators.set(schema, validate);
    return validate;
  };
  const resolve = ({ $ref, ...response }: ResponseObject): ResponseObject =>
    $ref ? document.components.responses[$ref.split('/').at(-1) as string] : response;

  return (operationId, { status, headers, text, json }) => {
    const documented = operations.get(operationId)?.responses[String(status)];
    if (!documented) return [`${status} is not documented: ${text.slice(0, 300)}`];
    const { content } = resolve(documented);
    // A redirect may say where to in words (RFC 9110 section 15.4).
    if (!content)
      return text === '' || (status >= 300 && status < 400) ? [] : [`a body with ${status}: ${text.slice(0, 300)}`];
    const type = headers.get('content-type') ?? '';
    const media = Object.entries(content).find(([name]) => type.startsWith(name.split(';')[0] as string))?.[1];
    if (!media) return [`the type of ${status} is ${type}`];
    if (!/json/.test(type) || /jsonl|x-ndjson/.test(type)) return [];
    const validate = validatorOf(media.schema);
    return validate(json) ? [] : [`${status}: ${ajv.errorsText(validate.errors)}: ${text.slice(0, 300)}`];
  };
};
