/** Structured logs, without secrets or personal data: see `redact`. */
import { type DestinationStream, type Logger, pino } from 'pino';

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

/** @param destination where lines go; standard output unless given */
/** An error without what a database driver adds: `detail` quotes whole rows. */
const describeError = (error: unknown): unknown => {
  if (!(error instanceof Error)) return String(error);
  const { name, message, stack, cause } = error;
  const { code } = error as { code?: unknown };
  return { type: name, ...(code ? { code } : {}), message, stack, ...(cause ? { cause: describeError(cause) } : {}) };
};

export const createLog = (level: string, destination?: DestinationStream): Log =>
  pino(
    {
      level,
      base: null,
      serializers: { err: describeError },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: secretMembers.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    },
    ...(destination ? [destination] : []),
  );
