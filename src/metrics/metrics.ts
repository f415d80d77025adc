/** Process and HTTP metrics in the Prometheus text format. */
import type Koa from 'koa';
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export interface Metrics {
  /** Times requests by method, route and status. Routes, not paths: a path may hold an identifier. */
  middleware: Koa.Middleware;
  /** The exposition, with its content type. */
  expose(): Promise<{ type: string; body: string }>;
}

/** Path prefixes of a fixed set, so that no caller can make a new time series. */
const routeOf = (path: string): string =>
  /^\/(oauth\/[a-z]+|\.well-known\/[a-z.-]+|auth\/[a-z-]+|api\/v1|account|interaction|register|verify|forgot|reset|setup|assets|health|ready|metrics|demo|dev)(\/|$)/.exec(
    path,
  )?.[1] ?? 'other';

export const createMetrics = (): Metrics => {
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
      const route = routeOf(ctx.path);
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
