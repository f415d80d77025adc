/** Registers this instance with a Consul agent, which then asks its readiness endpoint. Consul is never waited for. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../src/log.ts';
import { createOperatorFetch } from './outbound.ts';

export interface Registration {
  /** CONSUL_ADDR: the agent's origin. */
  address: string;
  name: string;
  /** Unique among all instances, and the same again after a restart. */
  id: string;
  /** Where the agent and other services reach this instance. */
  host: string;
  port: number;
  healthPath: string;
  /** The name that the certificate is for, if the instance speaks TLS itself. */
  tlsName?: string;
  log: Log;
}

const timeoutMs = 2000;
const retryMsMin = 1000;
const retryMsMax = 30_000;

/** @returns a function that deregisters; it neither throws nor takes longer than one request. */
export const registerWithConsul = async ({
  address,
  name,
  id,
  host,
  port,
  healthPath,
  tlsName,
  log,
}: Registration): Promise<() => Promise<void>> => {
  const stopped = new AbortController();
  const fetch = createOperatorFetch(address);
  const put = async (path: string, body?: object): Promise<void> => {
    const response = await fetch(new URL(path, address), {
      method: 'PUT',
      ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`Consul answered ${response.status}`);
  };
  const service = {
    ID: id,
    Name: name,
    Address: host,
    Port: port,
    Check: {
      HTTP: `${tlsName ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}${healthPath}`,
      ...(tlsName ? { TLSServerName: tlsName } : {}),
      Interval: '10s',
      Timeout: '2s',
      // An instance that died without a word disappears by itself.
      DeregisterCriticalServiceAfter: '10m',
    },
  };
  const register = async (): Promise<boolean> => {
    try {
      await put('/v1/agent/service/register', service);
      log.info({ service: id }, 'registered with Consul');
      return true;
    } catch (error) {
      log.warn({ err: error, service: id }, 'cannot register with Consul; will try again');
      return false;
    }
  };
  const retry = async (): Promise<void> => {
    for (let delayMs = retryMsMin; ; delayMs = Math.min(delayMs * 2, retryMsMax)) {
      await sleep(delayMs, undefined, { signal: stopped.signal, ref: false });
      if (await register()) return;
    }
  };
  const retrying = (await register()) ? Promise.resolve() : retry().catch(() => {});
  return async () => {
    stopped.abort();
    await retrying;
    await put(`/v1/agent/service/deregister/${encodeURIComponent(id)}`).catch((error: unknown) =>
      log.warn({ err: error, service: id }, 'cannot deregister from Consul'),
    );
  };
};
