/** Structured logs, without secrets or personal data: see `redact`. */
import { type DestinationStream, type Logger, pino } from 'pino';
import { traceOrigin } from './observing.ts';

export type Log = Logger;

/** Members that never reach a log line, wherever a caller puts them. */
const secretMembers = [
  'password',
  'token',
  'secret',
  'authorization',
  'cookie',
  'code',
  'email',
  'client_secret',
  'refresh_token',
  'access_token',
  'id_token',
];

/** How systems, databases and libraries name their errors (`ECONNREFUSED`, `23505`, `email_taken`): nothing that somebody signs in with. */
const errorCode = /^(?:[A-Z][A-Z0-9_]{2,47}|[0-9][0-9A-Z]{4}|[a-z_]{3,48})$/;

/**
 * An error without what a database driver adds: `detail` quotes whole rows. Its code is called `errorCode`, since whatever is called
 * `code` is taken for one that somebody signs in with.
 */
const describeError = (error: unknown): unknown => {
  if (!(error instanceof Error)) return String(error);
  const { name, message, stack, cause } = error;
  const { code } = error as { code?: unknown };
  return {
    type: name,
    ...(typeof code === 'string' && errorCode.test(code) ? { errorCode: code } : {}),
    message,
    stack,
    ...(cause ? { cause: describeError(cause) } : {}),
  };
};

/** What links a line with the trace that it was written in, by OpenTelemetry's names for it. */
const traceMembers = (): Record<string, string> => {
  const [, trace_id, span_id] = traceOrigin()?.split('-') ?? [];
  return trace_id && span_id ? { trace_id, span_id } : {};
};

/** @param destination where lines go; standard output unless given */
export const createLog = (level: string, destination?: DestinationStream): Log =>
  pino(
    {
      level,
      base: null,
      serializers: { err: describeError },
      mixin: traceMembers,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: secretMembers.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    },
    ...(destination ? [destination] : []),
  );
