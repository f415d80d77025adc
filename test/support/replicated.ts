/** Puts further apps beside a test server, and a proxy in front of all of them that gives each request to the next. */
import type { DevMailbox } from '../../adapters/mailer.ts';
import { startRoundRobin } from './round-robin.ts';
import type { TestServer } from './server.ts';
import { startSibling } from './siblings.ts';

/**
 * Mail is delivered by whichever app takes the job; a test finds it in the mailbox of the server that it started.
 * @param address where that one listens
 * @param port where the proxy is to be
 * @returns what ends it all but the server
 */
export const startReplicas = async (
  server: TestServer,
  address: string,
  port: number,
  count: number,
  settings: Record<string, string>,
): Promise<() => Promise<void>> => {
  const proxy = await startRoundRobin({ port });
  const replicas = await Promise.all(Array.from({ length: count }, () => startSibling(server, settings)));
  proxy.targets.push(address, ...replicas.map((replica) => replica.address));
  const boxes = [server.app, ...replicas.map(({ app }) => app)].flatMap(({ mailbox }) => (mailbox ? [mailbox] : []));
  const own = boxes.map((box): DevMailbox['messages'] => box.messages.bind(box));
  for (const box of boxes)
    box.messages = () =>
      own.flatMap((messages) => messages()).sort((one, other) => other.at.getTime() - one.at.getTime());
  return async () => {
    await proxy.stop();
    await Promise.all(replicas.map(({ stop }) => stop()));
  };
};
