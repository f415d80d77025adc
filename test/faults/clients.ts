/** Clients as they are out there: each keeps the last token that it holds, tries again when it is told to, and checks every answer. */
import { type Agent, request } from 'node:http';
import { connect } from '../../db/connect.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { createClient, operatorPowers } from '../../src/clients/clients.commands.ts';
import { sleep, type Trial } from './frame.ts';

export interface Reply {
  /** 0 when the connection failed, -1 when there was no answer in time. */
  status: number;
  headers: Record<string, string | string[] | undefined>;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the service answers is looked at, not believed.
  json: any;
  text: string;
  ms: number;
  /** Why there is no answer. */
  failure?: string;
}

export interface Question {
  method?: string;
  headers?: Record<string, string>;
  form?: Record<string, string>;
  json?: unknown;
  agent?: Agent;
}

/** How long a client waits for an answer, in milliseconds: longer than the service may take for one. */
export const patienceMs = 20_000;

/** One request; it never throws. */
export const ask = (url: string, { method, headers, form, json, agent }: Question = {}): Promise<Reply> =>
  new Promise((resolve) => {
    const body = form ? new URLSearchParams(form).toString() : json === undefined ? undefined : JSON.stringify(json);
    const began = performance.now();
    const done = (reply: Partial<Reply>) =>
      resolve({ status: 0, headers: {}, json: undefined, text: '', ...reply, ms: performance.now() - began });
    const outgoing = request(
      url,
      {
        method: method ?? (body === undefined ? 'GET' : 'POST'),
        ...(agent ? { agent } : {}),
        headers: {
          ...(body === undefined
            ? {}
            : {
                'content-type': form ? 'application/x-www-form-urlencoded' : 'application/json',
                'content-length': String(Buffer.byteLength(body)),
              }),
          ...headers,
        },
      },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          text += chunk;
        });
        answer.on('error', (error) => done({ failure: error.message }));
        answer.on('end', () => {
          const isJson = /json/.test(answer.headers['content-type'] ?? '');
          let parsed: unknown;
          try {
            parsed = isJson && text ? JSON.parse(text) : undefined;
          } catch {
            return done({ failure: 'half a JSON document' });
          }
          done({ status: answer.statusCode ?? 0, headers: answer.headers, json: parsed, text });
        });
      },
    );
    outgoing.setTimeout(patienceMs, () => {
      done({ status: -1, failure: `no answer in ${patienceMs} ms` });
      outgoing.destroy();
    });
    outgoing.on('error', (error) => done({ failure: (error as NodeJS.ErrnoException).code ?? error.message }));
    outgoing.end(body);
  });

/** What was answered in one phase of a script, by kind of request. */
interface Tally {
  count: Record<string, Record<number, number>>;
  worstMs: Record<string, number>;
}

/** The statuses that are right at the moment. 0 stands for a connection that failed. */
export type Allowed = ReadonlySet<number>;
/** While all is well, the first phase of every script. */
export const fine: Allowed = new Set([200, 201, 204]);
/** While something that is needed is away. */
export const away: Allowed = new Set([...fine, 503]);

export interface Person {
  email: string;
  password: string;
  accessToken: string;
  /** The last one that was received; the ones before it, oldest first, are in `earlier`. */
  refreshToken: string;
  earlier: string[];
}

export interface Machine {
  clientId: string;
  secret: string;
}

/** The public client that the REST API signs people in by. */
export const restClient = 'countersign-rest';

let people = 0;

/** Registers somebody, who is signed in by it. @throws Error if that is not answered with 201 */
export const newPerson = async (address: string): Promise<Person> => {
  const email = `person-${process.pid}-${++people}@example.com`;
  const password = `correct-horse-${people}-battery`;
  const reply = await ask(`${address}/auth/register`, { json: { email, password, name: 'Ada' } });
  if (reply.status !== 201 || !reply.json?.refreshToken)
    throw new Error(`registration: ${reply.status} ${reply.text.slice(0, 300)}`);
  const { accessToken, refreshToken } = reply.json;
  return { email, password, accessToken, refreshToken, earlier: [] };
};

/** Registers a machine's client, beside the service. @param url of the database */
export const newMachine = async (url: string): Promise<Machine> => {
  const database = await connect({ url, poolMax: 1 });
  try {
    const client = (await createClient(
      database.db,
      operator,
      operatorPowers,
      { client_name: 'A machine', grant_types: ['client_credentials'], redirect_uris: [], scope: 'users:read:any' },
      () => Promise.resolve(),
    )) as { client_id: string; client_secret: string };
    return { clientId: client.client_id, secret: client.client_secret };
  } finally {
    await database.close();
  }
};

export const basic = ({ clientId, secret }: Machine) => ({
  authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}`,
});

export const askToken = (address: string, { clientId, secret }: Machine): Promise<Reply> =>
  ask(`${address}/oauth/token`, {
    form: { grant_type: 'client_credentials', scope: 'users:read:any' },
    headers: basic({ clientId, secret }),
  });

/** Refreshes; what comes back is what the person holds from now on. */
export const refresh = async (address: string, person: Person): Promise<Reply> => {
  const reply = await ask(`${address}/oauth/token`, {
    form: { grant_type: 'refresh_token', client_id: restClient, refresh_token: person.refreshToken },
  });
  if (reply.status === 200 && typeof reply.json?.refresh_token === 'string') {
    person.earlier.push(person.refreshToken);
    person.refreshToken = reply.json.refresh_token;
    person.accessToken = reply.json.access_token;
  }
  return reply;
};

export interface Traffic {
  /** Begins a phase in which these statuses are right. @param withinMs how long any answer may take */
  phase(name: string, allowed: Allowed, withinMs?: number): void;
  /** Ends all loops, and notes what was answered in each phase. */
  stop(): Promise<void>;
  /** How many requests of a kind were answered with a status in the present phase. */
  count(kind: string, status: number): number;
}

/** Somebody who asks again and again. */
export type Asker = (address: string) => Promise<Reply>;

export interface TrafficOptions {
  /** Where to ask: one process or several, in turn. */
  addresses: readonly string[];
  people: readonly Person[];
  machine: Machine;
  /** Further kinds of request. */
  others?: Readonly<Record<string, Asker>>;
  /** Whether people look who they are between refreshes; they do unless told otherwise. */
  looks?: boolean;
  /** The pause between two requests of one client, in milliseconds. */
  pauseMs?: number;
  /** The same for the further kinds. */
  otherPauseMs?: number;
}

/**
 * Keeps asking: each person refreshes and looks who they are, the machine gets tokens. An answer that is not right in the phase
 * in which its request began, or in the one in which it came, is a loss.
 */
export const startTraffic = (
  t: Trial,
  { addresses, people, machine, others = {}, looks = true, pauseMs = 20, otherPauseMs = pauseMs }: TrafficOptions,
): Traffic => {
  const tallies = new Map<string, Tally>();
  let current = { name: 'before', allowed: fine, withinMs: 10_000 };
  let isStopped = false;
  let turn = 0;
  const address = () => addresses[turn++ % addresses.length] as string;

  const tallyOf = (name: string): Tally => {
    const tally = tallies.get(name) ?? { count: {}, worstMs: {} };
    tallies.set(name, tally);
    return tally;
  };
  const look = (kind: string, began: typeof current, reply: Reply): void => {
    const { count, worstMs } = tallyOf(current.name);
    const statuses = count[kind] ?? {};
    count[kind] = statuses;
    statuses[reply.status] = (statuses[reply.status] ?? 0) + 1;
    worstMs[kind] = Math.max(worstMs[kind] ?? 0, reply.ms);
    const withinMs = Math.max(began.withinMs, current.withinMs);
    if (!began.allowed.has(reply.status) && !current.allowed.has(reply.status))
      t.lost(
        `${current.name}: ${kind} was answered ${reply.status} ${reply.failure ?? ''}${reply.text.slice(0, 200)} after ${Math.round(reply.ms)} ms`,
      );
    else if (reply.ms > withinMs) t.lost(`${current.name}: ${kind} took ${Math.round(reply.ms)} ms (${reply.status})`);
    if (reply.status === 503 && !/^\d+$/.test(String(reply.headers['retry-after'])))
      t.lost(`${current.name}: ${kind} was answered 503 without Retry-After`);
  };
  const loop = async (kind: string, asker: Asker, pause = pauseMs): Promise<void> => {
    while (!isStopped) {
      const began = current;
      const reply = await asker(address());
      look(kind, began, reply);
      await sleep(reply.status === 503 || reply.status <= 0 ? 100 : pause);
    }
  };

  const loops = [
    ...people.map((person) => loop('refresh', (at) => refresh(at, person))),
    ...(looks ? people : []).map((person) =>
      loop('me', (at) => ask(`${at}/auth/me`, { headers: { authorization: `Bearer ${person.accessToken}` } })),
    ),
    loop('client_credentials', (at) => askToken(at, machine)),
    ...Object.entries(others).map(([kind, asker]) => loop(kind, asker, otherPauseMs)),
  ];

  return {
    phase: (name, allowed, withinMs = 10_000) => {
      current = { name, allowed, withinMs };
    },
    count: (kind, status) => tallyOf(current.name).count[kind]?.[status] ?? 0,
    stop: async () => {
      isStopped = true;
      await Promise.all(loops);
      for (const [name, { count, worstMs }] of tallies)
        t.note(
          `${name}: ${Object.entries(count)
            .map(
              ([kind, statuses]) =>
                `${kind} ${Object.entries(statuses)
                  .map(([status, times]) => `${status}×${times}`)
                  .join(' ')} (worst ${Math.round(worstMs[kind] ?? 0)} ms)`,
            )
            .join('; ')}`,
        );
    },
  };
};
