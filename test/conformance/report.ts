/** docs/conformance.md, from the tables: `node test/conformance/report.ts` writes it, modules.test.ts compares. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { modules, type Plan } from './modules.ts';
import { type Exception, notRun, type Run, runs } from './runs.ts';

const exceptionsOf = ({ exceptions }: Run) => Object.entries(exceptions) as [string, Exception][];
const passedOf = (run: Run): string[] => {
  const excepted = new Set(exceptionsOf(run).map(([module]) => module));
  return modules[run.plan].filter((module) => !excepted.has(module));
};
const countOf = (run: Run, outcome: Exception[0]): number =>
  exceptionsOf(run).filter(([, exception]) => exception[0] === outcome).length;
const code = (name: string) => `\`${name}\``;
const anchorOf = (plan: Plan) => `[${code(plan)}](#${plan})`;

/** Modules with the same reason, of all runs of a plan: `**skipped** (variants): names: reason`. */
const reasonsOf = (plan: Plan): string[] => {
  const ofPlan = runs.filter((run) => run.plan === plan);
  const groups = new Map<string, { outcome: string; because: string; variants: Set<string>; names: Set<string> }>();
  for (const run of ofPlan) {
    for (const [name, [outcome, because]] of exceptionsOf(run)) {
      const key = `${outcome} ${because}`;
      const group = groups.get(key) ?? { outcome, because, variants: new Set(), names: new Set() };
      group.variants.add(run.variant);
      group.names.add(name);
      groups.set(key, group);
    }
  }
  return [...groups.values()].map(({ outcome, because, variants, names }) => {
    const where = variants.size < ofPlan.length ? ` (${[...variants].join('; ')})` : '';
    return `- **${outcome}**${where}: ${because}\n${[...names].map((name) => `  - ${code(name)}`).join('\n')}`;
  });
};

const sectionOf = (plan: Plan): string => {
  const ofPlan = runs.filter((run) => run.plan === plan);
  const everywhere = modules[plan].filter((module) => ofPlan.every((run) => passedOf(run).includes(module)));
  return [
    `## ${plan}`,
    ...notRun
      .filter((one) => one.plan === plan)
      .map(({ variant, because }) => `Not run with ${variant.split('; ').map(code).join(' or ')}: ${because}.`),
    reasonsOf(plan).join('\n'),
    `<details><summary>Passed${ofPlan.length > 1 ? ' in every variant' : ''} (${everywhere.length})</summary>\n\n${everywhere.map((module) => `- ${code(module)}`).join('\n')}\n\n</details>`,
  ]
    .filter(Boolean)
    .join('\n\n');
};

const row = (run: Run): string =>
  `| ${anchorOf(run.plan)} | ${run.variant} | ${[passedOf(run).length, ...(['skipped', 'not passed', 'not applicable'] as const).map((outcome) => countOf(run, outcome))].join(' | ')} | [${run.file}](../test/conformance/${run.file}) |`;

export const conformanceReport = (): string => `# Conformance

The modules of the [OpenID Foundation's conformance suite](https://gitlab.com/openid/conformance-suite) (August 2026) for
OpenID Providers, as tests of this repository: one for each module, named as the module, asserting what it asserts. They
run with all the others; [CONTRIBUTING.md](../CONTRIBUTING.md) says how to run the suite itself against a server, with the
configurations in [test/conformance/configuration](../test/conformance/configuration). Modules for the ecosystem of one
country are left out. This page is written from [runs.ts](../test/conformance/runs.ts) by \`npm run docs\`.

*Skipped*: the suite itself leaves the module out, as discovery says that the server does not have what it is about; the
test asserts that, and that the server refuses it. *Not passed*: the reason is below. *Not applicable*: the plan does not have
the module in this variant.

The plans for session management and front-channel logout are not here, nor are those features: both need cookies in a frame
of another site, which browsers no longer send. Nor is third-party-initiated login: people do not start here.

| Plan | Variant | Passed | Skipped | Not passed | Not applicable | Tests |
|---|---|---|---|---|---|---|
${runs.map(row).join('\n')}

${(Object.keys(modules) as Plan[]).map(sectionOf).join('\n\n')}
`;

if (import.meta.main)
  writeFileSync(fileURLToPath(new URL('../../docs/conformance.md', import.meta.url)), conformanceReport());
