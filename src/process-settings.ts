/** The settings of processes: how many there are, how they end, and what each of them does by the clock. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { duration, integer } from './setting-kinds.ts';

const daySeconds = 86_400;

export const processSettings = {
  WEB_CONCURRENCY: integer(1, 256).optional().meta({
    description:
      'Processes that share the port; as many as there are processors (of the container, if it is limited to some) unless set, and one in development. The embedded database has one in any case',
  }),
  DRAIN_DELAY: duration
    .refine((seconds) => seconds <= 300, 'expected at most 5m')
    .optional()
    .meta({
      description:
        'For how long after SIGTERM requests are still taken, each ending its connection, while `/health/ready` says 503: the time in which a proxy finds out. Six seconds unless set, none in development; docs/scaling.md',
    }),
  DATABASE_LISTEN_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'expected postgres://…')
    .optional()
    .meta({
      description:
        'PostgreSQL itself, where DATABASE_URL leads to a pooler that hands connections around by transaction: notifications are heard on a connection of their own (docs/scaling.md)',
    }),
  KEY_ROTATION: duration
    .refine(
      (seconds) => seconds === 0 || (seconds >= 7 * daySeconds && seconds <= 3650 * daySeconds),
      'expected 0, or from 7d to 3650d',
    )
    .default(90 * daySeconds)
    .meta({
      description:
        'How old signing keys in the database become before new ones are made; `0`: only when somebody asks for it',
    }),
};

type ProcessValues = Partial<z.output<z.ZodObject<typeof processSettings>>> & {
  NODE_ENV: string;
  DATABASE_URL?: string | undefined;
};

/** How many processes serve. */
export const workersOf = ({ NODE_ENV, DATABASE_URL, WEB_CONCURRENCY }: ProcessValues): number => {
  if (!DATABASE_URL) return 1;
  return WEB_CONCURRENCY ?? (NODE_ENV === 'production' ? availableParallelism() : 1);
};

/** For how many seconds requests are taken after a stop was asked for. */
export const drainSecondsOf = ({ NODE_ENV, DRAIN_DELAY }: ProcessValues): number =>
  DRAIN_DELAY ?? (NODE_ENV === 'production' ? 6 : 0);

/** What does not go together. */
export const processMistakes = ({
  DATABASE_URL,
  DATABASE_LISTEN_URL,
}: Partial<Pick<ProcessValues, 'DATABASE_URL' | 'DATABASE_LISTEN_URL'>>): string[] =>
  DATABASE_LISTEN_URL && !DATABASE_URL ? ['DATABASE_LISTEN_URL: needs DATABASE_URL'] : [];
