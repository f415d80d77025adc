/** PostgreSQL is gone for a minute. */
import { ask, away, fine } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startScene } from './scene.ts';

await trial(import.meta.filename, async (t) => {
  const { postgres, service, traffic, finish } = await startScene(t);
  await sleep(1000);
  traffic.phase('gone', away);
  await postgres.stop('SIGQUIT');
  await until('readiness says so', 30, async () => (await ask(`${service.address}/health/ready`)).status === 503);
  t.check((await ask(`${service.address}/health/live`)).status === 200, 'the process does not count as alive');
  await sleep(t.short ? 5000 : 60_000);
  const before = service.pid();
  await postgres.start();
  const ms = await until('readiness', 30, async () => (await ask(`${service.address}/health/ready`)).status === 200);
  t.note(`ready again ${Math.round(ms)} ms after PostgreSQL was`);
  await sleep(500);
  traffic.phase('after', fine);
  await sleep(t.short ? 1500 : 5000);
  t.check(service.isRunning() && service.pid() === before, 'the process was restarted');
  await finish();
});
