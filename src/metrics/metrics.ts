/** The metrics of a process in the Prometheus text format. `catalogue.ts` says which there are, `watch.ts` what moves most of them. */
import type Koa from 'koa';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { createCounter, createCountOf, createGauge, createHistogram } from './instruments.ts';
import { createSampleGauges } from './sample-gauges.ts';
import type { Samples } from './samples.queries.ts';

export interface Metrics {
  registry: Registry;
  /**
   * Times requests by method, route and status. Routes, not paths: a path may hold an identifier.
   * @param endpoints the paths that get a label of their own
   */
  middleware(endpoints: readonly string[]): Koa.Middleware;
  /** The same for a request that something in front of the middleware has answered. */
  countRequest(method: string, route: string, status: number, seconds: number): void;
  /** Counts a request that was turned away to keep the service up. */
  countShed(reason: string): void;
  /** Counts what became of an SMS; `outcome` is one of a fixed set. */
  countSms(outcome: string): void;
  /** Counts what became of a sign-in: by what, where. */
  countSignIn(method: string, surface: string, outcome: string): void;
  /** Counts what became of a sign-in with an identity provider. */
  countFederation(outcome: string): void;
  /** Counts what a limit refused, by the limit's name. */
  countRefusal(limit: string): void;
  /** Counts what became of a question to a cache, by where it was asked. */
  countCache(cache: string, layer: string, outcome: string): void;
  /** From now on `/metrics` tells what `read` finds in the database, which is asked at most every few seconds. */
  readSamples(read: () => Promise<Samples>): void;
  /** Asks the database again when it is read next, however soon. */
  refreshSamples(): void;
  /** The exposition, with its content type. */
  expose(): Promise<{ type: string; body: string }>;
}

/** Whose measures are exposed: those of this process, or of all that share its port. */
export type JoinMetrics = (own: Pick<Metrics, 'registry' | 'expose'>) => Pick<Metrics, 'expose'>;

/** First segments of pages. With the endpoints' paths they are a fixed set: no caller can make a new time series. */
const segments = new Set(
  'account assets check-mail demo dev forgot health healthz interaction metrics ready readyz register reset setup verified verify'.split(
    ' ',
  ),
);

const routeOf = (paths: ReadonlySet<string>, path: string): string => {
  if (paths.has(path)) return path.slice(1);
  const plain = path.replace(/^\/api\/v1(?=\/)/, '');
  if (paths.has(plain)) return plain.slice(1);
  const [, segment = ''] = path.split('/', 2);
  if (segment === '') return '/';
  return segments.has(segment) ? segment : 'other';
};

const methods = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']);

/** @param version of this service, for `build_info` */
export const createMetrics = (version = 'unknown'): Metrics => {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const duration = createHistogram(registry, 'http_request_duration_seconds');
  createCountOf(registry, 'http_requests_total', duration);
  const inFlight = createGauge(registry, 'http_requests_in_flight')();
  const shed = createCounter(registry, 'requests_shed_total');
  const sms = createCounter(registry, 'sms_total');
  const signIns = createCounter(registry, 'sign_ins_total');
  const federated = createCounter(registry, 'federated_sign_ins_total');
  const refusals = createCounter(registry, 'rate_limited_total');
  const cache = createCounter(registry, 'cache_requests_total');
  createGauge(registry, 'build_info')(version, process.versions.node).set(1);
  const samples = createSampleGauges(registry);

  const countRequest: Metrics['countRequest'] = (method, route, status, seconds) =>
    duration(methods.has(method) ? method : 'other', route, String(status)).observe(seconds);

  return {
    registry,
    countRequest,
    middleware: (endpoints) => {
      const paths = new Set(endpoints);
      return async (ctx, next) => {
        const started = performance.now();
        const route = routeOf(paths, ctx.path);
        ctx.state.route = route;
        inFlight.inc();
        try {
          await next();
        } finally {
          inFlight.inc(-1);
          countRequest(ctx.method, route, ctx.status, (performance.now() - started) / 1000);
        }
      };
    },
    countShed: (reason) => shed(reason).inc(),
    countSms: (outcome) => sms(outcome).inc(),
    countSignIn: (method, surface, outcome) => signIns(method, surface, outcome).inc(),
    countFederation: (outcome) => federated(outcome).inc(),
    countRefusal: (limit) => refusals(limit).inc(),
    countCache: (name, layer, outcome) => cache(name, layer, outcome).inc(),
    readSamples: samples.read,
    refreshSamples: samples.refresh,
    expose: async () => ({ type: registry.contentType, body: await registry.metrics() }),
  };
};
