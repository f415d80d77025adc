/** Tries a version of a policy on questions: how many answers it would change, and which. Nothing comes into force. */
import type { Caller } from '../http/caller.ts';
import { compilePolicies } from './active-policies.ts';
import { type CheckInput, type NormalCheck, normalize } from './checks.ts';
import { inspectCondition } from './condition-shape.ts';
import type { Decision } from './decide.ts';
import { type ActiveRow, listActive, type Policy, type PolicyRule } from './policies.queries.ts';
import { answer, prepare, type QuestionDeps } from './questions.ts';
import { listRecorded } from './recorded-decisions.ts';

/** So many changed answers are told one by one. */
const toldMax = 100;

export interface DryRun {
  /** How many questions were asked, and how many of them are answered otherwise. */
  examined: number;
  changed: number;
  /** Of recorded requests, on which it was not tried since it asks for what is not recorded. */
  notJudged: number;
  changes: { question: NormalCheck; before: Decision; after: Decision }[];
}

/** What is not recorded of requests, for it would be personal. */
const isUnrecorded = (path: string): boolean =>
  path === 'context.address' || /^(subject|resource|action)\.properties(\.|$)/.test(path) || isForeign(path);
const isForeign = (path: string): boolean =>
  path.startsWith('context.') && !['time', 'acr', 'risk', 'organization', 'address'].includes(path.split('.')[1] ?? '');

/**
 * @param rows those that are active
 * @param row the policy as if it were
 */
const withRow = (rows: readonly ActiveRow[], row: ActiveRow): ActiveRow[] =>
  [...rows.filter(({ id }) => id !== row.id), row].sort(
    (a, b) => Number(a.effect === 'allow') - Number(b.effect === 'allow') || (a.name < b.name ? -1 : 1),
  );

export const dryRun = async (
  deps: QuestionDeps,
  caller: Caller,
  policy: Pick<Policy, 'id' | 'name'>,
  rule: PolicyRule & { version: number },
  { requests, recorded }: { requests: readonly CheckInput[]; recorded: number },
): Promise<DryRun> => {
  const active = await listActive(deps.db);
  const before = compilePolicies(active);
  const after = compilePolicies(withRow(active, { ...rule, ...policy, rank: caller.rank }));
  const isJudgeable = !inspectCondition(rule.condition).paths.some(isUnrecorded);
  const past = recorded
    ? await listRecorded(deps.db, { limit: recorded, types: rule.resources, actions: rule.actions })
    : [];
  const now = new Date();
  const cases: { check: NormalCheck; at: Date }[] = [
    ...requests.map((request) => ({ check: normalize(request), at: now })),
    ...(isJudgeable ? past : []),
  ];
  const prepared = await prepare(
    deps,
    cases.map(({ check }) => check),
    undefined,
    (_check, index) => (cases[index]?.at ?? now).toISOString(),
  );
  const changes = prepared.flatMap((one) => {
    const [was, is] = [answer(one, before.policiesFor), answer(one, after.policiesFor)];
    return was.allowed === is.allowed ? [] : [{ question: one.check, before: was, after: is }];
  });
  return {
    examined: prepared.length,
    changed: changes.length,
    notJudged: isJudgeable ? 0 : past.length,
    changes: changes.slice(0, toldMax),
  };
};
