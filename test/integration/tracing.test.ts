/** Traces over OTLP: what a collector on loopback is sent of a sign-in, what it is not, and that a dead one holds up nothing. */
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import Koa from 'koa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTracing } from '../../adapters/tracing.ts';
import { loadConfig } from '../../src/config.ts';
import { close, listen } from '../../src/http/server.ts';
import { createLog } from '../../src/log.ts';
import { password, registerAccount } from '../support/browser.ts';
import { findSecrets } from '../support/needles.ts';
import { eventually, postJson } from '../support/requests.ts';
import { defaultSettings, startServer, type TestServer } from '../support/server.ts';

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes: { key: string; value: { stringValue?: string; intValue?: number } }[];
  links?: { traceId: string }[];
}

const spans: Span[] = [];
const received: { path: string; key: string | undefined }[] = [];
const resources: string[] = [];
const collector = createServer((request, response) => {
  let text = '';
  request.on('data', (chunk) => {
    text += chunk;
  });
  request.on('end', () => {
    received.push({ path: request.url as string, key: request.headers['x-key'] as string | undefined });
    for (const { resource, scopeSpans } of JSON.parse(text).resourceSpans) {
      resources.push(JSON.stringify(resource));
      for (const scope of scopeSpans) spans.push(...scope.spans);
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
});

const parentTrace = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentSpan = '00f067aa0ba902b7';
const lines: string[] = [];
let server: TestServer;
let email: string;
let requestId: string | null;
/** What the providers of breached passwords were told. */
const toStrangers: Record<string, unknown>[] = [];
const breaches = createServer((request, response) => {
  toStrangers.push(request.headers);
  response.end('');
});

const port = (of: { address(): unknown }) => (of.address() as AddressInfo).port;

beforeAll(async () => {
  await Promise.all(
    [collector, breaches].map((one) => new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve))),
  );
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  server = await startServer(
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port(collector)}/`,
      OTEL_EXPORTER_OTLP_HEADERS: 'x-key=of%20the%20collector',
      OTEL_SERVICE_NAME: 'sign-in',
      PASSWORD_BREACH_URL: `http://127.0.0.1:${port(breaches)}/range/`,
      LOG_LEVEL: 'debug',
      TRUST_TRACEPARENT: 'true',
    },
    { log },
  );
  email = await registerAccount(server);
  const answer = await postJson(
    `${server.issuer}/auth/login?hint=a-secret-in-the-query`,
    { email, password },
    { traceparent: `00-${parentTrace}-${parentSpan}-01` },
  );
  expect(answer.status).toBe(200);
  requestId = answer.headers.get('x-request-id');
  // What is left is sent at the end, which does not wait for a collector that is slow.
  await server.stop();
  await eventually(() => root() !== undefined && spans.some(({ name }) => name === 'job mail'), 'spans');
});
afterAll(() => {
  collector.close();
  breaches.close();
});

const attribute = ({ attributes }: Span, key: string) => {
  const { stringValue, intValue } = attributes.find((one) => one.key === key)?.value ?? {};
  return stringValue ?? intValue;
};
const ofTrace = () => spans.filter(({ traceId }) => traceId === parentTrace);
const root = () => ofTrace().find(({ parentSpanId }) => parentSpanId === parentSpan) as Span;
const below = (span: Span) => ofTrace().filter(({ parentSpanId }) => parentSpanId === span.spanId);

describe('a sign-in', () => {
  it('is one tree below the caller’s span, by the route', () => {
    expect(root()).toMatchObject({ name: 'POST auth/login', kind: 2 });
    expect([attribute(root(), 'http.route'), attribute(root(), 'http.response.status_code')]).toEqual([
      'auth/login',
      200,
    ]);
    expect(attribute(root(), 'countersign.request_id')).toBe(requestId);
    const known = new Set([parentSpan, ...ofTrace().map(({ spanId }) => spanId)]);
    expect(ofTrace().filter(({ parentSpanId = '' }) => !known.has(parentSpanId))).toEqual([]);
  });

  it('shows each decision, and what was asked of the database for it', () => {
    const names = below(root()).map(({ name }) => name);
    const decisions = ['identify', 'limit', 'verify factor', 'decide', 'record'].map((name) => `sign-in ${name}`);
    expect(names.filter((name) => decisions.includes(name))).toEqual(decisions);
    const children = (name: string) => below(below(root()).find((span) => span.name === name) as Span);
    const [find] = children('sign-in identify');
    expect(find).toMatchObject({ name: 'select known_devices', kind: 3 });
    expect(attribute(find as Span, 'db.query.text')).toContain('left join users');
    expect(children('sign-in verify factor').map(({ name }) => name)).toEqual(['password hash']);
    const [write] = children('sign-in record');
    expect(write).toMatchObject({ name: 'update users' });
    expect(attribute(write as Span, 'db.query.text')).toContain('insert into audit_logs');
  });

  it('is named in the lines of the log, and the request in the trace', () => {
    const line = lines
      .map((one) => JSON.parse(one))
      .find((one) => one.requestId === requestId && one.msg === 'request');
    expect(line).toMatchObject({ trace_id: parentTrace, span_id: root().spanId });
  });
});

it('a job is a trace of its own that names the one which queued it', () => {
  const job = spans.find(({ name }) => name === 'job mail') as Span;
  const request = spans.find(({ name }) => name === 'POST auth/register') as Span;
  expect(job.parentSpanId ?? '').toBe('');
  expect(job.links?.map(({ traceId }) => traceId)).toEqual([request.traceId]);
});

it('what is fetched has a span, and strangers are told nothing of it', () => {
  const fetched = spans.find((span) => attribute(span, 'countersign.purpose') === 'breached-passwords') as Span;
  expect(attribute(fetched, 'http.response.status_code')).toBe(200);
  expect(toStrangers.length).toBeGreaterThan(0);
  for (const headers of toStrangers) expect(headers).not.toHaveProperty('traceparent');
});

it('goes where the settings say, in their name', () => {
  expect(new Set(received.map(({ path, key }) => `${path} ${key}`))).toEqual(new Set(['/v1/traces of the collector']));
  expect(resources[0]).toContain('"sign-in"');
});

it('holds no secret and nobody’s data', () => {
  const secrets = new Map([
    [password, 'the password'],
    [email, 'the address'],
    ['a-secret-in-the-query', 'the query'],
    ['Ada Lovelace', 'the name'],
  ]);
  expect(findSecrets(JSON.stringify(spans), secrets)).toEqual([]);
});

describe('what a caller’s traceparent decides', () => {
  /** An id that is always among the sampled ones, however small their share. */
  const lowTrace = '00000000000000010000000000000001';
  for (const [name, settings, traceparent, becomes] of [
    [
      'nothing by a flag that asks',
      { OTEL_TRACES_SAMPLER: 'parentbased_always_off' },
      `${parentTrace}-${parentSpan}-01`,
    ],
    ['nothing by a flag that forbids', {}, `${parentTrace}-${parentSpan}-00`, 'linked'],
    [
      'nothing by its id',
      { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.000001' },
      `${lowTrace}-${parentSpan}-01`,
    ],
    [
      'all, where it is trusted',
      { OTEL_TRACES_SAMPLER: 'parentbased_always_off', TRUST_TRACEPARENT: 'true' },
      `${parentTrace}-${parentSpan}-01`,
      'continued',
    ],
    ['nothing, where it is none', { TRUST_TRACEPARENT: 'true' }, 'ff', 'begun'],
  ] as [string, Record<string, string>, string, string?][]) {
    it(name, async () => {
      const endpoint = `http://127.0.0.1:${port(collector)}`;
      const config = loadConfig({ ...defaultSettings, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...settings });
      const tracing = startTracing(config, '1', createLog('silent'));
      const app = new Koa().use(tracing.middleware).use((ctx) => {
        ctx.state.route = name;
      });
      const { server: http } = await listen(app.callback(), 0, '127.0.0.1');
      await fetch(`http://127.0.0.1:${port(http)}/`, { headers: { traceparent: `00-${traceparent}` } });
      await tracing.stop();
      await close(http);
      const [traceId] = traceparent.split('-');
      const found = () =>
        spans
          .filter((span) => attribute(span, 'http.route') === name)
          .map((span) => {
            if (span.traceId === traceId) return span.parentSpanId === parentSpan && 'continued';
            return span.links?.some((link) => link.traceId === traceId) ? 'linked' : 'begun';
          });
      await expect.poll(found, { timeout: 10_000 }).toEqual(becomes ? [becomes] : []);
    });
  }
});

it('a collector that hangs holds up no request and not the end', async () => {
  const sockets: import('node:net').Socket[] = [];
  const hanging = createTcpServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1');
  await new Promise((resolve) => hanging.once('listening', resolve));
  const other = await startServer({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port(hanging)}` });
  const statuses = await Promise.all(
    Array.from({ length: 300 }, () =>
      fetch(`${other.issuer}/.well-known/openid-configuration`).then(({ status }) => status),
    ),
  );
  expect(new Set(statuses)).toEqual(new Set([200]));
  // It ends although the collector has not answered, and still does not.
  await other.stop();
  expect(sockets.length).toBeGreaterThan(0);
  for (const socket of sockets) socket.destroy();
  hanging.close();
});

it('without an endpoint nothing of OpenTelemetry is loaded, but for the interfaces, which prom-client asks for', async () => {
  const { execFile } = await import('node:child_process');
  const script = `
    const { registerHooks } = await import('node:module');
    registerHooks({ resolve: (name, context, next) => { if (/^@opentelemetry.(?!api)/.test(name)) console.log(name); return next(name, context); } });
    await import(process.cwd() + '/src/observe.ts');
    console.log('done');`;
  const text = await new Promise<string>((resolve, reject) =>
    execFile(process.execPath, ['--input-type=module', '-e', script], (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    ),
  );
  expect(text.trim()).toBe('done');
});
