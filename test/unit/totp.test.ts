/** Codes by time: those of RFC 6238, of another implementation, and of a clock that is off. */
import fc from 'fast-check';
import { generateSync } from 'otplib';
import { describe, expect, it } from 'vitest';
import { isBackupCode, normalizeBackupCode } from '../../src/mfa/backup-codes.commands.ts';
import { qrCode, qrSvg } from '../../src/mfa/qr.ts';
import {
  base32,
  driftSteps,
  matchTotp,
  otpauthUrl,
  stepAt,
  type TotpParameters,
  totpCode,
  usualTotp,
} from '../../src/mfa/totp.ts';

const seed = (bytes: number) => Buffer.from('1234567890'.repeat(7).slice(0, bytes));

/** RFC 6238, appendix B, and its erratum on the lengths of the seeds. */
const vectors: [seconds: number, SHA1: string, SHA256: string, SHA512: string][] = [
  [59, '94287082', '46119246', '90693936'],
  [1_111_111_109, '07081804', '68084774', '25091201'],
  [1_111_111_111, '14050471', '67062674', '99943326'],
  [1_234_567_890, '89005924', '91819424', '93441116'],
  [2_000_000_000, '69279037', '90698825', '38618901'],
  [20_000_000_000, '65353130', '77737706', '47863826'],
];
const seeds = { SHA1: seed(20), SHA256: seed(32), SHA512: seed(64) } as const;

describe('totpCode', () => {
  for (const [seconds, ...codes] of vectors) {
    it(`makes RFC 6238’s codes at ${seconds}`, () => {
      const made = (['SHA1', 'SHA256', 'SHA512'] as const).map((algorithm) =>
        totpCode(seeds[algorithm], stepAt(seconds * 1000, { periodSeconds: 30 }), { algorithm, digits: 8 }),
      );
      expect(made).toEqual(codes);
    });
  }

  it('makes the codes that otplib makes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 64 }), fc.integer({ min: 0, max: 4e9 }), (bytes, epoch) => {
        const code = totpCode(bytes, stepAt(epoch * 1000, usualTotp), usualTotp);
        expect(code).toBe(generateSync({ secret: base32(bytes), epoch }));
      }),
    );
  });
});

const parameters: fc.Arbitrary<TotpParameters> = fc.record({
  algorithm: fc.constantFrom('SHA1', 'SHA256', 'SHA512'),
  digits: fc.constantFrom(6, 8),
  periodSeconds: fc.integer({ min: 15, max: 120 }),
});

describe('matchTotp', () => {
  it('takes a code of the step before, of this one and of the next, and says of which it is', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 20, maxLength: 20 }),
        parameters,
        fc.integer({ min: 700_000, max: 4e12 }),
        fc.integer({ min: -5, max: 5 }),
        (secret, parameters, at, offset) => {
          const step = stepAt(at, parameters) + offset;
          const matched = matchTotp(secret, totpCode(secret, step, parameters), parameters, at);
          // Of a million codes two may be the same, so another step may be found; never one that is out of reach.
          if (Math.abs(offset) <= driftSteps) expect(matched).toBeDefined();
          if (matched !== undefined) expect(Math.abs(matched - stepAt(at, parameters))).toBeLessThanOrEqual(driftSteps);
          if (matched !== undefined)
            expect(totpCode(secret, matched, parameters)).toBe(totpCode(secret, step, parameters));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('takes nothing else', () => {
    const secret = seed(20);
    for (const code of ['', '0', '00000', '1234567', 'abcdef', '94287082', '９４２８７０'])
      expect(matchTotp(secret, code, usualTotp, 59_000)).toBeUndefined();
    expect(matchTotp(secret, '287082', usualTotp, 59_000)).toBe(1);
  });
});

describe('otpauthUrl', () => {
  it('survives names with anything in them', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), fc.emailAddress(), (issuer, account) => {
        const url = new URL(otpauthUrl(seed(20), { issuer, account }, usualTotp));
        const [first, second, ...rest] = decodeURIComponent(url.pathname.slice(1)).split(':');
        expect([first, second, rest]).toEqual([issuer.replaceAll(':', ' '), account.replaceAll(':', ' '), []]);
        expect(url.searchParams.get('issuer')).toBe(issuer.replaceAll(':', ' '));
        expect(url.search).not.toContain('+');
      }),
    );
  });

  it('is drawn as a QR code that nothing in the URL gets out of', async () => {
    const svg = qrSvg(
      await qrCode(otpauthUrl(seed(20), { issuer: '"><script>', account: 'a@example.com' }, usualTotp)),
    );
    expect(svg).toMatch(/^<svg xmlns="[^"]+" [^<>]*><path [^<>]*\/><path [^<>]*\/><\/svg>$/);
  });
});

describe('a backup code', () => {
  it('is the same however it is typed', () => {
    expect(normalizeBackupCode(' 0F3K–9WQ2 m7hd')).toBe('0f3k9wq2m7hd');
    expect(normalizeBackupCode('oOiI-lL00-1111')).toBe('001111001111');
    for (const code of ['123456', '12345678', '0f3k-9wq2-m7h', '0f3k-9wq2-m7hdd', 'uuuu-uuuu-uuuu', ''])
      expect(isBackupCode(code)).toBe(false);
    expect(isBackupCode('0f3k-9wq2-m7hd')).toBe(true);
  });
});
