/**
 * One service calls another, and nothing that could be stolen is of use to a thief: certificates instead of secrets, and
 * tokens that are bound to them.
 *
 *   npx node docs/examples/mtls/run.ts          Countersign speaks TLS itself
 *   npx node docs/examples/mtls/run.ts nginx    nginx (in PATH, or NGINX_PATH) does, and passes certificates on in a header
 *
 * Makes two authorities by openssl, starts Countersign with the embedded database, registers the API `stock` and the client
 * `orders`, and shows what is let through and what is not. Everything is in a folder that is gone at the end.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { JSONWebKeySet } from 'jose';
import { createStock } from './stock.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const repository = fileURLToPath(new URL('../../../', import.meta.url));
const behindNginx = process.argv[2] === 'nginx';
const folder = mkdtempSync(join(tmpdir(), 'countersign-mtls-'));
const children: ChildProcess[] = [];

const freePorts = async (count: number): Promise<number[]> => {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
};

interface Asking {
  /** Whose certificate is shown. */
  as?: string;
  headers?: Record<string, string>;
  json?: object;
  form?: Record<string, string>;
}

/** Asks over TLS; only the authority of our servers is believed. */
const ask = (
  url: string,
  { as, headers = {}, json, form }: Asking = {},
): Promise<{ status: number; body: Record<string, unknown> }> =>
  new Promise((resolve, reject) => {
    const body = json ? JSON.stringify(json) : form ? new URLSearchParams(form).toString() : undefined;
    const type = json ? 'application/json' : 'application/x-www-form-urlencoded';
    const options = {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...headers, ...(body !== undefined && { 'content-type': type }) },
      ca: readFileSync(`${folder}/server-ca.pem`),
      ...(as && { cert: readFileSync(`${folder}/${as}.pem`), key: readFileSync(`${folder}/${as}.key`) }),
      agent: false,
    } as const;
    const asking = request(url, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          body: /json/.test(response.headers['content-type'] ?? '') ? JSON.parse(text) : {},
        }),
      );
    });
    asking.on('error', reject);
    asking.end(body);
  });

const start = (program: string, args: string[], environment: Record<string, string>): ChildProcess => {
  const child = spawn(program, args, {
    cwd: repository,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout?.resume();
  children.push(child);
  return child;
};

const ready = async (issuer: string): Promise<void> => {
  for (const until = performance.now() + 60_000; ; await sleep(100)) {
    const answer = await ask(`${issuer}/health/ready`).catch(() => undefined);
    if (answer?.status === 200) return;
    if (performance.now() > until || children.some(({ exitCode }) => exitCode !== null))
      throw new Error('It did not start');
  }
};

const show = (what: string, good: boolean, found: unknown): void => {
  process.stdout.write(`${good ? 'ok ' : 'NOT'} ${what}\n`);
  if (!good) throw new Error(`${what}: ${JSON.stringify(found)}`);
};

/** Starts Countersign, and nginx if asked to. @returns the issuer */
const startCountersign = async (environment: Record<string, string>): Promise<string> => {
  const [port, mtlsPort, upstream] = (await freePorts(3)) as [number, number, number];
  const issuer = `https://localhost:${port}`;
  const countersign = { ...environment, JWT_ISSUER: issuer, TLS_CLIENT_CA_PATH: `${folder}/client-ca.pem` };
  if (behindNginx) {
    start(process.execPath, ['src/countersign.js', 'serve'], {
      ...countersign,
      PORT: String(upstream),
      TRUST_PROXY: '1',
      // Whoever connects from there is believed to be the proxy. Here that is this machine; elsewhere it is one address.
      TRUST_PROXY_ADDRESSES: '127.0.0.1',
      MTLS_PROXY_HEADER: 'Client-Cert',
      MTLS_ORIGIN: `https://localhost:${mtlsPort}`,
    });
    const values: Record<string, string> = {
      FOLDER: folder,
      PORT: String(port),
      MTLS_PORT: String(mtlsPort),
      UPSTREAM_PORT: String(upstream),
    };
    const filled = readFileSync(`${here}/nginx.conf`, 'utf8').replace(
      /\$\{(\w+)\}/g,
      (_, name: string) => values[name] ?? '',
    );
    writeFileSync(`${folder}/nginx.conf`, filled);
    start(process.env.NGINX_PATH ?? 'nginx', ['-e', 'stderr', '-c', `${folder}/nginx.conf`], {});
  } else {
    start(process.execPath, ['src/countersign.js', 'serve'], {
      ...countersign,
      PORT: String(port),
      TLS_CERT_PATH: `${folder}/countersign.pem`,
      TLS_KEY_PATH: `${folder}/countersign.key`,
      MTLS_PORT: String(mtlsPort),
    });
  }
  await ready(issuer);
  return issuer;
};

const run = async (): Promise<void> => {
  execFileSync('sh', [`${here}/certificates.sh`, folder]);
  const environment = { DATA_DIR: `${folder}/data`, NODE_ENV: 'development', LOG_LEVEL: 'warn', NODE_OPTIONS: '' };
  const issuer = await startCountersign(environment);
  const countersign = (...args: string[]): string =>
    execFileSync(process.execPath, ['src/countersign.js', ...args], {
      cwd: repository,
      env: { ...process.env, ...environment, JWT_ISSUER: issuer },
      stdio: ['ignore', 'pipe', 'pipe'],
    }).toString();

  // The API that is to be called, and who may call it.
  const email = 'admin@example.com';
  const password = randomBytes(18).toString('base64url');
  countersign('create-admin', '--email', email, '--password', password);
  const { accessToken } = (await ask(`${issuer}/auth/login`, { json: { email, password } })).body;
  const audience = 'https://stock.example.internal/';
  const registered = await ask(`${issuer}/resource-servers`, {
    headers: { authorization: `Bearer ${accessToken}` },
    json: {
      identifier: audience,
      name: 'Stock',
      scopes: [{ name: 'stock.read', description: 'See what is in stock' }],
    },
  });
  show('the API is registered', registered.status === 201, registered);
  writeFileSync(
    `${folder}/client.json`,
    JSON.stringify({
      client_name: 'Orders',
      grant_types: ['client_credentials'],
      scope: 'stock.read',
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'orders.example.internal',
      tls_client_certificate_bound_access_tokens: true,
    }),
  );
  const client = JSON.parse(countersign('client', 'create', '--file', `${folder}/client.json`)) as Record<
    string,
    string
  >;
  show('the client is registered, and has no secret', Boolean(client.client_id) && !client.client_secret, client);

  // Where certificates are shown, discovery says (RFC 8705 section 5).
  const { body: metadata } = await ask(`${issuer}/.well-known/openid-configuration`);
  const { token_endpoint: tokenEndpoint } = metadata.mtls_endpoint_aliases as Record<string, string>;
  const form = {
    grant_type: 'client_credentials',
    client_id: client.client_id as string,
    resource: audience,
    scope: 'stock.read',
  };
  const granted = await ask(tokenEndpoint as string, { as: 'orders', form });
  show('orders gets a token for its certificate', granted.status === 200, granted);
  const none = await ask(tokenEndpoint as string, { form });
  show('nobody does without a certificate', none.body.error === 'invalid_client', none);
  const thief = await ask(tokenEndpoint as string, { as: 'thief', form });
  show('nor with one under another name', thief.body.error === 'invalid_client', thief);
  const pem = readFileSync(`${folder}/orders.pem`, 'utf8');
  for (const endpoint of [String(metadata.token_endpoint), tokenEndpoint as string]) {
    const forged = await ask(endpoint, { form, headers: { 'client-cert': encodeURIComponent(pem) } });
    show(`nor with a header of one’s own at ${new URL(endpoint).port}`, forged.body.error === 'invalid_client', forged);
  }

  // The call.
  const jwks = (await ask(String(metadata.jwks_uri))).body as unknown as JSONWebKeySet;
  const stock = createStock({ folder, issuer, audience, jwks });
  await new Promise<void>((resolve) => stock.listen(0, '127.0.0.1', resolve));
  const url = `https://localhost:${(stock.address() as AddressInfo).port}/`;
  const headers = { authorization: `Bearer ${granted.body.access_token}` };
  try {
    const answer = await ask(url, { as: 'orders', headers });
    show('orders calls stock with it', answer.status === 200 && answer.body.caller === client.client_id, answer);
    const stolen = await ask(url, { as: 'thief', headers });
    show('the stolen token is worth nothing under another certificate', stolen.status === 401, stolen);
    const bare = await ask(url, { headers }).then(
      () => 'an answer',
      () => 'refused',
    );
    show('and without one there is no connection', bare === 'refused', bare);
  } finally {
    stock.close();
  }
};

try {
  await run();
} finally {
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(children.map((child) => child.exitCode ?? new Promise((resolve) => child.once('exit', resolve))));
  rmSync(folder, { recursive: true, force: true });
}
