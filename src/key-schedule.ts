/** Signing keys in the database are rotated by themselves. */
import type { Jobs } from '../adapters/jobs.ts';
import type { Db } from '../db/connect.ts';
import type { Config } from './config.ts';
import { rotateDueKeys } from './keys/keys.commands.ts';
import type { Log } from './log.ts';
import type { Secrets } from './secrets.ts';

/** How often somebody looks whether keys are due, in seconds. */
const lookSeconds = 3600;

/** Has one of all replicas look every hour, unless KEY_ROTATION is 0 or the keys come from a file. */
export const scheduleKeyRotation = async (
  { KEY_ROTATION, JWKS_PRIVATE_KEY_PATH, SIGNING_ALGS }: Config,
  db: Db,
  secrets: Secrets,
  jobs: Jobs,
  log: Log,
): Promise<void> => {
  if (!KEY_ROTATION || JWKS_PRIVATE_KEY_PATH) return;
  await jobs.every('rotate-keys', lookSeconds, async () => {
    const rotation = await rotateDueKeys(db, secrets, KEY_ROTATION, SIGNING_ALGS);
    if (rotation)
      log.info({ kids: rotation.keys.map(({ kid }) => kid) }, 'signing keys were due: new ones are published');
  });
};
