/** Real `countersign serve` processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../support/ports.ts';
import { folder, type Trial, until } from './frame.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

export const masterKey = 'bXkgdGVzdHMgYXJlIG5vdCBzZWNyZXQgYXQgYWxsISE=';

export interface Service {
  issuer: string;
  /** Where this process listens: `http://127.0.0.1:port`. */
  address: string;
  port: number;
  pid(): number;
  /** Of its last start, in milliseconds until it was ready. */
  start(): Promise<number>;
  /** SIGTERM, and how it ended. */
  stop(): Promise<number | null>;
  /** SIGKILL: it cannot put anything in order. */
  kill(): Promise<void>;
  isRunning(): boolean;
  /** What it has logged since its first start. */
  log(): string;
  /** A metric's value, summed over its labels; 0 when it is not there. */
  metric(name: string, label?: string): Promise<number>;
}

export interface ServeOptions {
  /** Of this process alone. */
  settings?: Record<string, string>;
  /** For node itself, in front of the program. */
  nodeArguments?: readonly string[];
  /** The command in front of node, such as `faketime`. */
  wrapper?: readonly string[];
  /** Where the issuer is, when this process is one of several; its own address otherwise. */
  issuer?: string;
  /** How long it may take until it is ready. */
  readySeconds?: number;
}

/** Starts `countersign serve`. Limits do not hold, addresses need no confirmation, and mail goes to the dev mailbox, unless told otherwise. */
export const serve = async (
  t: Trial,
  { settings = {}, nodeArguments = [], wrapper = [], ...options }: ServeOptions = {},
): Promise<Service> => {
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const issuer = options.issuer ?? `http://localhost:${port}`;
  const logFile = join(t.directory, `serve-${port}.log`);
  const output = openSync(logFile, 'a');
  const data = settings.DATA_DIR ?? folder(t, `data-${port}`);
  const environment = {
    PATH: process.env.PATH,
    HOME: t.directory,
    NODE_ENV: 'test',
    ENCRYPTION_MASTER_KEY: masterKey,
    PORT: String(port),
    JWT_ISSUER: issuer,
    DATA_DIR: data,
    RATE_LIMIT_FACTOR: '10000',
    REQUIRE_VERIFIED_EMAIL: 'false',
    REGISTER_SIGNS_IN: 'true',
    HASH_QUEUE: '1000',
    LOG_LEVEL: 'warn',
    OUTBOUND_ALLOW: '127.0.0.1,localhost',
    WEB_CONCURRENCY: '1',
    ...settings,
  };
  const command = [
    ...wrapper,
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    ...nodeArguments,
    join(root, 'src/countersign.js'),
    'serve',
  ];
  let child: ChildProcess | undefined;
  let ended: Promise<number | null> = Promise.resolve(null);
  const log = () => readFileSync(logFile, 'utf8');
  const isReady = async () => {
    if (child?.exitCode !== null) throw new Error(`serve ended with ${child?.exitCode}:\n${log().slice(-2000)}`);
    const answer = await fetch(`${address}/health/ready`, { signal: AbortSignal.timeout(3000) }).catch(() => undefined);
    await answer?.body?.cancel();
    return answer?.status === 200;
  };
  const self: Service = {
    issuer,
    address,
    port,
    pid: () => child?.pid as number,
    isRunning: () => child?.exitCode === null && child.signalCode === null,
    log,
    start: async () => {
      const started = spawn(command[0] as string, command.slice(1), {
        cwd: root,
        env: environment,
        stdio: ['ignore', output, output],
      });
      child = started;
      ended = new Promise((resolve) => started.once('exit', resolve));
      return until(`the service on port ${port} is ready`, options.readySeconds ?? 120, isReady);
    },
    stop: async () => {
      child?.kill('SIGTERM');
      return ended;
    },
    kill: async () => {
      child?.kill('SIGKILL');
      await ended;
    },
    metric: async (name, label = '') => {
      const text = await (await fetch(`${address}/metrics`, { signal: AbortSignal.timeout(5000) })).text();
      let sum = 0;
      for (const line of text.split('\n'))
        if ((line.startsWith(`${name} `) || line.startsWith(`${name}{`)) && line.includes(label))
          sum += Number(line.slice(line.lastIndexOf(' ') + 1));
      return sum;
    },
  };
  t.later(() => self.kill());
  await self.start();
  return self;
};
