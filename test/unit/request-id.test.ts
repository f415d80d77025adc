import { validate, version } from 'uuid';
import { expect, it } from 'vitest';
import { newRequestId } from '../../src/http/request-id.ts';

it('ids of requests are UUIDs of version 7, each another, of the time at which they were made', () => {
  const before = Date.now();
  const ids = Array.from({ length: 5000 }, newRequestId);
  const after = Date.now();
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) {
    expect([id, validate(id), version(id)]).toEqual([id, true, 7]);
    const made = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
    expect(made >= before && made <= after).toBe(true);
  }
});
