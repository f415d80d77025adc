/** Where addresses are, by files in MaxMind's format (MMDB): a city database, one of autonomous systems, or both. */
import { readFileSync, type Stats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { Reader, type Response } from 'maxmind';
import type { Log } from '../src/log.ts';
import type { Locate, Place } from '../src/sessions/place.ts';

export interface GeoIp {
  locate: Locate;
  /** Stops to look for newer files. */
  close(): void;
}

/** The members that are read, of whichever database has them. */
interface Found {
  country?: { iso_code?: unknown };
  city?: { names?: { en?: unknown } };
  location?: { latitude?: unknown; longitude?: unknown; accuracy_radius?: unknown };
  autonomous_system_number?: unknown;
  traits?: { autonomous_system_number?: unknown };
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value ? value.slice(0, 200) : undefined;
const number = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined;

/** A record is a file's content: only members of the right kind are taken, and of what is not there none. */
const placeOf = (records: readonly Found[]): Place | undefined => {
  const one = <T>(read: (record: Found) => T | undefined): T | undefined =>
    records.map(read).find((value) => value !== undefined);
  const system = one((record) => number(record.autonomous_system_number ?? record.traits?.autonomous_system_number));
  const values = {
    country: one((record) => /^[A-Z]{2}$/.exec(text(record.country?.iso_code) ?? '')?.[0]),
    city: one((record) => text(record.city?.names?.en)),
    latitude: one((record) => number(record.location?.latitude)),
    longitude: one((record) => number(record.location?.longitude)),
    radiusKm: one((record) => number(record.location?.accuracy_radius)),
    network: system === undefined ? undefined : `AS${system}`,
  };
  const known = Object.entries(values).filter(([, value]) => value !== undefined);
  return known.length ? (Object.fromEntries(known) as Place) : undefined;
};

/** Reads a file, and tries it, since a broken one is often noticed only by the first look into it. @throws Error */
const read = (path: string): Reader<Response> => {
  const reader = new Reader<Response>(readFileSync(path));
  reader.get('192.0.2.1');
  return reader;
};

/** Tells two states of a file apart. */
const stateOf = ({ ino, size, mtimeMs }: Stats): string => `${ino} ${size} ${mtimeMs}`;

/**
 * Opens the files. A newer one takes the place of an older one while the service runs; one that cannot be read is told in
 * the log, and the older one stays.
 * @param watchMs how often the files are looked at
 * @throws Error for a file that is not there, or no MMDB, or damaged
 */
export const openGeoIp = (paths: readonly string[], log: Pick<Log, 'info' | 'error'>, watchMs = 5000): GeoIp => {
  const readers = new Map<string, Reader<Response>>();
  // Looked at before the file is read, so that what is written meanwhile is a change (`watchFile` looks some time after).
  const states = new Map<string, string>();
  for (const path of paths) {
    try {
      states.set(path, stateOf(statSync(path)));
      readers.set(path, read(path));
    } catch (error) {
      throw new Error(`GEOIP_DB: ${path} cannot be read as an MMDB file (${(error as Error).message})`);
    }
  }
  const reload = async (path: string) => {
    const state = await stat(path).then(stateOf, () => 'gone');
    if (state === states.get(path)) return;
    states.set(path, state);
    try {
      readers.set(path, read(path));
      log.info({ path }, 'GEOIP_DB has changed and was read again');
    } catch (error) {
      log.error({ err: error, path }, 'GEOIP_DB has changed and cannot be read; what was read before stays');
    }
  };
  const timer = paths.length ? setInterval(() => void Promise.all(paths.map(reload)), watchMs).unref() : undefined;

  return {
    locate: (address) => {
      if (!address || !isIP(address)) return undefined;
      try {
        return placeOf([...readers.values()].flatMap((reader) => (reader.get(address) as Found | null) ?? []));
      } catch {
        // A damaged part of a file: a sign-in does not fail for it.
        return undefined;
      }
    },
    close: () => clearInterval(timer),
  };
};
