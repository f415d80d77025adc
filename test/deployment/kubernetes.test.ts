/**
 * k8s/: every overlay builds, is what the API server would take (no field that it does not know, no value that it refuses),
 * and says of the service what is true of it.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { loadConfig } from '../../src/config.ts';
import { secretNames, settings } from '../../src/settings.ts';
import { prometheusRule, ruleFile } from './prometheus-rule.ts';
import { findKustomize } from './tools.ts';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string };

interface Container {
  name: string;
  image: string;
  args: string[];
  env?: { name: string; value?: string }[];
  envFrom?: { configMapRef: { name: string } }[];
  ports?: { name: string; containerPort: number }[];
  securityContext: Record<string, unknown>;
  resources: { limits: { memory: string }; requests: Record<string, string> };
  volumeMounts: { name: string; mountPath: string }[];
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  startupProbe?: Probe;
}
interface Probe {
  httpGet: { path: string; port: string; scheme?: string };
}
interface Pod {
  containers: Container[];
  initContainers?: Container[];
  securityContext: Record<string, unknown>;
  automountServiceAccountToken: boolean;
  terminationGracePeriodSeconds?: number;
  volumes: { name: string; secret?: { secretName: string; items?: { path: string }[] } }[];
}
interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  data?: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: each kind has its own; what is read is checked against the schemas below
  spec: any;
}

const kustomize = findKustomize();
const overlays = readdirSync(join(repository, 'k8s/overlays'));
const scratch = join(repository, 'node_modules/.cache');
mkdirSync(scratch, { recursive: true });
const work = mkdtempSync(join(scratch, 'manifests-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const parse = (text: string): Manifest[] =>
  parseAllDocuments(text).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Manifest;
  });
const built = new Map(
  kustomize ? overlays.map((name) => [name, parse(kustomize(join(repository, 'k8s/overlays', name)))]) : [],
);
// Built so that what only a component has is looked at too.
if (kustomize) {
  const directory = join(work, 'migrate-in-pods');
  mkdirSync(directory);
  const kustomization = {
    resources: ['../../../../k8s/base'],
    components: ['../../../../k8s/components/migrate-in-pods'],
    images: [{ name: 'countersign', newTag: version }],
  };
  writeFileSync(join(directory, 'kustomization.yaml'), JSON.stringify(kustomization));
  built.set('base with migrate-in-pods', parse(kustomize(directory)));
}

const packages: Record<string, string> = {
  'cert-manager.io': '@kubernetes-models/cert-manager',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
  'security.istio.io': '@kubernetes-models/istio',
};
const moduleOf = ({ apiVersion }: Manifest): string => {
  const [group = ''] = apiVersion.split('/');
  return `${packages[group] ?? 'kubernetes-models'}/${apiVersion}`;
};

const of = (manifests: Manifest[], kind: string, name = 'countersign') =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
const podOf = (manifest: Manifest | undefined): Pod => manifest?.spec.template.spec;
const containersOf = (pod: Pod): Container[] => [...(pod.initContainers ?? []), ...pod.containers];
const workloads = (manifests: Manifest[]) => manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'Job');

/** The environment of a container, but for what is known in the cluster alone. */
const environmentOf = (container: Container, manifests: Manifest[]): Record<string, string> => {
  const sources = (container.envFrom ?? []).map(
    ({ configMapRef }) => of(manifests, 'ConfigMap', configMapRef.name)?.data,
  );
  const own = (container.env ?? []).map(({ name, value }) => [name, value ?? '10.0.0.7']);
  return Object.assign({}, ...sources, Object.fromEntries(own));
};

it('nothing that should be an overlay is none', () => {
  expect(overlays.toSorted()).toEqual(['consul', 'development', 'mtls', 'production', 'service-mesh']);
  expect(readdirSync(join(repository, 'k8s/base'))).toEqual(
    expect.arrayContaining(['deployment.yaml', 'service.yaml', 'secret-example.yaml']),
  );
});

it('the alerts of the operator are those of observability/', () => {
  expect(readFileSync(ruleFile, 'utf8')).toBe(prometheusRule());
});

it('the image has the Node that the tests run on', () => {
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8'));
  const dockerfile = readFileSync(join(repository, 'Dockerfile'), 'utf8');
  expect(/^ARG NODE_VERSION=(.*)$/m.exec(dockerfile)?.[1]).toBe(lock.packages['node_modules/node'].version);
});

describe.skipIf(!kustomize)('as kustomize builds it', () => {
  it.each([...built])('%s: the schemas take every value', async (_, manifests) => {
    const mistakes: string[] = [];
    for (const manifest of manifests) {
      const module = (await import(moduleOf(manifest))) as Record<string, new (data: unknown) => { validate(): void }>;
      const Model = module[manifest.kind];
      if (!Model) throw new Error(`No schema of ${manifest.apiVersion} ${manifest.kind}`);
      try {
        new Model(manifest).validate();
      } catch (error) {
        mistakes.push(`${manifest.kind} ${manifest.metadata.name}: ${(error as Error).message}`);
      }
    }
    expect(mistakes).toEqual([]);
  });

  it('no field is one that the API server does not know', () => {
    // The schemas pass over unknown fields; the types of the same packages do not, in a literal.
    const all = [...built.values()].flat();
    const lines = all.flatMap((manifest, index) => [
      `import type { I${manifest.kind} as T${index} } from '${moduleOf(manifest)}';`,
      `export const manifest${index}: T${index} = ${JSON.stringify(manifest, null, 1)};`,
    ]);
    const misspelt = structuredClone(of(all, 'Deployment')) as Manifest;
    misspelt.spec.template.spec.containers[0].readynessProbe = {};
    lines.push(
      '// @ts-expect-error: this is how a field that does not exist is found',
      `export const wrong: T${all.indexOf(of(all, 'Deployment') as Manifest)} = ${JSON.stringify(misspelt)};`,
    );
    writeFileSync(join(work, 'manifests.ts'), lines.join('\n'));
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--types', '', '--ignoreConfig'];
    let output = '';
    try {
      execFileSync(join(repository, 'node_modules/.bin/tsc'), [...options, 'manifests.ts'], { cwd: work });
    } catch (error) {
      output = String((error as { stdout?: Buffer }).stdout);
    }
    expect(output).toBe('');
  }, 240_000);

  it.each([...built])(
    '%s: pods keep to the restricted profile, with a pinned image and bounded memory',
    (_, manifests) => {
      for (const workload of workloads(manifests)) {
        const pod = podOf(workload);
        expect(pod.automountServiceAccountToken).toBe(false);
        expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
        for (const { image, securityContext, resources } of containersOf(pod)) {
          expect(image).toMatch(new RegExp(`^[\\w./-]*countersign:${version}$`));
          expect(securityContext).toEqual({
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            runAsNonRoot: true,
            capabilities: { drop: ['ALL'] },
          });
          expect([resources.limits.memory, resources.requests.cpu, resources.requests.memory]).not.toContain(undefined);
        }
      }
    },
  );

  it.each([...built])('%s: there is no secret in it', (_, manifests) => {
    expect(manifests.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    for (const { data = {} } of manifests.filter(({ kind }) => kind === 'ConfigMap'))
      expect(Object.keys(data).filter((name) => (secretNames as readonly string[]).includes(name))).toEqual([]);
  });

  it.each([...built])(
    '%s: the settings exist, are ones that the service starts with, and name files that are mounted',
    (_, manifests) => {
      for (const workload of workloads(manifests))
        for (const container of containersOf(podOf(workload))) {
          const { HOST_IP, ...environment } = environmentOf(container, manifests);
          const names = Object.keys(environment).map((name) => name.replace(/_FILE$/, ''));
          expect(names.filter((name) => !(name in settings.shape))).toEqual([]);
          const paths = Object.entries(environment).filter(([name, value]) => /_(FILE|PATH)$/.test(name) && value);
          const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
          expect(paths.filter(([, path]) => !mounts.some((mount) => path.startsWith(`${mount}/`)))).toEqual([]);
          const secrets = Object.fromEntries(
            Object.entries(environment)
              .filter(([name]) => name.endsWith('_FILE'))
              .map(([name]) => [name.replace(/_FILE$/, ''), examples[name]]),
          );
          const plain = Object.fromEntries(Object.entries(environment).filter(([name]) => !name.endsWith('_FILE')));
          expect(() =>
            loadConfig({
              ...plain,
              ...secrets,
              CONSUL_ADDR: plain.CONSUL_ADDR && `http://${HOST_IP}:8500`,
              DATA_DIR: work,
            }),
          ).not.toThrow();
        }
    },
  );

  it.each([...built])('%s: ports and probes are those of the service', (_, manifests) => {
    const [container] = podOf(of(manifests, 'Deployment')).containers as [Container];
    const environment = environmentOf(container, manifests);
    const ports = Object.fromEntries(
      (container.ports ?? []).map(({ name, containerPort }) => [name, String(containerPort)]),
    );
    expect(ports).toEqual({
      http: environment.PORT,
      metrics: environment.METRICS_PORT,
      ...(environment.MTLS_PORT ? { mtls: environment.MTLS_PORT } : {}),
    });
    const scheme = environment.TLS_CERT_PATH ? 'HTTPS' : undefined;
    for (const [probe, path] of [
      [container.startupProbe, '/health/live'],
      [container.livenessProbe, '/health/live'],
      [container.readinessProbe, '/health/ready'],
    ] as const)
      expect(probe?.httpGet).toEqual({ path, port: 'http', ...(scheme ? { scheme } : {}) });
    const services = manifests.filter(({ kind, spec }) => kind === 'Service' && spec.selector);
    const targets = services.flatMap(({ spec }) =>
      spec.ports.map(({ targetPort }: { targetPort: string }) => targetPort),
    );
    expect(targets.filter((target) => !(target in ports))).toEqual([]);
  });

  it.each([...built])('%s: a pod has the time that it takes to stop', (_, manifests) => {
    const pod = podOf(of(manifests, 'Deployment'));
    const { DRAIN_DELAY = '0s' } = environmentOf(pod.containers[0] as Container, manifests);
    // What src/cluster.ts gives an ending beside it.
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(Number.parseInt(DRAIN_DELAY, 10) + 45);
  });

  it.each([...built])('%s: what selects pods finds some, in the namespace', (_, manifests) => {
    const pods = workloads(manifests).map(({ spec }) => spec.template.metadata.labels as Record<string, string>);
    const finds = (selector: Record<string, string>) =>
      pods.some((labels) => Object.entries(selector).every(([name, value]) => labels[name] === value));
    for (const { kind, metadata, spec } of manifests) {
      if (kind !== 'Namespace') expect(metadata.namespace, `${kind} ${metadata.name}`).toBe('countersign');
      const selector = kind === 'Service' ? spec.selector : (spec?.podSelector ?? spec?.selector)?.matchLabels;
      if (selector && kind !== 'ServiceMonitor') expect(finds(selector), `${kind} ${metadata.name}`).toBe(true);
    }
    const names = new Set(manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`));
    expect(names.size).toBe(manifests.length);
    const used = manifests.flatMap(
      (manifest) => JSON.stringify(manifest).match(/(?<="service":\{"name":")[\w-]+/g) ?? [],
    );
    expect(used.filter((name) => !names.has(`Service ${name}`))).toEqual([]);
  });

  it('an update takes no pod away before another is ready, and all overlays but development keep two', () => {
    for (const name of overlays.filter((overlay) => overlay !== 'development')) {
      const manifests = built.get(name) as Manifest[];
      const { strategy, replicas } = of(manifests, 'Deployment')?.spec ?? {};
      expect(strategy).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } });
      expect(replicas).toBeUndefined();
      expect(of(manifests, 'HorizontalPodAutoscaler')?.spec.minReplicas).toBeGreaterThanOrEqual(2);
      expect(of(manifests, 'PodDisruptionBudget')?.spec.maxUnavailable).toBe(1);
      expect(of(manifests, 'NetworkPolicy', 'default-deny')?.spec).toEqual({
        podSelector: {},
        policyTypes: ['Ingress', 'Egress'],
      });
      expect(podOf(of(manifests, 'Job', 'countersign-migrate')).containers[0]?.args).toEqual(['migrate']);
    }
  });

  it('the example of the secret has the keys that are read, and no values', () => {
    const [secret] = parse(readFileSync(join(repository, 'k8s/base/secret-example.yaml'), 'utf8')) as unknown as {
      stringData: Record<string, string>;
    }[];
    const { data = {} } = (built.get('production') as Manifest[]).find(({ kind }) => kind === 'ConfigMap') as Manifest;
    const files = Object.entries(data)
      .filter(([name]) => name.endsWith('_FILE'))
      .map(([, path]) => path.split('/').at(-1));
    expect(Object.keys(secret?.stringData ?? {}).toSorted()).toEqual(files.toSorted());
    expect(Object.values(secret?.stringData ?? {}).filter(Boolean)).toEqual([]);
  });
});

/** What the files of the secret could hold. */
const examples: Record<string, string> = {
  DATABASE_URL_FILE: 'postgres://countersign@postgres/countersign',
  REDIS_URL_FILE: 'redis://redis',
  SMTP_URL_FILE: 'smtp://mail',
  ENCRYPTION_MASTER_KEY_FILE: 'q8Zk3vJx0mT7Rb5yN1hW9cLd4uFs6gEa',
  CONSUL_HTTP_TOKEN_FILE: 'f2b4d0f2-7f3b-4a67-9d6e-2f8a2f6f1d10',
};
