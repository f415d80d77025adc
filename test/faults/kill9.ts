/**
 * The process is killed (SIGKILL) again and again in the middle of refreshes and registrations. Every client can go on with the last token
 * that it holds: an answer that was lost may be asked for again for as long as REFRESH_TOKEN_GRACE. No token works twice, and
 * whoever was told that they are registered are, once.
 */
import { type Allowed, ask, away, type Person } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startScene } from './scene.ts';

/** While the process is away connections are refused, and those that were open are broken. */
const dead: Allowed = new Set([...away, 0]);

await trial(import.meta.filename, async (t) => {
  const wanted = t.short ? 200 : 1000;
  const registered: string[] = [];
  let registrations = 0;
  let waiting: { email: string; password: string } | undefined;
  /** Each keeps asking for the same account until it is told that there is one. */
  const register = async (address: string) => {
    const account = waiting ?? {
      email: `new-${++registrations}@example.com`,
      password: `correct-horse-${registrations}`,
    };
    waiting = undefined;
    const reply = await ask(`${address}/auth/register`, { json: { ...account, name: 'Grace' } });
    if (reply.status === 201) registered.push(account.email);
    else waiting = account;
    return reply;
  };
  const scene = await startScene(t, {
    people: 12,
    // A busy machine may take longer than the default's ten seconds to start again.
    settings: { REFRESH_TOKEN_GRACE: '60', LOG_LEVEL: 'error' },
    others: { register, 'register too': register, 'register as well': register },
    pauseMs: 100,
    otherPauseMs: 0,
    looks: false,
  });
  const { service, traffic, people, postgres } = scene;
  const rotations = () => people.reduce((sum, { earlier }: Person) => sum + earlier.length, 0);
  const rounds = t.short ? 3 : 12;
  for (let round = 1; round <= rounds; round++) {
    const part = (wanted * round) / rounds;
    traffic.phase('running', dead);
    await until(`${part} refreshes and registrations`, 120, () => rotations() >= part && registered.length >= part);
    traffic.phase('killed', dead);
    await service.kill();
    const ms = await service.start();
    t.note(
      `killed after ${rotations()} refreshes and ${registered.length} registrations, back in ${Math.round(ms)} ms`,
    );
  }
  await sleep(1000);
  t.note(`${rotations()} refreshes, ${registered.length} registrations`);
  await scene.finish();

  const rows = await postgres.query<{ email: string }>('select email from users');
  const emails = new Set(rows.map(({ email }) => email));
  for (const email of registered) t.check(emails.has(email), `${email} was registered, and is not there`);
  t.check(emails.size === rows.length, 'somebody is registered twice');
});
