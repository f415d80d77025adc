/**
 * Reads a token with all that its life hangs on (its session, its grant, its person) in one statement, and the tokens of all requests
 * that arrive meanwhile in the same one: whoever asks often asks together. Nothing is remembered longer than a request lasts, so that
 * what was revoked, wherever that was, is dead to the next who asks.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type AdapterPayload, Provider } from 'oidc-provider';
import { type Db, queryDirectly } from '../db/connect.ts';
import { snakeCase } from '../db/names.ts';
import { type Person, personQuery } from '../src/auth/me.queries.ts';
import { type User, userColumns } from '../src/users/users.queries.ts';
import { inBatches } from './batches.ts';

/** What a token's request goes on to ask of its person: the account, or what `/auth/me` tells. */
export type WantedPerson = 'user' | 'person';

export interface TokenQuestion {
  /** The engine's model; `Jwt` and `MachineJwt` of tokens that are stored nowhere, a person's and a client's own. */
  model: string;
  /** SHA-256 of its value; of a JWT, of its `jti`. */
  hash: string;
  /** What a JWT says of itself. */
  clientId?: string | undefined;
  grantId?: string | undefined;
  sessionUid?: string | undefined;
  generation?: number | undefined;
}

/** A token that is there; of a JWT, one that was not revoked and whose grant, or client, is there. */
export interface TokenAnswer {
  /** As the engine saved it; null of a JWT. */
  payload: (AdapterPayload & { sealed?: string }) | null;
  consumedAt: Date | null;
  /** Of a used refresh token: whether it may be presented once more. */
  repeatable: boolean;
  /** Whose the grant is. */
  userId: string | null;
}

interface Row extends TokenAnswer {
  at: number;
  /** Of a stored token, which of the models that were asked for it is. */
  model: string | null;
  grantId: string | null;
  grantPayload: AdapterPayload | null;
  sessionUid: string | null;
  sessionPayload: AdapterPayload | null;
  /** Whether it was used a while ago, as far as is known. */
  sessionStale: boolean | null;
  person: Person | null;
  [column: `user${string}`]: unknown;
}

/** What was read with a token, for the rest of its request. */
interface Memory {
  wanted: WantedPerson | undefined;
  sessions: Map<string, AdapterPayload | undefined>;
  staleSessions: Set<string>;
  grants: Map<string, AdapterPayload | undefined>;
  users: Map<string, User | undefined>;
  persons: Map<string, Person | undefined>;
  /** What it asks and has not been sent yet. */
  asking?: Asking | undefined;
}

const createMemory = (wanted: WantedPerson | undefined): Memory => ({
  wanted,
  sessions: new Map(),
  staleSessions: new Set(),
  grants: new Map(),
  users: new Map(),
  persons: new Map(),
});

const readings = new AsyncLocalStorage<Memory>();
const requests = new WeakMap<object, Memory>();

/** Reads a token outside the engine's requests: what comes along with it is known until `work` is done. */
export const inTokenRead = <T>(wanted: WantedPerson | undefined, work: () => Promise<T>): Promise<T> =>
  readings.run(createMemory(wanted), work);

/** The routes of the engine that go on to ask for the account. */
const asksAccount: ReadonlySet<string | undefined> = new Set(['token', 'userinfo']);

const memoryNow = (): Memory | undefined => {
  const reading = readings.getStore();
  if (reading) return reading;
  const { ctx } = Provider;
  if (!ctx?.oidc) return undefined;
  let memory = requests.get(ctx);
  if (!memory) {
    memory = createMemory(asksAccount.has(ctx.oidc.route) ? 'user' : undefined);
    requests.set(ctx, memory);
  }
  return memory;
};

type Kind = 'sessions' | 'grants' | 'users' | 'persons';

/** What came with this request's token. @returns undefined when it did not; `found` is undefined when there is none */
export const cameWithToken = <K extends Kind>(
  kind: K,
  id: string,
): { found: Memory[K] extends Map<string, infer T> ? T : never } | undefined => {
  const known = memoryNow()?.[kind] as Map<string, never> | undefined;
  return known?.has(id) ? { found: known.get(id) as never } : undefined;
};

/** Whether the session of this request's token should be noted as used; true as well when that is not known. */
export const isSessionStale = (uid: string): boolean => {
  const memory = memoryNow();
  return !memory?.sessions.has(uid) || memory.staleSessions.has(uid);
};

/** To be called by whatever changes something in a request: what came with the token may be another thing now. */
export const forgetRead = (): void => {
  const memory = memoryNow();
  if (memory) for (const kind of ['sessions', 'grants', 'users', 'persons'] as const) memory[kind].clear();
};

/** How many questions one statement answers, and how many statements run at once. */
const limits = { max: 200, lanes: 2 };

/** How exactly it is known when a session was used, in seconds: not a row is written for each use. */
export const touchSeconds = 60;

/**
 * True in SQL while the consumed token `used` may be presented again. Without a grace never: the clock alone would not
 * say so, since `now()` is when a statement's transaction began, and a statement that waited for the winner of a race
 * may have begun before it.
 */
export const repeatable = `cast(:grace as float8) > 0 and not used.superseded and used.consumed_at > now() - make_interval(secs => :grace) and (
  select true from refresh_tokens successor where successor.parent_hash = used.token_hash and successor.consumed_at is not null and not successor.superseded limit 1) is null`;

/**
 * Grants that live, in SQL. A token that was exchanged, and one that a person approved by the back channel, is not in its session's
 * list of applications, where the engine looks (and which has room for one grant of a client): its grant says with which
 * session it ends. That its source is there is the foreign key's to see to.
 */
export const grantLives = `(source_grant_id is null and payload->>'endsWithSession' is null or session_uid is null or exists (
     select from sessions where uid = grants.session_uid and user_id = grants.user_id and sessions.expires_at > now()))`;

const userNames = userColumns.map((name) => [name, `userOf${name[0]?.toUpperCase()}${name.slice(1)}`] as const);

/**
 * Each join finds at most one row by an index, so that the cost follows the number of questions and not the size of a table. Each is
 * limited to that row: PostgreSQL takes the questions for a hundred, and would else read whole tables to answer one. The names are
 * those of the code: nothing maps these rows.
 */
const statement = `select asked.at, coalesce(stored.model, case when used.token_hash is not null then 'RefreshToken' end) as model,
  coalesce(stored.payload, used.payload) as payload,
  coalesce(stored.consumed_at, used.consumed_at) as "consumedAt", coalesce(${repeatable.replaceAll(':grace', '$2')}, false) as repeatable,
  refers.grant_id as "grantId", held.payload as "grantPayload", held.user_id as "userId",
  refers.session_uid as "sessionUid", session.payload as "sessionPayload", session.stale as "sessionStale",
  ${userNames.map(([name, told]) => `users.${snakeCase(name)} as "${told}"`).join(', ')},
  (select to_json(told) from (${personQuery('held.user_id')}) told where asked.wanted = 'person') as person
from json_to_recordset(cast($1 as json)) as asked (at int, models text[], hash text, "clientId" text, "grantId" text,
  "sessionUid" text, generation int, wanted text)
left join lateral (select model, payload, consumed_at, grant_id from oidc_payloads
  where model = any(asked.models) and id_hash = asked.hash and (expires_at is null or expires_at > now()) limit 1) stored on true
left join lateral (select token_hash, payload, consumed_at, superseded, grant_id from refresh_tokens
  where 'RefreshToken' = any(asked.models) and token_hash = asked.hash and not revoked and expires_at > now() limit 1) used on true
cross join lateral (select coalesce(stored.grant_id, used.grant_id, asked."grantId") as grant_id,
  coalesce(stored.payload->>'sessionUid', used.payload->>'sessionUid', asked."sessionUid") as session_uid) refers
left join lateral (select id, client_id, user_id, payload from grants
  where id = refers.grant_id and expires_at > now() and ${grantLives} limit 1) held on true
left join lateral (select payload, last_seen_at < now() - interval '${touchSeconds} seconds' as stale from sessions
  where uid = refers.session_uid and expires_at > now() order by last_seen_at desc limit 1) session on true
left join lateral (select * from users where id = held.user_id and asked.wanted = 'user' limit 1) users on true
where stored.model is not null or used.token_hash is not null
  or ('Jwt' = any(asked.models) and held.client_id = asked."clientId" or 'MachineJwt' = any(asked.models) and (
       select true from clients where client_id = asked."clientId" and token_generation = asked.generation limit 1))
     and (select true from revoked_tokens where jti_hash = asked.hash limit 1) is null`;

interface Asking {
  /** Introspection asks for three models by the same hash, which is one question. */
  question: Omit<TokenQuestion, 'model'> & { at: number; models: string[]; wanted: WantedPerson | undefined };
  memory: Memory | undefined;
  row: Promise<Row | undefined>;
}

export interface TokenReads {
  read(question: TokenQuestion): Promise<TokenAnswer | undefined>;
}

const userOf = (row: Row): User | undefined =>
  row.userOfId == null
    ? undefined
    : (Object.fromEntries(userNames.map(([name, told]) => [name, row[told as 'userOfId']])) as unknown as User);

/** Dates that have been JSON. */
const personOf = ({ person }: Row): Person | undefined =>
  person
    ? {
        ...person,
        createdAt: new Date(person.createdAt),
        lastSignInAt: person.lastSignInAt && new Date(person.lastSignInAt),
      }
    : undefined;

const remember = (memory: Memory, row: Row): void => {
  const { grantId, sessionUid, userId } = row;
  if (sessionUid !== null) {
    memory.sessions.set(sessionUid, row.sessionPayload ?? undefined);
    if (row.sessionStale) memory.staleSessions.add(sessionUid);
  }
  if (grantId !== null) memory.grants.set(grantId, row.grantPayload ?? undefined);
  if (userId !== null && memory.wanted === 'user') memory.users.set(userId, userOf(row));
  if (userId !== null && memory.wanted === 'person') memory.persons.set(userId, personOf(row));
};

/** @param graceSeconds for how long a refresh whose answer was lost may be repeated */
export const createTokenReads = (db: Db, graceSeconds: number): TokenReads => {
  const ask = inBatches(async (batch: readonly Omit<Asking, 'row'>[]): Promise<(Row | undefined)[]> => {
    for (const [at, { question, memory }] of batch.entries()) {
      question.at = at;
      if (memory) memory.asking = undefined;
    }
    const asked = JSON.stringify(batch.map(({ question }) => question));
    const rows = await queryDirectly<Row>(db, statement, [asked, graceSeconds]);
    const found = new Map(rows.map((row) => [row.at, row]));
    return batch.map(({ memory }, at) => {
      const row = found.get(at);
      if (row && memory) remember(memory, row);
      return row;
    });
  }, limits);

  const begin = ({ model, ...asked }: TokenQuestion, memory: Memory | undefined): Asking => {
    const question = { ...asked, at: 0, models: [model], wanted: memory?.wanted };
    const asking = { question, memory, row: ask({ question, memory }) };
    if (memory) memory.asking = asking;
    return asking;
  };

  return {
    read: async (question) => {
      const memory = memoryNow();
      let asking = memory?.asking;
      if (asking?.question.hash === question.hash) asking.question.models.push(question.model);
      else asking = begin(question, memory);
      const row = await asking.row;
      return row && (row.model === null || row.model === question.model) ? row : undefined;
    },
  };
};
