/** Asks DNS for TXT records, with an end to its patience. */
import { Resolver } from 'node:dns/promises';
import { AppError } from '../src/errors.ts';

/** Per attempt; the resolver makes two, at each server that there is. */
const timeoutMs = 2000;

/** DNS has answered that there is nothing. */
const nothing = new Set(['ENOTFOUND', 'ENODATA']);

/**
 * @param servers which are asked; those of the machine when there are none
 * @returns the records of a name, each in one piece; none where DNS says that there are none
 */
export const createTxtLookup =
  (servers: readonly string[]) =>
  async (name: string): Promise<string[]> => {
    // One per question: what an earlier one waits for is none of this one’s.
    const resolver = new Resolver({ timeout: timeoutMs, tries: 2 });
    if (servers.length) resolver.setServers([...servers]);
    try {
      return (await resolver.resolveTxt(name)).map((parts) => parts.join(''));
    } catch (error) {
      if (nothing.has((error as NodeJS.ErrnoException).code ?? '')) return [];
      throw new AppError(503, 'dns_unavailable', 'DNS did not answer; try again shortly', { retryAfterSeconds: 30 });
    }
  };
