/** The audit log over REST: search, export, figures; and how long it is kept. */
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect, type Db, executeSql } from '../../db/connect.ts';
import { type AuditEvent, expireEvents, recordEvent, system } from '../../src/audit/logs.commands.ts';
import { type LogFilter, listLogs } from '../../src/audit/logs.queries.ts';
import { createReads } from '../../src/audit/reads.ts';
import { isOutage } from '../../src/errors.ts';
import { callerOf, machineOf, nobody, type TestCaller } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { eventually } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let db: Db;
let admin: TestCaller;
beforeAll(async () => {
  server = await startServer();
  ({ db } = server.database);
  admin = await callerOf(server, { role: 'admin' });
});
afterAll(() => server.stop());

const day = 86_400_000;
const daysAgo = (days: number) => new Date(Date.now() - days * day);

interface Event {
  id?: string;
  at?: Date;
  actorType?: string;
  actorId?: string | null;
  action?: string;
  targetType?: string | null;
  targetId?: string | null;
  meta?: object;
  requestId?: string | null;
  address?: string | null;
  userAgent?: string | null;
}

/** Writes events as they are given, the rest made up. */
const write = async (...events: Event[]): Promise<string[]> => {
  const rows = events.map(({ meta = {}, ...event }) => ({
    id: uuid(),
    actorType: 'system',
    action: 'test.happen',
    meta: JSON.stringify(meta),
    ...event,
  }));
  await db('auditLogs').insert(rows);
  return rows.map(({ id }) => id);
};

const list = async (query: string, caller = admin) => {
  const { status, json } = await caller.request('get', `/audit/logs?${query}`);
  expect([status, json]).toEqual([200, expect.anything()]);
  return json as { data: (Event & { id: string })[]; nextCursor: string | null };
};

describe('who may', () => {
  const paths = ['/audit/logs', '/audit/logs/export', '/audit/statistics'];
  const callers: Record<string, [who: () => Promise<TestCaller>, expected: Record<string, [number, string?]>]> = {
    nobody: [
      () => Promise.resolve(nobody(server)),
      Object.fromEntries(paths.map((path) => [path, [401, 'unauthenticated']])),
    ],
    'a user': [() => callerOf(server), Object.fromEntries(paths.map((path) => [path, [403, 'missing_permission']]))],
    'a third-party application of an administrator’s, without the scope': [
      () => callerOf(server, { role: 'admin', thirdParty: true, scope: 'users:read:any' }),
      Object.fromEntries(paths.map((path) => [path, [403, 'missing_permission']])),
    ],
    'a moderator, who reads but does not export': [
      () => callerOf(server, { role: 'moderator' }),
      { '/audit/logs': [200], '/audit/logs/export': [403, 'missing_permission'], '/audit/statistics': [200] },
    ],
    'an administrator': [() => Promise.resolve(admin), Object.fromEntries(paths.map((path) => [path, [200]]))],
    'an application with the scope': [
      () => machineOf(server, 'audit:read:any'),
      { '/audit/logs': [200], '/audit/logs/export': [403, 'missing_permission'], '/audit/statistics': [200] },
    ],
  };
  for (const [name, [who, expected]] of Object.entries(callers))
    it(name, async () => {
      const caller = await who();
      for (const [path, [status, code]] of Object.entries(expected)) {
        const answer = await caller.request('get', path);
        expect([path, answer.status, answer.json?.code]).toEqual([path, status, code]);
      }
    });
});

describe('GET /audit/logs', () => {
  const person = uuid();
  const at = daysAgo(3);
  const everything = {
    at,
    actorType: 'user',
    actorId: person,
    action: 'sample_thing.make',
    targetType: 'sample',
    targetId: 'https://sample.example.com/1',
    meta: { nested: { deep: [1, 'ü'] } },
    requestId: 'request-0001',
    address: '2001:db8::1',
    userAgent: 'a browser',
  };
  let full: string;
  beforeAll(async () => {
    [full = ''] = await write(
      everything,
      { at, action: 'sample_thing.break' },
      { at, action: 'samplexthing.make' },
      { at: daysAgo(2), actorType: 'client', actorId: 'c1', action: 'other.make' },
    );
  });

  it('shows an event whole', async () => {
    const { data } = await list(`requestId=request-0001`);
    expect(data).toEqual([{ ...everything, id: full, at: at.toISOString() }]);
  });

  const names = async (query: string) =>
    (await list(`${query}&from=${daysAgo(4).toISOString()}&to=${daysAgo(1).toISOString()}`)).data
      .map(({ action }) => action)
      .sort();
  const all = ['other.make', 'sample_thing.break', 'sample_thing.make', 'samplexthing.make'];
  for (const [query, expected] of [
    ['', all],
    ['actorType=user', ['sample_thing.make']],
    ['actorType=system', ['sample_thing.break', 'samplexthing.make']],
    [`actorId=${person}`, ['sample_thing.make']],
    ['actorType=client&actorId=c1', ['other.make']],
    [`actorType=client&actorId=${person}`, []],
    ['action=other.make', ['other.make']],
    ['action=sample_thing.*', ['sample_thing.break', 'sample_thing.make']],
    ['action=sample_thing.*,other.make', ['other.make', 'sample_thing.break', 'sample_thing.make']],
    ['action=other.*,%20samplexthing.make', ['other.make', 'samplexthing.make']],
    ['action=sample.*', []],
    ['targetType=sample', ['sample_thing.make']],
    [`targetId=${encodeURIComponent('https://sample.example.com/1')}`, ['sample_thing.make']],
    ['targetType=user&targetId=nothing', []],
    ['requestId=request-0001', ['sample_thing.make']],
    ['address=2001:db8::1', ['sample_thing.make']],
    ['address=192.0.2.99', []],
    [`actorType=user&action=sample_thing.*&address=2001:db8::1&targetType=sample`, ['sample_thing.make']],
  ] as const)
    it(`finds by ${query || 'time alone'}`, async () => {
      expect(await names(query)).toEqual(expected);
    });

  it('takes `from` as included and `to` as excluded, in any time zone', async () => {
    const there = new Date(at.getTime() + 2 * 3_600_000).toISOString().replace('Z', '+02:00');
    const found = async (query: string) => (await list(`action=sample_thing.make&${query}`)).data.length;
    const here = at.toISOString();
    const next = new Date(at.getTime() + 1).toISOString();
    expect(await found(`from=${here}&to=${next}`)).toBe(1);
    expect(await found(`from=${encodeURIComponent(there)}&to=${next}`)).toBe(1);
    expect(await found(`from=${next}`)).toBe(0);
    expect(await found(`to=${here}`)).toBe(0);
  });

  for (const query of [
    'actorType=robot',
    'actorId=',
    'actorId=ada%40example.com',
    `actorId=${'x'.repeat(201)}`,
    'action=',
    'action=*',
    'action=session.%25',
    'action=Session.sign_in',
    'action=session.*.x',
    `action=${'a.b,'.repeat(21)}a.b`,
    'action=a.b&action=c.d',
    'targetType=User',
    'targetId=%00',
    'requestId=short',
    'address=localhost%00',
    'address=everywhere',
    'from=yesterday',
    'from=2026-01-31',
    'from=2026-02-30T00:00:00Z',
    'from=0000-01-01T00:00:00Z',
    'to=9999-12-31T23:59:59-23:59',
    'limit=0',
    'limit=201',
    'limit=many',
    'cursor=%',
    'cursor=AAAA',
    `cursor=${Buffer.from(`1e3.${randomUUID()}`).toString('base64url')}`,
    `cursor=${Buffer.from(`99999999999999999.${randomUUID()}`).toString('base64url')}`,
    `cursor=${Buffer.from('1000.nothing').toString('base64url')}`,
  ])
    it(`refuses ${query.slice(0, 60)}`, async () => {
      const { status, json } = await admin.request('get', `/audit/logs?${query}`);
      expect([status, json.code, json.errors?.[0]?.field.split('.')[0]]).toEqual([
        400,
        'invalid_request',
        query.split('=')[0],
      ]);
    });

  it('pages without gaps or repeats while events are written, some of them of one moment', async () => {
    const old = daysAgo(20);
    const pageTurn = { action: 'page.turn' } as unknown as AuditEvent;
    await db.transaction(async (db) => {
      for (let count = 0; count < 11; count++) await recordEvent(db, system, pageTurn);
    });
    await write(...Array.from({ length: 12 }, () => ({ at: old, action: 'page.turn' })));
    await db.raw(
      `insert into audit_logs (id, at, actor_type, action)
       select gen_random_uuid(), now() - interval '10 days' + i * interval '1 microsecond', 'system', 'page.turn'
       from generate_series(1, 9) as i`,
    );
    const before = await db('auditLogs').where({ action: 'page.turn' }).pluck('id');
    expect(before).toHaveLength(32);

    const seen: { id: string; at: string }[] = [];
    let path: string | undefined = '/audit/logs?action=page.*&limit=5';
    let pages = 0;
    while (path) {
      const answer = await admin.request('get', path);
      expect(answer.status).toBe(200);
      seen.push(...answer.json.data);
      await recordEvent(db, system, pageTurn);
      const next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
      expect(next === undefined).toBe(answer.json.nextCursor === null);
      path = next;
      pages++;
    }
    expect(pages).toBe(7);
    expect(seen.map(({ id }) => id).sort()).toEqual([...before].sort());
    const times = seen.map(({ at }) => Date.parse(at));
    expect(times).toEqual([...times].sort((a, b) => b - a));
  });

  it('leaves no event of its own', async () => {
    const count = async () => Number((await db('auditLogs').count('* as n').first())?.n);
    const before = await count();
    await list('limit=1');
    await admin.request('get', '/audit/statistics');
    expect(await count()).toBe(before);
  });
});

/** RFC 4180. */
const parseCsv = (text: string): string[][] => {
  const rows: string[][] = [];
  const cell = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n)/gy;
  let row: string[] = [];
  for (const [, value = '', end] of text.matchAll(cell)) {
    row.push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value);
    if (end === ',') continue;
    rows.push(row);
    row = [];
  }
  return rows;
};

describe('GET /audit/logs/export', () => {
  const odd = [
    { targetId: '=HYPERLINK("http://x")', userAgent: '@sum', requestId: '+1-1' },
    { targetId: 'two\r\nlines, "quoted"', userAgent: '-', requestId: '\tx', meta: { text: '=1,"2"\n', more: null } },
    { targetId: '', userAgent: '＝1', requestId: 'ü,😀' },
  ];
  beforeAll(() => write(...odd.map((event) => ({ action: 'odd.write', ...event, at: daysAgo(5) }))).then(() => {}));

  it('gives CSV that reads back, with no formula in it', async () => {
    const { status, text, headers } = await admin.request('get', '/audit/logs/export?format=csv&action=odd.*');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(headers.get('content-disposition')).toMatch(/^attachment; filename="audit-logs-\d{8}T\d{6}Z\.csv"$/);
    expect(headers.get('cache-control')).toBe('no-store');
    const [header = [], ...rows] = parseCsv(text);
    expect(header.join()).toBe('id,at,actorType,actorId,action,targetType,targetId,meta,requestId,address,userAgent');
    const read = rows.map((row) => Object.fromEntries(header.map((name, index) => [name, row[index]])));
    const escaped = (value: string) => (/^[=+\-@\t\r＝]/.test(value) ? `'${value}` : value);
    expect(read).toHaveLength(odd.length);
    for (const { meta = {}, ...event } of odd) {
      const texts = Object.fromEntries(Object.entries(event).map(([name, value]) => [name, escaped(value)]));
      const found = read.find(({ userAgent }) => userAgent === texts.userAgent);
      expect(found).toMatchObject({ ...texts, actorType: 'system', actorId: '', action: 'odd.write' });
      expect(JSON.parse(found?.meta ?? '')).toEqual(meta);
    }
  });

  it('gives JSON Lines that read back as the list shows them', async () => {
    const { status, text, headers } = await admin.request('get', '/audit/logs/export?format=jsonl&action=odd.*');
    expect([status, headers.get('content-type')]).toEqual([200, 'application/x-ndjson']);
    expect(headers.get('content-disposition')).toMatch(/filename="audit-logs-\d{8}T\d{6}Z\.jsonl"$/);
    expect(text.endsWith('\n')).toBe(true);
    const lines = text.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual((await list('action=odd.*')).data);
  });

  it('is a file with a header, or an empty one, where nothing matches', async () => {
    const none = 'requestId=there-is-none';
    expect(parseCsv((await admin.request('get', `/audit/logs/export?${none}`)).text)).toHaveLength(1);
    expect((await admin.request('get', `/audit/logs/export?format=jsonl&${none}`)).text).toBe('');
  });

  it('is recorded, with what was asked for and no address', async () => {
    const from = daysAgo(6).toISOString();
    await admin.request('get', `/audit/logs/export?format=jsonl&action=odd.*&address=192.0.2.77&from=${from}`);
    const [event] = (await list('action=audit.export&limit=1')).data;
    expect(event).toMatchObject({
      actorType: 'user',
      actorId: admin.id,
      meta: { format: 'jsonl', filters: { action: ['odd.*'], address: true, from } },
    });
  });

  for (const query of ['format=xml', 'actorType=robot', 'format=csv&from=now'])
    it(`refuses ${query}, and records nothing`, async () => {
      const before = await db('auditLogs').where({ action: 'audit.export' }).pluck('id');
      const { status, json } = await admin.request('get', `/audit/logs/export?${query}`);
      expect([status, json.code]).toEqual([400, 'invalid_request']);
      expect(await db('auditLogs').where({ action: 'audit.export' }).pluck('id')).toHaveLength(before.length);
    });

  describe('of 20,000 events', () => {
    const total = 20_000;
    beforeAll(async () => {
      for (let first = 1; first < total; first += 1000) {
        await db.raw(
          `insert into audit_logs (id, at, actor_type, actor_id, action, target_type, target_id, meta, request_id, address)
           select gen_random_uuid(), now() - interval '40 days' - i * interval '1 minute',
             (array['user', 'user', 'user', 'user', 'client', 'system', 'anonymous'])[1 + i % 7], 'actor-' || i % 500,
             (array['bulk.sign_in', 'bulk.sign_in', 'bulk.fail', 'bulk.end', 'bulk_key.make'])[1 + i % 5],
             case when i % 3 > 0 then (array['user', 'client'])[i % 3] end, 'target-' || i % 700,
             jsonb_build_object('padding', repeat('x', 1000)), 'request-' || i, '192.0.2.' || i % 200
           from generate_series(cast(:first as int), cast(:last as int)) as i`,
          { first, last: first + 999 },
        );
        // The embedded database works on this thread: timers, such as those of idle connections, must have their turn.
        await new Promise((resolve) => setTimeout(resolve));
      }
      await db.raw('analyze audit_logs');
    });

    /** Watches the statements that read events. */
    const watch = () => {
      let reads = 0;
      const count = ({ sql }: { sql: string }) => {
        if (/^select .* from "audit_logs"/.test(sql)) reads++;
      };
      db.on('query', count);
      return { reads: () => reads, stop: () => db.off('query', count) };
    };

    /** Begins to download, and stops reading after the first bytes. */
    const begin = () =>
      new Promise<IncomingMessage>((resolve, reject) => {
        const options = { headers: { authorization: `Bearer ${admin.token}` } };
        const path = `${server.address}/audit/logs/export?format=jsonl&action=bulk.*,bulk_key.*`;
        request(path, options, (response) => {
          response.once('readable', () => resolve(response));
        })
          .on('error', reject)
          .end();
      });

    it('gives each once, fetched in batches', async () => {
      const watched = watch();
      const { text } = await admin.request('get', '/audit/logs/export?format=jsonl&action=bulk.*,bulk_key.*');
      watched.stop();
      const ids = text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).id);
      expect([ids.length, new Set(ids).size]).toEqual([total, total]);
      expect(watched.reads()).toBe(total / 1000 + 1);
    });

    it('waits for a slow reader, holding nothing meanwhile, and stops when the reader goes away', async () => {
      const watched = watch();
      const response = await begin();
      let reads = 0;
      await eventually(async () => {
        const same = reads === watched.reads();
        reads = watched.reads();
        await sleep(1000);
        return same;
      }, 'quiet');
      expect(reads).toBeGreaterThan(0);
      expect(reads).toBeLessThan(15);
      expect((await list('action=audit.export&limit=1')).data).toHaveLength(1);
      reads = watched.reads();
      response.destroy();
      await new Promise((resolve) => setTimeout(resolve, 500));
      watched.stop();
      expect(watched.reads()).toBeLessThanOrEqual(reads + 1);
    });

    it('is read from an index, whatever the filters', async () => {
      const members: LogFilter = {
        actorType: 'client',
        actorId: 'actor-7',
        action: ['bulk.fail', 'bulk_key.*'],
        targetType: 'user',
        targetId: 'target-9',
        requestId: 'request-77',
        address: '192.0.2.8',
        from: daysAgo(50),
        to: daysAgo(45),
      };
      const names = Object.keys(members) as (keyof LogFilter)[];
      let captured: { sql: string; bindings: unknown[] } | undefined;
      const capture = (query: typeof captured) => {
        captured = query;
      };
      const sequential: string[] = [];
      const pairs = names.flatMap((one) => names.map((other) => [...new Set([one, other])]));
      for (const chosen of [[], ...pairs, names]) {
        const filter = Object.fromEntries(chosen.map((name) => [name, members[name]]));
        db.on('query', capture);
        await listLogs(db, filter, { limit: 51, before: `${daysAgo(41).getTime()}000.${randomUUID()}` });
        db.off('query', capture);
        const { rows } = await executeSql(db, `explain ${captured?.sql}`, captured?.bindings);
        const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
        if (/Seq Scan/.test(plan) || !/Index/.test(plan)) sequential.push(`${chosen}\n${plan}`);
      }
      expect(sequential).toEqual([]);
    });
  });
});

describe('GET /audit/statistics', () => {
  const from = '2024-01-31T12:00:00.000Z';
  const to = '2024-02-03T12:00:00.000Z';
  const period = `from=${from}&to=${to}`;
  beforeAll(async () => {
    const at = (text: string) => new Date(`2024-${text}Z`);
    const [ada, bob] = [uuid(), uuid()];
    const refused = (operation: string, permission: string) => ({
      action: 'authorization.refuse',
      meta: { operation, permission },
    });
    await write(
      { at: at('01-31T11:59:59.999'), action: 'session.sign_in', actorType: 'user', actorId: ada },
      { at: at('01-31T12:00:00'), action: 'session.sign_in', actorType: 'user', actorId: ada },
      { at: at('01-31T23:59:59.999'), action: 'session.sign_in', actorType: 'user', actorId: ada },
      { at: at('02-01T00:00:00'), action: 'session.sign_in', actorType: 'user', actorId: bob },
      { at: at('02-01T01:00:00'), action: 'session.sign_in_failed', meta: { reason: 'wrong_password' } },
      { at: at('02-03T11:00:00'), actorType: 'client', actorId: 'c1', ...refused('listUsers', 'users:read:any') },
      { at: at('02-03T11:00:01'), actorType: 'user', actorId: bob, ...refused('listUsers', 'users:read:any') },
      { at: at('02-03T11:00:02'), action: 'token.refuse', meta: { error: 'invalid_grant' } },
      { at: at('02-03T12:00:00'), action: 'session.sign_in', actorType: 'user', actorId: uuid() },
    );
  });

  it('counts what happened in the period, and nothing else', async () => {
    const { status, json } = await admin.request('get', `/audit/statistics?${period}`);
    expect([status, json]).toEqual([
      200,
      {
        from,
        to,
        total: 7,
        byAction: [
          { action: 'session.sign_in', count: 3 },
          { action: 'authorization.refuse', count: 2 },
          { action: 'session.sign_in_failed', count: 1 },
          { action: 'token.refuse', count: 1 },
        ],
        byDay: [
          { day: '2024-01-31', count: 2 },
          { day: '2024-02-01', count: 2 },
          { day: '2024-02-02', count: 0 },
          { day: '2024-02-03', count: 3 },
        ],
        signIns: { succeeded: 3, failed: 1 },
        activeUsers: 2,
        refusals: [
          { action: 'authorization.refuse', operation: 'listUsers', reason: 'users:read:any', count: 2 },
          { action: 'session.sign_in_failed', operation: null, reason: 'wrong_password', count: 1 },
          { action: 'token.refuse', operation: null, reason: 'invalid_grant', count: 1 },
        ],
      },
    ]);
  });

  it('is all zeroes where nothing happened', async () => {
    const { json } = await admin.request('get', '/audit/statistics?from=2000-01-01T00:00:00Z&to=2000-01-02T00:00:00Z');
    expect(json).toMatchObject({
      total: 0,
      byAction: [],
      byDay: [{ day: '2000-01-01', count: 0 }],
      signIns: { succeeded: 0, failed: 0 },
      activeUsers: 0,
      refusals: [],
    });
  });

  it('is of the last 30 days unless told otherwise, and of 366 at most', async () => {
    const { json } = await admin.request('get', '/audit/statistics');
    expect(Date.parse(json.to) - Date.parse(json.from)).toBe(30 * day);
    expect(Date.parse(json.to) - Date.now()).toBeGreaterThan(-60_000);
    expect(Date.parse(json.to) - Date.now()).toBeLessThanOrEqual(3_600_000);
    expect([30, 31]).toContain(json.byDay.length);
    const year = await admin.request('get', '/audit/statistics?from=2024-01-01T00:00:00Z&to=2025-01-01T00:00:00Z');
    expect([year.status, year.json.byDay.length]).toEqual([200, 366]);
  });

  for (const query of [
    'from=2024-01-01T00:00:00Z&to=2025-01-01T00:00:01Z',
    'from=2024-01-02T00:00:00Z&to=2024-01-01T00:00:00Z',
    'from=2024-01-01T00:00:00Z&to=2024-01-01T00:00:00Z',
    'from=2024-01-01T00:00:00Z',
    'from=monday',
  ])
    it(`refuses ${query}`, async () => {
      const { status, json } = await admin.request('get', `/audit/statistics?${query}`);
      expect([status, json.code, json.errors?.[0].field]).toEqual([400, 'invalid_request', 'from']);
    });
});

describe('GET /audit/statistics, asked for by many', () => {
  it('widens the period to whole hours, and counts it once in a while', async () => {
    const action = 'shared.count';
    const ask = async (from: string, to: string) => {
      const { json } = await admin.request('get', `/audit/statistics?from=${from}&to=${to}`);
      return [json.from, json.to, json.total];
    };
    await write({ action, at: new Date('2023-03-01T10:00:00Z') });
    const whole = ['2023-03-01T10:00:00.000Z', '2023-03-01T12:00:00.000Z', 1];
    expect(await ask('2023-03-01T10:59:59Z', '2023-03-01T11:00:01Z')).toEqual(whole);
    await write({ action, at: new Date('2023-03-01T11:59:59Z') });
    expect(await ask('2023-03-01T10:00:00Z', '2023-03-01T12:00:00Z')).toEqual(whole);
    expect((await ask('2023-03-01T10:00:00Z', '2023-03-01T13:00:00Z'))[2]).toBe(2);
  });

  describe.runIf(onPostgres)('while the database is slow', () => {
    /** Nobody reads the audit log until the work is done. */
    const held = <T>(work: () => Promise<T>): Promise<T> =>
      db.transaction(async (db) => {
        await db.raw('lock table audit_logs in access exclusive mode');
        return work();
      });
    const times = <T>(count: number, work: (index: number) => Promise<T>) =>
      Array.from({ length: count }, (_, index) => work(index));

    it('ten periods: one is counted, four wait, the others are told to come again, and the service goes on', async () => {
      let answers: Promise<Awaited<ReturnType<TestCaller['request']>>>[] = [];
      await held(async () => {
        answers = times(10, (index) =>
          admin.request(
            'get',
            `/audit/statistics?from=2022-01-0${(index % 9) + 1}T0${index}:00:00Z&to=2022-02-01T00:00:00Z`,
          ),
        );
        const refused: number[] = [];
        for (const answer of answers)
          answer.then(({ status, headers, json }) => {
            if (status !== 503) return;
            expect([json.code, headers.get('retry-after')]).toEqual(['overloaded', '10']);
            refused.push(status);
          });
        await eventually(() => refused.length === 5, 'five refusals');
        expect((await fetch(`${server.address}/health/ready`)).status).toBe(200);
      });
      const statuses = (await Promise.all(answers)).map(({ status }) => status);
      expect(statuses.sort()).toEqual([...Array(5).fill(200), ...Array(5).fill(503)]);
    });

    it('one period, of which thirty ask, is counted once', async () => {
      let answers: Promise<Awaited<ReturnType<TestCaller['request']>>>[] = [];
      await held(async () => {
        answers = times(30, () =>
          admin.request('get', '/audit/statistics?from=2021-01-01T00:00:00Z&to=2021-02-01T00:00:00Z'),
        );
        await sleep(500);
      });
      expect(new Set((await Promise.all(answers)).map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
      expect((await answers[0])?.status).toBe(200);
    });

    it('searches take three connections at most', async () => {
      let answers: Promise<Awaited<ReturnType<TestCaller['request']>>>[] = [];
      await held(async () => {
        let refused = 0;
        answers = times(40, async () => {
          const answer = await admin.request('get', '/audit/logs?action=test.*');
          if (answer.status === 503) refused++;
          return answer;
        });
        await eventually(() => refused === 17, 'seventeen refusals');
        expect((await fetch(`${server.address}/health/ready`)).status).toBe(200);
      });
      const statuses = (await Promise.all(answers)).map(({ status }) => status);
      expect(statuses.sort()).toEqual([...Array(23).fill(200), ...Array(17).fill(503)]);
    });

    it('a read that takes too long is ended, and the next one has its turn', async () => {
      const read = createReads({ db, ms: 1000 }, { running: 1, waiting: 1 });
      const slow = read((db) => db.raw('select pg_sleep(10)'));
      const next = read((db) => db.raw('select 1 as one'));
      await expect(read((db) => db.raw('select 1'))).rejects.toMatchObject({ status: 503, code: 'overloaded' });
      await expect(slow).rejects.toMatchObject({ status: 503, code: 'overloaded' });
      expect((await next).rows).toEqual([{ one: 1 }]);
    });

    it('no statement of the service’s takes for ever (DATABASE_STATEMENT_TIMEOUT)', async () => {
      const other = await connect({ url: server.database.url as string, statementSeconds: 1 });
      try {
        const error = await other.db.raw('select pg_sleep(10)').catch((error: unknown) => error);
        expect([error, isOutage(error)]).toEqual([expect.objectContaining({ code: '57014' }), true]);
      } finally {
        await other.close();
      }
    });
  });
});

describe('retention', () => {
  const days = 45;
  const keep = days * 86_400;

  it('deletes what is older, batch by batch, and nothing younger, and says so', async () => {
    const [, old = '', young = ''] = await write({ at: daysAgo(3000) }, { at: daysAgo(45.01) }, { at: daysAgo(44.99) });
    const cutoff = daysAgo(days);
    const [older, younger] = await Promise.all(
      (['<', '>='] as const).map((where) => db('auditLogs').where('at', where, cutoff).pluck('id')),
    );
    expect(older).toContain(old);
    expect(older?.length).toBeGreaterThan(10_000);
    expect(await expireEvents(db, keep)).toBe(older?.length);
    const left = await db('auditLogs').pluck('id');
    expect(left).toContain(young);
    expect(left).toEqual(expect.not.arrayContaining([old]));

    const events = (await list('action=audit.expire')).data;
    expect(events.length).toBeGreaterThan(2);
    expect(left.sort()).toEqual([...(younger ?? []), ...events.map(({ id }) => id)].sort());
    const metas = events.map(({ meta }) => meta as { count: number; before: string });
    expect(metas.reduce((sum, { count }) => sum + count, 0)).toBe(older?.length);
    for (const { before } of metas) expect(Math.abs(Date.parse(before) - cutoff.getTime())).toBeLessThan(60_000);

    expect(await expireEvents(db, keep)).toBe(0);
    expect(await db('auditLogs').pluck('id')).toHaveLength(left.length);
  });

  it('can delete nothing of the last 30 days, whatever it is told', async () => {
    const [id = ''] = await write({ at: daysAgo(29) });
    const young = await db('auditLogs').where('at', '>', daysAgo(29.9)).pluck('id');
    expect(young).toContain(id);
    await expect(expireEvents(db, 86_400)).rejects.toThrow(/append-only/);
    expect(await db('auditLogs').whereIn('id', young).pluck('id')).toHaveLength(young.length);
  });

  for (const [name, setting, statement] of [
    ['deleting without the setting', 'off', 'delete from audit_logs where id = ?'],
    ['changing, with the setting', 'on', `update audit_logs set action = 'x' where id = ?`],
    ['moving into the past, with the setting', 'on', `update audit_logs set at = 'epoch' where id = ?`],
    ['truncating, with the setting', 'on', 'truncate audit_logs'],
  ] as const)
    it(`refuses ${name}`, async () => {
      const [id = ''] = await write({ at: daysAgo(3000) });
      const attempt = db.transaction(async (db) => {
        await db.raw(`set local countersign.retention = '${setting}'`);
        await db.raw(statement, statement.includes('?') ? [id] : []);
      });
      await expect(attempt).rejects.toThrow(/append-only/);
      expect(await db('auditLogs').where({ id }).pluck('action')).toEqual(['test.happen']);
    });

  it('leaves no connection on which others could delete', async () => {
    const [id = ''] = await write({ at: daysAgo(3000) });
    await expireEvents(db, keep);
    await write({ id, at: daysAgo(3000) });
    for (let count = 0; count < 12; count++)
      await expect(db('auditLogs').where({ id }).delete()).rejects.toThrow(/append-only/);
  });
});
