/** Distinguished names of certificates as text (RFC 4514), compared by what they name and not by how they are written. */

/** Names of attribute types that more than one name or number is in use for, by their object identifier. */
const objectIdentifiers: Readonly<Record<string, string>> = {
  cn: '2.5.4.3',
  commonname: '2.5.4.3',
  sn: '2.5.4.4',
  surname: '2.5.4.4',
  serialnumber: '2.5.4.5',
  c: '2.5.4.6',
  countryname: '2.5.4.6',
  l: '2.5.4.7',
  localityname: '2.5.4.7',
  st: '2.5.4.8',
  s: '2.5.4.8',
  stateorprovincename: '2.5.4.8',
  street: '2.5.4.9',
  streetaddress: '2.5.4.9',
  o: '2.5.4.10',
  organizationname: '2.5.4.10',
  ou: '2.5.4.11',
  organizationalunitname: '2.5.4.11',
  title: '2.5.4.12',
  businesscategory: '2.5.4.15',
  postalcode: '2.5.4.17',
  gn: '2.5.4.42',
  givenname: '2.5.4.42',
  organizationidentifier: '2.5.4.97',
  uid: '0.9.2342.19200300.100.1.1',
  userid: '0.9.2342.19200300.100.1.1',
  dc: '0.9.2342.19200300.100.1.25',
  domaincomponent: '0.9.2342.19200300.100.1.25',
  e: '1.2.840.113549.1.9.1',
  email: '1.2.840.113549.1.9.1',
  emailaddress: '1.2.840.113549.1.9.1',
};

const typeOf = (name: string): string | undefined => {
  if (/^\d+(\.\d+)+$/.test(name)) return name;
  const lower = name.toLowerCase();
  return /^[a-z][a-z0-9-]*$/.test(lower) ? (objectIdentifiers[lower] ?? lower) : undefined;
};

/** A byte in hexadecimal, an escaped character, or one that needs no escape (RFC 4514 section 3). */
const part = /\\[0-9a-f]{2}|\\[ "#+,;<=>\\]|[^\\"<>;,+\0]/giu;

const bytesOf = (piece: string): Buffer =>
  /^\\[0-9a-f]{2}$/i.test(piece) ? Buffer.from(piece.slice(1), 'hex') : Buffer.from(piece.replace(/^\\(?=.)/su, ''));

/**
 * One value, up to the separator that ends it: spaces around it do not count unless they are escaped.
 * @returns the value and what follows it; undefined for one that is malformed, or in hexadecimal BER, which is not read
 */
const readValue = (text: string): { value: string; rest: string } | undefined => {
  const pieces: string[] = [];
  let end = 0;
  for (const { 0: piece, index } of text.matchAll(part)) {
    if (index !== end) break;
    pieces.push(piece);
    end += piece.length;
  }
  const first = pieces.findIndex((piece) => piece !== ' ');
  const kept = first < 0 ? [] : pieces.slice(first, pieces.findLastIndex((piece) => piece !== ' ') + 1);
  const rest = text.slice(end);
  return kept[0] === '#' || /^[^,+]/.test(rest)
    ? undefined
    : { value: Buffer.concat(kept.map(bytesOf)).toString(), rest };
};

/**
 * A name as its relative names in order, each a list of `type=value` sorted, types by number where they are known.
 * Undefined for text that is none.
 */
export const parseDistinguishedName = (text: string): string[][] | undefined => {
  const names: string[][] = [[]];
  let rest = text;
  do {
    const [whole, name = ''] = /^ *([^=,+\\ ]+) *=/.exec(rest) ?? [];
    const type = typeOf(name);
    const read = whole === undefined ? undefined : readValue(rest.slice(whole.length));
    if (!type || !read) return undefined;
    names.at(-1)?.push(`${type}=${read.value}`);
    if (read.rest.startsWith(',')) names.push([]);
    rest = read.rest.slice(1);
    if (read.rest && !rest) return undefined;
  } while (rest);
  return names.map((name) => name.sort());
};

/**
 * Whether a certificate's subject is the name that is expected. Values are compared exactly: RFC 5280 section 7.1 would have
 * case and spaces ignored in some, which here could only make two names one.
 * @param subject as Node.js has it: a line for each relative name, the most significant first
 */
export const isSubject = (subject: string | undefined, expected: string): boolean => {
  const wanted = parseDistinguishedName(expected);
  // RFC 4514 section 2.1 begins with the last one.
  const lines = (subject ?? '').split('\n').reverse();
  const names = lines.map((line) => parseDistinguishedName(line));
  if (!wanted || names.some((name) => name?.length !== 1)) return false;
  return JSON.stringify(names.flat()) === JSON.stringify(wanted);
};
