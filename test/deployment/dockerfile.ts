/** What a Dockerfile says, as far as ours goes: anything else is refused rather than passed over. */

export interface Instruction {
  keyword: string;
  /** `--from=build` as `{ from: 'build' }`. */
  flags: Record<string, string>;
  /** What follows the flags, with variables filled in where the instruction takes them. */
  text: string;
}

export interface Stage {
  name: string;
  base: string;
  steps: Instruction[];
}

/** Instructions in which `${NAME}` is the builder's business; in RUN, CMD and ENTRYPOINT it is the shell's. */
const expanded = new Set(['FROM', 'ENV', 'LABEL', 'COPY', 'WORKDIR', 'USER', 'EXPOSE', 'VOLUME', 'STOPSIGNAL']);
const known = new Set([...expanded, 'ARG', 'RUN', 'CMD', 'ENTRYPOINT', 'HEALTHCHECK']);

/** @returns the words of `a="x y" b=z`, without their quotes */
export const pairs = (text: string): [string, string][] =>
  [...text.matchAll(/([\w.-]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/g)].map(([, name = '', quoted, bare]) => [
    name,
    quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '',
  ]);

/** The exec form's words, or the shell form as the shell gets it. */
export const command = (text: string): string[] => {
  if (!text.startsWith('[')) return ['/bin/sh', '-c', text];
  return JSON.parse(text) as string[];
};

const instruction = (line: string): Instruction => {
  const [, keyword = '', rest = ''] = /^(\w+)\s+(.*)$/s.exec(line) ?? [];
  if (!known.has(keyword)) throw new Error(`The Dockerfile has an instruction that is not understood: ${line}`);
  const flags: Record<string, string> = {};
  let text = rest;
  for (let flag = /^--([\w-]+)=(\S+)\s+/.exec(text); flag; flag = /^--([\w-]+)=(\S+)\s+/.exec(text)) {
    flags[flag[1] as string] = flag[2] as string;
    text = text.slice(flag[0].length);
  }
  return { keyword, flags, text };
};

/**
 * @param build arguments as in `docker build --build-arg`
 * @throws when the file holds what is not understood, or a variable that nothing sets
 */
export const parseDockerfile = (source: string, build: Record<string, string> = {}): Stage[] => {
  const lines = source
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  const global: Record<string, string> = {};
  const stages: Stage[] = [];
  let scope = global;
  for (const line of lines) {
    const step = instruction(line);
    if (expanded.has(step.keyword))
      step.text = step.text.replace(/\$\{(\w+)\}/g, (_, name: string) => {
        const value = step.keyword === 'FROM' ? global[name] : scope[name];
        if (value === undefined) throw new Error(`${name} is not set: ${line}`);
        return value;
      });
    if (step.keyword === 'ARG') {
      const [, name = '', value] = /^(\w+)(?:=(.*))?$/.exec(step.text) ?? [];
      scope[name] = build[name] ?? value ?? global[name] ?? '';
    } else if (step.keyword === 'FROM') {
      const [, base = '', name = `stage-${stages.length}`] = /^(\S+)(?:\s+AS\s+(\S+))?$/i.exec(step.text) ?? [];
      scope = {};
      stages.push({ name, base, steps: [] });
    } else {
      if (!stages.length) throw new Error(`Before the first FROM only ARG may stand: ${line}`);
      if (step.keyword === 'ENV') Object.assign(scope, Object.fromEntries(pairs(step.text)));
      stages.at(-1)?.steps.push(step);
    }
  }
  return stages;
};

/** @returns whether a path of the build context, `/`-separated and relative, reaches the builder */
export const dockerignore = (source: string): ((path: string) => boolean) => {
  const rules = source
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith('#'))
    .map((line) => {
      const pattern = line.replace(/^!/, '').replace(/^\/|\/$/g, '');
      const expression = pattern
        .replace(/[.+^${}()|[\]\\]/g, '\\$&')
        .replace(/\*\*\//g, '(?:.*/)?')
        .replace(/(?<![.)])\*/g, '[^/]*');
      return { keeps: line.startsWith('!'), matches: new RegExp(`^${expression}(/|$)`) };
    });
  return (path) => rules.reduce((kept, { keeps, matches }) => (matches.test(path) ? keeps : kept), true);
};
