/** Gauges of what lies in the database. A scrape asks it at most once in a while, and is answered when it does not answer. */
import type { Registry } from 'prom-client';
import { createGauge } from './instruments.ts';
import type { Samples } from './samples.queries.ts';

/** However many scrape, and however often, in milliseconds. */
const freshMs = 15_000;
/** How long a scrape waits for the database. */
const patienceMs = 2000;

export const createSampleGauges = (
  registry: Registry,
): { read(read: () => Promise<Samples>): void; refresh(): void } => {
  let ask: (() => Promise<Samples>) | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;

  const look = async (read: () => Promise<Samples>): Promise<void> => {
    askedAt = performance.now();
    const timer = new Promise<undefined>((resolve) => setTimeout(resolve, patienceMs, undefined).unref());
    // Without the database the last values stay; `samples_age_seconds` tells that they get older.
    const samples = await Promise.race([read().catch(() => undefined), timer]);
    if (samples) show(samples);
    else askedAt = Number.NEGATIVE_INFINITY;
  };
  const update = async (): Promise<void> => {
    if (!ask || (!asking && performance.now() - askedAt < freshMs)) return;
    asking ??= look(ask).finally(() => {
      asking = undefined;
    });
    await asking;
  };

  const sessions = createGauge(registry, 'sessions_active', update);
  const waiting = createGauge(registry, 'jobs_waiting', update);
  const oldest = createGauge(registry, 'jobs_oldest_seconds', update);
  const age = createGauge(registry, 'signing_key_age_seconds', update);
  const nextChange = createGauge(registry, 'signing_key_next_change_seconds', update);
  const keys = createGauge(registry, 'jwks_keys', update);
  const migrations = createGauge(registry, 'db_migrations_pending', update);
  let countedAt: number | undefined;
  const samplesAge = createGauge(registry, 'samples_age_seconds', async () => {
    await update();
    if (countedAt !== undefined) samplesAge().set(Math.max(0, (Date.now() - countedAt) / 1000));
  });

  const show = ({ counted, keys: found, migrationsPending }: Samples): void => {
    migrations().set(migrationsPending);
    for (const gauges of [age, nextChange]) gauges.clear();
    const now = Date.now();
    const states = { next: 0, signing: 0, retired: 0 };
    for (const { alg, state, since } of found) {
      states[state]++;
      const seconds = (now - since.getTime()) / 1000;
      if (state === 'signing') age(alg).set(seconds);
      if (state === 'next') nextChange(alg).set(-seconds);
    }
    // Those in a file are not looked at.
    if (found.length) for (const [state, count] of Object.entries(states)) keys(state).set(count);
    if (!counted) return;
    countedAt = counted.at.getTime();
    sessions().set(counted.sessions);
    for (const { queue, waiting: count, oldestSeconds } of counted.queues) {
      waiting(queue).set(count);
      oldest(queue).set(oldestSeconds);
    }
  };

  return {
    read: (read) => {
      ask = read;
    },
    refresh: () => {
      askedAt = Number.NEGATIVE_INFINITY;
    },
  };
};
