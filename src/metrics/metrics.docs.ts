/** docs/observability.md, generated from the declared metrics by `npm run docs`. */
import { catalogue, declared, type MetricName } from './catalogue.ts';

const intro = `# Metrics, traces, logs

What an operator can see of the service, and how. [operations/alerts.md](operations/alerts.md) says what to do when something is
wrong, [operations/doctor.md](operations/doctor.md) how to have the service looked at.

## Who may read metrics

\`/metrics\` tells how many people there are and when they sign in. It must not be public by accident, so:

| Setting | Who is answered |
|---|---|
| neither of the two | Whoever asks directly, from a loopback or private address. A request that came through a proxy says so (\`X-Forwarded-*\`, \`Forwarded\`, \`Via\`, \`X-Real-IP\` and the like), and for it there is no such page |
| \`METRICS_PORT\` | Whoever reaches that port, where there is nothing else but health; the other ports have no metrics. What the image, compose and Kubernetes examples do |
| \`METRICS_TOKEN\` | Whoever sends it as bearer token, from wherever, on whichever port |
| \`PROMETHEUS_ENABLED=false\` | Nobody |

**A load balancer that passes on TCP alone adds no header.** Behind one (AWS NLB, HAProxy in \`mode tcp\`, nginx \`stream\`, a Kubernetes
service of type \`LoadBalancer\` or \`NodePort\`, a published port of Docker) strangers may come from a private address and look
like somebody inside: set \`METRICS_PORT\` or \`METRICS_TOKEN\` there. \`countersign doctor\` warns in production while neither is set.

With several processes (\`WEB_CONCURRENCY\`) any of them answers for all of its group. Replicas are scraped one by one. What lies in
the database (sessions, waiting jobs) is counted by one replica once a minute, and told by all of them alike: take \`max\`, not \`sum\`.

## Dashboard and alerts

- [observability/dashboard.json](../observability/dashboard.json): a dashboard for Grafana (import it, or mount it as the compose file does).
- [observability/alerts.yml](../observability/alerts.yml): alert rules for Prometheus, for a job named \`countersign\`; their tests are in
  [alerts-test.yml](../observability/alerts-test.yml). Each names its section of [operations/alerts.md](operations/alerts.md).

\`\`\`yaml
scrape_configs:
  - job_name: countersign
    static_configs:
      - targets: ['countersign.internal:9464']
    # authorization: { credentials_file: /etc/prometheus/countersign-token }   with METRICS_TOKEN
\`\`\`

## Traces

With \`OTEL_EXPORTER_OTLP_ENDPOINT\` each request is a trace: OTLP over HTTP (JSON), sent to \`/v1/traces\` below that URL. Without it
nothing of it is loaded. \`OTEL_EXPORTER_OTLP_HEADERS\`, \`OTEL_SERVICE_NAME\`, \`OTEL_TRACES_SAMPLER\` and \`OTEL_TRACES_SAMPLER_ARG\` mean
what the OpenTelemetry specification says.

- Spans: the request by its route, statements of SQL, commands of Redis, requests to others, the waiting and the computing of password
  hashes, and each decision in a sign-in (identify, limit, verify factor, look up, assess risk, decide, record). A job is a trace of its own,
  linked with the request that queued it.
- Anybody can send \`traceparent\` (W3C Trace Context), and would say by it what is traced: have everything of theirs sampled,
  whatever the share, so that other spans are lost, or nothing. So each request begins a trace of its own, which the sampler alone
  decides on and which links to the caller's. Where the proxy in front makes that header itself, or drops what strangers send (nginx:
  \`proxy_set_header traceparent "";\`), and nobody gets past it, set \`TRUST_TRACEPARENT=true\`: traces are continued, and with a
  \`parentbased_\` sampler so is the decision.
- Our \`traceparent\` goes to the operator's own systems (Keycloak, Consul, another issuer's keys), to nobody else.
- No span holds a secret or anybody's data: no query string, no path, no values of SQL, of errors their code alone.
- A collector that hangs or is away loses spans (at most 2,048 wait) and holds up nothing; the log says so once a minute.

## Logs

One JSON object a line on standard output (pino). Each request has a line \`request\` at \`info\`; \`LOG_LEVEL\` sets what is left out.
Of requests that are refused because there are too many (429, 503), 20 in a second of each status and route have a line; a line
\`requests refused\` has the \`count\` of the rest.

- \`requestId\` is made here, comes back as \`X-Request-Id\`, and is in the audit log, in problem documents and on error pages.
- \`correlationId\` is what the caller gave as \`X-Correlation-Id\` or \`X-Request-Id\`, if it looks like one (8 to 64 letters, digits, dots,
  dashes); it comes back as \`X-Correlation-Id\`.
- \`trace_id\` and \`span_id\` link a line with its trace. Where nothing is traced, the line of a request has the \`trace_id\` that the caller
  sent. The span of a request has \`countersign.request_id\`.
- No line holds a secret, an address or a name, at any level; a test pushes marked secrets through every endpoint and looks for them.

## Metrics

Each label has few values, none of which a caller can choose. Those of Node (\`nodejs_*\`) and of the process (\`process_*\`) are there as
prom-client has them.

This list is generated from \`src/metrics/catalogue.ts\` by \`npm run docs\`.
`;

const cell = (text: string) => text.replaceAll('|', '\\|');

export const observabilityMarkdown = (): string =>
  [
    intro,
    '| Metric | Type | Labels | What it says |',
    '|---|---|---|---|',
    ...(Object.keys(catalogue) as MetricName[]).map((name) => {
      const { type, help, labels = [] } = declared(name);
      return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${cell(help)} |`;
    }),
    '',
  ].join('\n');
