/** FAPI-CIBA, in each mode and with each way for clients to authenticate, at one server. */
import { afterAll, beforeAll } from 'vitest';
import { type Ciba, type CibaVariant, openCiba } from './fapi-ciba-flow.ts';
import { cibaModules } from './fapi-ciba-modules.ts';
import { type Fapi2Server, startFapi2Server } from './fapi2-server.ts';
import { planTests } from './module-test.ts';
import { modules } from './modules.ts';
import { runOf } from './runs.ts';

const plan = 'fapi-ciba-id1-test-plan';

/** By their names in runs.ts. */
const variants: Record<string, CibaVariant> = {
  'private_key_jwt, poll': { clientAuth: 'private_key_jwt', mode: 'poll' },
  'private_key_jwt, ping': { clientAuth: 'private_key_jwt', mode: 'ping' },
  'mutual TLS, poll': { clientAuth: 'mtls', mode: 'poll' },
  'mutual TLS, ping': { clientAuth: 'mtls', mode: 'ping' },
};

let running: Fapi2Server;
const opened = new Map<string, Promise<Ciba>>();
beforeAll(async () => {
  running = await startFapi2Server();
});
afterAll(async () => {
  await running.stop();
  for (const op of opened.values()) await (await op).stop();
});

const open = (name: string, variant: CibaVariant): Promise<Ciba> => {
  const op = opened.get(name) ?? openCiba(running.server, variant, running.account);
  opened.set(name, op);
  return op;
};

for (const [name, variant] of Object.entries(variants)) {
  const exceptions = runOf(plan, name).exceptions as Record<string, unknown>;
  planTests(plan, name, (moduleTest) => {
    for (const module of modules[plan]) {
      const test = cibaModules[module.replace(/^fapi-ciba-id1-?/, '')];
      if (test && !exceptions[module]) moduleTest(module, async () => test(await open(name, variant), running.tls));
    }
  });
}
