/** Dashboard and alerts speak of metrics that there are, say what to do, and their rules do what they should (promtool). */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { catalogue, declared, type MetricName } from '../../src/metrics/catalogue.ts';

const folder = fileURLToPath(new URL('../../observability/', import.meta.url));
const root = new URL('../../', import.meta.url);

interface Rule {
  alert: string;
  expr: string;
  annotations: { summary: string; runbook: string };
}
const rules: Rule[] = parse(readFileSync(`${folder}alerts.yml`, 'utf8')).groups[0].rules;
const dashboard = JSON.parse(readFileSync(`${folder}dashboard.json`, 'utf8'));
const panels: { title: string; targets?: { expr: string }[] }[] = dashboard.panels;

/** Of Prometheus itself, of Node and of the process. */
const foreign = /^(up|nodejs_eventloop_lag_p99_seconds|process_(cpu_seconds_total|resident_memory_bytes))$/;
const words = new Set(
  'sum rate increase absent by le on max min topk count histogram_quantile label_values and or job instance'.split(' '),
);

/** What an expression names, as they are declared; labels and strings aside. */
const metricsOf = (expression: string): string[] =>
  [
    ...expression
      .replace(/\{[^}]*\}/g, '{}')
      .replace(/\b(by|on)\s*\([^)]*\)/g, '')
      .replace(/\[[^\]]*\]/g, '')
      .matchAll(/[a-z_][a-z0-9_]*/g),
  ]
    .map(([name]) => name)
    .filter((name) => !words.has(name) && !foreign.test(name));
const isDeclared = (name: string): boolean => {
  if (name in catalogue) return true;
  const base = name.replace(/_(bucket|sum|count)$/, '');
  return base in catalogue && declared(base as MetricName).type === 'histogram';
};
const labelsOf = (expression: string): [string, string[]][] =>
  [...expression.matchAll(/([a-z_][a-z0-9_]*)\{([^}]*)\}/g)].map(([, name = '', inside = '']) => [
    name,
    [...inside.matchAll(/(\w+)\s*[=!]/g)]
      .map(([, label]) => label as string)
      .filter((label) => !['job', 'instance', 'le'].includes(label)),
  ]);

const expressions = [
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
];

describe('dashboard and alerts', () => {
  it('name metrics that are declared, with the labels that they have', () => {
    expect(expressions.length).toBeGreaterThan(50);
    const unknown = expressions.flatMap(([where, expr]) =>
      metricsOf(expr)
        .filter((name) => !isDeclared(name))
        .map((name) => `${where}: ${name}`),
    );
    expect(unknown).toEqual([]);
    for (const [where, expr] of expressions)
      for (const [name, labels] of labelsOf(expr)) {
        const base = (name in catalogue ? name : name.replace(/_(bucket|sum|count)$/, '')) as MetricName;
        if (base in catalogue)
          expect([where, labels.filter((label) => !declared(base).labels?.includes(label))]).toEqual([where, []]);
      }
  });

  it('the dashboard shows every metric', () => {
    const text = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)).join('\n');
    expect(Object.keys(catalogue).filter((name) => !text.includes(name))).toEqual([]);
    expect(dashboard.templating.list.map(({ name }: { name: string }) => name)).toEqual([
      'datasource',
      'job',
      'instance',
    ]);
  });

  it('each alert says what to do, in a section of its own', () => {
    const text = readFileSync(new URL('docs/operations/alerts.md', root), 'utf8');
    const sections = [...text.matchAll(/^## (\w+)$/gm)].map(([, name]) => name);
    expect(sections).toEqual(rules.map(({ alert }) => alert));
    for (const { alert, annotations } of rules)
      expect(annotations.runbook).toBe(`docs/operations/alerts.md#${alert.toLowerCase()}`);
  });

  it('each alert is tested to fire and to keep quiet', () => {
    const { tests } = parse(readFileSync(`${folder}alerts-test.yml`, 'utf8')) as {
      tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
    };
    for (const { alert } of rules) {
      const expected = tests.flatMap(({ alert_rule_test: all }) =>
        all.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length),
      );
      expect([alert, ...expected.toSorted()]).toEqual([alert, 0, 1]);
    }
  });
});

/** Of Debian's package prometheus, which .ci/run unpacks; it starts no server. */
const promtool = ['/usr/bin/promtool', process.env.PROMTOOL ?? ''].find((path) => path && existsSync(path));

describe.skipIf(!promtool)('promtool (skipped where there is none: PROMTOOL or /usr/bin/promtool)', () => {
  const run = (...args: string[]) => promisify(execFile)(promtool as string, args, { cwd: folder });
  it('takes the rules', async () => expect((await run('check', 'rules', 'alerts.yml')).stdout).toContain('SUCCESS'));
  it('sees them fire and keep quiet', async () =>
    expect((await run('test', 'rules', 'alerts-test.yml')).stdout).toContain('SUCCESS'));
});
