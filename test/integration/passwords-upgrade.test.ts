/** People whose passwords another system hashed sign in with the password they have, and are hashed anew by it. */
import { pbkdf2Sync, scryptSync } from 'node:crypto';
import { hash as argon2 } from '@node-rs/argon2';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Browser, password, registerAccount } from '../support/browser.ts';
import { signIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

/** The library's constants are for the compiler alone, and cannot be imported here. */
const [argon2i, argon2id] = [1, 2];

const base64 = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '');
const salt = Buffer.from('sixteen bytes ok');
const hashes: Record<string, () => string | Promise<string>> = {
  bcrypt: () => bcrypt(password, 10),
  scrypt: () =>
    `$scrypt$ln=14,r=8,p=1$${base64(salt)}$${base64(scryptSync(password, salt, 32, { N: 2 ** 14, r: 8, p: 1 }))}`,
  'PBKDF2-SHA256': () =>
    `$pbkdf2-sha256$29000$${base64(salt)}$${base64(pbkdf2Sync(password, salt, 29_000, 32, 'sha256'))}`,
  "Django's PBKDF2": () =>
    `pbkdf2_sha256$29000$salt$${pbkdf2Sync(password, 'salt', 29_000, 32, 'sha256').toString('base64')}`,
  argon2i: () => argon2(password, { algorithm: argon2i, memoryCost: 4096, timeCost: 3 }),
  'a weak argon2id': () => argon2(password, { algorithm: argon2id, memoryCost: 4096, timeCost: 1 }),
};

for (const [name, make] of Object.entries(hashes))
  it(`${name} becomes argon2id at sign-in`, async () => {
    const { db } = server.database;
    const email = await registerAccount(server);
    const stored = await make();
    const read = async () => (await db('users').where({ email }).first('passwordHash')).passwordHash as string;
    await db('users').where({ email }).update({ passwordHash: stored });

    const wrong = await signIn(new Browser(server.issuer), email, 'not that password at all');
    expect([wrong.status, await read()]).toEqual([401, stored]);

    expect((await signIn(new Browser(server.issuer), email)).url.pathname).toBe('/account');
    const upgraded = await read();
    expect(upgraded).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);

    expect((await signIn(new Browser(server.issuer), email)).url.pathname).toBe('/account');
    expect(await read()).toBe(upgraded);
  });

it('a hash that no password can match signs nobody in', async () => {
  const email = await registerAccount(server);
  for (const passwordHash of ['', 'plain text', '$2b$31$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', null]) {
    await server.database.db('users').where({ email }).update({ passwordHash });
    expect((await signIn(new Browser(server.issuer), email)).status).toBe(401);
  }
});
