/**
 * A REST route is one declaration: who may call it, what it takes, what it returns, what it does. The same object
 * validates the input, authorizes the caller, strips the output (a new column cannot leak) and becomes OpenAPI.
 */
import type { Readable } from 'node:stream';
import type { z } from 'zod';
import type { Actor } from '../audit/logs.commands.ts';
import type { Placed } from '../organizations/paths.queries.ts';
import type { ProblemCode } from '../problem-codes.ts';
import type { Permission } from '../roles/permissions.ts';
import type { Caller } from './caller.ts';

/**
 * Who may call a route:
 * - `public`: anybody; a token that is sent along is not looked at.
 * - `optional`: anybody; a token that is sent along must be valid, and says who calls.
 * - `signed-in`: whoever a valid token speaks for, whatever its scope. For what any application may know or do.
 * - a permission. One that ends in `:own` is for the caller's own things; see `owner`.
 */
export type Access = 'public' | 'optional' | 'signed-in' | Permission;

type CallerOf<A extends Access> = A extends 'public' ? undefined : A extends 'optional' ? Caller | undefined : Caller;

export interface RouteRequest<P, Q, B, C> {
  params: P;
  query: Q;
  body: B;
  caller: C;
  /** The caller as the audit log knows them. */
  actor: Actor;
  /** The request headers that the route names in `headers`. */
  headers: Readonly<Record<string, string | undefined>>;
  /** `Accept-Language`, best first. */
  locales: string[];
  /** The token or API key that the caller was identified by. */
  token: string | undefined;
}

/** What the handler of a route with `streams` returns. */
export interface Stream {
  type: string;
  /** Offered to be saved under this name. */
  filename?: string;
  content: Readable;
}

type None = z.ZodUndefined;

interface Declaration<
  A extends Access,
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends z.ZodType,
> {
  /** OpenAPI's `operationId`. */
  id: string;
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** Parameters as `:name`. */
  path: string;
  /** A group of the documentation. */
  tag: string;
  summary: string;
  /** Markdown, where the summary does not say everything. */
  description?: string;
  /** Never omitted. */
  access: A;
  /**
   * Whose thing it is that the path names, for a permission that ends in `:own`: it suffices for the owner, while anybody else
   * needs the same permission with `:any`. Without it the route concerns the caller's own things alone.
   */
  owner?(params: z.output<P>, caller: Caller): string | undefined;
  /**
   * What the path names that lies in organizations: whoever holds the permission in one of them, or in one above, may do it as well.
   * What is changed is changed for all of its organizations, so that a change takes the permission in each of them.
   */
  within?(params: z.output<P>): { type: Placed; id: string };
  /**
   * It is enough to hold the permission with a narrower scope, or in some organization: `handle` finds out what of it all the
   * caller reaches (`reachOf`), and answers for the rest as if it were not there.
   */
  reach?: true;
  /** Tokens of the issuer in AUTH_OIDC_ISSUER are let in too. */
  external?: boolean;
  params?: P;
  query?: Q;
  body?: B;
  /** The code of a query or body that its schema refuses, where an RFC has one; else `invalid_request`. */
  invalidInput?: ProblemCode;
  /** Request headers that the handler reads, in lower case. */
  headers?: readonly string[];
  /** What the body is sent as; JSON unless told otherwise. */
  consumes?: 'application/x-www-form-urlencoded';
  /** How large the body may be, where 100 kB would not do. */
  bodyLimit?: '1mb';
  /** Left out where there is nothing to say (204). */
  returns?: R;
  /** Content types of a route that answers with a stream instead of `returns`. */
  streams?: readonly string[];
  status: number;
  /** Stable codes of problems beyond those that every route has (see `problem-codes.ts`), by status. */
  problems?: Readonly<Record<number, readonly ProblemCode[]>>;
  /**
   * Asked once the caller's limit has been counted, and before the body is read or anything is looked up.
   * @throws AppError when there is no room for the work that the request would be
   */
  assertRoom?(): void;
  /** False: outside the limits by role. `failures`: tokens that are not valid count, by address, and nothing else. */
  limited?: false | 'failures';
  handle(
    request: RouteRequest<z.output<P>, z.output<Q>, z.output<B>, CallerOf<A>>,
  ): Promise<R extends None ? unknown : z.input<R>>;
}

export interface Route
  extends Omit<Declaration<Access, z.ZodType, z.ZodType, z.ZodType, z.ZodType>, 'handle' | 'owner' | 'within'> {
  owner?(params: unknown, caller: Caller): string | undefined;
  within?(params: unknown): { type: Placed; id: string };
  handle(request: RouteRequest<unknown, unknown, unknown, unknown>): Promise<unknown>;
}

/** Lets TypeScript infer `handle` from the schemas; a wrong return is a compile error. */
export const route = <
  A extends Access,
  P extends z.ZodType = None,
  Q extends z.ZodType = None,
  B extends z.ZodType = None,
  R extends z.ZodType = None,
>(
  declaration: Declaration<A, P, Q, B, R>,
): Route => declaration as unknown as Route;
