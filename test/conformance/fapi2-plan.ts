/** Runs a FAPI 2.0 plan in each variant of client authentication and sender constraint, at one server. */
import { afterAll, beforeAll } from 'vitest';
import { type Fapi2, openFapi2, type Variant } from './fapi2-flow.ts';
import { fapi2Modules } from './fapi2-modules.ts';
import { type Fapi2Server, startFapi2Server } from './fapi2-server.ts';
import { planTests } from './module-test.ts';
import { type Module, modules } from './modules.ts';
import { runOf, runs } from './runs.ts';

type Fapi2Plan = 'fapi2-security-profile-final-test-plan' | 'fapi2-message-signing-final-test-plan';

/** By their names in runs.ts. */
const variants: Record<string, Pick<Variant, 'clientAuth' | 'senderConstrain' | 'openid'>> = {
  'private_key_jwt, DPoP': { clientAuth: 'private_key_jwt', senderConstrain: 'dpop', openid: 'openid_connect' },
  'private_key_jwt, DPoP, plain OAuth': {
    clientAuth: 'private_key_jwt',
    senderConstrain: 'dpop',
    openid: 'plain_oauth',
  },
  'private_key_jwt, DPoP, client credentials': {
    clientAuth: 'private_key_jwt',
    senderConstrain: 'dpop',
    openid: 'client_credentials',
  },
  'private_key_jwt, mutual TLS': { clientAuth: 'private_key_jwt', senderConstrain: 'mtls', openid: 'openid_connect' },
  'mutual TLS, DPoP': { clientAuth: 'mtls', senderConstrain: 'dpop', openid: 'openid_connect' },
  'mutual TLS, mutual TLS': { clientAuth: 'mtls', senderConstrain: 'mtls', openid: 'openid_connect' },
};

export const testFapi2 = (plan: Fapi2Plan, signing: Pick<Variant, 'requests' | 'responses'>): void => {
  let running: Fapi2Server;
  const opened = new Map<string, Promise<Fapi2>>();
  beforeAll(async () => {
    running = await startFapi2Server();
  });
  afterAll(() => running.stop());
  const open = (name: string, variant: Variant): Promise<Fapi2> => {
    const op = opened.get(name) ?? openFapi2(running.server, variant, running.account);
    opened.set(name, op);
    return op;
  };

  for (const [name, parameters] of Object.entries(variants)) {
    if (!runs.some((run) => run.plan === plan && run.variant === name)) continue;
    const exceptions = runOf(plan, name).exceptions as Record<string, unknown>;
    planTests(plan, name, (moduleTest) => {
      for (const module of modules[plan] as readonly Module<Fapi2Plan>[]) {
        const test = fapi2Modules[module.replace('fapi2-security-profile-final-', '')];
        if (test && !exceptions[module])
          moduleTest(module as never, async () => test(await open(name, { ...signing, ...parameters }), running.tls));
      }
    });
  }
};
