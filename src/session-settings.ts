/** The settings of sessions beyond their lifetimes, which `config.ts` takes in with all others. */
import { z } from 'zod';

const limitMessage = 'expected a whole number from 1 to 10000, or 0 for no limit';

export const sessionSettings = {
  SESSIONS_PER_USER: z.coerce
    .number(limitMessage)
    .int(limitMessage)
    .min(0, limitMessage)
    .max(10_000, limitMessage)
    .default(0)
    .meta({
      description:
        'How many sessions a person may have, those of REST sign-ins included: one more ends the oldest; 0 for no limit',
    }),
  DEVICE_BINDING: z.enum(['off', 'challenge', 'refuse']).default('challenge').meta({
    description:
      'What becomes of a session cookie that comes from another browser than the one that signed in: `challenge` asks that browser to sign in and leaves the session alone, `refuse` ends the session and tells its owner',
  }),
};
