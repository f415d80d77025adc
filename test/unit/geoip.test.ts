/** Places by MMDB files: what they say, that a broken one is told at once, and that a newer one is taken in. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { openGeoIp } from '../../adapters/geoip.ts';

const folder = mkdtempSync(join(tmpdir(), 'geoip-'));
afterAll(() => rmSync(folder, { recursive: true }));
const sample = (name: string) => fileURLToPath(new URL(`../support/geoip/${name}`, import.meta.url));
const city = sample('GeoIP2-City-Test.mmdb');
const systems = sample('GeoLite2-ASN-Test.mmdb');
const lines: string[] = [];
const log = {
  info: (_: unknown, text: string) => lines.push(text),
  error: (_: unknown, text: string) => lines.push(text),
};
const open = (paths: string[], watchMs?: number) => openGeoIp(paths, log as never, watchMs);

it('knows places and networks, each from the file that has it', () => {
  const { locate, close } = open([city, systems]);
  expect(locate('89.160.20.112')).toEqual({
    country: 'SE',
    city: 'Linköping',
    latitude: 58.4167,
    longitude: 15.6167,
    radiusKm: 76,
    network: 'AS29518',
  });
  expect(locate('1.128.0.1')).toEqual({ network: 'AS1221' });
  expect(locate('2001:218::1')).toMatchObject({ country: 'JP' });
  close();
});

it('knows nothing of what is in no file, and of what is no address', () => {
  const { locate, close } = open([city]);
  for (const address of ['127.0.0.1', '192.0.2.1', '::1', 'unknown', '', undefined, '89.160.20.112, 1.1.1.1'])
    expect(locate(address)).toBeUndefined();
  close();
  expect(open([]).locate('89.160.20.112')).toBeUndefined();
});

for (const [name, content] of [
  ['is not there', undefined],
  ['is empty', Buffer.alloc(0)],
  ['is something else', Buffer.from('<html>')],
  ['is cut off', readFileSync(city).subarray(0, 9000)],
] as const) {
  it(`refuses to start with a file that ${name}`, () => {
    const path = join(folder, `${name}.mmdb`);
    if (content) writeFileSync(path, content);
    expect(() => open([city, path])).toThrow(`GEOIP_DB: ${path} cannot be read as an MMDB file`);
  });
}

it('reads a file again that has changed, and keeps what it knew when the new one is broken', async () => {
  const path = join(folder, 'changing.mmdb');
  copyFileSync(systems, path);
  const { locate, close } = open([path], 20);
  const told = async (text: RegExp) => {
    await expect.poll(() => lines.some((line) => text.test(line)), { timeout: 5000 }).toBe(true);
  };
  expect(locate('89.160.20.112')).toEqual({ network: 'AS29518' });
  writeFileSync(path, 'broken');
  await told(/cannot be read/);
  expect(locate('89.160.20.112')).toEqual({ network: 'AS29518' });
  copyFileSync(city, path);
  utimesSync(path, new Date(), new Date());
  await told(/read again/);
  expect(locate('89.160.20.112')).toMatchObject({ country: 'SE' });
  close();
});
