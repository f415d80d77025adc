/** How many fetches of what strangers point at may be under way at a time: altogether, and for one host or network address. */
import { AppError } from '../src/errors.ts';

export interface FetchSlots {
  /**
   * @param of what the fetch is counted for: its host, and the address of whoever asks, if any
   * @returns gives the place back; undefined when there is none
   */
  take(of: { host: string; address: string | undefined }): (() => void) | undefined;
}

/** @param each the most for one host, and for one address: a slow server, or whoever names many, leaves places to others */
export const createFetchSlots = ({ total, each }: { total: number; each: number }): FetchSlots => {
  const taken = new Map<string, number>();
  let all = 0;
  const change = (key: string, by: number): void => {
    const count = (taken.get(key) ?? 0) + by;
    if (count) taken.set(key, count);
    else taken.delete(key);
  };

  return {
    take: ({ host, address }) => {
      const keys = [`host ${host}`, ...(address === undefined ? [] : [`address ${address}`])];
      if (all >= total || keys.some((key) => (taken.get(key) ?? 0) >= each)) return undefined;
      all += 1;
      for (const key of keys) change(key, 1);
      let held = true;
      return () => {
        if (!held) return;
        held = false;
        all -= 1;
        for (const key of keys) change(key, -1);
      };
    },
  };
};

/** Whether a limit refuses, for those who can do without the fetch. @throws whatever else it throws */
export const isPastLimit = (limit: Promise<void>): Promise<boolean> =>
  limit.then(
    () => false,
    (error: unknown) => {
      if (error instanceof AppError && error.status === 429) return true;
      throw error;
    },
  );
