/**
 * Keycloak's realm exports, read as a stream: `kc.sh export --users same_file` writes everything into one file of any size,
 * `--users different_files` (the default) a folder with `<realm>-realm.json` and `<realm>-users-<n>.json`. Users are handed out
 * one at a time, whatever else is in the file is small; nothing is held in memory that grows with the number of users.
 */
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** A user with everything that belongs to them; and any other part of a realm. */
const userCharsMax = 2 ** 20;
const memberCharsMax = 2 ** 25;

export interface Piece {
  /** The member of the document. */
  name: string;
  /** JSON. */
  text: string;
}

/** What becomes of a member: it comes as a whole, element by element of its array, or not at all. */
type Take = (name: string) => 'whole' | 'elements' | 'skip';

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openBrace, openBracket, closeBrace, closeBracket] = [0x7b, 0x5b, 0x7d, 0x5d];

/** What comes before the members: blanks, perhaps a byte order mark, and the brace of an object. @throws Error for anything else */
const assertBegins = (chunk: string, at: number): void => {
  const char = chunk[at] ?? '';
  if (char === '{' || /[\s\ufeff]/.test(char)) return;
  // A list of objects; a text that begins with a bracket for another reason is told from it by what follows.
  if (char === '[' && /^\s*(\{|$)/.test(chunk.slice(at + 1, at + 1000)))
    throw new Error('the file holds several realms: export one (kc.sh export --realm NAME)');
  throw new Error('the file is not a JSON object: name one that Keycloak exported (kc.sh export --realm NAME)');
};

/**
 * Splits a JSON object into its members. It counts braces and knows strings, no more: each piece is for `JSON.parse` to judge.
 * @throws Error when the document is no object, breaks off, or a piece is too long
 */
export async function* splitDocument(chunks: AsyncIterable<string>, take: Take): AsyncGenerator<Piece> {
  let [depth, inString, escaped] = [0, false, false];
  /** Where we are in the object: a name comes, is being read, or has been read. */
  let expects: 'name' | 'name-end' | 'value' = 'name';
  let name = '';
  let mode: ReturnType<Take> = 'skip';
  let inElements = false;
  /** What was read of a piece in chunks before, and where it goes on in this one; -1: nothing is being read. */
  let [held, from] = ['', -1];
  let ended = false;

  for await (const chunk of chunks) {
    const cut = (to: number): string => {
      const text = held + chunk.slice(from, to);
      [held, from] = ['', -1];
      return text;
    };
    for (let at = 0; at < chunk.length; at++) {
      const char = chunk.charCodeAt(at);
      if (depth === 0 && !ended) assertBegins(chunk, at);
      if (inString) {
        if (escaped) escaped = false;
        else if (char === backslash) escaped = true;
        else if (char === quote) {
          inString = false;
          if (expects === 'name-end') {
            name = String(JSON.parse(cut(at + 1)));
            expects = 'value';
            mode = take(name);
          }
        }
      } else if (char === quote) {
        inString = true;
        if (depth === 1 && expects === 'name') [expects, from] = ['name-end', at];
      } else if (char === colon) {
        if (depth === 1 && mode === 'whole') from = at + 1;
      } else if (char === openBrace || char === openBracket) {
        depth++;
        if (depth === 2 && mode === 'elements' && char === openBracket) [inElements, from] = [true, at + 1];
      } else if (char === closeBrace || char === closeBracket || char === comma) {
        const isPiece = inElements ? depth === 2 : depth === 1 && from >= 0;
        if (isPiece) {
          const text = cut(at);
          if (text.trim()) yield { name, text };
        }
        if (char === comma) {
          if (inElements && depth === 2) from = at + 1;
          else if (depth === 1) expects = 'name';
        } else {
          if (depth === 2) inElements = false;
          depth--;
          ended ||= depth === 0;
        }
      }
    }
    if (from >= 0) {
      held += chunk.slice(from);
      from = 0;
      if (held.length > (inElements ? userCharsMax : memberCharsMax)) throw new Error(`${name}: longer than it may be`);
    }
  }
  if (!ended || depth !== 0) throw new Error('the file is not a JSON object, or it is not whole');
}

const chunksOf = (file: string): AsyncIterable<string> => createReadStream(file, { encoding: 'utf8' });

/** The files of an export: the realm's, and those with its users beside it. @throws Error when there is none, or more than one */
export const filesOf = (path: string): { realm: string; users: string[] } => {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new Error(`${path}: there is no such file or folder`);
  const isFolder = found.isDirectory();
  const folder = isFolder ? path : dirname(path);
  const names = readdirSync(folder);
  const realms = isFolder ? names.filter((name) => name.endsWith('-realm.json')) : [basename(path)];
  const [realm] = realms;
  if (!realm || realms.length > 1)
    throw new Error(`${path}: expected one file <realm>-realm.json, found ${realms.join(', ') || 'none'}`);
  const prefix = realm.endsWith('-realm.json') ? `${realm.slice(0, -'realm.json'.length)}users-` : undefined;
  const numberOf = (name: string) => Number(/^(\d+)\.json$/.exec(name.slice(prefix?.length))?.[1] ?? Number.NaN);
  const users = names
    .filter((name) => prefix !== undefined && name.startsWith(prefix) && Number.isInteger(numberOf(name)))
    .sort((left, right) => numberOf(left) - numberOf(right));
  return { realm: join(folder, realm), users: users.map((name) => join(folder, name)) };
};

/** Members that grow with the number of users. */
const streamed = new Set(['users', 'federatedUsers']);

/** Everything but the users. @throws Error when the file is not JSON, or not there */
export const readRealm = async (path: string): Promise<Record<string, unknown>> => {
  const members: [string, unknown][] = [];
  const take: Take = (name) => (streamed.has(name) ? 'skip' : 'whole');
  for await (const { name, text } of splitDocument(chunksOf(filesOf(path).realm), take))
    members.push([name, JSON.parse(text)]);
  return Object.fromEntries(members);
};

/** The users one after the other, as JSON. */
export async function* readUsers(path: string): AsyncGenerator<string> {
  const { realm, users } = filesOf(path);
  for (const file of [realm, ...users])
    for await (const { text } of splitDocument(chunksOf(file), (name) => (name === 'users' ? 'elements' : 'skip')))
      yield text;
}
