/** Why the database cannot be used, in words that name the setting and say what to do: the drivers' name neither. */
import type { Config } from '../config.ts';
import { reasonOf, shown } from './findings.ts';

type DatabaseSettings = Pick<Config, 'DATABASE_URL' | 'DATA_DIR'>;

/** What went wrong, and with which database. No password is in it. */
export const databaseFailure = ({ DATABASE_URL, DATA_DIR }: DatabaseSettings, error: unknown): string =>
  `${DATABASE_URL ? shown(DATABASE_URL) : DATA_DIR}: ${reasonOf(error)}`;

/** What to do about it. */
export const databaseAdvice = ({ DATABASE_URL }: DatabaseSettings, error: unknown): string => {
  if (!DATABASE_URL) return 'Give DATA_DIR to the user that runs the service, or restore it from a backup';
  const { code } = error as { code?: unknown };
  if (code === '28P01' || code === '28000') return 'Correct the user and password in DATABASE_URL';
  if (code === '3D000') return 'Create the database that DATABASE_URL names';
  if (code === '53300') return 'Raise max_connections of PostgreSQL, or lower DATABASE_POOL_MAX or WEB_CONCURRENCY';
  return 'Start PostgreSQL, or correct host and port in DATABASE_URL';
};
