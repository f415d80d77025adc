/**
 * countersign serve | migrate | create-admin | rotate-keys | client create | client list | import keycloak | …
 *
 * The service is loaded only where it is needed: a command that a running server answers needs none of it.
 */
import cluster from 'node:cluster';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import type { Database, Db } from '../db/connect.ts';
import type { App } from './app.ts';
import type { Command } from './command.ts';
import { type Config, ConfigError, loadConfig } from './config.ts';
import { askOwner, becomeOwner, type ControlReply, type ControlRequest } from './control.ts';
import { AppError } from './errors.ts';
import { createLog } from './log.ts';

type Commands = Readonly<Record<string, Command>>;

/** Not of the process that only holds the port for others. */
const loadCommands = async (): Promise<Commands> => (await import('./commands.ts')).commands;

const usage = (commands: Commands): string => `countersign serve
            Serve (npm start)
countersign migrate
            Bring the database schema up to date
${Object.values(commands)
  .map(({ usage, summary }) => `countersign ${usage}\n            ${summary}`)
  .join('\n')}
`;

/** A failure whose message is for the person at the terminal. */
const explain = (error: unknown): string => {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof z.ZodError)
    return error.issues.map(({ path, message }) => `--${path.join('.')}: ${message}`).join('\n');
  if (error instanceof AppError)
    return [error.message, ...(error.details.fields ?? []).map(({ field, message }) => `  ${field}: ${message}`)].join(
      '\n',
    );
  const { error_description: description, message } = error as { error_description?: string; message?: string };
  return description ?? message ?? String(error);
};

const print = (result: unknown): void => {
  process.stdout.write(typeof result === 'string' ? result : `${JSON.stringify(result, null, 2)}\n`);
};

const migrateNow = async (db: Db): Promise<string[]> => (await import('../db/migrate.ts')).migrate(db);

/** Runs commands that come over the control socket. */
const answerWith =
  (app: () => App | undefined) =>
  async ({ command, input }: ControlRequest): Promise<ControlReply> => {
    const known = (await loadCommands())[command];
    const running = app();
    if (!known && command !== 'migrate') return { error: `no such command: ${command}` };
    if (!running) return { error: 'the database is in use by a process that is starting or stopping; try again' };
    try {
      if (!known) return { result: { migrated: await migrateNow(running.accounts.db) } };
      if (known.runWithoutApp) return { error: 'stop the service first' };
      return { result: await known.run(running, input) };
    } catch (error) {
      return { error: explain(error) };
    }
  };

/** Has whoever has the embedded database open run a command. @returns false when nobody has */
const runElsewhere = async (
  { DATABASE_URL, DATA_DIR }: Config,
  request: ControlRequest,
  tell: (result: unknown) => void = print,
): Promise<boolean> => {
  const reply = DATABASE_URL ? undefined : await askOwner(DATA_DIR, request);
  if (reply && 'error' in reply) throw new Error(reply.error);
  if (reply) tell(reply.result);
  return reply !== undefined;
};

const runCommand = async (
  config: Config,
  name: string,
  command: Command,
  values: Record<string, unknown>,
): Promise<void> => {
  const input = command.read(values);
  const tell = (result: unknown): void => {
    print(command.show ? command.show(result, values) : result);
    process.exitCode = command.exitCode?.(result) ?? 0;
  };
  if (await runElsewhere(config, { command: name, input }, tell)) return;
  await withDatabase(config, async (database) => {
    const [{ createApp }, { prepareSchema }] = await Promise.all([import('./app.ts'), import('./main.ts')]);
    await prepareSchema(config, database);
    if (command.runWithoutApp) return tell(await command.runWithoutApp(database, config, input));
    const app = await createApp({ config, database, log: createLog('warn') });
    try {
      tell(await command.run(app, input, (line) => process.stderr.write(`${line}\n`)));
    } finally {
      await app.stop();
    }
  });
};

/** Opens the database for one command; nobody else has the embedded one meanwhile. */
const withDatabase = async (config: Config, work: (database: Database) => Promise<void>): Promise<void> => {
  const owner = config.DATABASE_URL
    ? undefined
    : await becomeOwner(
        config.DATA_DIR,
        answerWith(() => undefined),
      );
  try {
    const { reachDatabase } = await import('./main.ts');
    const database = await reachDatabase(config);
    try {
      await work(database);
    } finally {
      await database.close();
    }
  } finally {
    await owner?.release();
  }
};

/** It must work when nothing else does. */
const doctor = async (args: string[]): Promise<void> => {
  const { values } = parseArgs({ args, options: { json: { type: 'boolean', default: false } } });
  const { text, exitCode } = await (await import('./doctor/doctor.ts')).runDoctor(process.env, values);
  process.stdout.write(text);
  process.exitCode = exitCode;
};

const dispatch = async (args: string[]): Promise<void> => {
  const [first = 'help'] = args;
  if (first === 'serve') return (await import('./serve.ts')).runServer(loadConfig(process.env), answerWith);
  if (first === 'doctor') return doctor(args.slice(1));
  const commands = await loadCommands();
  const isGroup = Object.keys(commands).some((name) => name.startsWith(`${first} `));
  const name = isGroup ? args.slice(0, 2).join(' ') : first;
  const command = commands[name];
  if (first === 'help' || first === '--help') return void process.stdout.write(usage(commands));
  if (!command && name !== 'migrate') throw new Error(`There is no such command: ${name}\n\n${usage(commands)}`);
  const config = loadConfig(process.env);
  if (command) {
    const { positional, options } = command;
    const rest = args.slice(name.split(' ').length);
    const { values, positionals } = parseArgs({ args: rest, options, allowPositionals: positional !== undefined });
    if (positionals.length > 1) throw new Error(`one argument is enough: ${positionals.join(' ')}`);
    await runCommand(config, name, command, { ...values, ...(positional ? { [positional]: positionals[0] } : {}) });
  } else if (!(await runElsewhere(config, { command: name, input: {} }))) {
    await withDatabase(config, async ({ db }) => print({ migrated: await migrateNow(db) }));
  }
};

/** Runs a command line. What goes wrong is told on standard error, and the process exits with 1. */
export const main = async (args: string[]): Promise<void> => {
  try {
    await dispatch(args);
  } catch (error) {
    const message = explain(error);
    // Of many that fail alike the process that started them says so once.
    if (cluster.isWorker && process.send)
      await new Promise((resolve) => process.send?.({ kind: 'failed', message }, undefined, {}, resolve));
    else process.stderr.write(`${message}\n`);
    process.exit(1);
  }
};

if (import.meta.main) await main(process.argv.slice(2));
