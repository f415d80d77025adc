/** The settings of whom limits count and how far they go, which `config.ts` takes in with all others. */
import { BlockList, isIP } from 'node:net';
import { z } from 'zod';

export const rateLimitFactor = z.coerce
  .number()
  .min(0.01)
  .max(100_000)
  .default(1)
  .meta({ description: 'Multiplies every rate limit' });

/** Requests in 15 minutes; `anonymous` is by address, `client` an application that acts for itself. */
const defaultRoleLimits = 'anonymous=50,user=100,moderator=300,admin=500,super_admin=1000,client=1000';

const parts = (text: string): string[] => text.split(',').map((part) => part.trim());

/** `user=100` as its name and number; undefined for anything else. */
const parseRoleLimit = (item: string): [role: string, points: number] | undefined => {
  const [, role, points] = /^([a-z][a-z0-9_-]{0,63})=([1-9]\d{0,8})$/.exec(item) ?? [];
  return role ? [role, Number(points)] : undefined;
};

const areRoleLimits = (text: string): boolean => {
  const names = parts(text).map((item) => parseRoleLimit(item)?.[0]);
  return !names.includes(undefined) && new Set(names).size === names.length;
};

export const roleLimits = z
  .string()
  .refine(areRoleLimits, 'expected roles and whole numbers such as user=100,admin=500, each role once')
  .default(defaultRoleLimits)
  .meta({
    description:
      'Requests to the REST API in 15 minutes by role, `anonymous` (by address) and `client` (an application that acts for itself). A role that is not listed has the limit of the highest listed one that does not outrank it; what is left out of the default list keeps its default',
  });

/** RATE_LIMITS as names and numbers. */
export const readRoleLimits = (text: string): Record<string, number> =>
  Object.fromEntries(parts(`${defaultRoleLimits},${text}`).map((item) => parseRoleLimit(item) as [string, number]));

/** Loopback, private (RFC 1918, RFC 4193) and link-local: where a proxy of one's own usually stands. */
const privateRanges = [
  '127.0.0.0/8',
  '::1',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  'fc00::/7',
  'fe80::/10',
];

const parseRange = (item: string): [address: string, prefix: number, family: 'ipv4' | 'ipv6'] | undefined => {
  const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(item) ?? [];
  const version = isIP(address);
  const bits = version === 6 ? 128 : 32;
  const length = Number(prefix ?? bits);
  return version && length <= bits ? [address, length, version === 6 ? 'ipv6' : 'ipv4'] : undefined;
};

export const proxyAddresses = z
  .string()
  .transform((text) => parts(text))
  .refine((items) => items.every(parseRange), 'expected addresses and ranges such as 10.0.0.0/8')
  .default(privateRanges)
  .meta({
    description:
      'Addresses and ranges, separated by commas, of the proxy that connects to us. X-Forwarded-For from anybody else is ignored',
  });

/** TRUST_PROXY_ADDRESSES as a list that addresses are looked up in. */
export const readProxyAddresses = (items: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const item of items) list.addSubnet(...(parseRange(item) as [string, number, 'ipv4' | 'ipv6']));
  return list;
};
