/** Garbage is collected when V8 would not: what loading a thousand modules leaves behind, before the first request, and where memory is short. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Collects all garbage once. By itself V8 would do so only when the heap has grown to a multiple of what is in it, and an idle
 * process would keep three times the memory that it needs. Takes some tens of milliseconds, in which nothing else runs.
 */
export const collectGarbage = (): void => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: {
    type: 'major';
    execution: 'sync';
    flavor: 'last-resort';
  }) => void;
  setFlagsFromString('--no-expose-gc');
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
};

/**
 * The same after the start, which has compiled much that never runs again: all code goes, and what runs again is compiled again.
 */
export const collectStart = (): void => {
  setFlagsFromString('--bytecode-old-age=0');
  collectGarbage();
  setFlagsFromString('--bytecode-old-age=6');
};

/**
 * Loads modules, where those that make an `Intl.ListFormat` at once, as oidc-provider does for texts of its errors, get one that is made
 * when the first list is formatted: the first object of Intl has V8 look at all languages that it knows, which are six megabytes.
 */
export const loadWithoutIntl = async <T>(load: () => Promise<T>): Promise<T> => {
  const { ListFormat } = Intl;
  class LateListFormat {
    private readonly options: ConstructorParameters<typeof ListFormat>;
    private made: Intl.ListFormat | undefined;
    constructor(...options: ConstructorParameters<typeof ListFormat>) {
      this.options = options;
    }
    format(list: Iterable<string>): string {
      this.made ??= new ListFormat(...this.options);
      return this.made.format(list);
    }
  }
  Object.assign(Intl, { ListFormat: LateListFormat });
  try {
    return await load();
  } finally {
    Object.assign(Intl, { ListFormat });
  }
};

/** How much larger than what is in it the heap may become before it is collected, in percent. */
const growthPercent = 60;

/**
 * Has the heap grow in small steps from now on. By itself V8 lets it become several times as large as what is in it; to collect it
 * more often saves a process under load a hundred megabytes.
 */
export const growSlowly = (): void => setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
