import { expect, it } from 'vitest';
import { createCookieKeys } from '../../src/cookie-keys.ts';

const keys = createCookieKeys(['first key', 'second key']);

// As the package keygrip 1.1.0 signs with these keys: browsers have such cookies.
it.each([
  ['session=abc', 'qbZydi_VTf9_WYyKGLU-KIonCKA', 0],
  ['flow=1', '0KvAqCGZBYZIMDoItdOQTP5MvDc', 0],
  ['session=abc', 'ULkAYMWcusuC_Eerv-MjionuVvQ', 1],
  ['session=abd', 'qbZydi_VTf9_WYyKGLU-KIonCKA', -1],
  ['session=abc', '', -1],
  ['session=abc', 'qbZydi_VTf9_WYyKGLU-KIonCK', -1],
])('%s is signed as %s by the key %s', (data, signature, index) => {
  expect(keys.index(data, signature)).toBe(index);
  expect(keys.verify(data, signature)).toBe(index >= 0);
  if (index === 0) expect(keys.sign(data)).toBe(signature);
});

it('needs a key', () => {
  expect(() => createCookieKeys([])).toThrow('key');
});
