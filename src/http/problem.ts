/** RFC 9457 problem documents: how a REST route says what went wrong. */
import type Koa from 'koa';
import type { z } from 'zod';
import { type AppError, invalid } from '../errors.ts';
import type { ProblemCode } from '../problem-codes.ts';

type Field = { field: string; code: string; message: string };

/** Whether there is nothing where something must be; a union says so once for each of its forms. */
const isMissing = (issue: z.core.$ZodIssue): boolean =>
  issue.code === 'invalid_union'
    ? issue.errors.length > 0 && issue.errors.every((form) => form.some((one) => !one.path.length && isMissing(one)))
    : /received undefined$/.test(issue.message);

/** What zod says, in words for whoever wrote the request. */
const fieldsOf = (issue: z.core.$ZodIssue): Field[] => {
  const field = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const path = field ? `${field}.` : '';
    return issue.keys.map((key) => ({ field: path + key, code: issue.code, message: 'is not known here' }));
  }
  if (isMissing(issue)) return [{ field, code: 'required', message: 'is needed' }];
  return [{ field, code: issue.code ?? 'custom', message: issue.message.replace(/^Invalid input: /, '') }];
};

/** @throws AppError 400 with the code given and every field that is wrong */
export const parseInput = (
  input: readonly (readonly [schema: z.ZodType | undefined, value: unknown])[],
  errorCode: ProblemCode = 'invalid_request',
): unknown[] => {
  const fields: Field[] = [];
  const values = input.map(([schema, value]) => {
    if (!schema) return undefined;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    for (const issue of parsed.error.issues) fields.push(...fieldsOf(issue));
    return undefined;
  });
  if (fields.length) throw invalid(errorCode, 'The request is not valid', { fields });
  return values;
};

/** What RFC 6750 section 3 wants of a resource server that refuses a token. */
const challenge = ({ status, code, details }: AppError): string | undefined => {
  if (details.challenge !== undefined) return details.challenge;
  if (status === 401) return code === 'invalid_token' ? 'Bearer error="invalid_token"' : 'Bearer';
  if (status === 403 && details.permission) return `Bearer error="insufficient_scope", scope="${details.permission}"`;
  return undefined;
};

/** RFC 9728 section 5.1: with any challenge, so that whoever has no token learns where there are some. */
const withMetadata = (header: string, url: string): string =>
  `${header}${header.includes('=') ? ',' : ''} resource_metadata="${url}"`;

/**
 * Answers with a problem document that carries our stable `code`, the request's id and all refused fields at once.
 * @param resourceMetadata where the metadata of the resource that refuses is
 */
export const sendProblem = (ctx: Koa.Context, error: AppError, resourceMetadata?: string): void => {
  const { status, code, message, details } = error;
  ctx.status = status;
  if (details.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(details.retryAfterSeconds));
  const header = challenge(error);
  if (header) ctx.set('WWW-Authenticate', resourceMetadata ? withMetadata(header, resourceMetadata) : header);
  ctx.body = JSON.stringify({
    type: 'about:blank',
    title: message,
    status,
    code,
    requestId: ctx.state.requestId,
    ...(details.fields ? { errors: details.fields.map(({ field, code, message }) => ({ field, code, message })) } : {}),
    ...details.members,
  });
  ctx.type = 'application/problem+json';
};
