/**
 * The files of an embedded database, in memory: filled from a folder that is read once in each process. Copying the folder's
 * thirteen hundred files for each test's database takes three times as long.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MemoryFS, type PGliteOptions } from '@electric-sql/pglite';

/** Where the embedded database looks for its data. */
const root = '/pglite/data';

interface Entry {
  path: string;
  mode: number;
  /** Undefined for a folder. */
  contents?: Uint8Array;
}

const templates = new Map<string, readonly Entry[]>();

const read = (directory: string, path = ''): Entry[] =>
  readdirSync(join(directory, path), { withFileTypes: true }).flatMap((one): Entry[] => {
    const below = `${path}/${one.name}`;
    const mode = statSync(join(directory, below)).mode & 0o777;
    return one.isDirectory()
      ? [{ path: below, mode }, ...read(directory, below)]
      : [{ path: below, mode, contents: readFileSync(join(directory, below)) }];
  });

/**
 * 128 MB are made ready at each start; the whole of a test's database is smaller than this. Nothing outlives the process, so
 * nothing is written for a crash. What a test asks again is mostly asked of a few rows, for which one plan is as good as another.
 */
const settings = `
shared_buffers = 32MB
fsync = off
full_page_writes = off
synchronous_commit = off
plan_cache_mode = force_generic_plan
`;

const withSettings = (entry: Entry): Entry =>
  entry.path === '/postgresql.conf'
    ? { ...entry, contents: Buffer.concat([entry.contents ?? Buffer.alloc(0), Buffer.from(settings)]) }
    : entry;

class CopiedFiles extends MemoryFS {
  readonly #entries: readonly Entry[];

  constructor(entries: readonly Entry[]) {
    super();
    this.#entries = entries;
  }

  override async init(...[database, options]: Parameters<MemoryFS['init']>): ReturnType<MemoryFS['init']> {
    const { emscriptenOpts } = await super.init(database, options);
    const fill = ({ FS }: { FS: MemoryFiles }): void => {
      FS.mkdirTree(root, 0o700);
      for (const { path, mode, contents } of this.#entries) {
        if (!contents) FS.mkdir(`${root}${path}`, mode);
        // A copy, which the database then owns.
        else FS.writeFile(`${root}${path}`, new Uint8Array(contents), { canOwn: true, mode });
      }
    };
    return { emscriptenOpts: { ...emscriptenOpts, preRun: [...(emscriptenOpts.preRun ?? []), fill] } };
  }
}

interface MemoryFiles {
  mkdirTree(path: string, mode: number): void;
  mkdir(path: string, mode: number): void;
  writeFile(path: string, contents: Uint8Array, options: { canOwn: boolean; mode: number }): void;
}

/** A copy of the database in the folder, which stays as it is. */
export const copyToMemory = (directory: string): NonNullable<PGliteOptions['fs']> => {
  const entries = templates.get(directory) ?? read(directory).map(withSettings);
  templates.set(directory, entries);
  return new CopiedFiles(entries);
};
