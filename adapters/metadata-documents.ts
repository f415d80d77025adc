/**
 * Finds clients whose id is the URL of a document that describes them, and reads the document when it must. Whoever sends
 * anything to the authorization endpoint makes us do so, without being anybody, so:
 *
 * - one URL is fetched once at a time, two of a host or for one network address, and a few altogether, so that slow ones do
 *   not keep others waiting; what fails is not tried again for a while;
 * - each network address may cause so many fetches of what is not known yet, and each host is asked so often, whoever asks;
 * - the guarded fetch (`outbound.ts`) sees to where, how long and how much.
 *
 * The engine has this feature, and it is off: it keeps documents in the memory of each instance, reads members from them that
 * are the server's to say, and tries again at every request what has just failed. Ours are rows of `clients`.
 */
import { errors } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { type Client, findClient } from '../src/clients/clients.queries.ts';
import { isDocumentUrl, type saveDocument } from '../src/clients/metadata-documents.commands.ts';
import { AppError } from '../src/errors.ts';
import type { Log } from '../src/log.ts';
import { createFetchSlots, isPastLimit } from './fetch-slots.ts';
import { addressKey } from './rate-limits.ts';
import { temporarilyUnavailable } from './temporarily-unavailable.ts';

interface MetadataDocumentDeps {
  db: Db;
  fetch: typeof fetch;
  /** CLIENT_ID_METADATA_DOCUMENTS, read: `any`, or hosts. */
  hosts: readonly string[];
  /** Hosts whose documents may be plain http (OUTBOUND_ALLOW). */
  allowsHttp(host: string): boolean;
  save(read: Parameters<typeof saveDocument>[2]): Promise<Client | undefined>;
  /** @throws AppError 429 when this host, or the address of whoever asks (`addressKey`), has had its share */
  limit(host: string, address: string | undefined): Promise<void>;
  log: Log;
}

/** Bounds of how long a document is taken for what it was, in seconds; within them its `Cache-Control` decides. */
const freshSeconds = { min: 60, max: 86_400, unsaid: 3600 };
/** For how long a document that cannot be had just now is taken for what it was, beyond that. */
const staleSeconds = 86_400;
/** Before a URL that failed is tried again. The draft has errors not cached, and this is no answer that is kept: it is a limit. */
const pauseMs = 15_000;
/** Shorter than the guarded fetch's own: a place is taken for as long. */
const timeoutMs = 2500;
const atOnce = { total: 32, each: 2 };
const failuresMax = 1000;

const seconds = (response: Response): number => {
  const control = response.headers.get('cache-control') ?? '';
  if (/\bno-(store|cache)\b/i.test(control)) return freshSeconds.min;
  const [, age] = /\bmax-age\s*=\s*"?(\d{1,9})/i.exec(control) ?? [];
  return Math.min(freshSeconds.max, Math.max(freshSeconds.min, age === undefined ? freshSeconds.unsaid : Number(age)));
};

/** What the other side said is no document, so that the client is none: not only for now. */
class NoDocument extends Error {}
/** There may be a document, and it cannot be had now. */
class Unreachable extends Error {}

const read = async (fetch: typeof globalThis.fetch, clientId: string): Promise<{ document: unknown; until: Date }> => {
  const unreachable = (cause: unknown): never => {
    throw new Unreachable('the document could not be fetched', { cause });
  };
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await fetch(clientId, { headers: { accept: 'application/json' }, signal }).catch(unreachable);
  const type = response.headers.get('content-type') ?? '';
  if (response.status >= 500 || response.status === 429) throw new Unreachable(`the answer was ${response.status}`);
  if (response.status !== 200) throw new NoDocument(`the answer was ${response.status}`);
  if (!/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type)) throw new NoDocument('the answer is not JSON');
  const body = await response.text().catch(unreachable);
  try {
    return { document: JSON.parse(body) as unknown, until: new Date(Date.now() + seconds(response) * 1000) };
  } catch {
    throw new NoDocument('the answer is not JSON');
  }
};

/** Whether it is the document that failed, and not we. */
const isAnswer = (error: unknown): boolean =>
  error instanceof NoDocument || error instanceof Unreachable || (error instanceof AppError && error.status === 400);

/** A URL that is not tried again for a while. */
interface Failure {
  until: number;
  /** Whether it was out of reach; else what was there is no document. */
  passing: boolean;
}

/** What whoever asked is told. Why a fetch failed is in the log alone: it would be a way to look around in our network. */
const unavailable = (detail: string) =>
  new errors.InvalidClient('the client’s metadata document cannot be used', detail);

/**
 * A `findClient` that reads documents as well.
 * @returns undefined for an id that is nobody's. The function throws the engine's InvalidClient for a URL without a document,
 *   and `temporarily_unavailable` past a limit
 */
export const createMetadataDocuments = ({ db, fetch, hosts, allowsHttp, save, limit, log }: MetadataDocumentDeps) => {
  const pending = new Map<string, Promise<Client | undefined>>();
  const failures = new Map<string, Failure>();
  const slots = createFetchSlots(atOnce);

  const isTaken = (clientId: string): boolean => {
    if (hosts[0] === 'off' || !isDocumentUrl(clientId, allowsHttp)) return false;
    return hosts[0] === 'any' || hosts.includes(new URL(clientId).host);
  };

  const pause = (clientId: string, error: unknown): void => {
    // The oldest goes first: whoever sends many different URLs must not fill the memory.
    if (failures.size >= failuresMax) failures.delete(failures.keys().next().value as string);
    failures.set(clientId, { until: Date.now() + pauseMs, passing: error instanceof Unreachable });
  };

  const fetchAndSave = async (clientId: string): Promise<Client | undefined> => {
    try {
      const client = await save({ clientId, ...(await read(fetch, clientId)) });
      failures.delete(clientId);
      return client?.blockedAt ? undefined : client;
    } catch (error) {
      if (isAnswer(error)) pause(clientId, error);
      throw error;
    }
  };

  /** @returns undefined when too many are under way */
  const load = (clientId: string, address: string | undefined): Promise<Client | undefined> | undefined => {
    const begun = pending.get(clientId);
    if (begun) return begun;
    const release = slots.take({ host: new URL(clientId).host, address });
    if (!release) return undefined;
    const started = fetchAndSave(clientId).finally(() => {
      pending.delete(clientId);
      release();
    });
    pending.set(clientId, started);
    return started;
  };

  /** @param ip of whoever asks; undefined within the service itself */
  return async (clientId: string, ip?: string): Promise<Client | undefined> => {
    const known = await findClient(db, clientId);
    if (known ? known.kind !== 'metadata-document' : !isTaken(clientId)) return known;
    // Blocked, turned off, or no longer from this host: what was read before is nobody's any more.
    if (known?.blockedAt || !isTaken(clientId)) return undefined;
    const freshUntil = known?.metadataExpiresAt?.getTime() ?? 0;
    const now = Date.now();
    if (known && freshUntil > now) return known;
    const stale = known && freshUntil + staleSeconds * 1000 > now ? known : undefined;
    const failure = failures.get(clientId);
    if (failure && failure.until > now) {
      if (stale && failure.passing) return stale;
      throw unavailable('it could not be had a moment ago');
    }
    const address = ip === undefined ? undefined : addressKey(ip);
    const limited =
      !pending.has(clientId) && (await isPastLimit(limit(new URL(clientId).host, known ? undefined : address)));
    const loading = limited ? undefined : load(clientId, address);
    if (!loading) {
      if (stale) return stale;
      throw temporarilyUnavailable('too many metadata documents are asked for; try again shortly');
    }
    try {
      return await loading;
    } catch (error) {
      if (!isAnswer(error)) throw error;
      log.info({ err: error, clientId }, 'a client metadata document was not taken');
      if (error instanceof AppError) throw unavailable(`it is not valid: ${error.message}`);
      if (error instanceof NoDocument) throw unavailable('there is no document at the address');
      if (stale) return stale;
      throw unavailable('it could not be had');
    }
  };
};
