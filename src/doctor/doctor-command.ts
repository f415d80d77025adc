/** `doctor` as the process answers it that has the embedded database open; `cli.ts` runs all the rest by itself. */
import { z } from 'zod';
import { type Command, command } from '../command.ts';
import { examineDatabase } from './doctor.ts';

export const doctorCommand: Command = command({
  usage: 'doctor [--json]',
  summary:
    'Look at configuration, database, keys, Redis, mail, issuer URL and clock, and say what to do; exits with 1 if something must be repaired',
  options: { json: { type: 'boolean' } },
  input: z.object({}),
  run: ({ config, database }) => examineDatabase(database, config),
});
