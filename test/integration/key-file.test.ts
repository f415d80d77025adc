/** Signing keys from a PEM file (JWKS_PRIVATE_KEY_PATH) instead of the database. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/commands.ts';
import { loadKeySet } from '../../src/keys/key-set.ts';
import { expectPublic, issue, jwksOf, kidOf, kidsOf, openMachine } from '../support/jwks.ts';
import { startServer, type TestServer } from '../support/server.ts';

describe('keys in a file', () => {
  const pem = (key: KeyObject) => key.export({ format: 'pem', type: 'pkcs8' }).toString();
  const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength }).privateKey;
  const ec = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  let directory: string;
  let path: string;
  let server: TestServer;
  const [first, second] = [rsa(2048), rsa(2048)];
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'keys-'));
    path = join(directory, 'keys.pem');
    await writeFile(path, pem(first) + pem(second));
    server = await startServer({ JWKS_PRIVATE_KEY_PATH: path, JWKS_KEY_ID: 'one,two' });
  });
  afterAll(async () => {
    await server.stop();
    await rm(directory, { recursive: true });
  });

  it('are published with the configured ids, and the first one signs', async () => {
    const jwks = await jwksOf(server.issuer);
    expect(jwks.keys.map(({ kid, alg }) => [kid, alg])).toEqual([
      ['one', 'RS256'],
      ['two', 'RS256'],
    ]);
    expectPublic(jwks);
    const machine = await openMachine(server);
    const token = await issue(machine);
    expect(kidOf(token)).toBe('one');
    expect(await machine.isActive(token)).toBe(true);
    expect(await server.database.db('jwksKeys')).toEqual([]);
  });

  it('are not rotated by the command, which says how it is done', async () => {
    const answer = await commands['rotate-keys']?.run(server.app, {});
    expect(answer).toMatch(/JWKS_PRIVATE_KEY_PATH[\s\S]*Append[\s\S]*Remove/);
    expect(await kidsOf(server.issuer)).toEqual(['one', 'two']);
  });

  it('are taken up when the file grows', async () => {
    const machine = await openMachine(server);
    const old = await issue(machine);
    await writeFile(path, pem(first) + pem(second) + pem(ec()));
    await server.app.provider.reload();
    const { keys } = await jwksOf(server.issuer);
    expect(keys.map(({ alg }) => alg)).toEqual(['RS256', 'RS256', 'ES256']);
    expect(keys[2]?.kid).toMatch(/^[\w-]{43}$/);
    expect(await machine.isActive(old)).toBe(true);
    await writeFile(path, pem(first) + pem(second));
    await server.app.provider.reload();
  });

  it('keep their configured ids until a restart: no id comes to name another key', async () => {
    const { keys } = await jwksOf(server.issuer);
    await writeFile(path, pem(second) + pem(first));
    await server.app.provider.reload();
    expect((await jwksOf(server.issuer)).keys).toEqual(keys);
    await writeFile(path, pem(first) + pem(second));
  });

  it('are named by their thumbprint unless ids are configured, and take turns without a restart', async () => {
    const file = join(directory, 'unnamed.pem');
    await writeFile(file, pem(first) + pem(second));
    const other = await startServer({ JWKS_PRIVATE_KEY_PATH: file });
    try {
      const machine = await openMachine(other);
      const kids = await kidsOf(other.issuer);
      const old = await issue(machine);
      expect(kidOf(old)).toBe(kids[0]);
      await writeFile(file, pem(second) + pem(first));
      await other.app.provider.reload();
      expect(kidOf(await issue(machine))).toBe(kids[1]);
      expect(await machine.isActive(old)).toBe(true);
    } finally {
      await other.stop();
    }
  });

  it('sign as their kind does: P-256 alone gives ES256 tokens', async () => {
    const file = join(directory, 'ec.pem');
    await writeFile(file, pem(ec()));
    const other = await startServer({ JWKS_PRIVATE_KEY_PATH: file });
    try {
      const machine = await openMachine(other);
      const token = await issue(machine);
      expect(decodeProtectedHeader(token).alg).toBe('ES256');
      expect(await machine.isActive(token)).toBe(true);
    } finally {
      await other.stop();
    }
  });

  it('are RSA-PSS for PS256, ML-DSA, and X25519 for what others encrypt to us', async () => {
    const file = join(directory, 'kinds.pem');
    const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey;
    const [wrap, older] = [generateKeyPairSync('x25519').privateKey, generateKeyPairSync('x25519').privateKey];
    const blocks = [pss, generateKeyPairSync('ml-dsa-44').privateKey, wrap, older];
    await writeFile(file, blocks.map(pem).join(''));
    const other = await startServer({ JWKS_PRIVATE_KEY_PATH: file });
    try {
      const jwks = await jwksOf(other.issuer);
      expectPublic(jwks);
      expect(jwks.keys.map(({ kty, crv, alg, use }) => [kty, crv, alg, use])).toEqual([
        ['RSA', undefined, 'PS256', 'sig'],
        ['AKP', undefined, 'ML-DSA-44', 'sig'],
        ['OKP', 'X25519', undefined, 'enc'],
      ]);
      const machine = await openMachine(other);
      const token = await issue(machine);
      expect(decodeProtectedHeader(token).alg).toBe('PS256');
      await jwtVerify(token, createLocalJWKSet(jwks));
      expect(await machine.isActive(token)).toBe(true);
    } finally {
      await other.stop();
    }
  });

  const refused: Record<string, [content: string, because: RegExp]> = {
    'an RSA key of 1024 bits': [pem(rsa(1024)), /2048 bits or more/],
    'a curve that has no algorithm here': [
      pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey),
      /P-384 key cannot be used/,
    ],
    'an RSA-PSS key of 1024 bits': [
      pem(generateKeyPairSync('rsa-pss', { modulusLength: 1024 }).privateKey),
      /2048 bits or more/,
    ],
    'a file in which nothing signs': [pem(generateKeyPairSync('x25519').privateKey), /no key that can sign/],
    'a file without a key': ['not a key', /no private key/],
  };
  for (const [name, [content, because]] of Object.entries(refused))
    it(`refuse ${name}, at the start and while running`, async () => {
      const before = await kidsOf(server.issuer);
      await writeFile(path, content);
      await expect(loadKeySet({ JWKS_PRIVATE_KEY_PATH: path }, server.database.db, server.app.secrets)).rejects.toThrow(
        because,
      );
      await expect(server.app.provider.reload()).rejects.toThrow(because);
      expect(await kidsOf(server.issuer)).toEqual(before);
      await writeFile(path, pem(first) + pem(second));
    });
});
