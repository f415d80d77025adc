/** The disk of the embedded database is full: whatever has to be written is answered 503, nothing is lost, and it goes on when there is room. */
import { execFileSync } from 'node:child_process';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask, newPerson, type Person, refresh } from './clients.ts';
import { folder, Skipped, sleep, trial, until } from './frame.ts';
import { serve } from './service.ts';

const sizeMb = 256;

await trial(import.meta.filename, async (t) => {
  const data = folder(t, 'small');
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m,mode=700`, 'tmpfs', data], { stdio: 'pipe' });
  } catch {
    throw new Skipped('only root can mount a small tmpfs');
  }
  t.later(() => execFileSync('umount', ['-l', data]));
  const service = await serve(t, { settings: { DATA_DIR: data, LOG_LEVEL: 'warn' } });
  const people: Person[] = [];
  for (let count = 0; count < 3; count++) people.push(await newPerson(service.address));
  const registered = people.map(({ email }) => email);

  const filler = join(data, 'filler');
  const fill = () => {
    const { bavail, bsize } = statfsSync(data);
    writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize)), { flag: 'a' });
  };
  const counts = new Map<string, number>();
  const count = (kind: string, status: number) =>
    counts.set(`${kind} ${status}`, (counts.get(`${kind} ${status}`) ?? 0) + 1);
  fill();
  let refused = 0;
  let number = 0;
  // WAL has room that was set aside, so that the first writes may still succeed.
  const began = performance.now();
  const goesOn = () => performance.now() - began < (t.short && refused ? 8000 : 60_000);
  while (goesOn() && refused < 30) {
    fill();
    const email = `full-${++number}@example.com`;
    const json = { email, password: `correct-horse-${number}`, name: 'x'.repeat(60) };
    const reply = await ask(`${service.address}/auth/register`, { json });
    count('register', reply.status);
    if (reply.status === 201) registered.push(email);
    else if (reply.status === 503) refused++;
    else t.lost(`a registration was answered ${reply.status} ${reply.failure ?? ''}${reply.text.slice(0, 200)}`);
    for (const person of people) {
      const answer = await refresh(service.address, person);
      count('refresh', answer.status);
      if (answer.status === 503) refused++;
      else if (answer.status !== 200) t.lost(`a refresh was answered ${answer.status} ${answer.text.slice(0, 200)}`);
    }
    const live = await ask(`${service.address}/health/live`);
    t.check(live.status === 200, `the process does not count as alive: ${live.status} ${live.failure ?? ''}`);
    if (!service.isRunning()) break;
  }
  t.note(`with a full disk: ${[...counts].map(([kind, times]) => `${kind}×${times}`).join(', ')}`);
  t.check(refused > 0, 'the disk was never full');
  t.check(service.isRunning(), `the process ended: ${service.log().slice(-500)}`);
  const ready = await ask(`${service.address}/health/ready`);
  t.note(`readiness with a full disk: ${ready.status}`);

  rmSync(filler);
  await sleep(500);
  await until('it goes on', 60, async () => (await refresh(service.address, people[0] as Person)).status === 200).catch(
    ({ message }: Error) => t.lost(message),
  );
  const check = async (when: string) => {
    for (const person of people) {
      const { status, text } = await refresh(service.address, person);
      t.check(status === 200, `${when} ${person.email} cannot go on: ${status} ${text.slice(0, 200)}`);
    }
    for (const email of registered) {
      const password = people.find((person) => person.email === email)?.password;
      const number = /\d+(?=@)/.exec(email)?.[0];
      const json = { email, password: password ?? `correct-horse-${number}` };
      const { status } = await ask(`${service.address}/auth/login`, { json });
      t.check(status === 200, `${when} ${email} is not there: ${status}`);
    }
  };
  await check('with room again');
  await service.stop();
  await service.start();
  await check('after a restart');
});
