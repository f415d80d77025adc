/** Registers this instance with a Consul agent, which then asks its readiness endpoint. Consul is never waited for. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../src/log.ts';
import { createOperatorFetch } from './outbound.ts';

export interface Registration {
  /** CONSUL_ADDR: the agent's origin. */
  address: string;
  /** CONSUL_HTTP_TOKEN: sent as `X-Consul-Token`. */
  token?: string | undefined;
  /** PEM files for an https agent: its authority, and what to show it. */
  tls?: { caPath?: string | undefined; certPath?: string | undefined; keyPath?: string | undefined };
  name: string;
  tags?: readonly string[];
  /** Unique among all instances, and the same again after a restart. */
  id: string;
  /** Where the agent and other services reach this instance. */
  host: string;
  port: number;
  healthPath: string;
  /** The name that the certificate is for, if the instance speaks TLS itself. */
  tlsName?: string;
  /** How often the agent is asked whether it still knows the instance. */
  recheckMs?: number;
  log: Log;
}

const timeoutMs = 2000;
const retryMsMin = 1000;
const retryMsMax = 30_000;
/** What an agent says of a refusal is short: `Permission denied: …`. */
const reasonLengthMax = 200;

/** What is registered, as https://developer.hashicorp.com/consul/api-docs/agent/service has it. */
const serviceOf = ({ id, name, tags = [], host, port, healthPath, tlsName }: Registration) => ({
  ID: id,
  Name: name,
  Tags: tags,
  Address: host,
  Port: port,
  Check: {
    Name: 'ready',
    HTTP: `${tlsName ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}${healthPath}`,
    ...(tlsName ? { TLSServerName: tlsName } : {}),
    Interval: '10s',
    Timeout: '3s',
    // An instance that died without a word disappears by itself.
    DeregisterCriticalServiceAfter: '10m',
  },
});

/** A client of the agent; the files of `tls` are read for each request, since certificates are renewed. */
const createAgent = ({ address, token, tls = {} }: Registration) => {
  const read = (path: string | undefined) => (path ? readFile(path) : undefined);
  return async (method: 'GET' | 'PUT', path: string, body?: object): Promise<number> => {
    const [ca, cert, key] = await Promise.all([read(tls.caPath), read(tls.certPath), read(tls.keyPath)]);
    const fetch = createOperatorFetch(address, 'consul', {
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
    });
    const response = await fetch(new URL(path, address), {
      method,
      headers: {
        ...(token && { 'x-consul-token': token }),
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const reason = (await response.text()).slice(0, reasonLengthMax).trim();
    if (!response.ok && response.status !== 404) throw new Error(`Consul answered ${response.status}: ${reason}`);
    return response.status;
  };
};

/**
 * Registers, tries again until that worked, and again when an agent has forgotten.
 * @returns a function that deregisters; it neither throws nor takes longer than one request.
 */
export const registerWithConsul = async (registration: Registration): Promise<() => Promise<void>> => {
  const { id, recheckMs = 30_000, log } = registration;
  const stopped = new AbortController();
  const ask = createAgent(registration);
  const path = encodeURIComponent(id);
  const register = async (): Promise<boolean> => {
    try {
      // Without this a check under an earlier name would stay beside the new one.
      const status = await ask(
        'PUT',
        '/v1/agent/service/register?replace-existing-checks=true',
        serviceOf(registration),
      );
      if (status === 404) throw new Error('There is no Consul agent: 404');
      log.info({ service: id }, 'registered with Consul');
      return true;
    } catch (error) {
      log.warn({ err: error, service: id }, 'cannot register with Consul; will try again');
      return false;
    }
  };
  /** An agent that was replaced knows nothing. One that does not answer, or does not say, is left alone. */
  const isForgotten = (): Promise<boolean> =>
    ask('GET', `/v1/agent/service/${path}`).then(
      (status) => status === 404,
      () => false,
    );
  const stay = async (registered: boolean): Promise<void> => {
    const wait = (delayMs: number) => sleep(delayMs, undefined, { signal: stopped.signal, ref: false });
    for (let known = registered, delayMs = retryMsMin; ; ) {
      await wait(known ? recheckMs : delayMs);
      if (known && !(await isForgotten())) continue;
      delayMs = known ? retryMsMin : Math.min(delayMs * 2, retryMsMax);
      known = await register();
    }
  };
  const staying = stay(await register()).catch(() => {});
  return async () => {
    stopped.abort();
    await staying;
    await ask('PUT', `/v1/agent/service/deregister/${path}`).catch((error: unknown) =>
      log.warn({ err: error, service: id }, 'cannot deregister from Consul'),
    );
  };
};
