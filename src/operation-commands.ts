/** The commands of the runbooks in docs/operations. */
import { z } from 'zod';
import { operator } from './audit/logs.commands.ts';
import { type Command, command } from './command.ts';
import type { Config } from './config.ts';
import { listWaiting, type MasterKeyRotation, rotateMasterKey } from './master-key.commands.ts';
import { endEverything, forgetSealed } from './recovery.commands.ts';

const Confirmed = z.object({ confirm: z.string().optional() });

/** What cannot be taken back names the service that it is for. */
const assertConfirmed = ({ JWT_ISSUER }: Config, { confirm }: { confirm?: string | undefined }): void => {
  if (confirm !== JWT_ISSUER)
    throw new Error(`This cannot be taken back. If it is what you want, add --confirm ${JWT_ISSUER}`);
};

export const operationCommands: Record<string, Command> = {
  'rotate-master-key': command({
    usage: 'rotate-master-key [--check]',
    summary:
      'Seal everything anew under ENCRYPTION_MASTER_KEY while the service runs (--check: only count what is under another); exits with 2 while something is left',
    options: { check: { type: 'boolean' } },
    input: z.object({ check: z.boolean().default(false) }),
    run: async ({ accounts: { db }, secrets }, { check }, progress): Promise<MasterKeyRotation> =>
      check
        ? { masterKey: secrets.keyId, resealed: {}, left: await listWaiting(db, secrets) }
        : rotateMasterKey(db, secrets, operator, progress),
    exitCode: (result) => ((result as MasterKeyRotation).left.length ? 2 : 0),
  }),

  'end-all-sessions': command({
    usage: 'end-all-sessions --confirm ISSUER',
    summary: 'Sign everybody out and end every grant, refresh token and mailed link, as after a restored backup',
    options: { confirm: { type: 'string' } },
    input: Confirmed,
    run: async ({ config, accounts: { db } }, input) => {
      assertConfirmed(config, input);
      return endEverything(db, operator);
    },
  }),

  'recover-from-key-loss': {
    ...command({
      usage: 'recover-from-key-loss --confirm ISSUER',
      summary:
        'Forget what a lost master key sealed, so that the service starts under a new one (docs/operations/key-loss.md)',
      options: { confirm: { type: 'string' } },
      input: Confirmed,
      run: () => Promise.reject(new Error('stop the service first')),
    }),
    runWithoutApp: async ({ db }, config, input) => {
      assertConfirmed(config, Confirmed.parse(input));
      return forgetSealed(db, config, operator);
    },
  },
};
