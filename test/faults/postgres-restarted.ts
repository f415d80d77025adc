/** PostgreSQL is restarted under load, as an operator or a failover does it. */
import { ask, away, fine } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startScene } from './scene.ts';

await trial(import.meta.filename, async (t) => {
  const { postgres, service, traffic, finish } = await startScene(t);
  await sleep(1000);
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    traffic.phase(`restart (${signal === 'SIGINT' ? 'fast' : 'immediate'})`, away);
    await postgres.stop(signal);
    await sleep(t.short ? 500 : 3000);
    await postgres.start();
    await sleep(t.short ? 1500 : 3000);
  }
  await until('readiness', 30, async () => (await ask(`${service.address}/health/ready`)).status === 200);
  await sleep(500);
  traffic.phase('after', fine);
  await sleep(t.short ? 1000 : 3000);
  await finish();
});
