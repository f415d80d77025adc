/** The operations that `load.ts` mixes: what each sends, and as whom. */
import { type HttpConnection, openConnection, requestText } from './http-connection.ts';
import { type Item, items, type Visit } from './items.ts';
import { assertStatus, basic } from './sign-in.ts';
import { hostOf, paths, scopes, type Target } from './targets.ts';

/** The mix of a service in the middle of a day: many tokens renewed and looked at, few people signing in. */
export const usualMix = {
  refresh: 28,
  introspection: 26,
  client_credentials: 20,
  jwks: 10,
  userinfo: 6,
  admin_read: 6,
  sign_in: 4,
} as const;

export const operations = [...new Set([...Object.keys(items), 'admin_read'])];

/** Reads `refresh=30,sign_in=5`. @throws Error for a name that there is not */
export const readMix = (text: string): Record<string, number> =>
  Object.fromEntries(
    text.split(',').map((part) => {
      const [name = '', weight = '1'] = part.split('=');
      if (!operations.includes(name))
        throw new Error(`there is no operation ${name}; there are ${operations.join(', ')}`);
      return [name, Number(weight)];
    }),
  );

/** How old the token of the application that reads may become: `soak.ts` has tokens live for five minutes. */
const renewEveryMs = 240_000;

/** An administration's reads: a page of the accounts, by an application that may. */
const createAdminRead = (): Item['begin'] => {
  let token: Promise<string> | undefined;
  let since = 0;
  const askToken = async (connection: HttpConnection, target: Target): Promise<string> => {
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const headers = { Host: hostOf(target), Authorization: basic(target.machine), ...form };
    const body = `grant_type=client_credentials&scope=${encodeURIComponent(scopes.machine)}`;
    const answer = await connection.send(requestText('POST', paths.token, headers, body));
    assertStatus(answer, 200, 'token of the administration');
    return (JSON.parse(answer.body) as { access_token: string }).access_token;
  };
  return ({ connection, target }) =>
    async () => {
      if (!token || performance.now() - since > renewEveryMs) {
        since = performance.now();
        token = askToken(connection, target);
      }
      const authorization = `Bearer ${await token}`;
      const headers = { Host: hostOf(target), Accept: 'application/json', Authorization: authorization };
      const answer = await connection.send(requestText('GET', '/users?limit=20', headers));
      assertStatus(answer, 200, 'list of accounts');
      return answer.body.length;
    };
};

interface Slot {
  number: number;
  memory: Visit['memory'];
}

/**
 * Operations that are ready to be called, as often at the same time as there is need. Each takes a connection that is free, or opens
 * one; a refresh takes besides a refresh token that nobody uses now, and a sign-in a person: if there is none, it waits.
 */
export const createOperations = (target: Target) => {
  const adminRead = createAdminRead();
  const free: HttpConnection[] = [];
  const open = new Set<HttpConnection>();
  const slotsOf = (count: number): Slot[] => Array.from({ length: count }, (_, number) => ({ number, memory: {} }));
  const slots: Record<string, { free: Slot[]; waiting: ((slot: Slot) => void)[] }> = {
    refresh: { free: slotsOf(target.refreshTokens.length), waiting: [] },
    sign_in: { free: slotsOf(target.people.length), waiting: [] },
  };

  const takeSlot = (operation: string): Slot | Promise<Slot> => {
    const pool = slots[operation];
    if (!pool) return { number: 0, memory: {} };
    return pool.free.shift() ?? new Promise((resolve) => pool.waiting.push(resolve));
  };

  const giveSlot = (operation: string, slot: Slot): void => {
    const pool = slots[operation];
    const next = pool?.waiting.shift();
    if (next) next(slot);
    else pool?.free.push(slot);
  };

  const takeConnection = async (): Promise<HttpConnection> => {
    for (let known = free.pop(); known; known = free.pop()) if (!known.isClosed()) return known;
    const made = await openConnection(target.address);
    open.add(made);
    return made;
  };

  return {
    /** @throws Error when an answer is not right or does not come */
    call: async (operation: string): Promise<void> => {
      const slot = await takeSlot(operation);
      try {
        const connection = await takeConnection();
        try {
          const { begin } = operation === 'admin_read' ? { begin: adminRead } : (items[operation] as Item);
          await begin({ connection, target, number: slot.number, memory: slot.memory })();
          free.push(connection);
        } catch (error) {
          connection.close();
          open.delete(connection);
          throw error;
        }
      } finally {
        giveSlot(operation, slot);
      }
    },
    close: () => {
      for (const connection of open) connection.close();
    },
  };
};
