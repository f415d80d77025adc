/** Whether the settings are right, and what was probably meant by those that there are not. */
import { X509Certificate } from 'node:crypto';
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import type { z } from 'zod';
import { type Config, ConfigError, loadConfig } from '../config.ts';
import { secretNames, settings } from '../settings.ts';
import { reportCertificateEnd } from './certificate-end.ts';
import type { Check, Report } from './findings.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What of the settings can be read, although others may be wrong. */
export type Settings = Partial<z.output<typeof settings>> & { ENCRYPTION_MASTER_KEY?: string | undefined };

/** How many letters must change, be added, left out or swapped with the next one to make one word of another. */
export const distance = (from: string, to: string): number => {
  const rows = Array.from({ length: from.length + 1 }, (_, row) => [row, ...Array<number>(to.length).fill(0)]);
  for (let column = 0; column <= to.length; column++) (rows[0] as number[])[column] = column;
  const at = (row: number, column: number) => rows[row]?.[column] ?? 0;
  for (let row = 1; row <= from.length; row++)
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let least = Math.min(at(row - 1, column) + 1, at(row, column - 1) + 1, at(row - 1, column - 1) + (same ? 0 : 1));
      const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (row > 1 && column > 1 && swapped) least = Math.min(least, at(row - 2, column - 2) + 1);
      (rows[row] as number[])[column] = least;
    }
  return at(from.length, to.length);
};

const known = [...Object.keys(settings.shape), ...secretNames.map((name) => `${name}_FILE`)];

/** Names in the environment that are none of ours, and near to one of ours that is not set. */
export const misspelt = (environment: Environment): { name: string; meant: string }[] =>
  Object.keys(environment).flatMap((name) => {
    if (known.includes(name) || name.length < 5) return [];
    const near = known
      .filter((one) => one.length >= 5 && !environment[one])
      .map((meant) => ({ name, meant, letters: distance(name.toUpperCase(), meant) }))
      .filter(({ meant, letters }) => letters <= (meant.length > 8 ? 2 : 1))
      .toSorted((a, b) => a.letters - b.letters);
    return near.slice(0, 1).map(({ name, meant }) => ({ name, meant }));
  });

/** Each setting by itself, so that one that is wrong hides none of the others. */
export const readableSettings = (environment: Environment): Settings =>
  Object.fromEntries(
    Object.entries(settings.shape).flatMap(([name, schema]) => {
      let value = environment[name] || undefined;
      const file = environment[`${name}_FILE`];
      if (file && value === undefined && secretNames.some((secret) => secret === name)) {
        try {
          value = readFileSync(file, 'utf8').trim();
        } catch {
          return [];
        }
      }
      const parsed = schema.safeParse(value);
      return parsed.success ? [[name, parsed.data]] : [];
    }),
  );

/** @returns undefined where the configuration is not valid */
export const tryConfig = (environment: Environment): { config?: Config; mistakes: readonly string[] } => {
  try {
    return { config: loadConfig(environment), mistakes: [] };
  } catch (error) {
    if (error instanceof ConfigError) return { mistakes: error.mistakes };
    throw error;
  }
};

/** Settings that are files or folders, of which one may name several. DATA_DIR has a check of its own. */
const fileSettings = known.filter(
  (name) => /_(PATH|DIR|FILE|CACERT|CLIENT_CERT|CLIENT_KEY)$|^GEOIP_DB$/.test(name) && name !== 'DATA_DIR',
);

const reportFiles = (environment: Environment, report: Report): void => {
  const given = fileSettings.flatMap((name) => {
    const text = environment[name] ?? '';
    const files = name === 'GEOIP_DB' ? text.split(',') : [text];
    return files.flatMap((file) => (file.trim() ? [[name, file.trim()]] : []));
  });
  for (const [name = '', file = ''] of given) {
    try {
      accessSync(file, constants.R_OK);
      const { mode } = statSync(file);
      const isSecret = name.endsWith('_FILE') || /KEY/.test(name);
      if (isSecret && mode & 0o004)
        report('warning', `${name}: everybody on this machine can read ${file}`, `chmod o-r ${file}`);
    } catch {
      report(
        'failure',
        `${name}: cannot read ${file}`,
        'Correct the path, or let the user that runs the service read it',
      );
    }
  }
  if (given.length) report('ok', `${given.length} named by settings`);
};

const reportCertificate = (path: string, report: Report): void => {
  const { validTo, subject } = new X509Certificate(readFileSync(path));
  reportCertificateEnd(`TLS_CERT_PATH: ${subject.replace(/\n/g, ', ')}`, new Date(validTo), report);
};

const mayWrite = (directory: string): boolean => {
  try {
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

const reportDataDirectory = (directory: string, report: Report): void => {
  const found = statSync(directory, { throwIfNoEntry: false });
  if (!found) report('ok', `${directory} is made at the first start`);
  else if (!mayWrite(directory))
    report('failure', `${directory} cannot be written`, 'Give it to the user that runs the service');
  else if (found.mode & 0o077)
    report(
      'warning',
      `others may look into ${directory} (mode ${(found.mode & 0o777).toString(8)})`,
      `chmod 700 ${directory}`,
    );
  else report('ok', `${directory} can be written, by its owner alone`);
};

const reportMetrics = (
  { NODE_ENV, PROMETHEUS_ENABLED, METRICS_PORT, METRICS_TOKEN }: Settings,
  report: Report,
): void => {
  if (PROMETHEUS_ENABLED === false) report('skipped', 'PROMETHEUS_ENABLED is false');
  else if (METRICS_PORT) report('ok', `/metrics is at port ${METRICS_PORT} alone`);
  else if (METRICS_TOKEN) report('ok', '/metrics is for whoever has METRICS_TOKEN');
  else
    report(
      NODE_ENV === 'production' ? 'warning' : 'ok',
      '/metrics answers any private address: behind a load balancer that passes on TCP alone, everybody',
      'Set METRICS_PORT or METRICS_TOKEN',
    );
};

export const configurationChecks = (
  environment: Environment,
  mistakes: readonly string[],
  values: Settings,
): Check[] => [
  {
    name: 'configuration',
    advice: 'See .env.example',
    run: (report) => {
      for (const mistake of mistakes) report('failure', mistake, 'See .env.example for what it may be');
      if (!mistakes.length) report('ok', `every setting can be read (NODE_ENV=${values.NODE_ENV})`);
      for (const { name, meant } of misspelt(environment))
        report('warning', `${name} is no setting: did you mean ${meant}?`, `Call it ${meant}, or remove it`);
    },
  },
  { name: 'files', advice: 'See .env.example', run: (report) => reportFiles(environment, report) },
  ...(values.TLS_CERT_PATH
    ? [
        {
          name: 'certificate',
          advice: 'TLS_CERT_PATH must be a PEM file with the certificate first',
          run: (report: Report) => reportCertificate(values.TLS_CERT_PATH as string, report),
        },
      ]
    : []),
  {
    name: 'data folder',
    advice: 'Set DATA_DIR to a folder that the service may write',
    run: (report) => reportDataDirectory(values.DATA_DIR ?? '.data', report),
  },
  { name: 'metrics', advice: 'See docs/observability.md', run: (report) => reportMetrics(values, report) },
];
