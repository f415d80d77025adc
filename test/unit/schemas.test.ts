/** What several resources have in common of what they take. */
import { describe, expect, it } from 'vitest';
import { Email } from '../../src/http/schemas.ts';

describe('an address', () => {
  it.each([
    ['ada@example.com'],
    [' ada@example.com '],
    ["o'hara+lists@example.co.uk"],
    ['ada@xn--e1afmkfd.xn--p1ai'],
    ['ADA@EXAMPLE.XN--P1AI'],
    ['ada@xn--bcher-kva.example'],
    [`ada@${'a'.repeat(63)}.com`],
  ])('%s is one', (address) => {
    expect(Email.parse(address)).toBe(address.trim());
  });

  it.each([
    ['ada'],
    ['ada@localhost'],
    ['ada@bücher.example'],
    ['ada@example.xn--'],
    ['ada@example.xn--a-'],
    ['ada@example.c0m'],
    ['ada@-example.com'],
    ['ada@example-.com'],
    ['ada@example..com'],
    ['ada@exa_mple.com'],
    [`ada@${'a'.repeat(64)}.com`],
    ['ada@127.0.0.1'],
    ['ada@example.com@example.org'],
    ['ada@example.com\n'.padStart(300, 'a')],
    ['a\0da@example.com'],
  ])('%j is none', (address) => {
    expect(Email.safeParse(address).success).toBe(false);
  });
});
