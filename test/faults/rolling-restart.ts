/**
 * A new version is rolled out under load: two services behind a proxy are replaced one after the other with SIGTERM, and the processes of
 * one service with SIGHUP. No request fails.
 */
import { startRoundRobin } from '../support/round-robin.ts';
import { ask, fine, newMachine, newPerson, startTraffic } from './clients.ts';
import { trial, until } from './frame.ts';
import { startPostgres } from './machinery.ts';
import { serve } from './service.ts';

await trial(import.meta.filename, async (t) => {
  const postgres = await startPostgres(t);
  const proxy = await startRoundRobin({ probeMs: 200 });
  t.later(proxy.stop);
  const issuer = `http://localhost:${proxy.port}`;
  const settings = {
    DATABASE_URL: postgres.url,
    DATABASE_POOL_MAX: '8',
    WEB_CONCURRENCY: '2',
    DRAIN_DELAY: t.short ? '4s' : '6s',
    LOG_LEVEL: 'info',
  };
  const [first, second] = [await serve(t, { settings, issuer }), await serve(t, { settings, issuer })];
  const services = [first, second];
  proxy.targets.push(...services.map(({ address }) => address));
  const people = [await newPerson(issuer), await newPerson(issuer)];
  const machine = await newMachine(postgres.url);
  const get = (path: string) => (at: string) => ask(`${at}${path}`);
  const others = { jwks: get('/.well-known/jwks.json'), page: get('/register'), health: get('/health/live') };
  const behindProxy = startTraffic(t, { addresses: [issuer], people: people.slice(0, 1), machine, others });
  // Directly, as of a client that knows of no other.
  const direct = startTraffic(t, { addresses: [first.address], people: people.slice(1), machine, others });

  direct.phase('processes replaced by SIGHUP', fine);
  behindProxy.phase('processes replaced by SIGHUP', fine);
  const pids = async () => (await first.metric('process_resident_memory_bytes')) > 0;
  for (let round = 0; round < (t.short ? 1 : 3); round++) {
    const done = () => first.log().split('all processes have been replaced').length;
    const before = done();
    process.kill(first.pid(), 'SIGHUP');
    await until('all processes are replaced', 60, () => done() > before);
    t.check(await pids(), 'nobody tells metrics');
  }
  await direct.stop();

  behindProxy.phase('services replaced by SIGTERM', fine);
  for (let round = 0; round < (t.short ? 1 : 2); round++)
    for (const service of services) {
      const code = await service.stop();
      t.check(code === 0, `a service ended with ${code}`);
      await until('the proxy knows that it is gone', 60, () => !proxy.isReady(service.address));
      await service.start();
      await until('the proxy knows that it is back', 60, () => proxy.isReady(service.address));
    }
  await behindProxy.stop();
});
