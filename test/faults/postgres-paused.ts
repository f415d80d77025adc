/** PostgreSQL freezes: it takes connections and statements, and answers nothing. So does a network that loses every packet. */
import { ask, away, fine } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startScene } from './scene.ts';

await trial(import.meta.filename, async (t) => {
  const { postgres, service, traffic, finish } = await startScene(t);
  await sleep(1000);
  traffic.phase('frozen', away, 8000);
  postgres.pause();
  await until('readiness says so', 30, async () => (await ask(`${service.address}/health/ready`)).status === 503);
  t.check((await ask(`${service.address}/health/live`)).status === 200, 'the process does not count as alive');
  await sleep(t.short ? 4000 : 60_000);
  // Once it is known, nobody waits for it.
  traffic.phase('known to be frozen', away, 3000);
  await sleep(1000);
  traffic.phase('thawed', away);
  postgres.resume();
  const ms = await until('readiness', 30, async () => (await ask(`${service.address}/health/ready`)).status === 200);
  t.note(`ready again after ${Math.round(ms)} ms`);
  await sleep(500);
  traffic.phase('after', fine);
  await sleep(t.short ? 1500 : 5000);
  await finish();
});
