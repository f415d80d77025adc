import type { ProblemCode } from './problem-codes.ts';

/** Every failure a caller is meant to see. Anything else that is thrown is a bug and becomes a 500. */
export class AppError extends Error {
  readonly status: number;
  /** Stable and machine-readable; clients switch on it. The message may change. */
  readonly code: ProblemCode;
  readonly details: ErrorDetails;

  constructor(status: number, code: ProblemCode, message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = 'AppError';
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

export interface ErrorDetails {
  /** Refused fields: the pages link each to its input, problem+json lists them under `errors`. */
  fields?: readonly { field: string; code: string; message: string; values?: Record<string, string | number> }[];
  retryAfterSeconds?: number;
  /** Further members of the problem document. */
  members?: Readonly<Record<string, unknown>>;
  /** What WWW-Authenticate says, where it is not what follows from status and code. */
  challenge?: string;
  /** The permission that was missing: RFC 6750 section 3.1 tells it as `scope`. */
  permission?: string;
}

/** What `<thing>_not_found` can be said of. */
type Thing<C = ProblemCode> = C extends `${infer T}_not_found` ? T : never;

export const invalid = (code: ProblemCode, message: string, details?: ErrorDetails) =>
  new AppError(400, code, message, details);
export const notFound = (what: Thing) => new AppError(404, `${what}_not_found`, `No such ${what.replaceAll('_', ' ')}`);
export const conflict = (code: ProblemCode, message: string) => new AppError(409, code, message);
export const unauthenticated = (code: 'unauthenticated' | 'invalid_token', message: string) =>
  new AppError(401, code, message);
export const forbidden = (code: ProblemCode, message: string, details?: ErrorDetails) =>
  new AppError(403, code, message, details);
/** Refused by the engine or a library, under its own code: one of RFC 6749 and the standards that extend it. */
export const foreignError = (status: number, code: string, message: string) =>
  new AppError(status, code as ProblemCode, message);

/**
 * What anybody can be refused with thousands of times in a second. Where in the code that was says nothing, and to write it down
 * would be a tenth of all that the refusal costs.
 */
const refusal = (...parts: ConstructorParameters<typeof AppError>): AppError => {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new AppError(...parts);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
};

export const tooMany = (retryAfterSeconds: number) =>
  refusal(429, 'too_many_requests', `Too many attempts; try again in ${retryAfterSeconds} seconds`, {
    retryAfterSeconds,
  });
export const overloaded = (retryAfterSeconds: number) =>
  refusal(503, 'overloaded', 'The service is busy; try again shortly', { retryAfterSeconds });
export const databaseAway = () =>
  new AppError(503, 'database_unavailable', 'A database is out of reach; try again shortly', { retryAfterSeconds: 5 });

/**
 * PostgreSQL error codes (SQLSTATE classes 08, 53 and 57; 28, 3D and 55000 when no connection is let in) and socket
 * errors that mean "the database is away", never "the row is not there". Knex's pool timeout counts as well, and a pool
 * or an embedded database that is closed.
 */
export const isOutage = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  if (
    typeof code === 'string' &&
    (/^((08|28|3D|53|57)[0-9A-Z]{3}|55000)$/.test(code) || /^E(CONN|PIPE|HOST|NET|TIMEDOUT|AI_)/.test(code))
  )
    return true;
  return (
    error.name === 'KnexTimeoutError' ||
    /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Connection ended|Unable to acquire a connection|PGlite is clos(?:ed|ing)/.test(
      error.message,
    )
  );
};
