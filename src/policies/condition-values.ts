/** What conditions of policies make of values: which hold, what equals what, what is a number, a list, an address, a time. */
import { BlockList, isIP } from 'node:net';

/** As everywhere in JSON Logic: an empty list does not hold. */
export const holds = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : Boolean(value));

/** Own members alone: `constructor`, `length` and whatever else an object is made of are not there. */
export const memberOf = (value: unknown, name: string): unknown =>
  value !== null &&
  typeof value === 'object' &&
  Object.hasOwn(value, name) &&
  !(Array.isArray(value) && name === 'length')
    ? (value as Record<string, unknown>)[name]
    : undefined;

export const plain = (value: unknown): string | number | boolean | null => {
  if (value === undefined || value === null) return null;
  if (typeof value === 'object') throw new Error('lists and objects are not compared');
  return value as string | number | boolean;
};

/** The number that a text says, as people write them. */
const numberIn = (text: string): number => (/^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : Number.NaN);

/** Equal as numbers where one of them is a number, and nothing equals null but null. */
export const isEqual = (left: unknown, right: unknown): boolean => {
  const a = plain(left);
  const b = plain(right);
  if (typeof a === 'number' && typeof b === 'string') return a === numberIn(b);
  if (typeof a === 'string' && typeof b === 'number') return numberIn(a) === b;
  return a === b;
};

export const isSame = (left: unknown, right: unknown): boolean => plain(left) === plain(right);

export const listOf = (value: unknown): readonly unknown[] => {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Error('a list is needed');
  return value;
};

export const textOf = (value: unknown): string => {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw new Error('a text is needed');
  return value;
};

export const numberOf = (value: unknown): number => {
  const number = typeof value === 'string' ? numberIn(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) throw new Error('a number is needed');
  return number;
};

/** Where something is missing no order holds, so that a missing risk, say, is neither low nor high. */
export const ordered =
  (isInOrder: (left: string | number, right: string | number) => boolean) =>
  (left: unknown, right: unknown): boolean => {
    if (left === undefined || left === null || right === undefined || right === null) return false;
    if (typeof left === 'string' && typeof right === 'string') return isInOrder(left, right);
    return isInOrder(numberOf(left), numberOf(right));
  };

const isInList = (list: BlockList, text: string): boolean => {
  const address = text.replace(/^::ffff:(?=\d+\.)/i, '');
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6');
};

/** Of so many addresses it is remembered whether they lie in some networks: to find out takes longer than all of a condition. */
const rememberedMax = 200;
/** … of those that are no longer than this. */
const addressMax = 64;

/** @returns whether an address lies in one of the networks; what is no address does not */
export const createNetworks = (networks: readonly string[]): ((address: unknown) => boolean) => {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const type = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    if (bits === undefined) list.addAddress(address, type);
    else list.addSubnet(address, Number(bits), type);
  }
  const remembered = new Map<string, boolean>();
  return (address) => {
    if (typeof address !== 'string') return false;
    const known = remembered.get(address);
    if (known !== undefined) return known;
    const isIn = isInList(list, address);
    if (address.length > addressMax) return isIn;
    if (remembered.size >= rememberedMax) remembered.clear();
    remembered.set(address, isIn);
    return isIn;
  };
};

/** A moment in a time zone. */
export interface Moment {
  /** `HH:MM` */
  time: string;
  /** From 1 (Monday) to 7. */
  weekday: number;
  /** `YYYY-MM-DD` */
  date: string;
}

interface Clock {
  format: Intl.DateTimeFormat;
  /** Of the minute that was asked about last: many decisions fall into one. */
  minute: number;
  moment: Moment;
}
/** Made once for each time zone; there are not so many. */
const clocks = new Map<string, Clock>();
const clockOf = (timeZone: string): Clock => {
  const known = clocks.get(timeZone);
  if (known) return known;
  const format = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    hourCycle: 'h23',
    weekday: 'short',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  });
  const clock: Clock = { format, minute: Number.NaN, moment: { time: '', weekday: 0, date: '' } };
  clocks.set(timeZone, clock);
  return clock;
};
const weekdays = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** The time that was read last: it is the same for all policies that a question meets. */
let last: { text: unknown; time: number } = { text: '', time: Number.NaN };
const timeIn = (text: unknown): number => {
  if (text !== last.text) last = { text, time: Date.parse(text as string) };
  return last.time;
};

/**
 * @param text RFC 3339
 * @throws Error when there is no time in it
 */
export const momentIn = (text: unknown, zone: string): Moment => {
  const time = timeIn(text);
  if (Number.isNaN(time)) throw new Error('there is no time to look at');
  const clock = clockOf(zone);
  const minute = Math.floor(time / 60_000);
  if (clock.minute !== minute) {
    const parts = new Map(clock.format.formatToParts(time).map(({ type, value }) => [type, value]));
    const of = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? '';
    clock.moment = {
      time: `${of('hour')}:${of('minute')}`,
      weekday: weekdays.indexOf(of('weekday')) + 1,
      date: `${of('year')}-${of('month')}-${of('day')}`,
    };
    clock.minute = minute;
  }
  return clock.moment;
};
