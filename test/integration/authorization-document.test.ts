/** Every command that docs/authorization.md shows does what it says, in the order in which it stands there. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { registerAccount } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { startServer, type TestServer } from '../support/server.ts';

const run = promisify(execFile);
const text = readFileSync(fileURLToPath(new URL('../../docs/authorization.md', import.meta.url)), 'utf8');

/** The commands in order; what goes on inside quotes goes on in the next line. */
const commands = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = '']) => {
  const lines: string[] = [];
  for (const line of block.trimEnd().split('\n')) {
    if (((lines.at(-1) ?? '').split("'").length - 1) % 2) lines.push(`${lines.pop()}\n${line}`);
    else lines.push(line);
  }
  return lines;
});

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

it('docs/authorization.md shows commands that work as they stand', { timeout: 180_000 }, async () => {
  const { token } = await callerOf(server, { role: 'super_admin' });
  // The document's people.
  const people = { ADA: await registerAccount(server, 'ada@example.com'), GRACE: await registerAccount(server) };
  const known: Record<string, string> = {};
  const call = `call() { curl -s -w '\\n%{http_code}' -X "$1" "$API$2" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \${3:+-d "$3"}; }`;
  let answer: { id?: string; data?: { id: string }[] } = {};
  const refused: string[] = [];
  for (const command of commands) {
    const [, name = ''] = /^([A-Z]+)=…/.exec(command) ?? [];
    if (name in people) {
      const email = people[name as keyof typeof people];
      known[name] = (await server.database.db('users').where({ email }).first('id')).id;
    } else if (name && name !== 'TOKEN') known[name] = answer.id ?? answer.data?.[0]?.id ?? '';
    if (!command.startsWith('call ')) continue;
    const env = { PATH: process.env.PATH ?? '', API: `${server.address}/api/v1`, TOKEN: token, ...known };
    const { stdout } = await run('bash', ['-c', `${call}\n${command}`], { env });
    const at = stdout.lastIndexOf('\n');
    if (!/^20/.test(stdout.slice(at + 1))) refused.push(`${command}: ${stdout}`);
    answer = JSON.parse(stdout.slice(0, at) || '{}');
  }
  // The record that the document tells to make is in nobody's DNS.
  expect(refused).toEqual([expect.stringContaining('/verify:')]);
  expect(Object.values(known)).not.toContain('');
});
