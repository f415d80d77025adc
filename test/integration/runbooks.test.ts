/** Every command of the runbooks in docs/operations runs as it stands, in its order, against a service's own database. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { administer, createTestDatabase, onPostgres, type TestDatabase } from '../support/database.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'countersign-runbooks-'));
const restored = `runbooks_restored_${randomBytes(6).toString('hex')}`;

/** The commands of a runbook; those of the embedded database are marked. */
const scriptOf = (runbook: string, kind: '' | ' embedded'): string => {
  const text = readFileSync(join(root, 'docs/operations', `${runbook}.md`), 'utf8');
  return [...text.matchAll(/```sh( \w+)?\n([\s\S]*?)```/g)]
    .filter(([, marked = '']) => marked === kind)
    .map(([, , commands]) => commands)
    .join('\n');
};

let database: TestDatabase;
const env: Record<string, string> = {};
beforeAll(async () => {
  database = await createTestDatabase();
  for (const name of ['bin', 'backup', 'secrets']) mkdirSync(join(folder, name));
  const shim = join(folder, 'bin', 'countersign');
  writeFileSync(shim, `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'src/countersign.js')}' "$@"\n`);
  chmodSync(shim, 0o755);
  writeFileSync(join(folder, 'secrets/current'), randomBytes(32).toString('base64'));
  writeFileSync(join(folder, 'secrets/admin-password'), 'correct horse battery staple');
  Object.assign(env, {
    PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
    NODE_ENV: 'production',
    LOG_LEVEL: 'silent',
    JWT_ISSUER: 'https://id.operator.test',
    ENCRYPTION_MASTER_KEY_FILE: join(folder, 'secrets/current'),
    BACKUP: join(folder, 'backup'),
    SECRETS: join(folder, 'secrets'),
    RESTORED: restored,
    ADMIN_EMAIL: 'operator@example.com',
    DATA_DIR: join(folder, 'data'),
    ...(database.url ? { DATABASE_URL: database.url } : {}),
  });
});
afterAll(async () => {
  await database.close();
  await database.drop();
  if (onPostgres)
    await administer(process.env.TEST_DATABASE_URL as string, `drop database if exists ${restored} with (force)`);
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a script as an operator would, and stops at the first command that fails. */
const run = (script: string, settings: Record<string, string> = {}): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile('bash', ['-euo', 'pipefail', '-c', script], { env: { ...env, ...settings } }, (error, out, said) =>
      error ? reject(new Error(`${error.message}\n${out}\n${said}`)) : resolve(out),
    );
  });
/** The answers of commands that print an object each. */
const objectsOf = (out: string): Record<string, unknown>[] =>
  (out.match(/^\{[\s\S]*?^\}/gm) ?? []).map((text) => JSON.parse(text) as Record<string, unknown>);

// They need a PostgreSQL and its programs, which the embedded run does without.
describe.runIf(onPostgres)('on PostgreSQL, docs/operations', { timeout: 120_000 }, () => {
  const actions = async (): Promise<string[]> =>
    database.db('auditLogs').whereRaw("action similar to '(master_key|session.end_all|key.rotate)%'").pluck('action');

  it('upgrade.md', async () => {
    expect(objectsOf(await run(scriptOf('upgrade', '')))).toEqual([{ migrated: [] }]);
    await run('countersign create-admin --email ada@example.com --password - < "$SECRETS/admin-password"');
  });

  it('rollback.md', async () => {
    await database.db('schemaMigrations').insert({ name: '99990101000000_come_later' });
    expect(objectsOf(await run(scriptOf('rollback', '')))).toEqual([{ migrated: [] }]);
    await database.db('schemaMigrations').delete().where({ name: '99990101000000_come_later' });
  });

  it('backup-and-restore.md', async () => {
    const [migrated, opened, ended, rotated] = objectsOf(await run(scriptOf('backup-and-restore', '')));
    expect(migrated).toEqual({ migrated: [] });
    expect(opened).toMatchObject({ left: [] });
    expect(ended).toHaveProperty('refreshTokens');
    expect(rotated).toHaveProperty('keys.3');
    const url = new URL(database.url as string);
    url.pathname = `/${restored}`;
    const out = await run(`psql -At "${url}" -c "select email from users"`);
    expect(out.trim()).toBe('ada@example.com');
  });

  it('master-key-rotation.md', async () => {
    const answers = objectsOf(await run(scriptOf('master-key-rotation', '')));
    const [ready, waiting, done, checked, last] = answers as { masterKey: string; left: unknown[]; resealed: object }[];
    expect(ready?.left).toEqual([]);
    expect(waiting?.left.length).toBeGreaterThan(2);
    expect(waiting?.masterKey).not.toBe(ready?.masterKey);
    expect(Object.keys(done?.resealed ?? {})).toContain('jwks_keys.private_encrypted');
    for (const answer of [done, checked, last])
      expect([answer?.left, answer?.masterKey]).toEqual([[], waiting?.masterKey]);
    expect(await actions()).toEqual(expect.arrayContaining(['master_key.rotate', 'master_key.complete']));
  });

  it('signing-key-compromise.md', async () => {
    const before = await database.db('jwksKeys').pluck('kid');
    await run(scriptOf('signing-key-compromise', ''));
    const after = await database.db('jwksKeys').pluck('kid');
    expect(after.filter((kid) => before.includes(kid))).toEqual([]);
    expect(await actions()).toEqual(expect.arrayContaining(['key.rotate', 'session.end_all']));
  });

  it('key-loss.md, which asks for a confirmation and for a key that is lost', async () => {
    const issuer = env.JWT_ISSUER;
    await expect(run('countersign recover-from-key-loss')).rejects.toThrow(`add --confirm ${issuer}`);
    await expect(run(`countersign recover-from-key-loss --confirm ${issuer}`)).rejects.toThrow(
      'nothing to recover from',
    );
    const [forgotten, opened, admin] = objectsOf(await run(scriptOf('key-loss', '')));
    expect(forgotten).toMatchObject({ signingKeys: 4, lastingKeys: 9 });
    expect(opened).toMatchObject({ left: [] });
    expect(admin).toMatchObject({ email: 'operator@example.com' });
    expect(await actions()).toContain('master_key.lose');
  });
});

it('docs/operations/backup-and-restore.md, for the embedded database', { timeout: 120_000 }, async () => {
  const development = { NODE_ENV: 'development', JWT_ISSUER: 'http://localhost:3000' };
  const settings = { ...development, DATABASE_URL: '', ENCRYPTION_MASTER_KEY_FILE: '' };
  await run('countersign create-admin --email ada@example.com --password - < "$SECRETS/admin-password"', settings);
  await run(scriptOf('backup-and-restore', ' embedded'), settings);
  const out = await run('countersign rotate-master-key --check', {
    ...settings,
    DATA_DIR: join(folder, 'backup/data'),
  });
  expect(objectsOf(out)).toEqual([expect.objectContaining({ left: [] })]);
});
