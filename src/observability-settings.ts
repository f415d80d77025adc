/** The settings of what operators look at: metrics, and traces under OpenTelemetry's own names. */
import { z } from 'zod';
import { flag, integer } from './setting-kinds.ts';

/** `name=value` pairs with commas between, values percent-encoded, as the OpenTelemetry specification has it. */
const pairs = z.string().transform((text, context) => {
  const found: Record<string, string> = {};
  for (const item of text.split(',').filter((part) => part.trim())) {
    const [, name, value] = /^\s*([\w.-]+)\s*=\s*(.*?)\s*$/.exec(item) ?? [];
    try {
      if (name === undefined) throw new Error('no name');
      found[name] = decodeURIComponent(value ?? '');
    } catch {
      context.addIssue({ code: 'custom', message: 'expected name=value pairs, separated by commas' });
      return z.NEVER;
    }
  }
  return found;
});

const samplers = [
  ...['always_on', 'always_off', 'traceidratio', 'parentbased_always_on', 'parentbased_always_off'],
  'parentbased_traceidratio',
] as const;

export const observabilitySettings = {
  PROMETHEUS_ENABLED: flag.default(true).meta({
    description:
      'Serve `/metrics`: without METRICS_PORT and METRICS_TOKEN only to whoever asks directly, from a private address and through no proxy (docs/observability.md)',
  }),
  METRICS_PORT: integer(1, 65_535).optional().meta({
    description: 'A port of its own for `/metrics`, which the others then have no more; plain HTTP',
  }),
  METRICS_TOKEN: z
    .string()
    .min(16, 'expected at least 16 characters')
    .optional()
    .meta({ description: 'Whoever reads `/metrics` must send this as bearer token' }),
  OTEL_EXPORTER_OTLP_ENDPOINT: z
    .url({ protocol: /^https?$/, error: 'expected an http(s) URL' })
    .optional()
    .meta({
      description: 'Where traces are sent (OTLP over HTTP, to `/v1/traces` below this URL); there are none without it',
    }),
  OTEL_EXPORTER_OTLP_HEADERS: pairs.optional().meta({
    description: 'Headers for it as `name=value`, separated by commas, values percent-encoded: often a key',
  }),
  OTEL_SERVICE_NAME: z.string().min(1).max(100).default('countersign').meta({
    description: 'What traces call this service',
  }),
  OTEL_TRACES_SAMPLER: z.enum(samplers).default('parentbased_always_on').meta({
    description:
      'Which requests are traced; with TRUST_TRACEPARENT `parentbased_` follows what the caller’s `traceparent` says',
  }),
  OTEL_TRACES_SAMPLER_ARG: z.coerce
    .number('expected a number from 0 to 1')
    .min(0, 'expected a number from 0 to 1')
    .max(1, 'expected a number from 0 to 1')
    .default(1)
    .meta({ description: 'The share of requests that `traceidratio` traces, from 0 to 1' }),
  TRUST_TRACEPARENT: flag.default(false).meta({
    description:
      'Continue the traces of callers (`traceparent`), who then say what is traced: only where the proxy in front makes or drops that header. Without it each request begins a trace that links to the caller’s',
  }),
} as const;
