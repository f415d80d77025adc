import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { afterEach, expect, it, vi } from 'vitest';
import { registerWithConsul } from '../../adapters/consul.ts';
import { createLog } from '../../src/log.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** An agent that answers the given statuses, one after the other, then 200. */
const startAgent = async ({ port = 0, statuses = [] as number[] } = {}) => {
  const requests: { method?: string; url?: string; body: string }[] = [];
  const server = createServer(async (request, response) => {
    requests.push({ method: request.method, url: request.url, body: await readText(request) });
    response.writeHead(statuses.shift() ?? 200).end();
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  servers.push(server);
  return { requests, port: (server.address() as AddressInfo).port };
};

const createRecorder = () => {
  const warnings: string[] = [];
  const log = Object.assign(createLog('silent'), { warn: (_: object, message: string) => void warnings.push(message) });
  return { warnings, log };
};

const instance = {
  name: 'countersign',
  id: 'countersign-a/1',
  host: '10.0.0.7',
  port: 3000,
  healthPath: '/health/ready',
};

it('registers with a check of the readiness endpoint, and deregisters', async () => {
  const agent = await startAgent();
  const { log, warnings } = createRecorder();
  const deregister = await registerWithConsul({ ...instance, address: `http://127.0.0.1:${agent.port}`, log });
  expect(agent.requests).toHaveLength(1);
  expect(agent.requests[0]).toMatchObject({ method: 'PUT', url: '/v1/agent/service/register' });
  expect(JSON.parse(agent.requests[0]?.body ?? '')).toMatchObject({
    ID: 'countersign-a/1',
    Name: 'countersign',
    Address: '10.0.0.7',
    Port: 3000,
    Check: { HTTP: 'http://10.0.0.7:3000/health/ready', Interval: '10s', Timeout: '2s' },
  });
  await deregister();
  expect(agent.requests[1]).toMatchObject({ method: 'PUT', url: '/v1/agent/service/deregister/countersign-a%2F1' });
  expect(warnings).toEqual([]);
});

it('writes an IPv6 host in brackets', async () => {
  const agent = await startAgent();
  const { log } = createRecorder();
  await registerWithConsul({ ...instance, host: 'fd00::7', address: `http://127.0.0.1:${agent.port}`, log });
  expect(JSON.parse(agent.requests[0]?.body ?? '').Check.HTTP).toBe('http://[fd00::7]:3000/health/ready');
});

it('does not wait for an agent that is away, and registers when it is back', async () => {
  const { port } = await startAgent();
  servers.splice(0).forEach((server) => void server.close());
  const { log, warnings } = createRecorder();
  const deregister = await registerWithConsul({ ...instance, address: `http://127.0.0.1:${port}`, log });
  expect(warnings).toHaveLength(1);
  const agent = await startAgent({ port });
  await vi.waitFor(() => expect(agent.requests).toHaveLength(1), { timeout: 5000 });
  await deregister();
  expect(agent.requests.map(({ url }) => url?.split('/')[4])).toEqual(['register', 'deregister']);
});

it('tries again after an error of the agent, until it is stopped', async () => {
  const agent = await startAgent({ statuses: [500, 500, 500, 500, 500] });
  const { log, warnings } = createRecorder();
  const deregister = await registerWithConsul({ ...instance, address: `http://127.0.0.1:${agent.port}`, log });
  await vi.waitFor(() => expect(agent.requests).toHaveLength(2), { timeout: 5000 });
  await deregister();
  expect(agent.requests.at(-1)?.url).toContain('deregister');
  expect(warnings).toHaveLength(3);
});
