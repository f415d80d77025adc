import { expect, it } from 'vitest';
import { prepareStatements } from '../../db/preparing.ts';

interface Sent {
  sql: string;
  bindings?: unknown[];
  options?: { name?: string };
}

/** @param status that PostgreSQL tells: `I` outside of transactions, `T` inside */
const open = (status = 'T') => {
  let failure: Error | undefined;
  class Base {
    async _query(_connection: object, { options }: Sent): Promise<void> {
      if (failure && options?.name) throw failure;
    }
  }
  const { Client, trust } = prepareStatements(Base);
  const client = new (Client as unknown as typeof Base)();
  const connection = { processID: 7, getTransactionStatus: () => status };
  return {
    trust: (serverProcess: number) => trust(connection, serverProcess),
    send: async (sql: string, bindings: unknown[] = [1]) => {
      const query: Sent = { sql, bindings };
      await client._query(connection, query);
      return query.options?.name;
    },
    failWith: (code: string | undefined) => {
      failure = code === undefined ? undefined : Object.assign(new Error('refused'), { code });
    },
  };
};

it('a statement that comes again gets a name, always the same one, and another statement another', async () => {
  const { trust, send } = open();
  trust(7);
  expect(await send('select $1')).toBeUndefined();
  const name = await send('select $1');
  expect(name).toMatch(/^[\w-]{40,63}$/);
  expect(await send('select $1')).toBe(name);
  await send('select $1 + 1');
  expect(await send('select $1 + 1')).not.toBe(name);
});

it('nothing gets a name behind a pooler, whose connections are not the server’s, nor what has no values', async () => {
  const pooled = open();
  pooled.trust(8);
  const { trust, send } = open();
  trust(7);
  for (let times = 0; times < 3; times++) {
    expect(await pooled.send('select $1')).toBeUndefined();
    expect(await send('begin', [])).toBeUndefined();
  }
});

it.each(['26000', '0A000'])('names that cannot be used any more (%s) are not used again', async (code) => {
  const { trust, send, failWith } = open();
  trust(7);
  await send('select $1');
  const name = await send('select $1');
  failWith(code);
  await expect(send('select $1')).rejects.toThrow('refused');
  failWith(undefined);
  await send('select $1');
  const later = await send('select $1');
  expect(later).toBeDefined();
  expect(later).not.toBe(name);
});

it('a statement whose name cannot be used any more is asked again without it, outside of transactions', async () => {
  const { trust, send, failWith } = open('I');
  trust(7);
  await send('select $1');
  failWith('26000');
  expect(await send('select $1')).toBeUndefined();
  await expect(send('select $1')).resolves.toBeUndefined();
  failWith('57014');
  await expect(send('select $1')).rejects.toThrow('refused');
});
