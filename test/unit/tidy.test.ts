/** The style is a test: whatever can be said about the code as a rule is enforced here. Rules come first, as data. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** A domain may import domains on its left only. Read it as the table of contents. */
const domains = [
  ...[
    'metrics',
    'audit',
    'keys',
    'users',
    'organizations',
    'groups',
    'domains',
    'roles',
    'policies',
    'clients',
    'resource-servers',
    'api-keys',
    'sessions',
    'mfa',
  ],
  ...['auth', 'federation', 'keycloak', 'access', 'governance', 'webhooks', 'health'],
];

/** A file may import from its own layer and from those below it; files in no layer are judged by the other rules. */
const layers = [
  /^src\/(main|cli|cluster)\.ts$/,
  /^src\/app\.ts$/,
  /^(src\/provider|interactions)\/|\.routes\.ts$/,
  /\.commands\.ts$/,
  /\.queries\.ts$/,
  /^db\//,
];

/** Imports that are wrong wherever they stand. Types may come from anywhere: they are gone at run time. */
const forbidden: { from: RegExp; to: RegExp; because: string }[] = [
  {
    from: new RegExp(`^src/(${domains.join('|')}|http)/`),
    to: /^(src\/(app\.ts|provider\/)|interactions\/|adapters\/)/,
    because: 'a domain is given what it needs by app.ts',
  },
  { from: /^(src|adapters|interactions|db)\//, to: /^(test|bench)\//, because: 'the product does not know its tests' },
];

const product = /^(src|adapters|interactions|db)\//;
const environmentReaders = ['src/config.ts', 'src/cli.ts', 'src/main.ts', 'src/health-check.ts'];
const linesMax = 350;

const word = '[a-z0-9]+(-[a-z0-9]+)*';
const fileNames = [
  { where: /^db\/migrations\//, name: /^\d{14}_[a-z0-9]+(_[a-z0-9]+)*\.ts$/ },
  { where: /^test\//, name: new RegExp(`^${word}(\\.test)?\\.ts$`) },
  { where: product, name: new RegExp(`^${word}(\\.(routes|commands|queries|docs))?\\.ts$`) },
];
const namesThatSayNothing = /(^|\/)(index|utils?|helpers?|types|common|misc|shared)(\.ts|\/)/;

/** What no text of the repository may hold, and the pattern's names for it. */
const foreign = {
  'a path of one machine': /(?<=^|[\s"'`=(:])\/(root|home|Users|work|workspace|mnt)\/(?!node\b)[\w.-]+/m,
  'the address of a package registry': /\/\/[\w.-]*(registry|npm|verdaccio|artifactory|nexus)[\w-]*\.[\w.-]+/i,
};

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const ignored = new Set([
  '.git',
  'node_modules',
  ...read('.gitignore')
    .split('\n')
    .map((line) => line.replace(/\/$/, '')),
]);
/** Without a look into what is ignored, where others make files and take them away meanwhile. */
const filesIn = (folder: string): string[] =>
  readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !ignored.has(name))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? filesIn(path) : entry.isFile() ? [path] : [];
    });
const files = filesIn('').filter((file) => !/\.(log|png|ico|woff2)$/.test(file));
const typescript = files.filter((file) => file.endsWith('.ts'));
const productFiles = typescript.filter((file) => product.test(file));

const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*/g, '$1');

/** The files that a file imports at run time. `import type`, and braces in which every name is a type, do not count. */
const importsOf = (file: string): string[] => {
  const statement =
    /\b(?:import|export)\s+(?:(?!type\b)([^'"`;()]*?)\s*from\s*)?['"](\.[^'"]+)['"]|\bimport\(\s*['"](\.[^'"]+)['"]/g;
  return [...withoutComments(read(file)).matchAll(statement)]
    .filter(([, names]) => !names || !/^\{(\s*type\s[^,}]*,?)+\s*\}$/.test(names))
    .map(([, , fixed, dynamic]) => join(dirname(file), fixed ?? dynamic ?? ''));
};
const graph = new Map(typescript.map((file) => [file, importsOf(file)]));
const imports = [...graph].flatMap(([from, targets]) => targets.map((to) => ({ from, to })));

const layerOf = (file: string) => layers.findIndex((layer) => layer.test(file));
const domainOf = (file: string) => domains.indexOf(/^src\/([^/]+)\//.exec(file)?.[1] ?? '');
const arrow = ({ from, to }: { from: string; to: string }) => `${from} -> ${to}`;

const findCycles = (): string[] => {
  const cycles = new Set<string>();
  const finished = new Set<string>();
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) cycles.add([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (finished.has(file) || path.includes(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    finished.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return [...cycles];
};

describe('imports', () => {
  it('are found', () => {
    expect(importsOf('test/unit/config.test.ts')).toEqual(
      expect.arrayContaining(['src/config.ts', 'src/settings.docs.ts']),
    );
  });
  it('lead to files that exist', () =>
    expect(imports.filter(({ to }) => !typescript.includes(to)).map(arrow)).toEqual([]));
  it('run one way: main -> app -> provider, interactions, routes -> commands -> queries -> db', () => {
    const upwards = imports.filter(
      ({ from, to }) => product.test(from) && layerOf(to) !== -1 && layerOf(from) > layerOf(to),
    );
    expect(upwards.map(arrow)).toEqual([]);
  });
  it('go from a domain to domains on its left', () => {
    const rightwards = imports.filter(({ from, to }) => domainOf(from) !== -1 && domainOf(to) > domainOf(from));
    expect(rightwards.map(arrow)).toEqual([]);
  });
  for (const { from, to, because } of forbidden) {
    it(`keep apart what belongs apart: ${because}`, () => {
      expect(imports.filter((edge) => from.test(edge.from) && to.test(edge.to)).map(arrow)).toEqual([]);
    });
  }
  it('have no cycles', () => expect(findCycles()).toEqual([]));
});

describe('files', () => {
  it('are named <resource>.<job>.ts, or in kebab case for what they are', () => {
    const wrong = typescript.filter((file) => {
      const rule = fileNames.find(({ where }) => where.test(file));
      return namesThatSayNothing.test(file) || (rule && !rule.name.test(file.slice(file.lastIndexOf('/') + 1)));
    });
    expect(wrong).toEqual([]);
  });
  it('lie at most two levels deep in src', () =>
    expect(files.filter((file) => /^src\/.*\/.*\//.test(file))).toEqual([]));
  it('stay short', () => {
    const lines = (file: string) => read(file).split('\n').length - 1;
    expect(
      productFiles.filter((file) => lines(file) > linesMax).map((file) => `${file}: ${lines(file)} lines`),
    ).toEqual([]);
  });
  it('hold no postponed work', () =>
    expect(productFiles.filter((file) => /\b(TODO|FIXME|XXX)\b/.test(read(file)))).toEqual([]));
  it('export by name', () => {
    const exporters = typescript.filter(
      (file) => !file.endsWith('.config.ts') && /^export (default\b|\{[^}]*as default)/m.test(read(file)),
    );
    expect(exporters).toEqual([]);
  });
  it('read the environment in few places', () => {
    const readers = productFiles.filter((file) =>
      /\bprocess\s*\.\s*env\b|\benv\b[^;]*from 'node:process'/.test(withoutComments(read(file))),
    );
    expect(readers.filter((file) => !environmentReaders.includes(file))).toEqual([]);
  });
  for (const [what, pattern] of Object.entries(foreign)) {
    it(`do not hold ${what}`, () => {
      const found = files
        .filter((file) => file !== 'LICENSE')
        .flatMap(
          (file) =>
            pattern
              .exec(read(file))
              ?.slice(0, 1)
              .map((text) => `${file}: ${text}`) ?? [],
        );
      expect(found).toEqual([]);
    });
  }
  it('lock dependencies without saying where they were downloaded', () => {
    expect(read('package-lock.json')).not.toMatch(/"resolved":\s*"https?:/);
  });
});
