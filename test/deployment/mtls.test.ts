/** The example of certificates between services is run as it stands: with TLS spoken here, and by nginx in front. */
import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const example = fileURLToPath(new URL('../../docs/examples/mtls/run.ts', import.meta.url));
const hasNginx = Boolean(process.env.NGINX_PATH) || spawnSync('nginx', ['-v']).status === 0;

const run = async (...args: string[]): Promise<string[]> => {
  const { NODE_ENV, VITEST, ...environment } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, [example, ...args], {
    env: environment,
    timeout: 110_000,
  });
  return stdout.trim().split('\n');
};

describe('docs/examples/mtls', () => {
  const shown = [
    'ok  orders gets a token for its certificate',
    'ok  nobody does without a certificate',
    'ok  orders calls stock with it',
    'ok  the stolen token is worth nothing under another certificate',
    'ok  and without one there is no connection',
  ];
  it('works where Countersign speaks TLS', async () => {
    expect(await run()).toEqual(expect.arrayContaining(shown));
  }, 120_000);
  it.skipIf(!hasNginx)(
    'works where nginx does',
    async () => {
      expect(await run('nginx')).toEqual(expect.arrayContaining(shown));
    },
    120_000,
  );
});
