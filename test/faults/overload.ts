/**
 * One process with little memory gets far more than it can do. It refuses what it cannot answer in time, with 503 and Retry-After; it
 * neither runs out of memory nor stops answering to whoever asks whether it is alive; and when the flood is over all is as before.
 */
import { Agent } from 'node:http';
import { ask, askToken, newMachine, newPerson, refresh } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startPostgres } from './machinery.ts';
import { serve } from './service.ts';

await trial(import.meta.filename, async (t) => {
  const postgres = await startPostgres(t);
  const service = await serve(t, {
    nodeArguments: ['--max-old-space-size=192'],
    settings: {
      DATABASE_URL: postgres.url,
      MAX_IN_FLIGHT: '100',
      MAX_EVENT_LOOP_DELAY: '200',
      DATABASE_POOL_MAX: '4',
      HASH_QUEUE: '20',
    },
  });
  const machine = await newMachine(postgres.url);
  const person = await newPerson(service.address);
  const counts = new Map<string, number>();
  const began = performance.now();
  const ends = began + (t.short ? 6000 : 60_000);
  const agent = new Agent({ keepAlive: true, maxSockets: 1200 });
  const body = { email: 'nobody@example.com', password: 'x'.repeat(60_000) };
  const flood = async (kind: string, send: () => ReturnType<typeof ask>) => {
    while (performance.now() < ends) {
      const { status, headers } = await send();
      const key = `${kind} ${status}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
      if (status === 503) t.check(Number(headers['retry-after']) > 0, `${kind}: 503 without Retry-After`);
      if (![200, 201, 400, 401, 429, 503].includes(status)) t.lost(`${kind} was answered ${status}`);
    }
  };
  const headers = { authorization: `Bearer ${person.accessToken}` };
  const floods = [
    ...Array.from({ length: 400 }, () => flood('me', () => ask(`${service.address}/auth/me`, { headers, agent }))),
    ...Array.from({ length: 200 }, () => flood('token', () => askToken(service.address, machine))),
    ...Array.from({ length: 100 }, () =>
      flood('large bodies', () => ask(`${service.address}/auth/login`, { json: body, agent })),
    ),
  ];
  let worstMs = 0;
  while (performance.now() < ends) {
    const live = await ask(`${service.address}/health/live`);
    worstMs = Math.max(worstMs, live.ms);
    t.check(live.status === 200, `the process does not count as alive: ${live.status} ${live.failure ?? ''}`);
    await sleep(250);
  }
  await Promise.all(floods);
  agent.destroy();
  t.note(
    `answered: ${[...counts]
      .map(([kind, count]) => `${kind}×${count}`)
      .sort()
      .join(', ')}`,
  );
  t.note(`liveness took ${Math.round(worstMs)} ms at the worst`);
  t.check(service.isRunning(), `the process died: ${service.log().slice(-500)}`);
  const shed = await service.metric('requests_shed_total');
  t.note(`requests_shed_total: ${shed}`);
  t.check(shed > 0, 'nothing was refused');
  t.check(
    [...counts.keys()].some((key) => key === 'me 200'),
    'nothing was answered',
  );
  // What is left of it is given back within seconds.
  const areTaken = async () => {
    for (let round = 0; round < 20; round++)
      if ((await askToken(service.address, machine)).status !== 200) return false;
    return true;
  };
  await until('no request is refused after the flood', 60, areTaken).catch(({ message }: Error) => t.lost(message));
  t.check((await refresh(service.address, person)).status === 200, 'the person cannot go on');
});
