import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, isDevelopment, loadConfig, smsProvider } from '../../src/config.ts';
import { envExample, markedTable, settingDocs, settingsTable } from '../../src/settings.docs.ts';
import { secretNames } from '../../src/settings.ts';

type Environment = Record<string, string | undefined>;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-config-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const load = (environment: Environment = {}) => loadConfig({ DATA_DIR: join(folder, 'data'), ...environment });

const mistakesOf = (environment: Environment): readonly string[] => {
  try {
    load(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes;
    throw error;
  }
  return [];
};

const strongKey = 'pT3w8KqZ1nVd5LrXy0sGhJ6uBmC2aE9f';
const production = {
  NODE_ENV: 'production',
  JWT_ISSUER: 'https://id.example.com',
  ENCRYPTION_MASTER_KEY: strongKey,
  DATABASE_URL: 'postgres://countersign@database/countersign',
};

describe('configuration', () => {
  it('starts with nothing set, as a development server', () => {
    const config = load();
    expect(isDevelopment(config)).toBe(true);
    expect(config).toMatchObject({
      PORT: 3000,
      JWT_ISSUER: 'http://localhost:3000',
      JWT_AUD: 'countersign-api',
      DATABASE_POOL_MAX: 10,
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('treats an empty value as one that is not set', () => {
    expect(load({ PORT: '', HOST: '', DATABASE_URL: '', NODE_ENV: '' })).toEqual(load());
  });

  it('reports every mistake at once, by name', () => {
    const mistakes = mistakesOf({
      PORT: '70000',
      JWT_ACCESS_TTL: 'soon',
      DATABASE_URL: 'mysql://x',
      PROMETHEUS_ENABLED: 'maybe',
      LOG_LEVEL: 'loud',
    });
    const names = ['PORT', 'JWT_ACCESS_TTL', 'DATABASE_URL', 'PROMETHEUS_ENABLED', 'LOG_LEVEL'];
    expect(mistakes.map((line) => line.split(':')[0]).sort()).toEqual(names.sort());
    expect(() => load({ PORT: 'x', LOG_LEVEL: 'loud' })).toThrow(/PORT: [\s\S]*LOG_LEVEL: /);
  });

  it('refuses to ask for a second factor only where it refuses already', () => {
    const named = (environment: Environment) => mistakesOf(environment).map((line) => line.split(':')[0]);
    expect(named({ RISK_STEP_UP: '71', RISK_REFUSE: '70' })).toEqual(['RISK_STEP_UP']);
    expect(named({ RISK_REFUSE: '69' })).toEqual(['RISK_STEP_UP']);
    for (const [RISK_STEP_UP, RISK_REFUSE] of [
      ['70', '70'],
      ['100', '0'],
      ['0', '1'],
    ])
      expect(named({ RISK_STEP_UP, RISK_REFUSE })).toEqual([]);
  });

  it('never repeats the value of a secret in a mistake', () => {
    expect(
      mistakesOf({ DATABASE_URL: 'mysql://u:hunter22@h', REDIS_URL: 'hunter22', SMTP_URL: 'hunter22' }).join(),
    ).not.toContain('hunter22');
    expect(mistakesOf({ ...production, ENCRYPTION_MASTER_KEY: 'hunter22' }).join()).not.toContain('hunter22');
  });

  for (const [text, seconds] of [
    ['90', 90],
    ['90s', 90],
    ['15m', 900],
    ['12h', 43_200],
    ['30d', 2_592_000],
  ] as const) {
    it(`reads the duration ${text} as ${seconds} seconds`, () =>
      expect(load({ SESSION_TTL: text }).SESSION_TTL).toBe(seconds));
  }
  for (const text of ['-1', '1.5h', '15 m', '1w', 'm', '1h30m']) {
    it(`refuses the duration ${text}`, () =>
      expect(mistakesOf({ SESSION_TTL: text })).toEqual([expect.stringMatching(/^SESSION_TTL: .*90s/)]));
  }

  for (const text of ['29d', '0', '36526d', '99999999999999999999d'])
    it(`refuses to keep the audit log for ${text}`, () =>
      expect(mistakesOf({ AUDIT_RETENTION: text })).toEqual(['AUDIT_RETENTION: must be between 30d and 36525d']));

  it('reads flags and lists', () => {
    const config = load({
      REQUIRE_VERIFIED_EMAIL: '0',
      REGISTER_SIGNS_IN: 'true',
      AUTH_API_CORS_ORIGINS: ' https://a.example ,,https://b.example',
    });
    expect(config).toMatchObject({ REQUIRE_VERIFIED_EMAIL: false, REGISTER_SIGNS_IN: true });
    expect(config.AUTH_API_CORS_ORIGINS).toEqual(['https://a.example', 'https://b.example']);
  });

  for (const issuer of [
    'id.example.com',
    'ftp://id.example.com',
    'https://id.example.com/tenant',
    'https://id.example.com?x',
    'https://u:p@id.example.com',
  ]) {
    it(`refuses the issuer ${issuer}`, () =>
      expect(mistakesOf({ JWT_ISSUER: issuer })).toEqual([expect.stringMatching(/^JWT_ISSUER: /)]));
  }
  it('drops the slash after the issuer', () =>
    expect(load({ NODE_ENV: 'test', JWT_ISSUER: 'https://id.example.com/' }).JWT_ISSUER).toBe(
      'https://id.example.com',
    ));
  it('refuses to show the development mailbox under a public name', () => {
    expect(mistakesOf({ JWT_ISSUER: 'https://id.example.com' })).toEqual([expect.stringMatching(/^JWT_ISSUER: /)]);
    expect(mistakesOf({ JWT_ISSUER: 'https://id.example.com', SMTP_URL: 'smtp://localhost' })).toEqual([]);
  });
});

describe('secrets from files', () => {
  const file = (text: string) => {
    const path = join(folder, 'secret');
    writeFileSync(path, text);
    return path;
  };

  for (const name of secretNames) {
    it(`reads ${name} from ${name}_FILE, without the line break at its end`, () => {
      const value = {
        ENCRYPTION_MASTER_KEY: strongKey,
        ENCRYPTION_MASTER_KEY_ACCEPTED: `${strongKey}2`,
        DATABASE_URL: 'postgres://h/d',
        DATABASE_LISTEN_URL: 'postgres://h/d',
        REDIS_URL: 'redis://h',
        SMTP_URL: 'smtp://h',
        SMS_WEBHOOK_SECRET: 'whsec_bXkgdGVzdHMgYXJlIG5vdCBzZWNyZXQ=',
        TWILIO_AUTH_TOKEN: '0123456789abcdef0123456789abcdef',
        KEYCLOAK_SYNC_CLIENT_SECRET: 'kC0m2V1b3qHq7W3S5r9w1XvJdQy8TzZl',
        CONSUL_HTTP_TOKEN: 'f2b4d0f2-7f3b-4a67-9d6e-2f8a2f6f1d10',
        METRICS_TOKEN: 'metrics-Zl0m2V1b3qHq7W3S',
        OTEL_EXPORTER_OTLP_HEADERS: 'x-key=0123456789',
      }[name];
      const others =
        name === 'KEYCLOAK_SYNC_CLIENT_SECRET'
          ? { KEYCLOAK_SYNC_URL: 'https://kc', KEYCLOAK_SYNC_REALM: 'r', KEYCLOAK_SYNC_CLIENT_ID: 'c' }
          : name === 'DATABASE_LISTEN_URL'
            ? { DATABASE_URL: 'postgres://h/d' }
            : {};
      const parsed = name === 'OTEL_EXPORTER_OTLP_HEADERS' ? { 'x-key': '0123456789' } : value;
      expect(load({ ...others, [`${name}_FILE`]: file(`${value}\n`) })[name]).toEqual(parsed);
    });
  }
  it('refuses a setting and its file together', () => {
    expect(mistakesOf({ REDIS_URL: 'redis://h', REDIS_URL_FILE: file('redis://h') })).toEqual([
      expect.stringMatching(/^REDIS_URL_FILE: .*as well/),
    ]);
  });
  it('names a file that cannot be read', () => {
    expect(mistakesOf({ SMTP_URL_FILE: '/nowhere/smtp' })).toEqual(['SMTP_URL_FILE: cannot read /nowhere/smtp']);
  });
  it('judges a key from a file as any other', () => {
    const { ENCRYPTION_MASTER_KEY: _, ...rest } = production;
    expect(mistakesOf({ ...rest, ENCRYPTION_MASTER_KEY_FILE: file('change-me') })).toEqual([
      expect.stringMatching(/^ENCRYPTION_MASTER_KEY: /),
    ]);
  });
});

describe('production', () => {
  it('starts with a strong key, a database and https', () => expect(isDevelopment(load(production))).toBe(false));
  it('accepts http on loopback, where there is no network to listen in on', () => {
    expect(mistakesOf({ ...production, JWT_ISSUER: 'http://localhost:3000' })).toEqual([]);
  });

  for (const [what, change, setting] of [
    ['no master key', { ENCRYPTION_MASTER_KEY: undefined }, 'ENCRYPTION_MASTER_KEY'],
    ['a short master key', { ENCRYPTION_MASTER_KEY: strongKey.slice(0, 31) }, 'ENCRYPTION_MASTER_KEY'],
    ['the master key change-me', { ENCRYPTION_MASTER_KEY: 'change-me' }, 'ENCRYPTION_MASTER_KEY'],
    [
      'a long master key with change-me in it',
      { ENCRYPTION_MASTER_KEY: `change-me-${strongKey}` },
      'ENCRYPTION_MASTER_KEY',
    ],
    [
      'a long master key with CHANGEME in it',
      { ENCRYPTION_MASTER_KEY: `${strongKey}CHANGEME` },
      'ENCRYPTION_MASTER_KEY',
    ],
    ['a master key of few characters', { ENCRYPTION_MASTER_KEY: '0123456789'.repeat(4) }, 'ENCRYPTION_MASTER_KEY'],
    ['no database', { DATABASE_URL: undefined }, 'DATABASE_URL'],
    ['an http issuer', { JWT_ISSUER: 'http://id.example.com' }, 'JWT_ISSUER'],
    ['access tokens that live too short', { JWT_ACCESS_TTL: '4m' }, 'JWT_ACCESS_TTL'],
    ['access tokens that live too long', { JWT_ACCESS_TTL: '1h' }, 'JWT_ACCESS_TTL'],
    ['outbound exceptions', { OUTBOUND_ALLOW: '127.0.0.1' }, 'OUTBOUND_ALLOW'],
    ['the development headers', { AUTH_ALLOW_DEV_HEADERS: 'true' }, 'AUTH_ALLOW_DEV_HEADERS'],
  ] as const) {
    it(`refuses ${what}`, () =>
      expect(mistakesOf({ ...production, ...change })).toEqual([expect.stringMatching(`^${setting}: `)]));
  }

  it('reports every refusal at once', () => {
    const mistakes = mistakesOf({
      NODE_ENV: 'production',
      JWT_ISSUER: 'http://id.example.com',
      AUTH_ALLOW_DEV_HEADERS: 'true',
    });
    expect(mistakes.map((line) => line.split(':')[0])).toEqual([
      'ENCRYPTION_MASTER_KEY',
      'DATABASE_URL',
      'JWT_ISSUER',
      'AUTH_ALLOW_DEV_HEADERS',
    ]);
  });
});

describe('SMS', () => {
  const webhook = {
    SMS_PROVIDER: 'webhook',
    SMS_WEBHOOK_URL: 'https://sms.example/send',
    SMS_WEBHOOK_SECRET: 'x'.repeat(32),
  };
  const twilio = {
    SMS_PROVIDER: 'twilio',
    TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}`,
    TWILIO_AUTH_TOKEN: 'token',
    TWILIO_FROM: 'Countersign',
  };
  for (const [what, environment, expected] of [
    ['to the dev mailbox in development', {}, 'console'],
    [
      'nowhere from a development server that others reach',
      { JWT_ISSUER: 'https://id.example.com', SMTP_URL: 'smtp://h' },
      undefined,
    ],
    ['nowhere in production', production, undefined],
    ['by a webhook', { ...production, ...webhook }, 'webhook'],
    [
      'by a gateway on the same machine',
      { ...production, ...webhook, SMS_WEBHOOK_URL: 'http://127.0.0.1:8080/' },
      'webhook',
    ],
    ['by Twilio', { ...production, ...twilio }, 'twilio'],
  ] as const)
    it(`go ${what}`, () => expect(smsProvider(load(environment))).toBe(expected));

  for (const [what, environment, names] of [
    ['a webhook without companions', { SMS_PROVIDER: 'webhook' }, ['SMS_WEBHOOK_URL', 'SMS_WEBHOOK_SECRET']],
    [
      'Twilio without companions',
      { SMS_PROVIDER: 'twilio' },
      ['TWILIO_ACCOUNT_SID', 'TWILIO_AUTH_TOKEN', 'TWILIO_FROM'],
    ],
    ['a short secret', { ...webhook, SMS_WEBHOOK_SECRET: 'short' }, ['SMS_WEBHOOK_SECRET']],
    ['an account that is none', { ...twilio, TWILIO_ACCOUNT_SID: 'me' }, ['TWILIO_ACCOUNT_SID']],
    ['another protocol', { ...webhook, SMS_WEBHOOK_URL: 'ftp://sms.example' }, ['SMS_WEBHOOK_URL']],
    ['the console in production', { ...production, SMS_PROVIDER: 'console' }, ['SMS_PROVIDER']],
    ['http in production', { ...production, ...webhook, SMS_WEBHOOK_URL: 'http://sms.example' }, ['SMS_WEBHOOK_URL']],
    [
      'the console where others reach it',
      { JWT_ISSUER: 'https://id.example.com', SMTP_URL: 'smtp://h', SMS_PROVIDER: 'console' },
      ['JWT_ISSUER'],
    ],
  ] as const)
    it(`refuse ${what}`, () => expect(mistakesOf(environment).map((line) => line.split(':')[0])).toEqual(names));
});

describe('the development master key', () => {
  it('is made once, readable by its owner alone', () => {
    const directory = join(folder, 'fresh', 'data');
    const first = load({ DATA_DIR: directory }).ENCRYPTION_MASTER_KEY;
    expect(Buffer.from(first, 'base64')).toHaveLength(32);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, 'master-key')).mode & 0o777).toBe(0o600);
    expect(load({ DATA_DIR: directory }).ENCRYPTION_MASTER_KEY).toBe(first);
  });

  it('is the same for processes that start together', async () => {
    const folders = Array.from({ length: 300 }, (_, index) => join(folder, `race-${index}`));
    const script = `
      import { loadConfig } from ${JSON.stringify(new URL('../../src/config.ts', import.meta.url).href)};
      while (Date.now() < ${Date.now() + 1500});
      console.log(JSON.stringify(${JSON.stringify(folders)}.map((DATA_DIR) => loadConfig({ DATA_DIR }).ENCRYPTION_MASTER_KEY)));`;
    const start = () => promisify(execFile)(process.execPath, ['--input-type=module-typescript', '--eval', script]);
    const [left, right] = (await Promise.all([start(), start()])).map(({ stdout }) => JSON.parse(stdout) as string[]);
    expect(left?.filter((key, index) => key === '' || key !== right?.[index]).length, 'folders with two keys').toBe(0);
    expect(new Set(left).size).toBe(folders.length);
  });
});

describe('the documentation of the settings', () => {
  const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');

  it('describes every setting', () => {
    for (const { name, description } of settingDocs()) expect(description, name).not.toBe('');
  });
  // To mend these two: node src/settings.docs.ts
  it('is what .env.example holds', () => expect(read('.env.example')).toBe(envExample()));
  it('is what README.md holds between its markers', () => expect(markedTable(read('README.md'))).toBe(settingsTable()));
  it('shows each default in a notation that is read back as that default', () => {
    const shown = settingDocs().flatMap(({ name, initial }) =>
      initial === undefined ? [] : [[name, initial] as const],
    );
    expect(load({ ...Object.fromEntries(shown), DATA_DIR: join(folder, 'data') })).toEqual(load());
  });
});
