/** What operations of the OpenAPI document that are no routes of ours are made of. */
import type { z } from 'zod';
import type { ZodOpenApiResponseObject } from 'zod-openapi';
import { OAuthError } from './openapi-protocol-schemas.ts';

/** The tag of the protocol's endpoints. */
export const oauth = 'OAuth and OpenID Connect';
export const form = 'application/x-www-form-urlencoded';

export const json = (description: string, schema: z.ZodType): ZodOpenApiResponseObject => ({
  description,
  content: { 'application/json': { schema } },
});
export const oauthError = (description: string, error: string): ZodOpenApiResponseObject => ({
  description,
  content: { 'application/json': { schema: OAuthError, example: { error, error_description: description } } },
});
export const redirect = (description: string): ZodOpenApiResponseObject => ({
  description,
  headers: { Location: { description: 'Where to go on', schema: { type: 'string' } } },
});
export const page = (description: string): ZodOpenApiResponseObject => ({
  description,
  content: { 'text/html': { schema: { type: 'string' }, example: '<!doctype html>…' } },
});
/** A page for browsers; programs that do not ask for HTML are answered in JSON. */
export const refusal = (description: string): ZodOpenApiResponseObject => ({
  description,
  content: { ...page(description).content, ...oauthError(description, 'invalid_request').content },
});
export const tooLarge = refusal('The body is too large');
export const body = (schema: z.ZodType) => ({ required: true, content: { [form]: { schema } } });

/** A GET that anybody may make. */
export const lookup = (
  id: string,
  tag: string,
  summary: string,
  description: string,
  answer: ZodOpenApiResponseObject,
) => ({
  get: { operationId: id, tags: [tag], summary, description, security: [], responses: { '200': answer } },
});

/** Client authentication: by header, by certificate, or in the body where it is needed at all. */
export const byClient: Record<string, string[]>[] = [{ client: [] }, { clientCertificate: [] }, {}];
export const badClient = oauthError('Client authentication failed', 'invalid_client');
