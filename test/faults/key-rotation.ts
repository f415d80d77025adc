/**
 * Signing keys are rotated under load, by route and by script, with and without `now`, while relying parties verify every token by a
 * JWKS that they cache: no token fails to verify, and no request fails.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { startRoundRobin } from '../support/round-robin.ts';
import { ask, askToken, basic, fine, newMachine, newPerson, type Reply, refresh, startTraffic } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startPostgres } from './machinery.ts';
import { masterKey, serve } from './service.ts';

/** The shortest time between two fetches of the JWKS by one relying party; jose waits for half a minute unless told otherwise. */
const coolDownMs = { short: 1000, long: 30_000 };

await trial(import.meta.filename, async (t) => {
  const postgres = await startPostgres(t);
  const proxy = await startRoundRobin({ probeMs: 250 });
  t.later(proxy.stop);
  const issuer = `http://localhost:${proxy.port}`;
  const settings = { DATABASE_URL: postgres.url, DATABASE_POOL_MAX: '8', KEY_ROTATION: '0' };
  // One that is several processes, and one that is one.
  const services = [
    await serve(t, { settings: { ...settings, WEB_CONCURRENCY: '2' }, issuer }),
    await serve(t, { settings, issuer }),
  ];
  proxy.targets.push(...services.map(({ address }) => address));
  const command = async (...args: string[]): Promise<void> => {
    const program = join(import.meta.dirname, '../../src/countersign.js');
    const env = {
      PATH: process.env.PATH,
      NODE_ENV: 'test',
      ENCRYPTION_MASTER_KEY: masterKey,
      JWT_ISSUER: issuer,
      ...settings,
    };
    await promisify(execFile)(process.execPath, [program, ...args], { env });
  };
  const administrator = { email: 'root@example.com', password: 'correct-horse-root-battery' };
  await command('create-admin', '--email', administrator.email, '--password', administrator.password);
  const { json: session } = await ask(`${issuer}/auth/login`, { json: administrator });

  const person = await newPerson(issuer);
  const machine = await newMachine(postgres.url);
  const kids = new Set<string>();
  let verified = 0;
  const coolDown = t.short ? coolDownMs.short : coolDownMs.long;
  const relyingParties = Array.from({ length: 4 }, () =>
    createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), {
      cacheMaxAge: 300_000,
      cooldownDuration: coolDown,
    }),
  );
  const verify = async (token: string | undefined): Promise<void> => {
    if (!token) return;
    const { kid = '' } = decodeProtectedHeader(token);
    for (const [index, keys] of relyingParties.entries())
      await jwtVerify(token, keys, { issuer }).then(
        () => {
          kids.add(kid);
          verified++;
        },
        (error: Error) => t.lost(`relying party ${index} could not verify a token: ${error.message}`),
      );
  };
  let last = '';
  const traffic = startTraffic(t, {
    addresses: [issuer],
    people: [],
    machine,
    pauseMs: 10,
    others: {
      token: async (at): Promise<Reply> => {
        const reply = await askToken(at, machine);
        if (reply.status === 200) last = reply.json.access_token;
        if (reply.status === 200) await verify(last);
        return reply;
      },
      refresh: async (at) => {
        const reply = await refresh(at, person);
        if (reply.status === 200) {
          await verify(reply.json.access_token);
          await verify(reply.json.id_token);
        }
        return reply;
      },
      introspection: async (at) => {
        const token = last || (await askToken(at, machine)).json.access_token;
        const reply = await ask(`${at}/oauth/introspect`, { form: { token }, headers: basic(machine) });
        t.check(reply.status !== 200 || reply.json.active === true, 'a token that is valid was not active');
        return reply;
      },
    },
  });

  /**
   * Lets keys that wait for their time sign soon, though not before every relying party may look again: ten minutes are as much longer
   * than that as they are too long to wait for. Then waits until tokens are signed by others than before.
   */
  const takesEffect = async (before: number): Promise<void> => {
    const seconds = coolDown / 1000 + 1;
    const soon = `now() + interval '${seconds} s'`;
    await postgres.query(`update jwks_keys set signs_from = ${soon} where signs_from > ${soon}`);
    await postgres.query(`select pg_notify('countersign_keys', '')`);
    await until('a new key signs', seconds + 20, () => kids.size > before);
    await sleep(t.short ? 1000 : 5000);
  };
  const byRoute = async (body: object): Promise<void> => {
    const headers = { authorization: `Bearer ${session.accessToken}` };
    const reply = await ask(`${issuer}/admin/keys/rotate`, { json: body, headers });
    t.check(reply.status === 200, `POST /admin/keys/rotate: ${reply.status} ${reply.text.slice(0, 200)}`);
  };

  await sleep(500);
  for (const [name, rotate] of [
    ['by route', () => byRoute({})],
    ['by script', () => command('rotate-keys')],
    ['by route, now', () => byRoute({ now: true })],
    ['by script, now', () => command('rotate-keys', '--now')],
  ] as const) {
    // A relying party that has just fetched the keys does not look for one that signs at once.
    if (name.endsWith('now')) await sleep(coolDown + 500);
    traffic.phase(name, fine);
    const before = kids.size;
    await rotate();
    await takesEffect(before);
  }
  await traffic.stop();
  t.check(kids.size >= 5, `only ${kids.size} keys have signed`);
  t.note(`${verified} verifications of tokens by ${kids.size} keys`);
});
