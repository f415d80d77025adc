/**
 * The clock of one process is set forward by an hour, back, and an hour back from there, under load. (A preloaded module shifts its `Date`:
 * see `shifted-clock.ts`.) Tokens are judged by the time that it is then, so that access tokens may have expired; whoever holds a
 * refresh token goes on, nothing that measures a duration stops or runs wild, and caches hear of changes as ever.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask, askToken, basic, fine } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startScene } from './scene.ts';

const hourMs = 3_600_000;
/** An access token that has expired is refused. */
const expired = new Set([...fine, 401]);

await trial(import.meta.filename, async (t) => {
  const clock = join(t.directory, 'clock');
  writeFileSync(clock, '0');
  const { service, traffic, machine, postgres, finish } = await startScene(t, {
    people: 4,
    nodeArguments: ['--import', join(import.meta.dirname, 'shifted-clock.ts')],
    settings: { FAULTS_CLOCK: clock },
  });
  const pauseMs = t.short ? 2000 : 10_000;
  /** What is stored of the machine's client changes, and back. */
  const changes = async (when: string) => {
    const setHash = (hash: string) =>
      postgres.query('update clients set client_secret_hash = $1 where client_id = $2', [hash, machine.clientId]);
    const [row] = await postgres.query<{ hash: string }>(
      'select client_secret_hash hash from clients where client_id = $1',
      [machine.clientId],
    );
    await setHash('changed');
    const isHeard = async () => (await askToken(service.address, machine)).status === 401;
    await until(`a change is heard of ${when}`, 10, isHeard).catch(({ message }: Error) => t.lost(message));
    await setHash(row?.hash as string);
    const isBack = async () => (await askToken(service.address, machine)).status === 200;
    await until(`it is heard of ${when} that it was taken back`, 10, isBack).catch(({ message }: Error) =>
      t.lost(message),
    );
  };
  /** A token that is asked for at this time holds at this time. */
  const holds = async (when: string) => {
    const token = (await askToken(service.address, machine)).json?.access_token as string;
    const { json } = await ask(`${service.address}/oauth/introspect`, { form: { token }, headers: basic(machine) });
    t.check(json?.active === true, `${when} a new token is not active: ${JSON.stringify(json)}`);
  };
  await sleep(500);
  for (const [when, shiftMs] of [
    ['an hour ahead', hourMs],
    ['back again', 0],
    ['an hour behind', -hourMs],
    ['as it was', 0],
  ] as const) {
    traffic.phase(when, expired);
    writeFileSync(clock, String(shiftMs));
    await sleep(pauseMs);
    await holds(when);
    await changes(when);
    const ready = await ask(`${service.address}/health/ready`);
    t.check(ready.status === 200, `${when} it is not ready: ${ready.text}`);
  }
  await sleep(500);
  traffic.phase('after', fine);
  await sleep(1000);
  await finish();
});
