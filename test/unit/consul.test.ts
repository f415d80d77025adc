import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { afterEach, expect, it, vi } from 'vitest';
import { registerWithConsul } from '../../adapters/consul.ts';
import { createLog } from '../../src/log.ts';
import { makeCertificate } from '../support/certificates.ts';
import { freePort } from '../support/ports.ts';

const soon = { timeout: 30_000 };

const servers: (Server | TlsServer)[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** An agent that answers the given statuses, one after the other, then 200. */
const startAgent = async ({
  port = 0,
  statuses = [] as number[],
  token = undefined as string | undefined,
  tls = undefined as ServerOptions | undefined,
} = {}) => {
  const requests: { method?: string; url?: string; body: string }[] = [];
  const services = new Set<string>();
  // As https://developer.hashicorp.com/consul/api-docs/agent/service has it.
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { method, url = '' } = request;
    const body = await readText(request);
    requests.push({ method, url, body });
    const status = statuses.shift();
    const [path = ''] = url.split('?');
    const id = decodeURIComponent(path.split('/').at(-1) ?? '');
    if (status) return void response.writeHead(status).end();
    if (token && request.headers['x-consul-token'] !== token)
      return void response.writeHead(403).end('Permission denied: token lacks permission');
    if (path.endsWith('/register')) services.add(JSON.parse(body).ID);
    else if (path.includes('/deregister/')) services.delete(id);
    else if (!services.has(id)) return void response.writeHead(404).end(`unknown service ID: ${id}`);
    response.writeHead(200).end();
  };
  const server = tls ? createTlsServer(tls, answer) : createServer(answer);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  servers.push(server);
  return { requests, services, port: (server.address() as AddressInfo).port };
};

const createRecorder = () => {
  const warnings: string[] = [];
  const all: object[] = [];
  const log = Object.assign(createLog('silent'), {
    warn: (told: object, message: string) => {
      warnings.push(message);
      all.push(told);
    },
  });
  return { warnings, all, log };
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
  expect(agent.requests[0]).toMatchObject({
    method: 'PUT',
    url: '/v1/agent/service/register?replace-existing-checks=true',
  });
  expect(JSON.parse(agent.requests[0]?.body ?? '')).toMatchObject({
    ID: 'countersign-a/1',
    Name: 'countersign',
    Address: '10.0.0.7',
    Port: 3000,
    Check: { HTTP: 'http://10.0.0.7:3000/health/ready', Interval: '10s', Timeout: '3s' },
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
  const port = await freePort();
  const { log, warnings } = createRecorder();
  const deregister = await registerWithConsul({ ...instance, address: `http://127.0.0.1:${port}`, log });
  expect(warnings).toHaveLength(1);
  const agent = await startAgent({ port });
  await vi.waitFor(() => expect(agent.requests).toHaveLength(1), soon);
  await deregister();
  expect(agent.requests.map(({ url }) => url?.split(/[/?]/)[4])).toEqual(['register', 'deregister']);
});

it('tries again after an error of the agent, until it is stopped', async () => {
  const agent = await startAgent({ statuses: Array(50).fill(500) });
  const { log, warnings } = createRecorder();
  const deregister = await registerWithConsul({ ...instance, address: `http://127.0.0.1:${agent.port}`, log });
  await vi.waitFor(() => expect(agent.requests.length).toBeGreaterThanOrEqual(2), soon);
  await deregister();
  expect(agent.requests.at(-1)?.url).toContain('deregister');
  // Each request has failed, the last one too.
  expect(warnings).toHaveLength(agent.requests.length);
});

it('shows its token, sends its tags, and never logs the token', async () => {
  const agent = await startAgent({ token: 'f2b4d0f2-secret' });
  const { log, warnings } = createRecorder();
  const address = `http://127.0.0.1:${agent.port}`;
  const tags = ['identity', 'eu'];
  const deregister = await registerWithConsul({ ...instance, address, token: 'f2b4d0f2-secret', tags, log });
  expect(JSON.parse(agent.requests[0]?.body ?? '').Tags).toEqual(tags);
  expect(agent.services).toEqual(new Set(['countersign-a/1']));
  await deregister();
  expect(agent.services).toEqual(new Set());
  expect(warnings).toEqual([]);

  const refused = createRecorder();
  const give = await registerWithConsul({ ...instance, address, token: 'wrong-secret', log: refused.log });
  expect(String((refused.all[0] as { err: Error }).err)).toContain('403: Permission denied');
  expect(JSON.stringify(refused.all, (_, value) => (value instanceof Error ? value.stack : value))).not.toContain(
    'secret',
  );
  await give();
});

it('registers again with an agent that has forgotten it, as one that was replaced has', async () => {
  const agent = await startAgent();
  const { log } = createRecorder();
  const address = `http://127.0.0.1:${agent.port}`;
  const deregister = await registerWithConsul({ ...instance, address, recheckMs: 20, log });
  await vi.waitFor(() => expect(agent.requests.length).toBeGreaterThan(2), soon);
  expect(agent.requests.filter(({ method }) => method === 'PUT')).toHaveLength(1);
  agent.services.clear();
  await vi.waitFor(() => expect(agent.services).toEqual(new Set(['countersign-a/1'])), soon);
  await deregister();
  expect(agent.services).toEqual(new Set());
});

it('speaks TLS with an agent of an authority of its own that wants a certificate', async () => {
  const authority = makeCertificate({ subject: [['CN', 'Consul CA']], authority: true });
  const site = makeCertificate({
    subject: [['CN', 'agent']],
    issuer: authority,
    purpose: 'server',
    alternatives: [['ip', '127.0.0.1']],
  });
  const own = makeCertificate({ subject: [['CN', 'countersign']], issuer: authority, purpose: 'client' });
  const agent = await startAgent({
    tls: { cert: site.cert, key: site.key, ca: authority.cert, requestCert: true, rejectUnauthorized: true },
  });
  const directory = mkdtempSync(join(tmpdir(), 'countersign-consul-'));
  try {
    const [caPath, certPath, keyPath] = ['ca', 'cert', 'key'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(caPath, authority.cert);
    writeFileSync(certPath, own.cert);
    writeFileSync(keyPath, own.key);
    const { log, warnings } = createRecorder();
    const address = `https://127.0.0.1:${agent.port}`;
    const deregister = await registerWithConsul({ ...instance, address, tls: { caPath, certPath, keyPath }, log });
    expect(agent.services.size).toBe(1);
    await deregister();
    expect([agent.services.size, warnings]).toEqual([0, []]);

    const stranger = createRecorder();
    const give = await registerWithConsul({ ...instance, address, tls: { certPath, keyPath }, log: stranger.log });
    expect([agent.services.size, stranger.warnings.length]).toEqual([0, 1]);
    await give();
  } finally {
    rmSync(directory, { recursive: true });
  }
});
