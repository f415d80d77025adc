/** `countersign doctor`: each part that can fail does, and what is said of it helps and gives nothing away. */
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SMTPServer } from 'smtp-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { reportClock } from '../../src/doctor/clock.ts';
import { distance, misspelt } from '../../src/doctor/configuration.ts';
import { databaseChecks } from '../../src/doctor/database.ts';
import { examineAll, examineDatabase, runDoctor } from '../../src/doctor/doctor.ts';
import { type Finding, reasonOf, runChecks, shown } from '../../src/doctor/findings.ts';
import { onPostgres } from '../support/database.ts';
import { defaultSettings, freePort, startServer, type TestServer } from '../support/server.ts';

const secret = 'p4ssw0rd-of-the-operator';
const open: Server[] = [];
let folder: string;
let server: TestServer;

/** Somebody on loopback. */
const answering = async (listener: RequestListener): Promise<string> => {
  const one = createServer(listener);
  open.push(one);
  await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(one.address() as AddressInfo).port}`;
};
const saying = (status: number, body: unknown = {}) =>
  answering((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });

const mailServer = async (): Promise<string> => {
  const smtp = new SMTPServer({
    allowInsecureAuth: true,
    disabledCommands: ['STARTTLS'],
    onAuth: ({ password }, _session, done) =>
      password === secret ? done(null, { user: 'u' }) : done(new Error(`no: ${password}`)),
  });
  await new Promise<void>((resolve) => smtp.listen(0, '127.0.0.1', resolve));
  open.push({ close: () => smtp.close() } as unknown as Server);
  return `127.0.0.1:${(smtp.server.address() as AddressInfo).port}`;
};

const base = () => ({ ...defaultSettings, DATA_DIR: join(folder, 'data'), JWT_ISSUER: server.issuer });
const of = (findings: readonly Finding[], check: string) => findings.filter((finding) => finding.check === check);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-doctor-'));
  server = await startServer();
});
afterAll(async () => {
  for (const one of open) one.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('of a service that is well', () => {
  it('nothing is to be repaired, and its database is looked at by itself', async () => {
    const findings = await examineAll(base());
    expect(findings.filter(({ status }) => status === 'failure')).toEqual([]);
    expect(of(findings, 'issuer').map(({ status }) => status)).toEqual(['ok', 'ok', 'ok']);
    const { findings: inside, kids } = await examineDatabase(server.database, server.app.config);
    // A busy machine may take long to answer, which is a warning.
    expect(inside.filter(({ status }) => status === 'failure')).toEqual([]);
    expect(inside.map(({ check }) => check)).toEqual(
      expect.arrayContaining(['database', 'migrations', 'notifications', 'keys']),
    );
    expect(kids.length).toBeGreaterThan(0);
  });

  it('the command line says so, as text and as JSON, and exits with 0', async () => {
    const settings = { ...base(), DATA_DIR: join(folder, 'elsewhere') };
    const { text, exitCode } = await runDoctor(settings, { json: false });
    expect([exitCode, text.includes('ok       configuration')]).toEqual([0, true]);
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...settings };
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, ['src/countersign.js', 'doctor', '--json'], { env });
    expect((JSON.parse(stdout) as Finding[]).map(({ check }) => check)).toContain('issuer');
  });
});

/** What is set, and what must be said then: the check, how bad, words of the message or the advice. */
const failing: [name: string, settings: () => Promise<Record<string, string>> | Record<string, string>, ...Expected][] =
  [
    ['a setting that cannot be read', () => ({ PORT: 'many' }), 'configuration', 'failure', /PORT/],
    [
      'two settings at once',
      () => ({ PORT: 'many', JWT_ACCESS_TTL: 'x' }),
      'configuration',
      'failure',
      /JWT_ACCESS_TTL/,
    ],
    [
      'a misspelt one',
      () => ({ JWT_ISUER: 'http://x', JWT_ISSUER: '' }),
      'configuration',
      'warning',
      /JWT_ISUER is no setting: did you mean JWT_ISSUER\?/,
    ],
    ['a file that is not there', () => ({ VIEWS_DIR: '/nowhere/at/all' }), 'files', 'failure', /VIEWS_DIR/],
    [
      'one of two files that is not there',
      () => ({ GEOIP_DB: `${import.meta.filename}, /nowhere/at/all.mmdb` }),
      'files',
      'failure',
      /^GEOIP_DB: cannot read \/nowhere\/at\/all\.mmdb -> [^\n]*$/,
    ],
    [
      'an authority that is not there',
      () => ({ CONSUL_CACERT: '/nowhere/ca.pem' }),
      'files',
      'failure',
      /CONSUL_CACERT: cannot read \/nowhere/,
    ],
    [
      'a secret that everybody can read',
      () => {
        const file = join(folder, 'smtp');
        writeFileSync(file, `smtp://u:${secret}@127.0.0.1:9`);
        chmodSync(file, 0o644);
        return { SMTP_URL_FILE: file };
      },
      'files',
      'warning',
      /everybody/,
    ],
    [
      'a data folder that others may look into',
      () => {
        const directory = join(folder, 'wide');
        mkdirSync(directory);
        chmodSync(directory, 0o755);
        return { DATA_DIR: directory };
      },
      'data folder',
      'warning',
      /chmod 700/,
    ],
    [
      'metrics that a stranger may look like a neighbour to',
      () => ({ NODE_ENV: 'production' }),
      'metrics',
      'warning',
      /METRICS_PORT or METRICS_TOKEN/,
    ],
    [
      'a database that is away',
      () => ({ DATABASE_URL: `postgres://u:${secret}@127.0.0.1:9/d` }),
      'database',
      'failure',
      /127\.0\.0\.1:9\/d.*ECONNREFUSED/,
    ],
    [
      'a database that is away, beside a setting that is wrong',
      () => ({ PORT: 'many', DATABASE_URL: `postgres://u:${secret}@127.0.0.1:9/d` }),
      'database',
      'failure',
      /ECONNREFUSED/,
    ],
    [
      'Redis that is away',
      () => ({ REDIS_URL: `redis://u:${secret}@127.0.0.1:9` }),
      'redis',
      'failure',
      /ECONNREFUSED/,
    ],
    [
      'a mail server that is away',
      () => ({ SMTP_URL: `smtp://u:${secret}@127.0.0.1:9` }),
      'mail',
      'failure',
      /ECONN|ESOCKET/,
    ],
    [
      'a mail server that knows another password',
      async () => ({ SMTP_URL: `smtp://u:wrong-${secret}@${await mailServer()}` }),
      'mail',
      'failure',
      /user and password/,
    ],
    [
      'a sender whom nobody can answer',
      async () => ({ SMTP_URL: `smtp://u:${secret}@${await mailServer()}` }),
      'mail',
      'warning',
      /MAIL_FROM/,
    ],
    [
      'an issuer that is not started',
      async () => ({ JWT_ISSUER: `http://127.0.0.1:${await freePort()}` }),
      'issuer',
      'warning',
      /Start the service/,
    ],
    [
      'an issuer whose name leads nowhere',
      () => ({ JWT_ISSUER: 'http://nowhere.invalid', NODE_ENV: 'test' }),
      'issuer',
      'failure',
      /cannot be reached/,
    ],
    [
      'somebody else at the issuer',
      async () => ({ JWT_ISSUER: await saying(404) }),
      'issuer',
      'failure',
      /answers 404/,
    ],
    [
      'another issuer there',
      async () => ({ JWT_ISSUER: await saying(200, { issuer: 'http://other', jwks_uri: 'http://other/j' }) }),
      'issuer',
      'failure',
      /calls itself http:\/\/other/,
    ],
    ['Consul that refuses', async () => ({ CONSUL_ADDR: await saying(403) }), 'consul', 'failure', /says 403/],
    [
      'a collector that refuses',
      async () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: await saying(401), OTEL_EXPORTER_OTLP_HEADERS: `k=${secret}` }),
      'traces',
      'failure',
      /OTEL_EXPORTER_OTLP_HEADERS/,
    ],
    [
      'a certificate that is none',
      () => ({
        TLS_CERT_PATH: join(folder, 'smtp'),
        TLS_KEY_PATH: join(folder, 'smtp'),
        JWT_ISSUER: 'https://localhost:1',
      }),
      'certificate',
      'failure',
      /PEM/,
    ],
  ];
type Expected = [check: string, status: Finding['status'], says: RegExp];

describe('says what is wrong, and shows no secret', () => {
  for (const [name, settings, check, status, says] of failing) {
    it(name, async () => {
      const findings = await examineAll({ ...base(), ...(await settings()) });
      const found = of(findings, check).filter((finding) => finding.status === status);
      expect(found.map(({ message, advice }) => `${message} -> ${advice}`).join('\n')).toMatch(says);
      for (const { message, advice } of findings.filter(
        (finding) => finding.status === 'failure' || finding.status === 'warning',
      ))
        expect([message, Boolean(advice)]).toEqual([message, true]);
      expect(JSON.stringify(findings)).not.toContain(secret);
    });
  }

  it('exits with 1', async () => {
    const { text, exitCode } = await runDoctor({ ...base(), PORT: 'many' }, { json: false });
    expect([exitCode, text]).toEqual([1, expect.stringMatching(/^FAILURE {2}configuration: PORT.*\n +-> /m)]);
  });
});

describe('of a database', () => {
  const check = async (name: string, config = server.app.config, more: Partial<TestServer['database']> = {}) =>
    runChecks(databaseChecks({ ...server.database, ...more }, config).filter((one) => one.name === name));

  it('migrations that have not run, and those of a newer version', async () => {
    const { db } = server.database;
    const last = await db('schemaMigrations').orderBy('name', 'desc').first();
    await db('schemaMigrations').where({ name: last.name }).delete();
    await db('schemaMigrations').insert({ name: '29990101000000_of_tomorrow' });
    const found = await check('migrations');
    await db('schemaMigrations').where({ name: '29990101000000_of_tomorrow' }).delete();
    await db('schemaMigrations').insert(last);
    expect(found.map(({ status }) => status)).toEqual(['failure', 'warning']);
  });

  it('notifications that are not heard', async () => {
    const [found] = await check('notifications', server.app.config, { catchUp: async () => false });
    expect(found).toMatchObject({ status: 'failure', advice: expect.stringContaining('DATABASE_LISTEN_URL') });
  });

  it('a master key that is another', async () => {
    const other = loadConfig({ ...base(), ENCRYPTION_MASTER_KEY: 'YW5vdGhlciBrZXkgb2YgdGhlIHNhbWUgbGVuZ3RoIQ==' });
    const [found] = await check('keys', { ...server.app.config, ENCRYPTION_MASTER_KEY: other.ENCRYPTION_MASTER_KEY });
    expect(found).toMatchObject({ status: 'failure', advice: expect.stringContaining('ENCRYPTION_MASTER_KEY') });
  });

  it('keys that have signed for very long', async () => {
    const { db } = server.database;
    await db('jwksKeys').update({ signsFrom: db.raw(`signs_from - interval '500 days'`) });
    const found = await check('keys');
    await db('jwksKeys').update({ signsFrom: db.raw(`signs_from + interval '500 days'`) });
    expect(found.find(({ status }) => status === 'warning')?.message).toMatch(/signed for 500 days/);
  });

  it.runIf(onPostgres)('pools that want more connections than there are', async () => {
    const config = {
      ...server.app.config,
      DATABASE_URL: server.database.url,
      DATABASE_POOL_MAX: 200,
      WEB_CONCURRENCY: 64,
    };
    const found = await check('database', config);
    expect(found.find(({ status }) => status === 'failure')?.message).toMatch(/12864 connections/);
  });
});

it('a part that hangs is a failure, and the others are told', async () => {
  const hanging = createTcpServer(() => {}).listen(0, '127.0.0.1');
  await new Promise((resolve) => hanging.once('listening', resolve));
  open.push(hanging as unknown as Server);
  const { port } = hanging.address() as AddressInfo;
  const findings = await examineAll({ ...base(), CONSUL_ADDR: `http://127.0.0.1:${port}` });
  expect(of(findings, 'consul')).toMatchObject([{ status: 'failure' }]);
  expect(of(findings, 'issuer')[0]).toMatchObject({ status: 'ok' });
});

describe('by itself', () => {
  it('a clock is judged by how far it is off', () => {
    const told: string[] = [];
    for (const seconds of [0, 10, 60])
      reportClock('theirs', Date.now() - seconds * 1000, (status) => told.push(status));
    expect(told).toEqual(['ok', 'warning', 'failure']);
  });

  it('names are near when a letter or two are wrong', () => {
    expect([distance('JWT_ISUER', 'JWT_ISSUER'), distance('JTW_ISSUER', 'JWT_ISSUER'), distance('abc', 'xyz')]).toEqual(
      [1, 1, 3],
    );
    expect(misspelt({ REDIS_ULR: 'x', HOSTNAME: 'x', PATH: 'x', SMTP_UR: 'x', XDG_DATA_DIR: 'x' })).toEqual([
      { name: 'REDIS_ULR', meant: 'REDIS_URL' },
      { name: 'SMTP_UR', meant: 'SMTP_URL' },
    ]);
  });

  it('neither errors nor URLs show credentials', () => {
    expect(reasonOf(new Error(`cannot reach redis://user:${secret}@host/0`))).toBe('cannot reach redis://host/0');
    // Characters that should have been percent-encoded are often what is wrong.
    for (const odd of [`a/${secret}`, `a@${secret}`, `${secret}@b/c`])
      expect(reasonOf(new Error(`invalid: redis://user:${odd}@host/0, once`))).toBe('invalid: redis://host/0, once');
    expect(shown(`postgres://user:${secret}@host:5432/db?password=${secret}`)).toBe('postgres://host:5432/db');
  });
});
