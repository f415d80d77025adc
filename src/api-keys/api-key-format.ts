/**
 * What an API key looks like: `cs_`, 33 random characters, and a checksum of six. Scanners of source code recognize it, and
 * a typing mistake is refused without a look into the database. The checksum is no secret: anybody can make a key that
 * looks right.
 */
import { randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';

export const keyPrefix = 'cs_';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 62^33 is more than 2^196. */
const randomLength = 33;
/** 62^6 is more than 2^32. */
const checksumLength = 6;

const shape = new RegExp(`^${keyPrefix}[0-9A-Za-z]{${randomLength + checksumLength}}$`);

/** CRC-32 in base 62, padded with zeros. */
const checksumOf = (text: string): string => {
  let rest = crc32(text);
  let digits = '';
  for (let place = 0; place < checksumLength; place++) {
    digits = alphabet[rest % 62] + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
};

export const createKey = (): string => {
  const body = keyPrefix + Array.from({ length: randomLength }, () => alphabet[randomInt(62)]).join('');
  return body + checksumOf(body);
};

/** Whether the text could be a key that was given out: its shape and its checksum are right. */
export const isKey = (text: string): boolean =>
  shape.test(text) && checksumOf(text.slice(0, -checksumLength)) === text.slice(-checksumLength);

/** The beginning, by which people tell their keys apart: 36 of its 196 bits. */
export const displayPrefix = (key: string): string => key.slice(0, keyPrefix.length + 6);
