/** A copy of all that is kept about a person, for that person. */
import { Readable } from 'node:stream';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import type { Secrets } from '../secrets.ts';
import { longParts, parts } from './personal-data.queries.ts';

export interface PersonalDataDeps {
  db: Db;
  secrets: Secrets;
  issuer: string;
}

/** The file, as its reader is given it. */
export interface PersonalDataFile {
  type: 'application/json';
  filename: string;
  content: Readable;
}

const batchRows = 500;

/** A member of the document, on lines of its own. */
const member = (name: string, value: unknown): string =>
  `${JSON.stringify(name)}: ${(JSON.stringify(value, null, 2) ?? 'null').replaceAll('\n', '\n  ')}`;

/**
 * The document, a part at a time: each is read when its reader has taken the part before, so that neither memory nor a
 * connection is held for somebody who reads slowly.
 */
async function* write({ db, secrets, issuer }: PersonalDataDeps, userId: string): AsyncGenerator<string> {
  yield `{\n  ${member('about', { service: issuer, exportedAt: new Date(), format: 1 })}`;
  for (const { name, read } of parts(secrets)) yield `,\n  ${member(name, await read(db, userId))}`;
  for (const { name, batch } of longParts) {
    yield `,\n  ${JSON.stringify(name)}: [`;
    let after: unknown;
    for (let rows = await batch(db, userId, batchRows, after); rows.length; ) {
      yield rows.map((row, at) => `${after === undefined && at === 0 ? '' : ','}\n    ${JSON.stringify(row)}`).join('');
      after = rows.at(-1);
      rows = rows.length < batchRows ? [] : await batch(db, userId, batchRows, after);
    }
    yield '\n  ]';
  }
  yield '\n}\n';
}

/** Hands a person all that is kept about them, as one JSON document that says nothing secret. The download is an event. */
export const exportPersonalData = async (
  deps: PersonalDataDeps,
  actor: Actor,
  userId: string,
): Promise<PersonalDataFile> => {
  await deps.db.transaction((db) =>
    recordEvent(db, actor, { action: 'user.export_data', target: { type: 'user', id: userId } }),
  );
  const day = new Date().toISOString().slice(0, 10);
  return {
    type: 'application/json',
    filename: `account-data-${day}.json`,
    content: Readable.from(write(deps, userId), { highWaterMark: 1 }),
  };
};
