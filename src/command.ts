/** What a command of the command line is: see `commands.ts`. */
import type { ParseArgsOptionsConfig } from 'node:util';
import type { z } from 'zod';
import type { Database } from '../db/connect.ts';
import type { App } from './app.ts';
import type { Config } from './config.ts';

/** Tells whoever waits how far a command has got, a line at a time. */
export type Progress = (line: string) => void;

export interface Command {
  usage: string;
  summary: string;
  options: ParseArgsOptionsConfig;
  /** The name under which `read` is given what stands on the line without one. */
  positional?: string;
  /** What the command needs of this machine's files and terminal, read where it was typed. */
  read(values: Record<string, unknown>): unknown;
  /** @returns a text, or an object that is printed as JSON */
  run(app: App, input: unknown, progress?: Progress): Promise<unknown>;
  /** Instead of `run`, where no app can be made; the service must not run. */
  runWithoutApp?(database: Database, config: Config, input: unknown): Promise<unknown>;
  /** The result as it is printed, where that is not as it is. */
  show?(result: unknown, values: Record<string, unknown>): unknown;
  /** What a script is told by the exit code; 0 unless it says so, and 1 is a failure. */
  exitCode?(result: unknown): number;
}

export const command = <Input extends z.ZodType>(
  declaration: Omit<Command, 'read' | 'run'> & {
    input: Input;
    read?(values: Record<string, unknown>): unknown;
    run(app: App, input: z.output<Input>, progress: Progress): Promise<unknown>;
  },
): Command => ({
  read: (values) => values,
  ...declaration,
  run: (app, input, progress = () => {}) => declaration.run(app, declaration.input.parse(input), progress),
});
