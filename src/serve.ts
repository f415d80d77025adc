/** `countersign serve`: one process, or one that holds the port for several; the banner, and what signals do. */
import cluster from 'node:cluster';
import { existsSync } from 'node:fs';
import type { App } from './app.ts';
import { runCluster } from './cluster.ts';
import type { Ending } from './cluster-messages.ts';
import { linkToPrimary } from './cluster-worker.ts';
import { type Config, isDevelopment } from './config.ts';
import { becomeOwner, type ControlReply, type ControlRequest } from './control.ts';
import { createLog, type Log } from './log.ts';
import { drainSecondsOf, workersOf } from './process-settings.ts';
import { collectStart, growSlowly, loadWithoutIntl } from './start-memory.ts';

/** Runs a command that comes over the control socket on the app, if there is one yet. */
type Answer = (app: () => App | undefined) => (request: ControlRequest) => Promise<ControlReply>;

const endSignals = ['SIGTERM', 'SIGINT'] as const;

const banner = async (config: Config, app: App): Promise<string> => {
  const { createSetupToken } = await import('./auth/administrators.commands.ts');
  const token = await createSetupToken(app.accounts.db);
  return `
  ${config.BRAND_NAME} is a development server: do not use it for real accounts.

  Issuer       ${config.JWT_ISSUER}
  Demo app     ${config.JWT_ISSUER}/demo
  Account      ${config.JWT_ISSUER}/account
  REST API     ${config.JWT_ISSUER}/docs
  ${config.SMTP_URL ? 'Mail         sent through SMTP_URL' : `Mail         ${config.JWT_ISSUER}/dev/mail`}
  Database     ${config.DATABASE_URL ? 'PostgreSQL' : `embedded, in ${config.DATA_DIR}`}
  Secrets      ${config.DATA_DIR}/master-key unless ENCRYPTION_MASTER_KEY is set
${token ? `\n  Create the first administrator, once, at\n  ${config.JWT_ISSUER}/setup?token=${token}\n` : ''}
`;
};

/** What whoever operates this may have overlooked. */
const warn = (config: Config, workers: number, log: Log): void => {
  if (workers > 1 && !config.REDIS_URL)
    log.warn({ workers }, 'REDIS_URL is not set: each process counts rate limits for itself');
  if (config.VIEWS_DIR && !existsSync(config.VIEWS_DIR))
    log.warn({ folder: config.VIEWS_DIR }, 'VIEWS_DIR does not exist: pages and mails are as they come');
  if (isDevelopment(config)) return;
  if (new URL(config.JWT_ISSUER).hostname === 'localhost')
    log.warn({ issuer: config.JWT_ISSUER }, 'JWT_ISSUER names this machine: nobody else can sign in');
  if (!config.SMTP_URL)
    log.warn('SMTP_URL is not set: no mail is delivered, so nobody can verify an address or reset a password');
};

/** Ends a process in order. Asked again, it no longer waits for proxies. */
const createEnd = (stop: (ending: Ending) => Promise<void>, leave: () => Promise<void>, log: Log) => {
  let isEnding = false;
  return (ending: Ending): void => {
    const stopped = stop(isEnding ? 'now' : ending);
    if (isEnding) return;
    isEnding = true;
    stopped.then(leave).then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, 'could not stop cleanly');
        process.exit(1);
      },
    );
  };
};

/** One of several processes: the primary one hears signals, says that we listen, and is asked for metrics. */
const runWorker = async (config: Config): Promise<void> => {
  const log = createLog(config.LOG_LEVEL).child({ worker: cluster.worker?.id });
  const link = linkToPrimary();
  // A terminal sends these to every process, and the primary tells what they mean.
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  const { serve } = await loadWithoutIntl(() => import('./main.ts'));
  const { app, port, stop } = await serve(config, log, (metrics) => {
    link.measure(metrics.registry);
    return { expose: async () => ({ type: metrics.registry.contentType, body: await link.expose() }) };
  });
  const end = createEnd(stop, link.leave, log);
  process.on('SIGTERM', () => end('replaced'));
  link.onStop(end);
  link.onBanner(() => void banner(config, app).then((text) => process.stdout.write(text)));
  collectStart();
  growSlowly();
  await link.tell({ kind: 'ready', port });
};

const runPrimary = (config: Config, workers: number): Promise<void> => {
  const log = createLog(config.LOG_LEVEL);
  return runCluster({
    workers,
    drainSeconds: drainSecondsOf(config),
    log,
    showBanner: isDevelopment(config),
    onListening: async (port) => {
      const { announce } = await import('./announce.ts');
      const withdraw = await announce(config, port, log);
      log.info({ port, issuer: config.JWT_ISSUER, workers }, 'listening');
      warn(config, workers, log);
      return withdraw;
    },
  });
};

const runAlone = async (config: Config, answer: Answer): Promise<void> => {
  const log = createLog(config.LOG_LEVEL);
  // The first process of a container is sent no signal that it has no handler for (pid_namespaces(7)), as if it had never come.
  const leave = (): never => process.exit(1);
  for (const signal of endSignals) process.on(signal, leave);
  let app: App | undefined;
  const owner = config.DATABASE_URL
    ? undefined
    : await becomeOwner(
        config.DATA_DIR,
        answer(() => app),
      );
  const { serve } = await loadWithoutIntl(() => import('./main.ts'));
  const { announce } = await import('./announce.ts');
  const running = await serve(config, log);
  app = running.app;
  // From here on there are requests to be finished, and something to be undone, also while it is under way.
  const announced = announce(config, running.port, log);
  const end = createEnd(
    async (ending) => {
      app = undefined;
      await (await announced)();
      await running.stop(ending);
    },
    async () => owner?.release(),
    log,
  );
  for (const signal of endSignals) {
    process.off(signal, leave);
    process.on(signal, () => {
      log.info({ signal }, 'stopping');
      end(signal === 'SIGINT' ? 'now' : 'drain');
    });
  }
  await announced;
  collectStart();
  growSlowly();
  log.info({ port: running.port, issuer: config.JWT_ISSUER }, 'listening');
  if (isDevelopment(config)) process.stdout.write(await banner(config, running.app));
  warn(config, 1, log);
};

/**
 * Serves until a signal ends it.
 * @param answer runs what comes over the control socket
 * @throws Error when it cannot start
 */
export const runServer = (config: Config, answer: Answer): Promise<void> => {
  if (cluster.isWorker) return runWorker(config);
  const workers = workersOf(config);
  return workers > 1 ? runPrimary(config, workers) : runAlone(config, answer);
};
