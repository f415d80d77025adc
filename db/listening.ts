/** Notifications of PostgreSQL, on one connection of the process's own, whoever listens to what. */
import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { listenStates } from '../src/observing.ts';

type Callback = (payload: string) => void;

export interface Listening {
  /** Calls back for each notification on the channel, and with an empty payload after some may have been missed. */
  listen(channel: string, callback: Callback): Promise<() => Promise<void>>;
  /** Whether all callbacks have been told of everything that was committed before this was called. */
  catchUp(withinMs: number): Promise<boolean>;
}

const retryMs = 1000;
const connectMs = 3000;

/** A connection that takes longer to answer is taken for dead: the network may have lost it without a word. */
const deadMs = 2000;

const escapeName = (name: string) => `"${name.replaceAll('"', '""')}"`;

/**
 * Opens no connection before somebody listens. One that is lost is opened again by itself.
 * @param url of PostgreSQL itself: a pooler that hands connections around hears nothing, which `catchUp` discovers
 */
export const createListening = (url: string): Listening => {
  const channels = new Map<string, Set<Callback>>();
  // Only this process listens there. It is told what it sends itself after all that was committed before:
  // notifications come in the order of commits, and one's own as well.
  const own = `countersign_${randomBytes(8).toString('hex')}`;
  const heard = new Map<string, () => void>();
  let asked = 0;
  let client: Client | undefined;
  let opening: Promise<void> | undefined;
  let retry: NodeJS.Timeout | undefined;
  /** Notifications may have been missed. */
  let missed = false;

  /** One question at a time, as the driver wants them. */
  let last: Promise<unknown> = Promise.resolve();
  const ask = (of: Client, text: string, values?: string[]): Promise<unknown> => {
    const answer = last.then(() => of.query(text, values));
    last = answer.catch(() => {});
    return answer;
  };

  const tell = (channel: string, payload: string) => {
    for (const callback of [...(channels.get(channel) ?? [])]) callback(payload);
  };

  const again = () => {
    clearTimeout(retry);
    if (channels.size) retry = setTimeout(() => start().catch(again), retryMs);
  };

  const lose = (lost: Client) => {
    void lost.end().catch(() => {});
    if (client !== lost) return;
    client = undefined;
    missed = true;
    listenStates.tell?.(false);
    again();
  };

  const close = async (): Promise<void> => {
    clearTimeout(retry);
    const current = client;
    client = undefined;
    await current?.end().catch(() => {});
  };

  const open = async (): Promise<void> => {
    const { default: pg } = await import('pg');
    const next = new pg.Client({
      connectionString: url,
      application_name: 'countersign listen',
      keepAlive: true,
      connectionTimeoutMillis: connectMs,
    });
    let lost = false;
    const gone = () => {
      lost = true;
      lose(next);
    };
    next.on('error', gone);
    next.on('end', gone);
    next.on('notification', ({ channel, payload = '' }) => {
      if (channel === own) heard.get(payload)?.();
      else tell(channel, payload);
    });
    const silence = setTimeout(gone, connectMs + deadMs);
    try {
      await next.connect();
      await next.query(`listen ${escapeName(own)}`);
      // Those that are added meanwhile come last.
      for (const channel of channels.keys()) await next.query(`listen ${escapeName(channel)}`);
      if (lost) throw new Error('the connection was lost');
    } catch (error) {
      lose(next);
      throw error;
    } finally {
      clearTimeout(silence);
    }
    client = next;
    listenStates.tell?.(true);
    if (!channels.size) await close();
    if (!missed) return;
    missed = false;
    for (const channel of [...channels.keys()]) tell(channel, '');
  };
  const start = (): Promise<void> => {
    clearTimeout(retry);
    opening ??= open().finally(() => {
      opening = undefined;
    });
    return opening;
  };

  const forget = async (channel: string, callback: Callback): Promise<void> => {
    const callbacks = channels.get(channel);
    callbacks?.delete(callback);
    if (callbacks?.size) return;
    channels.delete(channel);
    if (channels.size && client) await ask(client, `unlisten ${escapeName(channel)}`).catch(() => {});
    else if (!channels.size) await close();
  };

  return {
    listen: async (channel, callback) => {
      // Whoever listens twice with one function is told twice.
      const listener: Callback = (payload) => callback(payload);
      channels.set(channel, (channels.get(channel) ?? new Set()).add(listener));
      try {
        if (client) await ask(client, `listen ${escapeName(channel)}`);
        else await start();
      } catch (error) {
        await forget(channel, listener);
        again();
        throw error;
      }
      return () => forget(channel, listener);
    },

    catchUp: async (withinMs) => {
      const current = client;
      if (!current) return false;
      const nonce = String(++asked);
      const dead = setTimeout(() => lose(current), deadMs);
      dead.unref();
      const told = new Promise<boolean>((resolve) => {
        heard.set(nonce, () => resolve(true));
        setTimeout(() => resolve(false), withinMs).unref();
        ask(current, 'select pg_notify($1, $2)', [own, nonce]).then(
          () => clearTimeout(dead),
          () => {
            clearTimeout(dead);
            resolve(false);
          },
        );
      });
      return told.finally(() => heard.delete(nonce));
    },
  };
};
