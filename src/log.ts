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
export const createLog = (level: string, destination?: DestinationStream): Log =>
  pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: secretMembers.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    },
    ...(destination ? [destination] : []),
  );
