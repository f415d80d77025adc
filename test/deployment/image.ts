/**
 * Proves the image where there is no container engine: carries out the Dockerfile's instructions one after the other in
 * clean folders, then runs the result as a container would, on a read-only root, as the unprivileged user, in production,
 * on PostgreSQL, and asks the health check, the pages and for a token.
 *
 *   TEST_DATABASE_URL=postgres://… node test/deployment/image.ts        (Debian 12, as root)
 */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freePort } from '../support/ports.ts';
import {
  copy,
  distrolessBase,
  type Files,
  nodeBase,
  outside,
  run,
  signal,
  sizeOf,
  start,
  volume,
} from './containers.ts';
import { command, dockerignore, pairs, parseDockerfile, type Stage } from './dockerfile.ts';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const read = (name: string) => readFileSync(join(repository, name), 'utf8');

/** A stage after its instructions: its files, and how a container of it starts. */
interface Built {
  files: Files;
  environment: Record<string, string>;
  labels: Record<string, string>;
  directory: string;
  user: string | undefined;
  entrypoint: string[];
  arguments: string[];
  healthCheck: string[];
  volumes: string[];
}

const baseOf = (image: string, root: string): Files => {
  if (/^node:24\.[\d.]+-bookworm-slim$/.test(image))
    return nodeBase(root, join(repository, 'node_modules/node/bin/node'));
  if (image === 'gcr.io/distroless/cc-debian12') return distrolessBase(root);
  throw new Error(`There is no stand-in here for the image ${image}`);
};

const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Carries out one stage. */
const build = (stage: Stage, earlier: Map<string, Built>, work: string): Built => {
  const built: Built = {
    files: baseOf(stage.base, join(work, stage.name)),
    environment: { PATH: searchPath },
    labels: {},
    directory: '/',
    user: undefined,
    entrypoint: [],
    arguments: [],
    healthCheck: [],
    volumes: [],
  };
  const keeps = dockerignore(read('.dockerignore'));
  const absolute = (path: string) => posix.resolve(built.directory, path);
  const steps: Record<string, (text: string, flags: Record<string, string>) => void> = {
    WORKDIR: (text) => {
      built.directory = absolute(text);
      mkdirSync(outside(built.files, built.directory), { recursive: true });
    },
    ENV: (text) => void Object.assign(built.environment, Object.fromEntries(pairs(text))),
    LABEL: (text) => void Object.assign(built.labels, Object.fromEntries(pairs(text))),
    USER: (text) => {
      built.user = text;
    },
    COPY: (text, { from, chown, ...others }) => {
      if (Object.keys(others).length) throw new Error(`COPY has a flag that is not understood: ${Object.keys(others)}`);
      const names = text.split(/\s+/);
      const target = names.pop() as string;
      const source = from ? earlier.get(from) : undefined;
      if (from && !source) throw new Error(`There is no stage ${from}`);
      const sources = names.map((name) => ({
        name: posix.normalize(name),
        path: source ? outside(source.files, name) : join(repository, name),
      }));
      copy(sources, outside(built.files, absolute(target)), {
        intoDirectory: sources.length > 1 || /\/$|^\.$/.test(target),
        owner: chown,
        ...(source ? {} : { keeps }),
      });
    },
    RUN: (text, { mount }) => {
      const cache = mount ? /^type=cache,target=([^,]+)$/.exec(mount)?.[1] : undefined;
      if (mount && !cache) throw new Error(`RUN has a mount that is not understood: ${mount}`);
      const from = cache ? join(work, 'cache') : undefined;
      if (from) mkdirSync(from, { recursive: true });
      const { NODE_EXTRA_CA_CERTS } = process.env;
      run({
        files: built.files,
        argv: command(text),
        environment: {
          ...built.environment,
          HOME: built.user ? '/tmp' : '/root',
          ...(NODE_EXTRA_CA_CERTS && { NODE_EXTRA_CA_CERTS }),
        },
        directory: built.directory,
        user: built.user,
        mounts: [...(cache && from ? [{ from, to: cache, writable: true }] : [])],
      });
    },
    ENTRYPOINT: (text) => {
      built.entrypoint = command(text);
    },
    CMD: (text) => {
      built.arguments = command(text);
    },
    HEALTHCHECK: (text) => {
      built.healthCheck = command(text.replace(/^CMD\s+/, ''));
    },
    VOLUME: (text) => {
      built.volumes.push(text);
    },
    EXPOSE: () => {},
    STOPSIGNAL: (text) => {
      if (text !== 'SIGTERM') throw new Error(`The service stops on SIGTERM, not on ${text}`);
    },
  };
  for (const { keyword, flags, text } of stage.steps) {
    const began = performance.now();
    steps[keyword]?.(text, flags);
    const seconds = (performance.now() - began) / 1000;
    if (seconds > 0.5) console.log(`  ${seconds.toFixed(1)} s  ${keyword} ${text.slice(0, 100)}`);
  }
  return built;
};

const expect = (what: string, good: boolean, found?: unknown): void => {
  if (!good) throw new Error(`${what}: ${JSON.stringify(found)}`);
  console.log(`  ok  ${what}`);
};

/** Answers as a Consul agent does. @returns what it was asked */
const startAgent = async (): Promise<{ address: string; asked: string[]; stop(): void }> => {
  const asked: string[] = [];
  const server = createHttpServer((request, response) => {
    asked.push(`${request.method} ${request.url?.split(/[?]/)[0]?.split('/').slice(0, 5).join('/')}`);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { address: `http://127.0.0.1:${port}`, asked, stop: () => server.close() };
};

/** Starts containers of the image on a database of their own, and asks what they do. */
const prove = async (image: Built, work: string, databaseUrl: string): Promise<void> => {
  const port = await freePort();
  const agent = await startAgent();
  const issuer = `http://localhost:${port}`;
  const environment = {
    ...image.environment,
    HOSTNAME: 'countersign',
    PORT: String(port),
    JWT_ISSUER: issuer,
    DATABASE_URL: databaseUrl,
    ENCRYPTION_MASTER_KEY: randomBytes(32).toString('base64'),
    WEB_CONCURRENCY: '2',
    DRAIN_DELAY: '1s',
    CONSUL_ADDR: agent.address,
  };
  const container = (argv: string[]) => ({
    files: image.files,
    argv,
    environment,
    directory: image.directory,
    user: image.user,
    readOnly: true,
    mounts: [
      // What an engine mounts into any container.
      { from: '/etc/resolv.conf', to: '/etc/resolv.conf' },
      { from: '/etc/hosts', to: '/etc/hosts' },
      ...image.volumes.map((to) => ({
        from: volume(join(work, 'volume'), outside(image.files, to)),
        to,
        writable: true,
      })),
    ],
  });
  const entry = (...args: string[]) => container([...image.entrypoint, ...args]);

  expect('an ordinary user', /^[1-9]\d*:[1-9]\d*$/.test(image.user ?? ''), image.user);
  const writes = ['/app/src/cli.ts', '/app/new', '/etc/new', '/usr/local/bin/node', '/tmp/new', '/data/new'];
  const writable = run(
    container([
      'node',
      '-e',
      `for (const file of ${JSON.stringify(writes)}) try { require('node:fs').appendFileSync(file, ''); console.log(file); } catch {}`,
    ]),
  );
  expect('only /tmp and the volume can be written', writable === '/tmp/new\n/data/new\n', writable);
  for (const shell of ['/bin/sh', '/usr/bin/env', '/usr/bin/npm', '/usr/local/bin/npm'])
    expect(`no ${shell}`, run(container(['node', '-p', `require('node:fs').existsSync('${shell}')`])) === 'false\n');
  const sbom = JSON.parse(readFileSync(outside(image.files, image.labels['org.cyclonedx.sbom'] ?? ''), 'utf8')) as {
    bomFormat: string;
    components: { name: string }[];
  };
  const listed = new Set(sbom.components.map(({ name }) => name));
  expect(
    `an SBOM of ${listed.size} components`,
    sbom.bomFormat === 'CycloneDX' && listed.has('oidc-provider') && listed.has('pg'),
  );

  expect('countersign migrate', run(entry('migrate')).includes('"migrated"'));
  const metadata = { client_name: 'Job', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };
  const file = join(work, 'client.json');
  writeFileSync(file, JSON.stringify(metadata));
  const creating = entry('client', 'create', '--file', '/tmp/client.json');
  creating.mounts.push({ from: file, to: '/tmp/client.json' });
  const client = JSON.parse(run(creating)) as { client_id: string; client_secret: string };
  expect('countersign client create', Boolean(client.client_id && client.client_secret));

  const service = start(entry(...image.arguments));
  let output = '';
  for (const stream of [service.stdout, service.stderr])
    stream?.on('data', (data: Buffer) => {
      output += data;
    });
  try {
    await answers(service, container(image.healthCheck), issuer, client);
    // A moment after it is ready, the signals are its own business.
    while (!output.includes('"listening"')) await sleep(20);
    const began = performance.now();
    signal(service, 'SIGTERM');
    const [code] = (await Promise.race([
      new Promise((resolve) => service.once('exit', (...status) => resolve(status))),
      sleep(25_000, ['no exit within 25 s'], { ref: false }),
    ])) as [unknown];
    expect(`SIGTERM ends it with 0 after ${Math.round(performance.now() - began)} ms`, code === 0, code);
  } catch (error) {
    console.error(output.slice(-3000));
    throw error;
  } finally {
    service.kill('SIGKILL');
  }
  const registrations = ['PUT /v1/agent/service/register', 'PUT /v1/agent/service/deregister'];
  expect(
    'two processes register with Consul once, and deregister',
    agent.asked.join() === registrations.join(),
    agent.asked,
  );
  agent.stop();
  let unhealthy = false;
  try {
    run(container(image.healthCheck));
  } catch {
    unhealthy = true;
  }
  expect('the health check fails then', unhealthy);
};

const answers = async (
  service: ChildProcess,
  healthCheck: Parameters<typeof run>[0],
  issuer: string,
  client: { client_id: string; client_secret: string },
): Promise<void> => {
  const ask = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${issuer}${path}`, { ...init, signal: AbortSignal.timeout(5000) });
    return { status: response.status, text: await response.text() };
  };
  const began = performance.now();
  for (;;) {
    const ready = await ask('/health/ready').catch(() => undefined);
    if (ready?.status === 200) break;
    if (service.exitCode !== null || performance.now() - began > 60_000) throw new Error('It does not start');
    await sleep(50);
  }
  expect(`ready after ${Math.round(performance.now() - began)} ms`, true);
  run(healthCheck);
  expect(`the health check: ${healthCheck.argv.join(' ')}`, true);
  for (const path of ['/.well-known/openid-configuration', '/docs', '/openapi.json', '/metrics', '/health/live']) {
    const { status } = await ask(path);
    expect(`GET ${path}`, status === 200, status);
  }
  const token = await ask('/oauth/token', {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: 'grant_type=client_credentials',
  });
  expect('a token', token.status === 200 && 'access_token' in JSON.parse(token.text), token);
};

const withDatabase = async (server: string, work: (url: string) => Promise<void>): Promise<void> => {
  const name = `countersign_image_${randomBytes(6).toString('hex')}`;
  const administer = async (statement: string) => {
    const connection = new pg.Client({ connectionString: server });
    await connection.connect();
    await connection.query(statement).finally(() => connection.end());
  };
  await administer(`create database ${name}`);
  try {
    const url = new URL(server);
    url.pathname = `/${name}`;
    await work(url.href);
  } finally {
    await administer(`drop database if exists ${name} with (force)`);
  }
};

const main = async (): Promise<void> => {
  const server = process.env.TEST_DATABASE_URL;
  if (!server) throw new Error('TEST_DATABASE_URL names the PostgreSQL server to use');
  if (process.getuid?.() !== 0) throw new Error('Mount namespaces need root here: run this with sudo');
  const work = mkdtempSync(join(tmpdir(), 'countersign-image-'));
  // The container's user has to get through to its files.
  chmodSync(work, 0o755);
  try {
    const stages = new Map<string, Built>();
    for (const stage of parseDockerfile(read('Dockerfile'), { REVISION: 'test' })) {
      console.log(`${stage.name} (${stage.base})`);
      stages.set(stage.name, build(stage, stages, work));
    }
    const image = [...stages.values()].at(-1) as Built;
    await withDatabase(server, (url) => prove(image, work, url));
    const megabytes = (path: string) => `${(sizeOf(outside(image.files, path)) / 1e6).toFixed(1)} MB`;
    for (const path of [
      '/',
      '/usr/local/bin/node',
      '/app/node_modules',
      '/app/node_modules/.cache',
      '/app/src',
      '/app/db',
      '/app/sbom.cdx.json',
    ])
      console.log(`  ${megabytes(path).padStart(9)}  ${path}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};

await main();
