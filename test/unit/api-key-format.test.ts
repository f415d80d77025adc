/** What an API key looks like, and which texts are refused without a look into the database. */
import { describe, expect, it } from 'vitest';
import { createKey, displayPrefix, isKey } from '../../src/api-keys/api-key-format.ts';

describe('an API key', () => {
  it('has a prefix that scanners know, 196 random bits and a checksum', () => {
    const keys = Array.from({ length: 500 }, createKey);
    for (const key of keys) expect(key).toMatch(/^cs_[0-9A-Za-z]{39}$/);
    expect(new Set(keys).size).toBe(500);
    // Every character of the alphabet turns up at every random place.
    for (let place = 3; place < 36; place++) expect(new Set(keys.map((key) => key[place])).size).toBeGreaterThan(55);
    expect(keys.every(isKey)).toBe(true);
  });

  it('is known by its checksum, which never changes', () => {
    const body = 'cs_000000000000000000000000000000000';
    expect(isKey(`${body}0ahB8x`)).toBe(true);
    const key = createKey();
    for (let place = 3; place < key.length; place++) {
      const mistyped = `${key.slice(0, place)}${key[place] === 'a' ? 'b' : 'a'}${key.slice(place + 1)}`;
      expect(isKey(mistyped)).toBe(false);
    }
  });

  for (const text of [
    '',
    'cs_',
    'cs_\0',
    `x${createKey()}`,
    `${createKey()}\n`,
    createKey().toUpperCase(),
    createKey().slice(3),
  ])
    it(`is not ${JSON.stringify(text)}`, () => expect(isKey(text)).toBe(false));

  it('is told apart by its beginning', () => expect(displayPrefix(createKey())).toMatch(/^cs_[0-9A-Za-z]{6}$/));
});
