/** Process and HTTP metrics in the Prometheus text format. */
import type Koa from 'koa';
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export interface Metrics {
  /** Times requests by method, route and status. Routes, not paths: a path may hold an identifier. */
  middleware: Koa.Middleware;
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
    expose: async () => ({ type: registry.contentType, body: await registry.metrics() }),
  };
};
