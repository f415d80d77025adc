/**
 * The active policies, compiled and held in memory. A change is told on the channel `access`, and whoever makes one waits until it is
 * in force here; besides, every second that somebody asks, the database is asked whether the same policies are active still,
 * so that a replica which has lost the channel is no more than that behind.
 */
import type { Database, Db } from '../../db/connect.ts';
import { inspectCondition } from './condition-shape.ts';
import { type ConditionData, createCondition } from './conditions.ts';
import type { ActivePolicy, Facts } from './decide.ts';
import { type Asked, askedOf } from './permission-index.ts';
import { type ActiveRow, findFingerprint, listActive } from './policies.queries.ts';
import { createDataOf } from './question-data.ts';

/** How long the set is used unasked, in milliseconds. */
const trustedMs = 1000;
/** So many answers of `policiesFor` are remembered: callers choose what they ask about. */
const rememberedMax = 2000;

export interface PolicySet {
  policiesFor: Facts['policiesFor'];
  /** What of the request's context some policy asks about, and takes a query to find out. */
  needs: { acr: boolean; risk: boolean };
  fingerprint: string;
}

const none: readonly never[] = [];

type Holds = (data: ConditionData) => boolean;

const compileCondition = (condition: unknown): Holds => {
  try {
    return createCondition(condition);
  } catch (error) {
    // What was stored by another version of this service, perhaps: it denies until somebody looks.
    return () => {
      throw error;
    };
  }
};

/** Conditions that read the same, as those of one template do, are one, which is evaluated once for a question. */
const createCompiling = (): ((condition: unknown) => Holds) => {
  const compiled = new Map<string, Holds>();
  return (condition) => {
    const text = JSON.stringify(condition);
    const known = compiled.get(text);
    if (known) return known;
    const holds = compileCondition(condition);
    let last: { data: ConditionData; held: boolean } | undefined;
    const once: Holds = (data) => {
      if (last?.data !== data) last = { data, held: holds(data) };
      return last.held;
    };
    compiled.set(text, once);
    return once;
  };
};

const isAbout = (names: readonly string[], name: string): boolean => names.includes('*') || names.includes(name);

/** @param rows in the order in which they are to be asked */
export const compilePolicies = (rows: readonly ActiveRow[], fingerprint = ''): PolicySet => {
  const dataOf = createDataOf();
  const compile = createCompiling();
  const compiled = rows.map((row) => {
    const { id, name, version, effect, rank, condition } = row;
    const holds = compile(condition);
    const policy: ActivePolicy = {
      id,
      name,
      version,
      effect,
      rank,
      holds: (question, facts) => holds(dataOf(question, facts)),
    };
    return { row, policy };
  });
  const paths = new Set(rows.flatMap(({ condition }) => inspectCondition(condition).paths));
  const answers = new Map<Asked, readonly ActivePolicy[]>();
  return {
    fingerprint,
    needs: {
      acr: paths.has('context.acr') || paths.has('context'),
      risk: paths.has('context.risk') || paths.has('context'),
    },
    policiesFor: (type, action, asked = askedOf(type, action)) => {
      if (!compiled.length) return none;
      const known = answers.get(asked);
      if (known) return known;
      const found = compiled.filter(({ row }) => isAbout(row.resources, type) && isAbout(row.actions, action));
      const answer = found.length ? found.map(({ policy }) => policy) : none;
      if (answers.size >= rememberedMax) answers.clear();
      answers.set(asked, answer);
      return answer;
    },
  };
};

export interface ActivePolicies {
  /** The policies as they are now, or were within the last second. */
  current(): Promise<PolicySet>;
  /** Loads them anew: what was committed before this was called is in force when it resolves. */
  reload(): Promise<void>;
  stop(): Promise<void>;
}

/** @throws whatever the database throws, where it cannot be said which policies are active */
export const createActivePolicies = async (db: Db, listen: Database['listen']): Promise<ActivePolicies> => {
  let set = compilePolicies([]);
  let checkedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  /** Counts what was told, so that what is told while the database is being asked is not lost. */
  let told = 1;
  let known = 0;

  const load = async (): Promise<void> => {
    const at = performance.now();
    const upTo = told;
    const fingerprint = await findFingerprint(db);
    // Read first: if something changes in between, the set is newer than what it is taken for, and is loaded again.
    if (fingerprint !== set.fingerprint) set = compilePolicies(await listActive(db), fingerprint);
    known = upTo;
    checkedAt = at;
  };
  const refresh = (): Promise<void> => {
    asking ??= load().finally(() => {
      asking = undefined;
    });
    return asking;
  };
  const stop = await listen('access', (payload) => {
    if (payload === '' || payload.split(' ').some((name) => name === 'policies' || name === '*')) told++;
  });

  return {
    current: async () => {
      // By when this was asked: a database that takes longer than that to answer is waited for once.
      const since = performance.now() - trustedMs;
      while (known !== told || checkedAt < since) await refresh();
      return set;
    },
    reload: async () => {
      told++;
      while (known < told) await refresh();
    },
    stop,
  };
};
