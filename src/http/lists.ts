/** Keyset pages: a list is ordered by a unique key, and the cursor is the key of the last row that was seen. */
import { z } from 'zod';
import { invalid } from '../errors.ts';
import { Time } from './schemas.ts';

/** Opaque to clients: base64url of the key. */
const Cursor = z
  .string()
  .max(600)
  .regex(/^[A-Za-z0-9_-]+$/, 'expected the nextCursor of an earlier page')
  .meta({ description: 'The `nextCursor` of the page before' });

/** Query parameters of every list. Extend it with the list's filters. */
export const ListQuery = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50).meta({ description: 'Rows per page', example: 50 }),
  cursor: Cursor.optional(),
});

/** What a list returns. */
export const listOf = <T extends z.ZodType>(item: T) =>
  z.object({
    data: z.array(item),
    nextCursor: z
      .string()
      .nullable()
      .meta({ description: 'Send it as `cursor` for the next page; null on the last', example: null }),
  });

/** The key after which the page begins; undefined for the first page and for a cursor that cannot be ours. */
export const keyOf = (cursor: string | undefined): string | undefined =>
  cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString().replaceAll('\0', '');

/** 400, for a cursor that no page of ours gave. */
export const cursorNotOurs = () =>
  invalid('invalid_request', 'The request is not valid', {
    fields: [{ field: 'cursor', code: 'invalid_format', message: 'expected the nextCursor of an earlier page' }],
  });

/** As `keyOf`, of a list that is ordered by an id. @throws AppError 400 invalid_request for a cursor that holds none */
export const idKeyOf = (cursor: string | undefined): string | undefined => {
  const key = keyOf(cursor);
  if (key === undefined || z.uuid().safeParse(key).success) return key;
  throw cursorNotOurs();
};

/** The key of a list that is ordered by a moment, and by an id where moments are the same. */
export interface TimedKey {
  /** RFC 3339 in UTC, as exact as the database has it: what JSON says of it is rounded, and a page would lose or repeat rows. */
  at: string;
  id: string;
}

/** For `pageOf`. */
export const timedKey = ({ at, id }: TimedKey): string => `${at}/${id}`;

/** As `keyOf`, of a list that is ordered by `timedKey`. @throws AppError 400 invalid_request for a cursor that holds none */
export const timedKeyOf = (cursor: string | undefined): TimedKey | undefined => {
  const key = keyOf(cursor);
  if (key === undefined) return undefined;
  const [at = '', id = '', ...rest] = key.split('/');
  if (Time.safeParse(at).success && z.uuid().safeParse(id).success && !rest.length) return { at, id };
  throw cursorNotOurs();
};

/**
 * Makes a page of `limit` rows out of a query's rows. Ask the database for `limit + 1`: the one too many says that there is more.
 * @param key of a row, as the query orders by it
 */
export const pageOf = <T>(
  rows: readonly T[],
  limit: number,
  key: (row: T) => string,
): { data: T[]; nextCursor: string | null } => {
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  return { data, nextCursor: rows.length > limit && last ? Buffer.from(key(last)).toString('base64url') : null };
};
