/**
 * Traces by OpenTelemetry, sent over OTLP. Loaded only where OTEL_EXPORTER_OTLP_ENDPOINT is set.
 *
 * Nothing is instrumented from outside: the places of `src/observing.ts` become spans. A span holds no secret and nobody's data:
 * routes instead of paths, no query, statements without their values, of errors their code alone. What belongs to a request is
 * known by an AsyncLocalStorage of our own, and what does not belong to one (polling, timers) makes no spans.
 *
 * Batches are bounded in number and size, and a collector that hangs loses spans and holds up nothing.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type Koa from 'koa';
import type { Config } from '../src/config.ts';
import type { Log } from '../src/log.ts';
import { readStatement } from '../src/metrics/statements.ts';
import { fetches, hashes, hashWaits, queries, redisCommands, traceWith } from '../src/observing.ts';
import { portOf } from './outbound.ts';

export interface Tracing {
  /** A span for each request; the first of all middleware. */
  middleware: Koa.Middleware;
  /** Sends what is left, for a short while, and traces no more. */
  stop(): Promise<void>;
}

type Settings = Pick<
  Config,
  | 'JWT_ISSUER'
  | 'OTEL_EXPORTER_OTLP_ENDPOINT'
  | 'OTEL_EXPORTER_OTLP_HEADERS'
  | 'OTEL_SERVICE_NAME'
  | 'OTEL_TRACES_SAMPLER'
  | 'OTEL_TRACES_SAMPLER_ARG'
  | 'TRUST_TRACEPARENT'
>;

/** How long the collector may take for a batch, and at the end for what is left, in milliseconds. */
const exportMs = 5000;
const farewellMs = 2000;
const batch = {
  maxQueueSize: 2048,
  maxExportBatchSize: 512,
  scheduledDelayMillis: 2000,
  exportTimeoutMillis: exportMs,
};
const sqlCharactersMax = 2000;
/** A collector that is away stays so for a while: one line in this time is enough. */
const quietMs = 60_000;

const rootSampler = (name: string, share: number): Sampler => {
  if (name.endsWith('always_off')) return new AlwaysOffSampler();
  return name.endsWith('traceidratio') ? new TraceIdRatioBasedSampler(share) : new AlwaysOnSampler();
};

const samplerOf = ({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: share }: Settings): Sampler =>
  name.startsWith('parentbased_')
    ? new ParentBasedSampler({ root: rootSampler(name, share) })
    : rootSampler(name, share);

/** W3C Trace Context section 3.2.2; versions to come may append to it. */
const parseParent = (header: string): SpanContext | undefined => {
  const [, version, traceId = '', spanId = '', flags = ''] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/.exec(header) ?? [];
  if (version === undefined || version === 'ff' || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
};

const format = ({ traceId, spanId, traceFlags }: SpanContext): string =>
  `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;

/** Says now and then that spans are lost. */
const telling = (exporter: SpanExporter, log: Log): SpanExporter => {
  let quietUntil = 0;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        // 1 is failure (ExportResultCode).
        if (result.code === 1 && Date.now() >= quietUntil) {
          quietUntil = Date.now() + quietMs;
          log.warn('traces are lost: the collector at OTEL_EXPORTER_OTLP_ENDPOINT does not take them');
        }
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  };
};

const end = (span: Span, error?: unknown): void => {
  if (error !== undefined) {
    const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
    span.setAttribute('error.type', String(code ?? name ?? 'unknown'));
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
};

export const startTracing = (settings: Settings, version: string, log: Log): Tracing => {
  const url = `${settings.OTEL_EXPORTER_OTLP_ENDPOINT?.replace(/\/$/, '')}/v1/traces`;
  const headers = settings.OTEL_EXPORTER_OTLP_HEADERS ?? {};
  const exporter = new OTLPTraceExporter({ url, headers, timeoutMillis: exportMs, concurrencyLimit: 2 });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': settings.OTEL_SERVICE_NAME,
      'service.version': version,
      'service.instance.id': randomUUID(),
    }),
    sampler: samplerOf(settings),
    spanLimits: { attributeValueLengthLimit: sqlCharactersMax },
    spanProcessors: [new BatchSpanProcessor({ exporter: telling(exporter, log), ...batch })],
  });
  const tracer = provider.getTracer('countersign', version);
  const active = new AsyncLocalStorage<Context>();

  const within = async <T>(span: Span, parent: Context, work: () => Promise<T>): Promise<T> => {
    try {
      // Awaited inside: a query of Knex begins when somebody waits for it.
      const result = await active.run(trace.setSpan(parent, span), async () => await work());
      end(span);
      return result;
    } catch (error) {
      end(span, error);
      throw error;
    }
  };
  /** A span of what is asked of others on behalf of what is being traced. */
  const child = (name: string, attributes: Attributes, kind = SpanKind.CLIENT) => {
    const parent = active.getStore();
    return parent && tracer.startSpan(name, { kind, attributes }, parent);
  };
  const nothing = () => {};
  const ended = (span: Span | undefined) => (span ? (error?: unknown) => end(span, error) : nothing);

  const current = (): string | undefined => {
    const span = trace.getSpan(active.getStore() ?? ROOT_CONTEXT);
    return span && format(span.spanContext());
  };

  const ends = [
    traceWith({
      current,
      step: (name, work, attributes = {}) => {
        const parent = active.getStore();
        return parent ? within(tracer.startSpan(name, { attributes }, parent), parent, work) : work();
      },
      job: (queue, origin, work) => {
        const context = origin === undefined ? undefined : parseParent(origin);
        // What belongs to nobody's request would be a trace each few seconds.
        if (!context) return work();
        const attributes = { 'messaging.system': 'pg-boss', 'messaging.destination.name': queue };
        const options = { kind: SpanKind.CONSUMER, links: [{ context }], attributes };
        return within(tracer.startSpan(`job ${queue}`, options, ROOT_CONTEXT), ROOT_CONTEXT, work);
      },
    }),
    queries.watch((sql) => {
      if (!active.getStore()) return nothing;
      const { operation, table } = readStatement(sql);
      const collection = table === 'none' ? {} : { 'db.collection.name': table };
      const attributes = { 'db.system.name': 'postgresql', 'db.operation.name': operation, 'db.query.text': sql };
      return ended(child(table === 'none' ? operation : `${operation} ${table}`, { ...attributes, ...collection }));
    }),
    redisCommands.watch((command, purpose) =>
      ended(
        child(command, { 'db.system.name': 'redis', 'db.operation.name': command, 'countersign.purpose': purpose }),
      ),
    ),
    fetches.watch((purpose, method, url, answered) => {
      const span = child(method, {
        'http.request.method': method,
        'server.address': url.hostname,
        'server.port': portOf(url),
        'countersign.purpose': purpose,
      });
      if (!span) return nothing;
      if (answered.headers) answered.headers.traceparent = format(span.spanContext());
      return (error) => {
        if (answered.status !== undefined) span.setAttribute('http.response.status_code', answered.status);
        end(span, error);
      };
    }),
    hashWaits.watch(() => ended(child('password hash wait', {}, SpanKind.INTERNAL))),
    hashes.watch(() => ended(child('password hash', {}, SpanKind.INTERNAL))),
  ];

  const { protocol, hostname } = new URL(settings.JWT_ISSUER);
  const place = { 'url.scheme': protocol.slice(0, -1), 'server.address': hostname };
  const middleware: Koa.Middleware = async (ctx, next) => {
    const context = parseParent(ctx.get('traceparent'));
    const isContinued = context && settings.TRUST_TRACEPARENT;
    const parent = isContinued ? trace.setSpanContext(ROOT_CONTEXT, context) : ROOT_CONTEXT;
    const span = tracer.startSpan(
      ctx.method,
      {
        kind: SpanKind.SERVER,
        attributes: { 'http.request.method': ctx.method, ...place },
        // Whoever else sends one must not say what is sampled: neither by the flag, nor by an id to which the ratio says yes.
        links: context && !isContinued ? [{ context }] : [],
      },
      parent,
    );
    try {
      await active.run(trace.setSpan(parent, span), next);
    } catch (error) {
      span.setAttribute('error.type', String((error as { code?: unknown }).code ?? 'unknown'));
      throw error;
    } finally {
      const { route, requestId } = ctx.state as { route?: string; requestId?: string };
      if (route !== undefined && route !== 'other') {
        span.updateName(`${ctx.method} ${route}`);
        span.setAttribute('http.route', route);
      }
      if (requestId !== undefined) span.setAttribute('countersign.request_id', requestId);
      span.setAttribute('http.response.status_code', ctx.status);
      if (ctx.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    }
  };

  return {
    middleware,
    stop: async () => {
      for (const stop of ends) stop();
      const late = new Promise<void>((resolve) => setTimeout(resolve, farewellMs).unref());
      await Promise.race([provider.shutdown().catch(nothing), late]);
    },
  };
};
