/** Rows for `seed.ts`, made from rows that the product itself has written: only what tells them apart is put in anew. */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { escaped } from './copy.ts';
import { emailOf, timedId } from './lists-data.ts';

/** How many of each. */
export interface Sizes {
  users: number;
  clients: number;
  refreshTokens: number;
  audit: number;
}

/** How many refresh tokens a family has: all but the last have been used. */
export const familySize = 5;

const named = (name: string): string => createHash('sha256').update(name).digest('base64url');

export const userIdOf = timedId;
export { emailOf };
export const clientIdOf = (number: number): string => `seeded${number}`;
export const secretOf = (number: number): string => named(`secret ${number}`);
export const hashOf = named;
export const grantIdOf = (family: number): string => named(`grant ${family}`);
export const sessionUidOf = (family: number): string => named(`session ${family}`).slice(0, 21);
export const refreshTokenOf = (family: number, generation: number): string => named(`refresh ${family} ${generation}`);

/** Which user and which client a family is of; clients that people sign in to have even numbers. */
export const userOfFamily = (family: number, { users }: Sizes): number => (family * 7919) % users;
export const clientOfFamily = (family: number, { clients }: Sizes): number => ((family * 31) % (clients / 2)) * 2;

/** A row as JSON has it, by its columns. */
export type Template = Record<string, unknown>;

type Made = string | null;
/** What stands in a column of row `number`. */
type Make = (number: number) => Made;

const asText = (value: unknown, isArray: boolean): Made => {
  if (value === null || value === undefined) return null;
  if (isArray) return `{${(value as unknown[]).map((item) => JSON.stringify(String(item)))}}`;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
};

/** In a text, what stands for something is replaced by what `make` says of the row. Longest first: one may be a part of another. */
export const replacing = (text: string, makes: Record<string, Make>): Make => {
  const names = Object.keys(makes).filter((name) => name && text.includes(name));
  if (!names.length) return () => text;
  const pattern = new RegExp(
    `(${names
      .toSorted((a, b) => b.length - a.length)
      .map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('|')})`,
  );
  const parts = text.split(pattern).map((part) => makes[part] ?? part);
  return (number) => parts.map((part) => (typeof part === 'string' ? part : part(number))).join('');
};

/**
 * Lines for COPY in its text format, in the order of the columns.
 * @param makes what differs from row to row: whole columns
 * @param inTexts what stands for something in other columns, such as the id of the template's user
 */
export function* lines(
  columns: readonly { name: string; isArray: boolean }[],
  template: Template,
  count: number,
  makes: Record<string, Make>,
  inTexts: Record<string, Make> = {},
): Generator<string> {
  const cells = columns.map(({ name, isArray }): string | Make => {
    const make = makes[name];
    if (make) return make;
    const text = asText(template[name], isArray);
    if (text === null) return '\\N';
    const replaced = replacing(text, inTexts);
    return Object.keys(inTexts).some((marker) => marker && text.includes(marker)) ? replaced : escaped(text);
  });
  for (let number = 0; number < count; number++) {
    let line = '';
    for (const cell of cells) {
      const value = typeof cell === 'string' ? cell : cell(number);
      const text = typeof cell === 'string' ? cell : value === null ? '\\N' : escaped(value);
      line = line === '' ? text : `${line}\t${text}`;
    }
    yield line;
  }
}

export const columnsOf = async (client: pg.Client, table: string): Promise<{ name: string; isArray: boolean }[]> => {
  const { rows } = await client.query(
    `select column_name as name, data_type = 'ARRAY' as "isArray" from information_schema.columns
     where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER' order by ordinal_position`,
    [table],
  );
  return rows;
};
