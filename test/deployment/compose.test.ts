/** docker-compose.yml: what compose makes of it, where there is a program that knows, and what it says of the service. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config.ts';
import { settings } from '../../src/settings.ts';
import { findCompose } from './tools.ts';

interface Service {
  image?: string;
  build?: unknown;
  profiles?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  healthcheck?: { test?: string[]; disable?: boolean };
  restart?: string;
  read_only?: boolean;
  cap_drop?: string[];
  stop_grace_period?: string;
  depends_on?: Record<string, { condition: string }>;
}

const file = fileURLToPath(new URL('../../docker-compose.yml', import.meta.url));
const { services } = parse(readFileSync(file, 'utf8'), { merge: true }) as { services: Record<string, Service> };
const compose = findCompose();
const profiles = ['consul', 'jaeger', 'metrics'];

describe('docker-compose.yml', () => {
  it.skipIf(!compose)('is valid, with every profile', () => {
    const read = JSON.parse(compose?.(file, profiles) ?? '{}') as { services: object };
    expect(Object.keys(read.services).toSorted()).toEqual(Object.keys(services).toSorted());
  });

  it('has a profile for each part that is not needed', () => {
    expect([...new Set(Object.values(services).flatMap(({ profiles: own = [] }) => own))].toSorted()).toEqual(profiles);
  });

  it('names a version of each image, and publishes ports on loopback alone', () => {
    for (const [name, { image, build, ports = [] }] of Object.entries(services)) {
      if (!build) expect(image, name).toMatch(/:v?\d+\.\d+[\w.-]*$/);
      for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:/);
    }
  });

  it('waits for what is healthy', () => {
    for (const [name, { depends_on: others = {} }] of Object.entries(services))
      for (const [other, { condition }] of Object.entries(others)) {
        const { healthcheck, build } = services[other] as Service;
        const expected = other === 'migrate' ? 'service_completed_successfully' : 'service_healthy';
        expect([name, condition]).toEqual([name, expected]);
        if (!build) expect(healthcheck?.test, other).toBeDefined();
      }
  });

  it('mounts files that are there', () => {
    const paths = Object.values(services)
      .flatMap(({ volumes = [] }) => volumes)
      .filter((volume) => volume.startsWith('.'))
      .map((volume) => volume.split(':')[0] as string);
    expect(paths.filter((path) => !existsSync(join(dirname(file), path)))).toEqual([]);
  });

  it('starts the service with settings that it knows and takes, in development and in production', () => {
    const { countersign, migrate } = services as { countersign: Service; migrate: Service };
    expect(migrate.environment).toEqual(countersign.environment);
    expect(countersign).toMatchObject({ read_only: true, cap_drop: ['ALL'] });
    expect(Object.keys(countersign.environment ?? {}).filter((name) => !(name in settings.shape))).toEqual([]);
    const environment = (given: Record<string, string>) =>
      Object.fromEntries(
        Object.entries(countersign.environment ?? {}).map(([name, value]) => [
          name,
          value.replace(
            /\$\{(\w+):-([^}]*)\}/g,
            (_, variable: string, fallback: string) => given[variable] ?? fallback,
          ),
        ]),
      );
    const key = { ENCRYPTION_MASTER_KEY: 'q8Zk3vJx0mT7Rb5yN1hW9cLd4uFs6gEa' };
    expect(loadConfig(environment(key))).toMatchObject({ NODE_ENV: 'development', HOST: '0.0.0.0' });
    const all = {
      ...key,
      NODE_ENV: 'production',
      POSTGRES_PASSWORD: '5f1d',
      CONSUL_ADDR: 'http://consul:8500',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://jaeger:4318',
    };
    expect(loadConfig(environment(all)).NODE_ENV).toBe('production');
  });
});
