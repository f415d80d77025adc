/** The parts of importing from Keycloak that need no database: reading the file, credentials, clients, the report. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readHash } from '../../src/auth/password-hashes.ts';
import { toPasskey, toPasswordHash, toTotp } from '../../src/keycloak/credentials.ts';
import { KeycloakCredential } from '../../src/keycloak/realm.ts';
import { splitDocument } from '../../src/keycloak/realm-file.ts';
import { createReporter, exitCodeOf, toText } from '../../src/keycloak/report.ts';
import { keycloakMistakes } from '../../src/keycloak-settings.ts';
import { password } from '../support/browser.ts';
import {
  argon2Credential,
  oldCredential,
  otpCredential,
  passkeyCredential,
  pbkdf2Credential,
} from '../support/keycloak-realm.ts';

/** The text in pieces that end anywhere. */
async function* cut(text: string, sizes: readonly number[]): AsyncGenerator<string> {
  let at = 0;
  for (let piece = 0; at < text.length; piece++) {
    const size = sizes[piece % sizes.length] ?? 1;
    yield text.slice(at, at + size);
    at += size;
  }
}

const split = async (text: string, sizes: readonly number[] = [7]) => {
  const pieces: [string, unknown][] = [];
  const take = (name: string) => (name === 'users' ? 'elements' : name === 'skipped' ? 'skip' : 'whole');
  for await (const piece of splitDocument(cut(text, sizes), take)) pieces.push([piece.name, JSON.parse(piece.text)]);
  return pieces;
};

describe('a realm file', () => {
  it('is split as JSON.parse would have it, wherever its chunks end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 5 }),
        fc.array(fc.jsonValue(), { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
        fc.constantFrom(undefined, 2),
        async (members, users, sizes, indent) => {
          const { users: _users, skipped: _skipped, ...others } = members;
          const document = { ...others, users, skipped: [{ a: '"}],' }] };
          const expected = [
            ...Object.entries(JSON.parse(JSON.stringify(others))),
            ...JSON.parse(JSON.stringify(users)).map((user: unknown) => ['users', user]),
          ];
          expect(await split(JSON.stringify(document, null, indent), sizes)).toEqual(expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  for (const [name, text, message] of [
    ['nothing', '', /not a JSON object/],
    ['a list', '[{"realm":"a"}]', /several realms/],
    ['a text', '"hello"', /not a JSON object/],
    ['one that breaks off in a text', '{"realm":"a', /not whole/],
    ['one that breaks off in a user', '{"users":[{"username":"a"}', /not whole/],
    ['a user of more than a megabyte', `{"users":[{"username":"${'x'.repeat(2 ** 21)}"}]}`, /longer than it may be/],
  ] as const)
    it(`is refused: ${name}`, async () => {
      await expect(split(text, [65_536])).rejects.toThrow(message);
    });

  it('without a list of users has none', async () => {
    expect(await split('{"users": null, "realm": "a"}')).toEqual([['realm', 'a']]);
    expect(await split('{"users": [], "realm": "a"}')).toEqual([['realm', 'a']]);
    expect(await split('{"users": {"a": [1, 2]}, "realm": "a"}')).toEqual([['realm', 'a']]);
  });
});

describe('credentials', () => {
  const read = (credential: object) => KeycloakCredential.parse(credential);
  const hashes = async (): Promise<Record<string, object>> => ({
    'PBKDF2, SHA-1': pbkdf2Credential('pbkdf2'),
    'PBKDF2, SHA-256': pbkdf2Credential('pbkdf2-sha256'),
    'PBKDF2, SHA-512': pbkdf2Credential('pbkdf2-sha512'),
    'PBKDF2, old': oldCredential(),
    argon2: await argon2Credential(),
    'bcrypt of an extension': {
      type: 'password',
      credentialData: '{"hashIterations":-1,"algorithm":"bcrypt"}',
      secretData: '{"value":"$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i","salt":""}',
    },
  });

  it('become hashes that verify the same password and no other', async () => {
    for (const [name, credential] of Object.entries(await hashes())) {
      const stored = toPasswordHash(read(credential));
      const verify = stored === undefined ? undefined : readHash(stored)?.verify;
      const text = name.startsWith('bcrypt') ? 'abc' : password;
      expect([name, await verify?.(Buffer.from(text)), await verify?.(Buffer.from(`${text}!`))]).toEqual([
        name,
        true,
        false,
      ]);
    }
  });

  const data = { hashIterations: 1000, algorithm: 'pbkdf2-sha256' };
  const secret = { value: Buffer.alloc(32, 7).toString('base64'), salt: 'c2FsdA==' };
  const credential = (credentialData: unknown, secretData: unknown) =>
    read({ type: 'password', credentialData: JSON.stringify(credentialData), secretData: JSON.stringify(secretData) });
  for (const [name, given] of [
    ['nothing', read({ type: 'password' })],
    ['no JSON', read({ type: 'password', credentialData: '{', secretData: '{' })],
    ['an empty digest, which would equal every password’s', credential(data, { ...secret, value: '' })],
    ['a digest of one byte', credential(data, { ...secret, value: 'AA==' })],
    ['an unknown algorithm', credential({ ...data, algorithm: 'md5' }, secret)],
    ['a name of every object', credential({ ...data, algorithm: 'constructor' }, secret)],
    ['too many iterations', credential({ ...data, hashIterations: 90_000_000 }, secret)],
    ['no iterations', credential({ ...data, hashIterations: 0 }, secret)],
    ['argon2 without its parameters', credential({ ...data, algorithm: 'argon2' }, secret)],
    [
      'argon2 of 4 GiB',
      credential(
        { ...data, algorithm: 'argon2', additionalParameters: { memory: ['4194304'], parallelism: ['1'] } },
        secret,
      ),
    ],
    [
      'parameters that end the text and begin another',
      credential({ ...data, algorithm: 'argon2', additionalParameters: { memory: ['8,t=1,p=1$x$y$'] } }, secret),
    ],
  ] as const)
    it(`are refused: a password with ${name}`, () => expect(toPasswordHash(given)).toBeUndefined());

  it('authenticator apps of every age are read', () => {
    const key = Buffer.from('kC0m2V1b3qHq7W3S5r9w');
    expect(toTotp(read(otpCredential(key.toString())))).toMatchObject({ secret: key, algorithm: 'SHA1', digits: 6 });
    expect(
      toTotp(read({ type: 'totp', value: key.toString(), digits: 8, period: 60, algorithm: 'HmacSHA512' })),
    ).toEqual({
      name: 'Authenticator app',
      secret: key,
      algorithm: 'SHA512',
      digits: 8,
      periodSeconds: 60,
    });
    for (const odd of [
      { digits: 5 },
      { period: 5 },
      { algorithm: 'HmacMD5' },
      { secretEncoding: 'HEX' },
      { subType: 'hotp' },
    ])
      expect(toTotp(read(otpCredential(key.toString(), odd)))).toBeUndefined();
    expect(toTotp(read(otpCredential('short')))).toBeUndefined();
    expect(toTotp(read(otpCredential('0189', { secretEncoding: 'BASE32' })))).toBeUndefined();
  });

  it('passkeys are read if their key is one that can be used', () => {
    const { key, credential } = passkeyCredential('https://id.example.com', 'somebody');
    const passkey = toPasskey(read(credential));
    expect(passkey).toMatchObject({
      credentialId: key.credentialId.toString('base64url'),
      discoverable: false,
      counter: 1,
    });
    const parsed = JSON.parse(credential.credentialData);
    for (const odd of [{ credentialPublicKey: 'AAAA' }, { credentialPublicKey: undefined }, { credentialId: '!' }])
      expect(toPasskey(read({ ...credential, credentialData: JSON.stringify({ ...parsed, ...odd }) }))).toBeUndefined();
  });
});

describe('the report', () => {
  it('counts all, names a hundred, and has nothing that a terminal would obey', () => {
    const reporter = createReporter('acme\u001b[2J', false);
    for (let at = 0; at < 150; at++) reporter.note('user-without-email', `user${at}\u001b[31m`);
    reporter.count('users', 'left out');
    const report = reporter.report();
    expect(report.notes[0]).toMatchObject({ count: 150, items: expect.objectContaining({ length: 100 }) });
    expect(toText(report)).toContain('150 × no email address');
    expect(toText(report)).toContain('and 50 more');
    expect(toText(report)).not.toContain('\u001b');
    expect(exitCodeOf(report)).toBe(2);
  });
});

describe('the settings of provisioning', () => {
  const all = {
    KEYCLOAK_SYNC_URL: 'https://kc.example.com',
    KEYCLOAK_SYNC_REALM: 'acme',
    KEYCLOAK_SYNC_CLIENT_ID: 'sync',
    KEYCLOAK_SYNC_CLIENT_SECRET: 'x',
  };
  for (const [name, values, production, expected] of [
    ['none', {}, true, []],
    ['all', { ...all, KEYCLOAK_SYNC_EVERY: 900 }, true, []],
    ['a URL alone', { KEYCLOAK_SYNC_URL: all.KEYCLOAK_SYNC_URL }, false, ['REALM', 'CLIENT_ID', 'CLIENT_SECRET']],
    ['an interval alone', { KEYCLOAK_SYNC_EVERY: 900 }, false, ['URL']],
    ['plain http in production', { ...all, KEYCLOAK_SYNC_URL: 'http://kc' }, true, ['URL']],
    ['plain http elsewhere', { ...all, KEYCLOAK_SYNC_URL: 'http://kc' }, false, []],
  ] as const)
    it(`go together: ${name}`, () =>
      expect(keycloakMistakes(values, production).map((line) => line.split(':')[0])).toEqual(
        expected.map((part) => `KEYCLOAK_SYNC_${part}`),
      ));
});
