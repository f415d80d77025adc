/** The guides of docs/guides as whoever pastes from them would run them: their files in a folder, started by Node.js. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The blocks of a guide that have a title, by their title. */
export const blocksOf = (guide: string): Record<string, string> => {
  const text = readFileSync(join(root, 'docs/guides', `${guide}.md`), 'utf8');
  return Object.fromEntries(
    [...text.matchAll(/```\w+ title="([\w.-]+)"\n([\s\S]*?)```/g)].map(([, title, code]) => [title, code]),
  );
};

export interface Program {
  /** Resolves with the first line that matches; rejects when the program ends without one. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
  /** Everything that it has said. */
  output(): string;
  /** Resolves with its exit code. */
  ended: Promise<number | null>;
  stop(): void;
}

/** Writes the guide's files where the packages of the repository are found, and runs one of them. */
export const runGuide = (guide: string, file: string, env: Record<string, string>): Program => {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'guide-'));
  for (const [title, code] of Object.entries(blocksOf(guide))) writeFileSync(join(folder, title), code);
  const child: ChildProcess = spawn(process.execPath, [file], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const listeners = new Set<() => void>();
  const hear = (chunk: Buffer) => {
    said += chunk;
    for (const listener of listeners) listener();
  };
  child.stdout?.on('data', hear);
  child.stderr?.on('data', hear);
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  ended.finally(() => {
    rmSync(folder, { recursive: true, force: true });
    for (const listener of listeners) listener();
  });
  return {
    ended,
    output: () => said,
    stop: () => child.kill(),
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(said);
          if (found) resolve(found);
          else if (child.exitCode !== null) reject(new Error(`${guide}/${file} ended without ${pattern}:\n${said}`));
          else return;
          listeners.delete(look);
        };
        listeners.add(look);
        look();
      }),
  };
};
