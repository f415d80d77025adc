import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { describe, expect, it } from 'vitest';
import { clientAddress, trustProxies } from '../../src/http/client-address.ts';
import { proxyAddresses, readProxyAddresses } from '../../src/limit-settings.ts';

const trusted = readProxyAddresses(proxyAddresses.parse(undefined));
const proxy = '10.0.0.5';

describe('the client’s address', () => {
  for (const [name, proxies, peer, forwarded, expected] of [
    ['no proxy: the header is the client’s invention', 0, '203.0.113.9', '1.2.3.4', '203.0.113.9'],
    ['no proxy, and a peer at home', 0, '127.0.0.1', '1.2.3.4', '127.0.0.1'],
    ['one proxy', 1, proxy, '203.0.113.9', '203.0.113.9'],
    ['one proxy, and a client that sends a header of its own', 1, proxy, '1.2.3.4, 203.0.113.9', '203.0.113.9'],
    ['one proxy, and a client that sends many', 1, proxy, '9.9.9.9,8.8.8.8, 1.2.3.4 ,203.0.113.9', '203.0.113.9'],
    ['one proxy that says nothing', 1, proxy, '', proxy],
    ['one proxy that was gone past', 1, '203.0.113.9', '1.2.3.4', '203.0.113.9'],
    ['two proxies', 2, proxy, '203.0.113.9, 198.51.100.1', '203.0.113.9'],
    ['two proxies, and a forged header', 2, proxy, '1.2.3.4, 203.0.113.9, 198.51.100.1', '203.0.113.9'],
    ['two proxies, and a check that comes from the inner one', 2, proxy, '10.0.0.9', '10.0.0.9'],
    ['IPv6', 1, '::1', '2001:db8::1', '2001:db8::1'],
    ['IPv6 with brackets and a port', 1, '::1', '[2001:db8::1]:443', '2001:db8::1'],
    ['IPv6 with brackets', 1, '::1', '[2001:db8::1]', '2001:db8::1'],
    ['IPv6 with a zone', 1, 'fe80::1%eth0', 'fe80::2%eth0', 'fe80::2'],
    ['IPv4 with a port', 1, proxy, '203.0.113.9:51234', '203.0.113.9'],
    ['IPv4 that came in as IPv6', 1, `::ffff:${proxy}`, '::ffff:203.0.113.9', '203.0.113.9'],
    ['an untrusted peer that came in as IPv6', 1, '::ffff:203.0.113.9', '1.2.3.4', '203.0.113.9'],
    ['unknown (RFC 7239 section 6.2)', 1, proxy, 'unknown', proxy],
    ['a hidden one', 1, proxy, '_hidden', proxy],
    ['an empty entry', 1, proxy, '203.0.113.9,', proxy],
    ['garbage', 1, proxy, '1.2.3.4.5', proxy],
    ['a great deal of garbage', 1, proxy, `${'x'.repeat(60_000)}`, proxy],
    ['an octal address', 1, proxy, '0203.0.0113.9', proxy],
    ['a socket that is closed', 1, '', '1.2.3.4', ''],
  ] as [string, number, string, string, string][]) {
    it(`${name}: ${expected}`, () => {
      expect(clientAddress({ peer, forwarded }, { proxies, trusted })).toBe(expected);
    });
  }

  it('is read from a proxy outside the private ranges when it is named', () => {
    const named = readProxyAddresses(proxyAddresses.parse('192.0.2.0/24, 2001:db8:1::/48,198.51.100.7'));
    const read = (peer: string) => clientAddress({ peer, forwarded: '203.0.113.9' }, { proxies: 1, trusted: named });
    expect(['192.0.2.77', '2001:db8:1::5', '198.51.100.7'].map(read)).toEqual(Array(3).fill('203.0.113.9'));
    for (const peer of ['192.0.3.1', '2001:db8:2::5', '198.51.100.8', '127.0.0.1']) expect(read(peer)).toBe(peer);
  });

  it('is the peer’s at a port that no proxy can be in front of', async () => {
    const app = new Koa();
    app.use((ctx) => {
      ctx.body = ctx.ip;
    });
    const ports = await Promise.all(
      Array.from({ length: 2 }, async () => {
        const server = createServer(app.callback()).listen(0, '127.0.0.1').unref();
        await once(server, 'listening');
        return (server.address() as AddressInfo).port;
      }),
    );
    trustProxies(app, 1, trusted, ports[1]);
    const ask = async (port: number) =>
      (await fetch(`http://127.0.0.1:${port}`, { headers: { 'x-forwarded-for': '1.2.3.4' } })).text();
    expect(await Promise.all(ports.map(ask))).toEqual(['1.2.3.4', '127.0.0.1']);
  });

  for (const wrong of [
    '',
    '10.0.0.0/33',
    '::/129',
    '10.0.0',
    '10.0.0.0/8/8',
    'proxy.example.com',
    '10.0.0.0/a',
    '10.0.0.1,',
  ]) {
    it(`is not configured by ${JSON.stringify(wrong)}`, () =>
      expect(proxyAddresses.safeParse(wrong).success).toBe(false));
  }
});
