/** Redis, mail, Consul and the collector of traces: whether they are there, and take what they are asked. */
import { Redis } from 'ioredis';
import { createTransport } from 'nodemailer';
import { reportClock } from './clock.ts';
import type { Settings } from './configuration.ts';
import { type Check, type Report, reasonOf, shown } from './findings.ts';

const connectMs = 5000;
/** Longer than this and rate limits cost more than what they guard. */
const redisSlowMs = 20;

const reportRedis = async (url: string, report: Report): Promise<void> => {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: connectMs,
    commandTimeout: connectMs,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let failure: unknown;
  redis.on('error', (error) => {
    failure = error;
  });
  try {
    await redis.connect().catch((error: unknown) => {
      throw failure ?? error;
    });
    const asked = performance.now();
    await redis.ping();
    const ms = performance.now() - asked;
    const info = await redis.info();
    const member = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
    report('ok', `Redis ${member('redis_version')} at ${shown(url)} answers in ${ms.toFixed(1)} ms`);
    if (ms > redisSlowMs)
      report('warning', `it takes ${Math.round(ms)} ms to answer`, 'Run it near the service: most requests ask it');
    if (member('role') !== 'master')
      report('failure', 'it is a replica, which takes no writes', 'Point REDIS_URL at the primary');
    const policy = member('maxmemory_policy');
    if (Number(member('maxmemory') ?? 0) > 0 && policy === 'noeviction')
      report(
        'warning',
        'when it is full it takes nothing more (noeviction), and each process counts limits for itself',
        'Set maxmemory-policy to volatile-ttl; all that is kept there may be lost',
      );
    else report('ok', `eviction policy: ${policy}`);
    const [seconds, micros] = await redis.time();
    reportClock('Redis’s', Number(seconds) * 1000 + Number(micros) / 1000, report);
  } finally {
    redis.disconnect();
  }
};

const reportMail = async (url: string, from: string | undefined, report: Report): Promise<void> => {
  const transport = createTransport({
    url,
    connectionTimeout: connectMs,
    greetingTimeout: connectMs,
    socketTimeout: connectMs,
  });
  try {
    // EHLO, STARTTLS where it is offered or asked for, AUTH: no mail.
    await transport.verify();
    report('ok', `${shown(url)} lets us in`);
  } catch (error) {
    const { code, responseCode } = error as { code?: string; responseCode?: number };
    const advice =
      code === 'EAUTH'
        ? 'Correct the user and password in SMTP_URL (special characters percent-encoded)'
        : code === 'ETLS' || /certificate|self.signed/i.test(reasonOf(error))
          ? 'Its certificate must be one that this machine trusts (NODE_EXTRA_CA_CERTS), for the name in SMTP_URL'
          : 'Correct host and port in SMTP_URL, or open the way there';
    // What the server said may quote who we are.
    report('failure', `${shown(url)}: ${[code ?? 'unknown', responseCode].filter(Boolean).join(' ')}`, advice);
  } finally {
    transport.close();
  }
  if (/@localhost>?$/.test(from ?? '@localhost'))
    report('warning', 'MAIL_FROM is an address that nobody can answer', 'Set MAIL_FROM to an address of your domain');
};

const ask = (url: string, init: RequestInit = {}) =>
  fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(connectMs), ...init });

const reportConsul = async (address: string, report: Report): Promise<void> => {
  const answer = await ask(new URL('/v1/agent/self', address).href);
  if (answer.ok) report('ok', `the agent at ${shown(address)} answers`);
  else
    report('failure', `the agent at ${shown(address)} says ${answer.status}`, 'Let the service register there (ACL)');
};

const reportCollector = async (endpoint: string, headers: Record<string, string>, report: Report): Promise<void> => {
  const url = `${endpoint.replace(/\/$/, '')}/v1/traces`;
  const body = JSON.stringify({ resourceSpans: [] });
  const answer = await ask(url, { method: 'POST', body, headers: { ...headers, 'content-type': 'application/json' } });
  if (answer.ok) report('ok', `the collector at ${shown(endpoint)} takes traces`);
  else
    report(
      'failure',
      `the collector at ${shown(endpoint)} says ${answer.status}`,
      answer.status === 401 || answer.status === 403
        ? 'Correct OTEL_EXPORTER_OTLP_HEADERS'
        : 'It must take OTLP over HTTP with JSON; /v1/traces is appended to the URL',
    );
};

export const serviceChecks = (values: Settings): Check[] => {
  const { REDIS_URL, SMTP_URL, CONSUL_ADDR, OTEL_EXPORTER_OTLP_ENDPOINT: otlp } = values;
  const skipped = (name: string, why: string): Check => ({ name, advice: '', run: (report) => report('skipped', why) });
  return [
    REDIS_URL
      ? {
          name: 'redis',
          advice:
            'The service works without it, but each process counts limits for itself. Correct REDIS_URL, or start Redis',
          run: (report) => reportRedis(REDIS_URL, report),
        }
      : skipped('redis', 'REDIS_URL is not set: limits are counted and access is remembered by each process'),
    SMTP_URL
      ? { name: 'mail', advice: 'Correct SMTP_URL', run: (report) => reportMail(SMTP_URL, values.MAIL_FROM, report) }
      : values.NODE_ENV === 'production'
        ? {
            name: 'mail',
            advice: '',
            run: (report) =>
              report(
                'failure',
                'SMTP_URL is not set: nobody can verify an address or reset a password',
                'Set SMTP_URL',
              ),
          }
        : skipped('mail', 'SMTP_URL is not set: mail goes to the dev mailbox'),
    CONSUL_ADDR
      ? {
          name: 'consul',
          advice: 'Correct CONSUL_ADDR, or start the agent',
          run: (report) => reportConsul(CONSUL_ADDR, report),
        }
      : skipped('consul', 'CONSUL_ADDR is not set'),
    otlp
      ? {
          name: 'traces',
          advice: 'Requests go on without it, and their traces are lost. Correct OTEL_EXPORTER_OTLP_ENDPOINT',
          run: (report) => reportCollector(otlp, values.OTEL_EXPORTER_OTLP_HEADERS ?? {}, report),
        }
      : skipped('traces', 'OTEL_EXPORTER_OTLP_ENDPOINT is not set'),
  ];
};
