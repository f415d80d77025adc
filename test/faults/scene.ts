/** The usual scene: PostgreSQL, perhaps Redis, one service or several, and clients that never stop asking. */
import {
  ask,
  askToken,
  type Machine,
  newMachine,
  newPerson,
  type Person,
  refresh,
  startTraffic,
  type Traffic,
  type TrafficOptions,
} from './clients.ts';
import { type Trial, until } from './frame.ts';
import { type Postgres, startPostgres } from './machinery.ts';
import { type ServeOptions, type Service, serve } from './service.ts';

export interface Scene {
  postgres: Postgres;
  service: Service;
  people: readonly Person[];
  machine: Machine;
  traffic: Traffic;
  /** Stops the traffic and checks that everybody can go on, that nothing is doubled, and that the service works as before. */
  finish(): Promise<void>;
}

export interface SceneOptions extends ServeOptions {
  people?: number;
  /** What the service has for a database, where that is not PostgreSQL itself. */
  databaseUrl?(postgres: Postgres): Promise<string>;
  others?: TrafficOptions['others'];
  /** The pause between two of those, and between two requests of one client. */
  otherPauseMs?: number;
  pauseMs?: number;
  looks?: boolean;
}

/** One service on a PostgreSQL of its own under steady load. */
export const startScene = async (
  t: Trial,
  {
    people: count = 6,
    settings,
    databaseUrl,
    others,
    otherPauseMs,
    pauseMs,
    looks = true,
    ...options
  }: SceneOptions = {},
): Promise<Scene> => {
  const postgres = await startPostgres(t);
  const url = (await databaseUrl?.(postgres)) ?? postgres.url;
  const service = await serve(t, { ...options, settings: { DATABASE_URL: url, ...settings } });
  const machine = await newMachine(postgres.url);
  const people = await Promise.all(Array.from({ length: count }, () => newPerson(service.address)));
  const traffic = startTraffic(t, {
    addresses: [service.address],
    people,
    machine,
    ...(others ? { others } : {}),
    ...(otherPauseMs === undefined ? {} : { otherPauseMs }),
    ...(pauseMs === undefined ? {} : { pauseMs }),
    looks,
  });
  return {
    ...{ postgres, service, people, machine, traffic },
    finish: async () => {
      await traffic.stop();
      await checkPeople(t, service.address, people);
      await checkDatabase(t, postgres);
      await checkService(t, service, postgres, machine);
    },
  };
};

/** Everybody can go on with the token that they hold, their session is there, and what they held two tokens ago is worth nothing. */
export const checkPeople = async (t: Trial, address: string, people: readonly Person[]): Promise<void> => {
  for (const person of people) {
    const reply = await refresh(address, person);
    t.check(reply.status === 200, `${person.email} cannot go on: ${reply.status} ${reply.text.slice(0, 200)}`);
    const headers = { authorization: `Bearer ${person.accessToken}` };
    const sessions = await ask(`${address}/sessions`, { headers });
    t.check(
      sessions.status === 200 && sessions.json?.data?.length === 1,
      `${person.email} has sessions: ${sessions.status} ${sessions.text.slice(0, 200)}`,
    );
  }
  for (const { email, earlier } of people.slice(0, 3)) {
    const old = earlier.at(-2);
    if (!old) continue;
    const reply = await ask(`${address}/auth/refresh`, { json: { refreshToken: old } });
    t.check(reply.status === 401, `${email} could use a token twice: ${reply.status} ${reply.text.slice(0, 200)}`);
  }
};

/** Nothing is half there, and nothing twice. */
export const checkDatabase = async (t: Trial, { query }: Pick<Postgres, 'query'>): Promise<void> => {
  const families = await query<{ grant_id: string; live: string }>(
    `select grant_id, count(*) live from refresh_tokens
     where consumed_at is null and not revoked and not superseded group by grant_id having count(*) > 1`,
  );
  for (const { grant_id, live } of families) t.lost(`the family ${grant_id} has ${live} tokens that work`);
  const doubled = await query<{ email: string }>(
    'select lower(email) email from users group by lower(email) having count(*) > 1',
  );
  for (const { email } of doubled) t.lost(`${email} is registered twice`);
};

/** How long a job of a process that was killed is left to it (a mail's two minutes), and how often that is looked for, in seconds. */
const abandonedSeconds = 200;

/** What waits is done, and what a process was at when it was killed is taken up again. */
const jobsRun = async (t: Trial, { query }: Pick<Postgres, 'query'>): Promise<void> => {
  const count = async (which: string): Promise<number> => {
    const [row] = await query<{ left: string }>(
      `select count(*) left from pgboss.job where name = 'mail' and ${which}`,
    );
    return Number(row?.left);
  };
  const began = `'${new Date().toISOString()}'::timestamptz`;
  const waits = `(state in ('created', 'retry') and start_after < now() or state = 'active' and started_on >= ${began})`;
  const lost = ({ message }: Error) => t.lost(message);
  await until('jobs run again', 60, async () => !(await count(waits))).catch(lost);
  const abandoned = `state in ('active', 'retry') and started_on < ${began}`;
  const left = await count(abandoned);
  if (!left || t.short) return;
  t.note(`${left} mails were being sent when the process was killed`);
  await until('they are sent', abandonedSeconds, async () => !(await count(abandoned))).catch(lost);
};

/** What must go on by itself: jobs run, changes are heard of, and readiness says so. */
export const checkService = async (t: Trial, service: Service, postgres: Postgres, machine: Machine): Promise<void> => {
  const ready = await ask(`${service.address}/health/ready`);
  t.check(ready.status === 200, `readiness: ${ready.status} ${ready.text}`);
  await jobsRun(t, postgres);
  // Written beside the service: it can only hear of it.
  t.check((await askToken(service.address, machine)).status === 200, 'the machine gets no token');
  await postgres.query(`update clients set client_secret_hash = 'changed' where client_id = $1`, [machine.clientId]);
  await until('a change is heard of', 30, async () => (await askToken(service.address, machine)).status === 401).catch(
    ({ message }: Error) => t.lost(message),
  );
};
