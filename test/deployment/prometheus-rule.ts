/** Wraps observability/alerts.yml into a PrometheusRule; run, it writes the one of k8s/. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));

export const ruleFile = path('k8s/components/monitoring/prometheusrule.yaml');

export const prometheusRule = (): string => {
  const rules = readFileSync(path('observability/alerts.yml'), 'utf8');
  const groups = rules.slice(rules.search(/^groups:/m)).trimEnd();
  return `# observability/alerts.yml for the Prometheus operator, made by \`npx node test/deployment/prometheus-rule.ts\`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: countersign
  namespace: countersign
  labels:
    app.kubernetes.io/name: countersign
    app.kubernetes.io/part-of: countersign
spec:
${groups.replace(/^(?=.)/gm, '  ')}
`;
};

if (import.meta.main) writeFileSync(ruleFile, prometheusRule());
