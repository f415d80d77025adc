import { Writable } from 'node:stream';
import { afterEach, expect, it, vi } from 'vitest';
import { createRefusalLines } from '../../src/http/refusal-lines.ts';
import { createLog } from '../../src/log.ts';

afterEach(() => {
  vi.useRealTimers();
});

it('has twenty lines of a kind in a second, and one for the rest', () => {
  vi.useFakeTimers();
  const lines: { msg: string; status: number; route: string; count: number }[] = [];
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const hasOwnLine = createRefusalLines(createLog('info', stream));
  const ownLines = (status: number, route: string, count: number) =>
    Array.from({ length: count }, () => hasOwnLine(status, route)).filter(Boolean).length;
  expect(ownLines(503, 'auth/login', 100)).toBe(20);
  expect(ownLines(503, 'interaction', 25)).toBe(20);
  expect(ownLines(429, 'auth/login', 20)).toBe(20);
  // Each of these says something of its own.
  for (const status of [200, 400, 401, 403, 413, 500]) expect(ownLines(status, 'auth/login', 100)).toBe(100);
  expect(lines).toEqual([]);
  vi.advanceTimersByTime(1000);
  expect(lines).toMatchObject([
    { msg: 'requests refused', status: 503, route: 'auth/login', count: 80 },
    { msg: 'requests refused', status: 503, route: 'interaction', count: 5 },
  ]);
  expect(ownLines(503, 'auth/login', 5)).toBe(5);
  vi.advanceTimersByTime(1000);
  expect(lines).toHaveLength(2);
});
