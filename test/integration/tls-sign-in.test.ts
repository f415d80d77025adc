/** A whole sign-in over TLS that the service speaks itself: what cookies are set, and that a browser sends them back. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { close, listen } from '../../src/http/server.ts';
import { createLog } from '../../src/log.ts';
import { Browser, formsOf, password, registerAccount } from '../support/browser.ts';
import { makeCertificate } from '../support/certificates.ts';
import { relyingParty } from '../support/requests.ts';
import { freePort, startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let directory: string;
let listener: Awaited<ReturnType<typeof listen>>;
const trusted = getCACertificates('default');
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tls-'));
  const [certPath, keyPath] = [join(directory, 'server.pem'), join(directory, 'server.key')];
  const authority = makeCertificate({ subject: [['CN', 'Acme CA']], authority: true });
  const site = makeCertificate({
    subject: [['CN', 'localhost']],
    issuer: authority,
    purpose: 'server',
    alternatives: [['dns', 'localhost']],
  });
  await writeFile(certPath, site.cert);
  await writeFile(keyPath, site.key);
  setDefaultCACertificates([...trusted, authority.cert]);
  const port = await freePort();
  server = await startServer({ JWT_ISSUER: `https://localhost:${port}` });
  const tls = { certPath, keyPath, asksCertificate: false, log: createLog('silent') };
  listener = await listen(server.app.koa.callback(), port, '127.0.0.1', tls);
});
afterAll(async () => {
  setDefaultCACertificates(trusted);
  await close(listener.server);
  await server.stop();
  await rm(directory, { recursive: true });
});

/** A Set-Cookie header's attributes by their names in lower case. */
const parse = (line: string) => {
  const [pair = '', ...attributes] = line.split('; ');
  const name = pair.slice(0, pair.indexOf('='));
  const entries = attributes.map((item) => [item.split('=', 1)[0]?.toLowerCase(), item.slice(item.indexOf('=') + 1)]);
  return { name, value: pair.slice(name.length + 1), attributes: Object.fromEntries(entries) };
};

it('goes from the application to its callback, by password, with prefixed cookies alone', async () => {
  const app = await relyingParty(server);
  const email = await registerAccount(server);
  const browser = new Browser(server.issuer);
  const page = await browser.go(await app.url());
  expect([page.url.protocol, page.headers.get('strict-transport-security')]).toEqual(['https:', expect.anything()]);
  const before = browser.cookies.find(({ name }) => name === '__Host-session')?.value;
  const consent = await browser.submit(page, { email, password });
  const landed = await browser.submit(consent);
  expect(landed.url.searchParams.get('code')).toBeTruthy();

  const cookies = browser.setCookies.map(parse);
  const paths = new Map<string, Set<string>>();
  for (const { name, attributes } of cookies) {
    expect(attributes).toMatchObject({ secure: expect.anything(), httponly: expect.anything(), samesite: 'lax' });
    expect(attributes).not.toHaveProperty('domain');
    paths.set(name, (paths.get(name) ?? new Set()).add(attributes.path.replace(/[^/]{20,}$/, ':uid')));
  }
  const named = (name: string) => [...(paths.get(name) ?? [])];
  for (const name of ['__Host-session', '__Host-device', '__Host-flow'])
    expect([name, named(name)]).toEqual([name, ['/']]);
  expect(named('__Secure-interaction')).toEqual(['/interaction/:uid']);
  expect(named('__Secure-resume')).toEqual(['/oauth/authorize/:uid']);
  expect([...paths.keys()].filter((name) => !/^__(Host|Secure)-/.test(name))).toEqual([]);

  // Step-up and sign-in each give the session another identifier.
  const first = browser.cookies.find(({ name }) => name === '__Host-session')?.value;
  expect(first).not.toBe(before);
  const again = await browser.go(await app.url({ prompt: 'login' }));
  await browser.submit(again, { email, password });
  expect(browser.cookies.find(({ name }) => name === '__Host-session')?.value).not.toBe(first);
  expect((await browser.go('/account')).url.pathname).toBe('/account');
});

it('the form’s token and Origin are those of https', async () => {
  const browser = new Browser(server.issuer);
  const page = await browser.go('/forgot');
  const token = formsOf(page.html)[0]?.token as string;
  const send = (origin: string) =>
    browser.request('/forgot', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin },
      body: new URLSearchParams({ csrf: token, email: 'a@example.com' }),
    });
  expect((await send(server.issuer)).status).toBe(303);
  expect((await send(server.issuer.replace('https:', 'http:'))).status).toBe(403);
});
