/** Process and HTTP metrics in the Prometheus text format. */
import type Koa from 'koa';
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export interface Metrics {
  /** Times requests by method, route and status. Routes, not paths: a path may hold an identifier. */
  middleware: Koa.Middleware;
  /** Counts what became of an SMS; `outcome` is one of a fixed set. */
  countSms(outcome: string): void;
  /** Counts what became of a sign-in. */
  countSignIn(outcome: string): void;
  /** Counts what became of a sign-in with an identity provider. */
  countFederation(outcome: string): void;
  /** Counts what a limit refused, by the limit's name. */
  countRefusal(limit: string): void;
  /** The exposition, with its content type. */
  expose(): Promise<{ type: string; body: string }>;
}

/** First segments of pages. With the endpoints' paths they are a fixed set: no caller can make a new time series. */
const segments = new Set(
  'account assets check-mail demo dev forgot health healthz interaction metrics ready readyz register reset setup verified verify'.split(
    ' ',
  ),
);

const routeOf = (paths: ReadonlySet<string>, path: string): string => {
  const plain = path.replace(/^\/api\/v1(?=\/)/, '');
  if (paths.has(plain)) return plain.slice(1);
  const [, segment = ''] = path.split('/', 2);
  if (segment === '') return '/';
  return segments.has(segment) ? segment : 'other';
};

/** @param endpoints the paths that get a label of their own */
export const createMetrics = (endpoints: readonly string[]): Metrics => {
  const paths = new Set(endpoints);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time to answer, in seconds',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [registry],
  });
  const total = new Counter({
    name: 'http_requests_total',
    help: 'Requests answered',
    labelNames: ['method', 'route', 'status'],
    registers: [registry],
  });
  const sms = new Counter({
    name: 'sms_total',
    help: 'SMS by what became of them: as our provider answered, and as it told us later',
    labelNames: ['outcome'],
    registers: [registry],
  });
  const signIns = new Counter({
    name: 'sign_ins_total',
    help: 'Sign-ins with a password, by what became of them',
    labelNames: ['outcome'],
    registers: [registry],
  });
  const federated = new Counter({
    name: 'federated_sign_ins_total',
    help: 'Sign-ins with an identity provider, by what the provider’s answer came to',
    labelNames: ['outcome'],
    registers: [registry],
  });
  const refusals = new Counter({
    name: 'rate_limited_total',
    help: 'Requests that a limit refused, by limit',
    labelNames: ['limit'],
    registers: [registry],
  });
  const methods = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']);
  return {
    middleware: async (ctx, next) => {
      const started = process.hrtime.bigint();
      const route = routeOf(paths, ctx.path);
      try {
        await next();
      } finally {
        const labels = { method: methods.has(ctx.method) ? ctx.method : 'other', route, status: String(ctx.status) };
        duration.observe(labels, Number(process.hrtime.bigint() - started) / 1e9);
        total.inc(labels);
      }
    },
    countSms: (outcome) => sms.inc({ outcome }),
    countSignIn: (outcome) => signIns.inc({ outcome }),
    countFederation: (outcome) => federated.inc({ outcome }),
    countRefusal: (limit) => refusals.inc({ limit }),
    expose: async () => ({ type: registry.contentType, body: await registry.metrics() }),
  };
};

/** Serves `/metrics`. */
export const exposeMetrics =
  ({ expose }: Metrics): Koa.Middleware =>
  async (ctx, next) => {
    if (ctx.path !== '/metrics') return next();
    const { type, body } = await expose();
    ctx.set('Content-Type', type);
    ctx.body = body;
  };
