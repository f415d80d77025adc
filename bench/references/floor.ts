/**
 * The floor: bare `node:http` that does what no server can avoid for a request, and nothing else. `POST /sign/780` makes one
 * RSA-2048 signature, `POST /hash/780` one argon2id hash with the product's parameters, `POST /nothing/780` neither; the answer is JSON
 * of that many bytes. It tells its parent where it is, and on request what the cryptography alone costs.
 */
import { generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hash } from '@node-rs/argon2';

/** The product's, which keeps them for itself (src/auth/passwords.ts). */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 };

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const answers = new Map<number, Buffer>();

const answerOf = (bytes: number): Buffer => {
  const answer = answers.get(bytes) ?? Buffer.from(JSON.stringify('x'.repeat(Math.max(0, bytes - 2))));
  answers.set(bytes, answer);
  return answer;
};

/** As much as a token of that size signs: all but the signature and its dot. */
const signed = Buffer.alloc(600, 'x');

const work: Record<string, () => unknown> = {
  sign: () => sign('sha256', signed, privateKey).toString('base64url'),
  hash: () => hash('correct horse battery staple', parameters),
  nothing: () => undefined,
};

const server = createServer(async (request, response) => {
  const [, kind = '', bytes = '0'] = (request.url ?? '').split('/');
  await work[kind]?.();
  const body = answerOf(Number(bytes));
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'content-length': body.length });
  response.end(body);
});

/** Milliseconds of the processor for one. */
const costOf = async (kind: 'sign' | 'hash'): Promise<number> => {
  const times = kind === 'sign' ? 300 : 8;
  const before = process.cpuUsage();
  for (let done = 0; done < times; done++) await work[kind]?.();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / times;
};

process.on('message', async ({ cost }: { cost: 'sign' | 'hash' }) => process.send?.({ cost: await costOf(cost) }));
process.on('disconnect', () => process.exit(0));
server.listen(0, '127.0.0.1', () =>
  process.send?.({ address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }),
);
