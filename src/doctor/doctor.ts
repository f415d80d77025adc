/**
 * `countersign doctor`: looks at all that the service needs, and says what to do about what is wrong. It works while the service
 * cannot start, and beside one that runs: the process that has the embedded database open looks at that for us.
 */
import { existsSync } from 'node:fs';
import type { Database } from '../../db/connect.ts';
import type { Config } from '../config.ts';
import { askOwner } from '../control.ts';
import { configurationChecks, type Environment, readableSettings, tryConfig } from './configuration.ts';
import { databaseChecks } from './database.ts';
import { databaseAdvice, databaseFailure } from './database-failure.ts';
import { type Check, type Finding, findingsText, runChecks } from './findings.ts';
import { issuerChecks } from './issuer.ts';
import { serviceChecks } from './services.ts';

export interface DatabaseAnswer {
  findings: Finding[];
  /** Of the keys that must be in the JWKS. */
  kids: string[];
}

/** What a process says of the database that it has open. */
export const examineDatabase = async (
  database: Pick<Database, 'db' | 'listen' | 'catchUp'>,
  config: Config,
): Promise<DatabaseAnswer> => {
  const findings = await runChecks(databaseChecks(database, config));
  const kids = config.JWKS_PRIVATE_KEY_PATH
    ? []
    : await database
        .db('jwksKeys')
        .pluck('kid')
        .catch(() => []);
  return { findings, kids };
};

const failure = (message: string, advice: string): DatabaseAnswer => ({
  findings: [{ check: 'database', status: 'failure', message, advice }],
  kids: [],
});

/** The process that has it open may have been stopped meanwhile, or be an older one that knows no doctor. */
const askRunning = async (config: Config): Promise<DatabaseAnswer | undefined> => {
  const reply = await askOwner(config.DATA_DIR, { command: 'doctor', input: {} });
  if (!reply) return undefined;
  if ('error' in reply) return failure(reply.error, 'Another process has the embedded database open: look at it');
  return reply.result as DatabaseAnswer;
};

const examine = async (config: Config): Promise<DatabaseAnswer> => {
  if (!config.DATABASE_URL) {
    const answer = await askRunning(config);
    if (answer) return answer;
    if (!existsSync(`${config.DATA_DIR}/database`))
      return {
        findings: [{ check: 'database', status: 'ok', message: 'the embedded database is made at the first start' }],
        kids: [],
      };
  }
  let database: Database | undefined;
  try {
    const { openDatabase } = await import('../main.ts');
    database = await openDatabase(config);
    await database.db.raw('select 1');
    return await examineDatabase(database, config);
  } catch (error) {
    return failure(databaseFailure(config, error), databaseAdvice(config, error));
  } finally {
    await database?.close().catch(() => {});
  }
};

/** Looks at everything. Nothing is changed, and no mail is sent. */
export const examineAll = async (environment: Environment): Promise<Finding[]> => {
  const { config, mistakes } = tryConfig(environment);
  const values = config ?? readableSettings(environment);
  // With a part of the settings wrong, what the others say is looked at all the same.
  const forDatabase = config ?? completed(environment, values);
  const database = forDatabase && examine(forDatabase);
  const kids = async () => (config && (await database)?.kids) || undefined;
  const others: Check[] = [...serviceChecks(values), ...issuerChecks(values.JWT_ISSUER, kids)];
  const [before, ofDatabase, after] = await Promise.all([
    runChecks(configurationChecks(environment, mistakes, values)),
    database,
    runChecks(others),
  ]);
  return [...before, ...(ofDatabase?.findings ?? []), ...after];
};

/** Enough of a configuration to look into PostgreSQL; whether the keys open needs all of it. */
const completed = (environment: Environment, values: ReturnType<typeof readableSettings>): Config | undefined => {
  const { ENCRYPTION_MASTER_KEY: masterKey, DATABASE_URL: url } = values;
  const { NODE_ENV, DATABASE_LISTEN_URL: listenUrl } = environment;
  if (!url) return undefined;
  const kept = { NODE_ENV, DATABASE_URL: url, ENCRYPTION_MASTER_KEY: masterKey, DATABASE_LISTEN_URL: listenUrl };
  return tryConfig(kept).config ?? tryConfig({ ...kept, NODE_ENV: 'test', JWT_ISSUER: 'http://localhost' }).config;
};

/** @returns what is printed, and the exit code: 1 if something must be repaired */
export const runDoctor = async (
  environment: Environment,
  { json }: { json: boolean },
): Promise<{ text: string; exitCode: number }> => {
  const findings = await examineAll(environment);
  return {
    text: json ? `${JSON.stringify(findings, null, 2)}\n` : findingsText(findings),
    exitCode: findings.some(({ status }) => status === 'failure') ? 1 : 0,
  };
};
