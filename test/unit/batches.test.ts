/** What is asked at the same time is asked together. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { inBatches } from '../../adapters/batches.ts';

/** What an answer sets off begins a turn later. */
const settle = async () => {
  await turn();
  await turn();
};

/** Answers when told to. */
const openGate = (limits: { max: number; lanes: number }) => {
  const batches: { questions: readonly number[]; end(error?: Error): void }[] = [];
  const ask = inBatches(
    (questions: readonly number[]) =>
      new Promise<number[]>((resolve, reject) => {
        batches.push({
          questions,
          end: (error) => (error ? reject(error) : resolve(questions.map((one) => one * 10))),
        });
      }),
    limits,
  );
  return { ask, batches, sizes: () => batches.map(({ questions }) => questions.length) };
};

describe('inBatches', () => {
  it('asks what has arrived together, and answers each with its own', async () => {
    const { ask, batches, sizes } = openGate({ max: 10, lanes: 2 });
    const answers = Promise.all([1, 2, 3].map(ask));
    await settle();
    expect(sizes()).toEqual([3]);
    batches[0]?.end();
    expect(await answers).toEqual([10, 20, 30]);
  });

  it('begins a second batch when as many wait as the first one has, and no third', async () => {
    const { ask, batches, sizes } = openGate({ max: 10, lanes: 2 });
    const all = [ask(1), ask(2)];
    await settle();
    all.push(ask(3));
    await settle();
    expect(sizes()).toEqual([2]);
    all.push(ask(4));
    await settle();
    expect(sizes()).toEqual([2, 2]);
    all.push(...[5, 6, 7, 8, 9].map(ask));
    await settle();
    expect(sizes()).toEqual([2, 2]);
    batches[1]?.end();
    await settle();
    expect(sizes()).toEqual([2, 2, 5]);
    for (const batch of batches) batch.end();
    expect(await Promise.all(all)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90]);
  });

  it('asks for no more at a time than it may', async () => {
    const { ask, batches, sizes } = openGate({ max: 4, lanes: 2 });
    const all = Promise.all(Array.from({ length: 9 }, (_, at) => ask(at)));
    await settle();
    expect(sizes()).toEqual([4, 4]);
    batches[0]?.end();
    batches[1]?.end();
    await settle();
    expect(sizes()).toEqual([4, 4, 1]);
    batches[2]?.end();
    expect(await all).toHaveLength(9);
  });

  it('does not wait for others behind a batch that is stuck', async () => {
    const { ask, batches, sizes } = openGate({ max: 10, lanes: 2 });
    const stuck = Promise.all([1, 2, 3].map(ask));
    await settle();
    const late = ask(4);
    await settle();
    expect(sizes()).toEqual([3]);
    await expect.poll(sizes, { timeout: 20_000 }).toEqual([3, 1]);
    batches[1]?.end();
    expect(await late).toBe(40);
    batches[0]?.end();
    expect(await stuck).toEqual([10, 20, 30]);
  });

  it('fails those of the batch that fails, and goes on', async () => {
    const { ask, batches } = openGate({ max: 10, lanes: 1 });
    const first = Promise.allSettled([ask(1), ask(2)]);
    await settle();
    const second = ask(3);
    batches[0]?.end(new Error('away'));
    expect((await first).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await settle();
    batches[1]?.end();
    expect(await second).toBe(30);
  });
});
