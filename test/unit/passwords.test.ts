import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as nodeRsArgon2 from '@node-rs/argon2';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { readHash } from '../../src/auth/password-hashes.ts';
import { isTrivial } from '../../src/auth/password-rules.ts';
import { createPasswords, type PasswordOptions } from '../../src/auth/passwords.ts';

type Argon2 = NonNullable<PasswordOptions['argon2']>;

const secret = 'correct horse bättery';
const nobody = { email: 'ada@lovelace.example', name: 'Ada Lovelace' };

const make = (options: Partial<PasswordOptions> = {}) =>
  createPasswords({ minLength: 8, concurrency: 2, queue: 100, ...options });

/** The real argon2, and a record of what it was asked. */
const watched = () => {
  const calls: { name: 'hash' | 'verify'; stored?: string }[] = [];
  const argon2: Argon2 = {
    hash: (...given) => {
      calls.push({ name: 'hash' });
      return nodeRsArgon2.hash(...given);
    },
    verify: (...given) => {
      calls.push({ name: 'verify', stored: String(given[0]) });
      return nodeRsArgon2.verify(...given);
    },
  };
  return { calls, argon2 };
};

/** argon2 that finishes a computation only when told to. */
const held = () => {
  const waiting: (() => void)[] = [];
  const started: string[] = [];
  const argon2: Argon2 = {
    hash: async (password) => {
      started.push(Buffer.from(password).toString());
      await new Promise<void>((resolve) => waiting.push(resolve));
      return 'a hash';
    },
    verify: async () => {
      throw new Error('the native library failed');
    },
  };
  return { argon2, started, waiting, release: () => waiting.shift()?.() };
};

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Made by the reference implementation through argon2-cffi: as strong as ours, and stronger. */
const strongArgon2 =
  '$argon2id$v=19$m=20000,t=3,p=4$vTZL0SOcPjVUrYcSi/3J2Q$N8OmB1ND8OJyTgeXXriZ9VH1PjZRuwTk6SfwhpkNa7Y';

/** Published test vectors, and hashes that bcrypt, argon2-cffi, passlib, Django and hashlib (Python) made. */
const foreign = [
  ['bcrypt $2a$ (jBCrypt)', 'a', '$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe'],
  ['bcrypt $2a$ (jBCrypt, abc)', 'abc', '$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'],
  ['bcrypt $2a$ (crypt_blowfish)', 'U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'],
  ['bcrypt $2a$', secret, '$2a$05$uLGZ9aRQKX4dcdKBJxVO7OhWEpNotxycc.wGV3DwmSSYL9gBy8Q3e'],
  ['bcrypt $2b$', secret, '$2b$05$AE76DlBxksfmlshFkj61ue9bi77c.N6rtm.PZ0uBSQ41HGRBezcEK'],
  ['bcrypt $2y$', secret, '$2y$05$0zQtXJV08voAQbhtUu6zVOFrux7At.IVeM5dI93nE9ss//EQldWSy'],
  ['bcrypt, 72 bytes', 'a'.repeat(72), '$2b$05$.h2JDRU.b9JdSzqG14X8GuFRMIp30pIEGgO57Pe8tTzQKfrY0YRM.'],
  [
    'argon2i, as the PHC README has it',
    'password',
    '$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG',
  ],
  [
    'argon2id, as phc-winner-argon2/src/test.c has it',
    'password',
    '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc',
  ],
  [
    'argon2i without a version, from the same file',
    'password',
    '$argon2i$m=65536,t=2,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ',
  ],
  [
    'argon2i',
    secret,
    '$argon2i$v=19$m=4096,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$qWgMY4uQ5H+dg0iRI6+LzIQ1QFGYTDiUDLtbzDEwfKQ',
  ],
  [
    'argon2d',
    secret,
    '$argon2d$v=19$m=4096,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$y3N9L7bfQstBN3wogFnEPjN5pMQEEJqajBcIUdBnYhY',
  ],
  [
    'argon2id, weak',
    secret,
    '$argon2id$v=19$m=4096,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$V5O6TbSJsWk5G96bOWUBfIbN3VpabroCK0zn5t1Y4yg',
  ],
  ['argon2id, 16 bytes', secret, '$argon2id$v=19$m=4096,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$2Mx73QM/44JUC1oQJp/ilA'],
  [
    'argon2id, 64 bytes',
    secret,
    '$argon2id$v=19$m=4096,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$I7g71SJASsmVPPHD2qcWb3Pxi3P6WW6IZUNKg0LlxpjTYt3CdVSMEzb7/IFPD2/Hi+ZInqGGrXNjq0UnpUJoHQ',
  ],
  [
    'argon2i, version 0x10',
    secret,
    '$argon2i$v=16$m=4096,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$kwMOtzkGsR0dNA7KSy2wwUin/0reqDSMOZKp5GwF6PI',
  ],
  [
    'scrypt (RFC 7914 section 12)',
    'password',
    '$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA',
  ],
  [
    'scrypt (passlib documentation)',
    'password',
    '$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E',
  ],
  [
    'scrypt (passlib)',
    secret,
    '$scrypt$ln=10,r=8,p=1$udfaW2vtHUOIMebcu/ceYw$KaN3LoXkG6k8z3Eu8n+J8u+HTBwEyrjTdOEuTQwAOCE',
  ],
  ['pbkdf2-sha1 (RFC 6070)', 'password', '$pbkdf2-sha1$i=4096,l=20$c2FsdA$SwB5AbdlSJq+rUnZJvch0GWkKcE'],
  [
    'pbkdf2-sha256 (RFC 7914 section 11)',
    'passwd',
    '$pbkdf2-sha256$i=1$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLxJypzM8Xm2RZkWZLOdd+8xfHG4RbHjC9UJESBB06GXgw',
  ],
  [
    'pbkdf2-sha256 (RFC 7914 section 11)',
    'Password',
    '$pbkdf2-sha256$i=80000,l=64$TmFDbA$TdzY9guYviGDDO5e8icB+WQaRBjQTAQUrv8Ih2s0q1ah1CWhIlgzVJrbhBtRybMXaicr3ruh0HhHj2Kzl/M8jQ',
  ],
  [
    'pbkdf2-sha512 (PHC, hashlib)',
    secret,
    '$pbkdf2-sha512$i=1000$c2FsdHktc2FsdA$Q7qr/qWATk3Eps4lb4FCqtJd1hLiY+5PA3yd7u8ERnCE2+2NtnzUx5XPCGu9MUZPa7K5K5Dg9k8I331G2GSl7A',
  ],
  [
    'pbkdf2-sha256 (passlib, whose alphabet has a dot)',
    secret,
    '$pbkdf2-sha256$1000$CIHQOsc4h/B.b601ZgyBcA$WdVAiY.BNGnbzMTOFTnEnKhpDXb4pAaZRFBXY6/km0A',
  ],
  ['pbkdf2 (passlib, SHA-1)', secret, '$pbkdf2$1000$Rsh5b23tPefcG0NoDYEwJg$piAuVF6pVw6BkFOnBrdjMu6eKy8'],
  [
    'pbkdf2-sha256 (passlib)',
    secret,
    '$pbkdf2-sha256$1000$NkYoxVjLuReiFMI4J4QQAg$sS1uarQHmI9NAifQAS3vyq1F7NkiofFmoQhzXnluzgk',
  ],
  [
    'pbkdf2-sha512 (passlib)',
    secret,
    '$pbkdf2-sha512$1000$7917793bO6fUGoMQgvBe6w$YOfl8b4umeQLD9cx6ioc8XNwXypyteD6auVcM2nlhG/ks2QUgHXWG5E/gys/VtAE89g2mj5sXTMhm4s5aHysLw',
  ],
  ['pbkdf2_sha256 (Django)', secret, 'pbkdf2_sha256$1000$seasalt$yjO+GMYUbOlTNnYH3uvWARQu5Z4dObkhKv7Krqjn758='],
  ['pbkdf2_sha1 (Django)', secret, 'pbkdf2_sha1$1000$seasalt$9WNBTvRC5Fi5VzjUx7MdrQ9gn5o='],
  [
    'pbkdf2_sha256 (Django 4.1, tests/auth_tests/test_hashers.py)',
    'lètmein',
    'pbkdf2_sha256$390000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c=',
  ],
  [
    'argon2id (Django, the same file)',
    'secret',
    'argon2$argon2id$v=19$m=102400,t=2,p=8$Y041dExhNkljRUUy$TMa6A8fPJhCAUXRhJXCXdw',
  ],
  [
    'scrypt (Django, the same file)',
    'lètmein',
    'scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==',
  ],
  ['bcrypt (Django)', 'abc', 'bcrypt$$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'],
  [
    'bcrypt_sha256 (Django, as passlib’s tests have it)',
    'lètmein',
    'bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC',
  ],
  [
    'Firebase scrypt (github.com/firebase/scrypt, README)',
    'user1password',
    '$firebase-scrypt$ln=14,r=8$42xEC+ixf3L2lw==$Bw==$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==',
  ],
] as const;

/** The hash of that name in the table. */
const hashOf = (name: (typeof foreign)[number][0]): string => foreign.find((entry) => entry[0] === name)?.[2] as string;

const digest = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

/** No password is ever right for these, and none of them costs what it asks for. */
const unusable = [
  ['nothing', ''],
  ['text', 'password'],
  ['a bare MD5', '5f4dcc3b5aa765d61d8327deb882cf99'],
  ['a truncated bcrypt', '$2b$05$AE76DlBxksfmlshFkj61ue9bi77c'],
  ['bcrypt of the broken $2x$ kind', '$2x$05$AE76DlBxksfmlshFkj61ue9bi77c.N6rtm.PZ0uBSQ41HGRBezcEK'],
  ['bcrypt of a cost that takes days', '$2b$31$AE76DlBxksfmlshFkj61ue9bi77c.N6rtm.PZ0uBSQ41HGRBezcEK'],
  ['argon2id of 4 GiB', `$argon2id$v=19$m=4194304,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$${digest}`],
  ['argon2id of a billion passes', `$argon2id$v=19$m=19456,t=1000000000,p=1$MDEyMzQ1Njc4OWFiY2RlZg$${digest}`],
  ['argon2id of 255 lanes', `$argon2id$v=19$m=19456,t=2,p=255$MDEyMzQ1Njc4OWFiY2RlZg$${digest}`],
  ['argon2id with less memory than lanes need', `$argon2id$v=19$m=8,t=2,p=4$MDEyMzQ1Njc4OWFiY2RlZg$${digest}`],
  ['argon2id with a digest of four bytes', '$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAAAAA'],
  ['scrypt of 2 GiB', `$scrypt$ln=21,r=8,p=1$TmFDbA$${digest}`],
  ['scrypt of ten thousand rounds', `$scrypt$ln=16,r=8,p=9999$TmFDbA$${digest}`],
  ['scrypt with an impossible N', `$scrypt$ln=16,r=1,p=1$TmFDbA$${digest}`],
  ['scrypt with r = 0', `$scrypt$ln=10,r=0,p=1$TmFDbA$${digest}`],
  ['pbkdf2 of eleven million iterations', `$pbkdf2-sha256$11000000$TmFDbA$${digest}`],
  ['pbkdf2 of six million iterations and two blocks', `$pbkdf2-sha256$6000000$TmFDbA$${digest}${digest}`],
  ['pbkdf2 of no iterations', `$pbkdf2-sha256$0$TmFDbA$${digest}`],
  ['pbkdf2 whose length is not its length', `$pbkdf2-sha256$i=1000,l=16$TmFDbA$${digest}`],
  ['pbkdf2 with an empty digest', '$pbkdf2-sha256$1000$TmFDbA$='],
  ['pbkdf2 with a digest of one byte', '$pbkdf2-sha256$1000$TmFDbA$AA'],
  ['pbkdf2 with MD5', `$pbkdf2-md5$1000$TmFDbA$${digest}`],
  ['Django, too many iterations', `pbkdf2_sha256$99999999$seasalt$${digest}=`],
  ['Django, argon2id of 4 GiB', `argon2$argon2id$v=19$m=4194304,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$${digest}`],
  ['Django, bcrypt that takes days', 'bcrypt$$2b$31$AE76DlBxksfmlshFkj61ue9bi77c.N6rtm.PZ0uBSQ41HGRBezcEK'],
  [
    'Django, bcrypt_sha256 that takes days',
    'bcrypt_sha256$$2b$31$AE76DlBxksfmlshFkj61ue9bi77c.N6rtm.PZ0uBSQ41HGRBezcEK',
  ],
  ['Django, scrypt of 2 GiB', `scrypt$2097152$seasalt$8$1$${digest}=`],
  ['Django, scrypt whose N is no power of two', `scrypt$16385$seasalt$8$1$${digest}=`],
  ['Django, scrypt with N = 0', `scrypt$0$seasalt$8$1$${digest}=`],
  ['Firebase, 2 GiB', `$firebase-scrypt$ln=21,r=8$c2FsdA==$Bw==$${digest}$${digest}`],
  [
    'Firebase, a signer key of one byte, which every 256th password would match',
    '$firebase-scrypt$ln=10,r=8$c2FsdA==$Bw==$AA==$AA==',
  ],
  [
    'Firebase, a digest that is not as long as the signer key',
    `$firebase-scrypt$ln=10,r=8$c2FsdA==$Bw==$${digest}$${digest.slice(0, 22)}`,
  ],
] as const;

describe('hashing', () => {
  it('makes argon2id with 19 MiB, two passes and one lane, salted', async () => {
    const [one, two] = [await make().hash(secret), await make().hash(secret)];
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(nodeRsArgon2.parseOptions(one)).toMatchObject({ saltLen: 16, outputLen: 32 });
    expect(one).not.toBe(two);
  });

  it('verifies what it made, and nothing else', async () => {
    const passwords = make();
    const stored = await passwords.hash(secret);
    expect(await passwords.verify(secret, stored)).toEqual({ ok: true });
    expect(await passwords.verify(`${secret}!`, stored)).toEqual({ ok: false });
    expect(await passwords.verify('', stored)).toEqual({ ok: false });
  });

  it('takes the whole password, also past a NUL and past 72 bytes', async () => {
    const passwords = make();
    for (const password of ['before\0after', 'x'.repeat(80)]) {
      const stored = await passwords.hash(password);
      expect((await passwords.verify(password, stored)).ok).toBe(true);
      expect((await passwords.verify(password.slice(0, 6), stored)).ok).toBe(false);
      expect((await passwords.verify(password.slice(0, 72), stored)).ok).toBe(password.length <= 72);
    }
  });

  it('NIST SP 800-63B section 3.1.1.2: normalises, so that composed and decomposed letters are the same password', async () => {
    const passwords = make();
    const stored = await passwords.hash('cafe\u0301 ﬁne Ａ');
    expect(await passwords.verify('caf\u00e9 fine A', stored)).toEqual({ ok: true });
    expect(await passwords.verify('cafe\u0301 ﬁne Ａ', stored)).toEqual({ ok: true });
    expect(await passwords.verify('cafe fine A', stored)).toEqual({ ok: false });
  });

  it('refuses more than 1024 bytes, as typed or normalised, before any hashing', async () => {
    const { calls, argon2 } = watched();
    const passwords = make({ argon2 });
    // U+FDFA is 3 bytes, and 33 once normalised.
    for (const long of ['x'.repeat(1025), '\u{1f512}'.repeat(257), '\ufdfa'.repeat(40)]) {
      await expect(passwords.hash(long)).rejects.toMatchObject({ status: 400, code: 'password_too_long' });
    }
    expect(calls).toEqual([]);
    await expect(passwords.hash('x'.repeat(1024))).resolves.toMatch(/^\$argon2id\$/);
  });
});

describe('the cost of a refusal', () => {
  const cases: (readonly [string, string, string | undefined])[] = [
    ['an unknown user', secret, undefined],
    ['a wrong password', 'wrong', strongArgon2],
    ['a wrong password for a weak argon2id', 'wrong', hashOf('argon2id, weak')],
    ['a wrong password for a bcrypt', 'wrong', hashOf('bcrypt $2b$')],
    ['a password of more than 1024 bytes, for an unknown user', 'x'.repeat(5000), undefined],
    ['a password of more than 1024 bytes', 'x'.repeat(5000), strongArgon2],
    ...unusable.map(([name, stored]) => [name, secret, stored] as const),
  ];
  for (const [name, password, stored] of cases) {
    it(`is one argon2id verification: ${name}`, async () => {
      const { calls, argon2 } = watched();
      expect(await make({ argon2 }).verify(password, stored)).toEqual({ ok: false });
      expect(calls).toHaveLength(1);
      expect(calls[0]?.name).toBe('verify');
      expect(nodeRsArgon2.parseOptions(calls[0]?.stored as string).memoryCost).toBeGreaterThanOrEqual(19_456);
    });
  }

  it('is that of the hashes that we make', async () => {
    const { calls, argon2 } = watched();
    const passwords = make({ argon2 });
    const made = await passwords.hash(secret);
    await passwords.verify(secret, undefined);
    expect(nodeRsArgon2.parseOptions(calls[1]?.stored as string)).toEqual(nodeRsArgon2.parseOptions(made));
  });

  it('doubles for an unknown user too when normalising changes the password', async () => {
    const { calls, argon2 } = watched();
    const passwords = make({ argon2 });
    await passwords.verify('cafe\u0301', undefined);
    await passwords.verify('cafe\u0301', strongArgon2);
    expect(calls.map(({ name }) => name)).toEqual(['verify', 'verify', 'verify', 'verify']);
  });
});

describe('hashes of other systems', () => {
  for (const [name, password, stored] of foreign) {
    it(`verifies ${name}, and replaces it`, async () => {
      const { calls, argon2 } = watched();
      const passwords = make({ argon2 });
      const { ok, upgrade } = await passwords.verify(password, stored);
      expect(ok).toBe(true);
      expect(calls.map((call) => call.name)).toEqual(['hash']);
      expect(upgrade).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
      expect(await passwords.verify(password, upgrade)).toEqual({ ok: true });
      expect(await passwords.verify(`${password}x`, stored)).toEqual({ ok: false });
      expect(await passwords.verify(password.slice(1), stored)).toEqual({ ok: false });
    });
  }

  for (const [name, stored] of unusable) {
    it(`does not read ${name}`, () => {
      expect(readHash(stored)).toBeUndefined();
    });
  }

  it('keeps an argon2id hash that is stronger than ours', async () => {
    expect(await make().verify(secret, strongArgon2)).toEqual({ ok: true });
  });

  it('accepts what was typed where the other system did not normalise, and normalises from then on', async () => {
    const passwords = make();
    // bcrypt of the decomposed letter and the ligature, made by Python's bcrypt.
    const typed = 'e\u0301clair ﬁne';
    const { ok, upgrade } = await passwords.verify(
      typed,
      '$2b$04$XBPLzsp84EqjW/aljPvv9.STcaDA4FPhfEkGzTkX4xkcH/eX3Ir0.',
    );
    expect(ok).toBe(true);
    expect(await passwords.verify('\u00e9clair fine', upgrade)).toEqual({ ok: true });
  });

  it('normalises a hash of our own kind too when it was made of what was typed', async () => {
    const passwords = make();
    const { ok, upgrade } = await passwords.verify(
      'e\u0301clair ﬁne',
      '$argon2id$v=19$m=19456,t=2,p=1$8L4wMjHTuOsGVNbMlmF1Iw$VCsKxgJRHNVevxcwNOijZK63sYy3voiimGRfQ/vDa4k',
    );
    expect(ok).toBe(true);
    expect(await passwords.verify('\u00e9clair fine', upgrade)).toEqual({ ok: true });
  });

  it('lets no longer password sign in by its first 72 bytes (bcrypt)', async () => {
    const stored = hashOf('bcrypt, 72 bytes');
    expect((await make().verify('a'.repeat(72), stored)).ok).toBe(true);
    expect((await make().verify('a'.repeat(73), stored)).ok).toBe(false);
    expect((await make().verify('a'.repeat(71), stored)).ok).toBe(false);
  });

  it('lets nothing after a NUL go unread: bcrypt repeats the password, HMAC pads it', async () => {
    const a = '$2b$05$yQv1tLNde8.OwjZDXEj/5u5BZ5Myk2uWOoRkE/jmPOaxIEf8UOXfW';
    expect((await make().verify('a', a)).ok).toBe(true);
    for (const [password, stored] of [
      ['a\0a', a],
      ['a\0', a],
      ['a\0anything', a],
      [`${secret}\0`, hashOf('scrypt (passlib)')],
      [`${secret}\0`, hashOf('pbkdf2-sha256 (passlib)')],
      [`${secret}\0`, hashOf('pbkdf2_sha256 (Django)')],
    ] as const) {
      expect(await make().verify(password, stored)).toEqual({ ok: false });
    }
  });
});

describe('Django’s bcrypt_sha256', () => {
  it('takes the whole password: the first 72 bytes of it are another one', async () => {
    const long = 'VSK0UYV6FFQVZ0KG88DYN9WADAADZO1CTSIVDJUNZSUML6IBX7LN7ZS3R5JGB3RGZ7VI7G7DJQ9NI8BQFSRPTG6UWTTVESA5ZPUN';
    const sha256 = createHash('sha256').update(long).digest('hex');
    const stored = `bcrypt_sha256$${await bcrypt(sha256, 4)}`;
    expect((await make().verify(long, stored)).ok).toBe(true);
    expect((await make().verify(long.slice(0, 72), stored)).ok).toBe(false);
    // The digest is not the password: whoever has read it from elsewhere does not get in by it.
    expect((await make().verify(sha256, stored)).ok).toBe(false);
  });
});

describe('the queue', () => {
  it('computes no more than `concurrency` at once, first come first served', async () => {
    const { argon2, started, waiting, release } = held();
    const passwords = make({ argon2, concurrency: 2, queue: 10 });
    const jobs = ['one', 'two', 'three', 'four', 'five'].map((password) => passwords.hash(password));
    await settle();
    expect(started).toEqual(['one', 'two']);
    release();
    await settle();
    expect(started).toEqual(['one', 'two', 'three']);
    // A newcomer goes to the end.
    jobs.push(passwords.hash('six'));
    while (started.length < 6) {
      expect(waiting.length).toBeLessThanOrEqual(2);
      release();
      await settle();
    }
    expect(started).toEqual(['one', 'two', 'three', 'four', 'five', 'six']);
    release();
    release();
    expect(await Promise.all(jobs)).toHaveLength(6);
  });

  it('answers 503 with Retry-After once it is full, whoever asks, and recovers', async () => {
    const { argon2, release } = held();
    const passwords = make({ argon2, concurrency: 1, queue: 2 });
    const jobs = [passwords.hash('one'), passwords.hash('two'), passwords.hash('three')];
    const full = {
      status: 503,
      code: 'overloaded',
      details: { retryAfterSeconds: expect.toSatisfy((s: number) => s >= 1) },
    };
    await expect(passwords.hash('four')).rejects.toMatchObject(full);
    await expect(passwords.verify('four', undefined)).rejects.toMatchObject(full);
    await expect(passwords.verify('four', strongArgon2)).rejects.toMatchObject(full);
    release();
    await settle();
    jobs.push(passwords.hash('five'));
    for (let count = 0; count < 3; count += 1) {
      release();
      await settle();
    }
    expect(await Promise.all(jobs)).toHaveLength(4);
  });

  it('tells a flood from a few who come at the same time', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const { argon2, release } = held();
    const passwords = make({ argon2, concurrency: 1, queue: 0 });
    const job = passwords.hash('one');
    for (let refused = 0; refused < 10; refused += 1) {
      expect(() => passwords.assertNoFlood()).not.toThrow();
      expect(() => passwords.assertRoom()).toThrow(expect.objectContaining({ code: 'overloaded' }));
    }
    expect(() => passwords.assertNoFlood()).toThrow(expect.objectContaining({ code: 'overloaded' }));
    vi.advanceTimersByTime(1000);
    expect(() => passwords.assertNoFlood()).not.toThrow();
    vi.useRealTimers();
    release();
    await job;
  });

  it('gives the place back when a computation fails, and does not call the failure a wrong password', async () => {
    const { argon2 } = held();
    const passwords = make({ argon2, concurrency: 1, queue: 0 });
    for (let count = 0; count < 3; count += 1) {
      await expect(passwords.verify(secret, strongArgon2)).rejects.toThrow('the native library failed');
    }
  });
});

describe('the rules for new passwords', () => {
  const codes = async (password: string, context = nobody, options: Partial<PasswordOptions> = {}) =>
    (await make(options).check(password, context)).map(({ code }) => code);

  for (const password of [
    'gentle otter plays',
    'xkqvbnwz',
    '83619274',
    'вечерний дождь',
    '🔒🌵🎷🧭🪁🥝🛶🎈',
    'x7x7kq!zPw',
    'lovely weather in adana today',
  ]) {
    it(`accepts ${password}`, async () => {
      expect(await codes(password)).toEqual([]);
    });
  }

  for (const [password, expected] of [
    ['short', 'password_too_short'],
    ['', 'password_too_short'],
    ['🔒🌵🎷🧭', 'password_too_short'],
    ['\ufdfa', 'password_too_short'],
    ['y'.repeat(1025), 'password_too_long'],
    ['password', 'password_common'],
    ['PassWord1', 'password_common'],
    ['ｐａｓｓｗｏｒｄ１', 'password_common'],
    ['trustno1', 'password_common'],
    ['zzzzzzzzzzzzzzz', 'password_common'],
    ['               ', 'password_common'],
    ['xyxyxyxyxyx', 'password_common'],
    ['abcdefghijkl', 'password_common'],
    ['9876543210', 'password_common'],
    ['aaaa4321bbbb', 'password_common'],
    ['poiuytrewq', 'password_common'],
    ['ada@lovelace.example', 'password_contains_identity'],
    ['Ada Lovelace', 'password_contains_identity'],
    ['lovelace-ada-1815', 'password_contains_identity'],
    ['L.o.v.e.l.a.c.e', 'password_contains_identity'],
    ['Countersign-2026', 'password_contains_identity'],
  ] as const) {
    it(`refuses ${password.slice(0, 24)}: ${expected}`, async () => {
      expect(await codes(password)).toEqual([expected]);
    });
  }

  it('says what the limits are', async () => {
    expect(await make({ minLength: 12 }).check('gentle otte', nobody)).toEqual([
      { code: 'password_too_short', values: { min: 12 } },
    ]);
    expect(await make().check('y'.repeat(1025), nobody)).toEqual([
      { code: 'password_too_long', values: { max: 1024 } },
    ]);
  });

  it('knows names with accents, parts of the address, and the brand', async () => {
    const context = { email: 'h.mueller+id@wolkenkuckucksheim.de', name: 'Hélène Müller' };
    for (const password of ['helene-MULLER', 'mueller99', 'wolkenkuckucksheim!', 'acme cloud 1']) {
      expect(await codes(password, context, { brandName: 'Acme Cloud' })).toEqual(['password_contains_identity']);
    }
    expect(await codes('mueller cycles to work on sundays', context)).toEqual([]);
  });

  it('is not confused by people without a name', async () => {
    expect(await codes('gentle otter plays', { email: '', name: '' })).toEqual([]);
    expect(await codes('gentle otter plays', { email: 'g@e.o', name: 'Li' })).toEqual([]);
  });

  it('does not take ordinary words for sequences', () => {
    for (const password of ['', 'a', 'abc', 'defenestrate', 'hijacked no more', '19122047'])
      expect(isTrivial(password)).toBe(false);
  });
});

describe('the breached-password service', () => {
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  const password = 'gentle otter plays';
  const sha1 = createHash('sha1').update(password).digest('hex').toUpperCase();

  const service = async (answer: (request: IncomingMessage, response: ServerResponse) => void) => {
    const seen: { url: string | undefined; padding: string | string[] | undefined }[] = [];
    const server = createServer((request, response) => {
      seen.push({ url: request.url, padding: request.headers['add-padding'] });
      answer(request, response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closing.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const warnings: unknown[] = [];
    const log = { warn: (...given: unknown[]) => void warnings.push(given) } as unknown as PasswordOptions['log'];
    const breachUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/range/`;
    return { seen, warnings, breachUrl, passwords: make({ breachUrl, log }) };
  };

  it('learns five hex digits of the SHA-1, asked for padding, and refuses what it knows', async () => {
    const { passwords, seen, warnings } = await service((_, response) => {
      response.end(`${'0'.repeat(35)}:3\r\n${sha1.slice(5)}:17\r\n${'F'.repeat(35)}:0\r\n`);
    });
    expect(await passwords.check(password, nobody)).toEqual([{ code: 'password_breached' }]);
    expect(seen).toEqual([{ url: `/range/${sha1.slice(0, 5)}`, padding: 'true' }]);
    expect(warnings).toEqual([]);
  });

  it('accepts a password that is not in the answer, or only as padding', async () => {
    const { passwords, warnings } = await service((_, response) => {
      response.end(`${'0'.repeat(35)}:3\r\n${sha1.slice(5)}:0`);
    });
    expect(await passwords.check(password, nobody)).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it('is not asked about a password that is refused anyway', async () => {
    const { passwords, seen } = await service((_, response) => response.end());
    await passwords.check('password', nobody);
    expect(seen).toEqual([]);
  });

  it('may be configured without the slash', async () => {
    const { breachUrl, seen } = await service((_, response) => response.end());
    await make({ breachUrl: breachUrl.slice(0, -1) }).check(password, nobody);
    expect(seen[0]?.url).toBe(`/range/${sha1.slice(0, 5)}`);
  });

  for (const [name, answer] of [
    ['answers 500', (_, response) => void response.writeHead(500).end()],
    ['hangs up', (request) => void request.socket.destroy()],
    [
      'breaks off',
      (_, response) => void response.writeHead(200, { 'content-length': 1000 }).write('0', () => response.destroy()),
    ],
    ['answers something else', (_, response) => void response.end('<html>hello</html>')],
  ] as [string, (request: IncomingMessage, response: ServerResponse) => void][]) {
    it(`does not stop anyone when it ${name}`, async () => {
      const { passwords, warnings } = await service(answer);
      expect(await passwords.check(password, nobody)).toEqual([]);
      expect(warnings).toHaveLength(name === 'answers something else' ? 0 : 1);
      expect(JSON.stringify(warnings)).not.toContain(sha1.slice(0, 5));
    });
  }

  it('gives it two seconds', async () => {
    const { timeout } = AbortSignal;
    const asked = vi.spyOn(AbortSignal, 'timeout').mockImplementation(() => timeout.call(AbortSignal, 20));
    closing.push(() => asked.mockRestore());
    const { passwords, warnings } = await service(() => undefined);
    expect(await passwords.check(password, nobody)).toEqual([]);
    expect(asked.mock.calls).toEqual([[2_000]]);
    expect(warnings).toHaveLength(1);
  });
});
