/** A small reverse proxy without stickiness: each request goes to the next replica that is ready. */
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RoundRobin {
  port: number;
  /** Origins of replicas; may be changed at any time. */
  targets: string[];
  /** How many requests each has been given. */
  given: Map<string, number>;
  /** Whether a replica gets requests; found out within two probes. */
  isReady(target: string): boolean;
  stop(): Promise<void>;
}

export interface RoundRobinOptions {
  /** 0 for any. */
  port?: number;
  /** How often replicas are asked whether they are ready, in milliseconds; not at all unless given. */
  probeMs?: number;
}

/** Longer than the service waits for its database, so that a busy machine is not taken for one that is gone. */
const probeTimeoutMs = 5000;

/** Starts the proxy. It repeats nothing: what a replica loses, the client has lost. */
export const startRoundRobin = async ({ port = 0, probeMs }: RoundRobinOptions = {}): Promise<RoundRobin> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  const targets: string[] = [];
  const away = new Set<string>();
  const given = new Map<string, number>();
  let turn = 0;

  const next = (): string | undefined => {
    const ready = targets.filter((target) => !away.has(target));
    return ready[turn++ % ready.length];
  };

  const pass = (incoming: IncomingMessage, answer: ServerResponse): void => {
    const target = next();
    if (!target) return void answer.writeHead(502, { 'x-proxy': 'nobody is ready' }).end();
    given.set(target, (given.get(target) ?? 0) + 1);
    const { connection: _connection, 'keep-alive': _keepAlive, ...headers } = incoming.headers;
    const outgoing = request(
      target,
      { path: incoming.url ?? '/', method: incoming.method ?? 'GET', headers, agent },
      (reply) => {
        const { connection: _ours, 'keep-alive': _their, 'transfer-encoding': _chunks, ...rest } = reply.headers;
        answer.writeHead(reply.statusCode ?? 502, rest);
        reply.pipe(answer);
      },
    );
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      if (!answer.headersSent) answer.writeHead(502, { 'x-proxy': `${target} ${error.code}` });
      answer.end();
    });
    incoming.pipe(outgoing);
  };

  // One probe of each at a time: an answer that comes late must not undo what a later one has told.
  const probed = new Set<string>();
  const probe = async (target: string): Promise<void> => {
    if (probed.has(target)) return;
    probed.add(target);
    const signal = AbortSignal.timeout(probeTimeoutMs);
    const ready = await fetch(`${target}/health/ready`, { signal, headers: { connection: 'close' } }).catch(
      () => undefined,
    );
    await ready?.body?.cancel().catch(() => {});
    if (ready?.status === 200) away.delete(target);
    else away.add(target);
    probed.delete(target);
  };
  const timer =
    probeMs === undefined ? undefined : setInterval(() => targets.forEach((target) => void probe(target)), probeMs);

  const server = createServer(pass);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    targets,
    given,
    isReady: (target) => targets.includes(target) && !away.has(target),
    stop: async () => {
      clearInterval(timer);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
};
