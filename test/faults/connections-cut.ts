/**
 * Connections to PostgreSQL are cut in the middle of whatever they do: by the server, which ends them one after the other, and by the
 * network, which resets them all. Nothing is half written, and nothing twice.
 */
import { openRelay, type Relay } from '../support/relay.ts';
import { ask, away, fine } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startScene } from './scene.ts';

await trial(import.meta.filename, async (t) => {
  let relay: Relay | undefined;
  let made = 0;
  const registered: string[] = [];
  const { postgres, service, traffic, finish } = await startScene(t, {
    databaseUrl: async ({ port, url }) => {
      relay = await openRelay('127.0.0.1', port);
      const through = new URL(url);
      through.port = String(relay.port);
      return through.href;
    },
    settings: { LOG_LEVEL: 'error' },
    others: {
      register: async (address) => {
        const email = `cut-${++made}@example.com`;
        const json = { email, password: `correct-horse-${made}`, name: 'Grace' };
        const reply = await ask(`${address}/auth/register`, { json });
        if (reply.status === 201) registered.push(email);
        return reply;
      },
    },
    pauseMs: 0,
  });
  await sleep(500);
  traffic.phase('ended by the server', away);
  const seconds = t.short ? 4 : 30;
  let ended = 0;
  for (const ends = performance.now() + seconds * 1000; performance.now() < ends; await sleep(15)) {
    // One that is in the middle of something rather than one that waits.
    const rows = await postgres.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'countersign' and pid <> pg_backend_pid()
       order by state = 'idle', random() limit 1`,
    );
    ended += rows.length;
  }
  t.note(`${ended} connections ended`);
  traffic.phase('reset by the network', away);
  for (let round = 0; round < (t.short ? 8 : 60); round++) {
    await relay?.cut();
    await relay?.restore();
    await sleep(300);
  }
  await until('readiness', 30, async () => (await ask(`${service.address}/health/ready`)).status === 200);
  await sleep(1500);
  traffic.phase('after', fine);
  await sleep(t.short ? 1000 : 3000);
  await finish();
  await relay?.cut();

  const rows = await postgres.query<{ email: string; events: string }>(
    `select email, (select count(*) from audit_logs where action = 'user.register' and target_id = users.id::text) events
     from users where email like 'cut-%'`,
  );
  const there = new Map(rows.map(({ email, events }) => [email, Number(events)]));
  for (const email of registered) t.check(there.has(email), `${email} was registered, and is not there`);
  for (const [email, events] of there) t.check(events === 1, `${email} is there with ${events} events that say so`);
  t.note(`${registered.length} registrations answered, ${there.size} there, each with its event`);
});
