/** What `countersign doctor` finds: a line for each thing that it looked at. */

export type Status = 'ok' | 'warning' | 'failure' | 'skipped';

export interface Finding {
  check: string;
  status: Status;
  message: string;
  /** What to do about it, unless it is in order. */
  advice?: string;
}

/** What a check says of itself; its name comes with it. */
export type Report = (status: Status, message: string, advice?: string) => void;

/** One check. What it throws is a failure. */
export interface Check {
  name: string;
  /** What to do when it cannot even be made. */
  advice: string;
  run(report: Report): Promise<void> | void;
}

/** No check may keep the others waiting, in milliseconds. */
const patienceMs = 10_000;

/** The reason of a failure in few words; drivers put URLs and whole rows into theirs, so of credentials nothing is left. */
export const reasonOf = (error: unknown): string => {
  const { code, message, cause, errors } = error as {
    code?: unknown;
    message?: unknown;
    cause?: unknown;
    errors?: unknown[];
  };
  const inner = cause ?? errors?.[0];
  const text = String(message || code || (inner ? reasonOf(inner) : error))
    .replace(/\b([a-z][a-z0-9+.-]*:\/\/)\S*@/gi, '$1')
    .split('\n')[0] as string;
  const known = code === undefined || text.includes(String(code)) ? text : `${text} (${String(code)})`;
  return inner && message === 'fetch failed' ? reasonOf(inner) : known;
};

/** A URL as it may be shown: without user, password, query. */
export const shown = (url: string): string => {
  const parsed = URL.parse(url);
  return parsed ? `${parsed.protocol}//${parsed.host}${parsed.pathname.replace(/\/$/, '')}` : 'a URL that is none';
};

export const runChecks = async (checks: readonly Check[]): Promise<Finding[]> => {
  const lists = await Promise.all(
    checks.map(async ({ name, advice, run }) => {
      const found: Finding[] = [];
      const report: Report = (status, message, advice) =>
        found.push({ check: name, status, message, ...(advice && status !== 'ok' ? { advice } : {}) });
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${patienceMs / 1000} s`)), patienceMs);
      });
      try {
        await Promise.race([(async () => run(report))(), late]);
      } catch (error) {
        report('failure', reasonOf(error), advice);
      } finally {
        clearTimeout(timer);
      }
      return found;
    }),
  );
  return lists.flat();
};

const marks: Record<Status, string> = { ok: 'ok     ', warning: 'warning', failure: 'FAILURE', skipped: '-      ' };

/** For people. */
export const findingsText = (findings: readonly Finding[]): string => {
  const lines = findings.map(({ check, status, message, advice }) => {
    const line = `${marks[status]}  ${check}: ${message}`;
    return advice ? `${line}\n         -> ${advice}` : line;
  });
  const count = (status: Status) => findings.filter((finding) => finding.status === status).length;
  const [failures, warnings] = [count('failure'), count('warning')];
  const sum = failures || warnings ? `${failures} to repair, ${warnings} to look at` : 'nothing to repair';
  return `${lines.join('\n')}\n\n${sum}\n`;
};
