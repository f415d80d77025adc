/**
 * What each request costs PostgreSQL: `npm run bench:statements -- [--items refresh] [--times 40] [--texts]`. How many statements,
 * how many round trips (what is sent together, or at the same time on one connection, is one), and how many transactions that write.
 * The service runs in front of a relay that reads along (`statement-relay.ts`), in a database next to that of DATABASE_URL, and is
 * sent one request after another, when it has had some of them already. Its jobs are left out, which go on all the while.
 */
import { parseArgs } from 'node:util';
import { items } from './items.ts';
import type { LoadReport } from './load-process.ts';
import { ask, messageOf, startNode, stopChild } from './processes.ts';
import { createDatabase, startService } from './service.ts';
import { type Flight, openStatementRelay } from './statement-relay.ts';

const { values: options } = parseArgs({
  options: {
    items: { type: 'string', default: Object.keys(items).join(',') },
    times: { type: 'string', default: '40' },
    texts: { type: 'boolean', default: false },
  },
});
const times = Number(options.times);
const warmUp = 5;

const isOfRequests = ({ statements }: Flight): boolean =>
  !statements.some(
    (text) => /\bpgboss\b/.test(text) || /^(set statement_timeout|listen |select \$1 as probe)/i.test(text),
  );

const printTexts = (flights: readonly Flight[]): void => {
  const counts = new Map<string, number>();
  for (const text of flights.flatMap(({ statements }) => statements)) counts.set(text, (counts.get(text) ?? 0) + 1);
  for (const [text, count] of counts)
    console.log(`    ${(count / times).toFixed(2).padStart(5)}  ${text.slice(0, 240)}`);
};

const database = await createDatabase();
if (!database.url) throw new Error('DATABASE_URL: a PostgreSQL database, next to which this makes one of its own');
const url = new URL(database.url);
const relay = await openStatementRelay(url.hostname, Number(url.port || 5432));
const relayed = new URL(url);
relayed.host = `127.0.0.1:${relay.port}`;
const load = startNode('load-process.ts');
let service: Awaited<ReturnType<typeof startService>> | undefined;
try {
  await messageOf(load);
  service = await startService({ database: { ...database, url: relayed.href }, workers: 1, cores: [], connections: 1 });
  const { target } = service;
  const send = async (item: string, times: number) => {
    const report = await ask<LoadReport>(load, {
      side: 'service',
      item,
      target,
      connections: 1,
      milliseconds: 0,
      times,
    });
    if ('error' in report) throw new Error(report.error);
  };
  console.log(`${'item'.padEnd(20)}statements  round trips  writing transactions  (each by request)`);
  for (const item of options.items.split(',')) {
    await send(item, warmUp);
    relay.take();
    await send(item, times);
    const flights = relay.take().filter(isOfRequests);
    const sum = (count: (flight: Flight) => number) =>
      (flights.reduce((total, flight) => total + count(flight), 0) / times).toFixed(2);
    console.log(
      item.padEnd(20) +
        sum(({ statements }) => statements.length).padStart(10) +
        sum(() => 1).padStart(13) +
        sum(({ writingTransactions }) => writingTransactions).padStart(22),
    );
    if (options.texts) printTexts(flights);
  }
} finally {
  await Promise.all([service?.stop(), stopChild(load)]);
  relay.close();
  await database.drop();
}
