/** `/account/two-step` without scripts: an app is set up, codes are kept, and everything is taken away again. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshCode, shownCode } from '../support/authenticator.ts';
import { type Browser, formsOf, type Page, registerAccount } from '../support/browser.ts';
import { eventually, mailCount, postForm, signedIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

const path = '/account/two-step';
const idOf = async (email: string): Promise<string> =>
  (await server.database.db('users').where({ email }).first('id')).id;
const secretOf = ({ html }: Page): string =>
  (/<code class="key"[^>]*>([A-Z2-7 ]+)</.exec(html)?.[1] ?? '').replaceAll(' ', '');
const codesOf = ({ html }: Page): string[] =>
  [...html.matchAll(/<li><code>([0-9a-z]{4}(?:-[0-9a-z]{4}){2})<\/code>/g)].map(([, code]) => code as string);

interface Person {
  email: string;
  userId: string;
  browser: Browser;
}
const someone = async (): Promise<Person> => {
  const email = await registerAccount(server);
  return { email, userId: await idOf(email), browser: await signedIn(server, email) };
};
const setUp = async (person: Person, name = 'Blue phone') => {
  const { browser } = person;
  const page = await postForm(browser, `${path}/app`, {});
  const secret = secretOf(page);
  const done = await postForm(browser, `${path}/app/confirm`, { code: shownCode(secret), name });
  expect([done.status, done.html.includes(words('backup-codes.done'))]).toEqual([200, true]);
  return { ...person, page, secret, codes: codesOf(done), done };
};
/** Signs in anew with the factor, as the page asks for. */
const again = async ({ email, userId, secret }: Person & { secret: string }): Promise<Browser> => {
  const { Browser, password } = await import('../support/browser.ts');
  const browser = new Browser(server.issuer);
  const asked = await browser.submit(await browser.go('/account'), { email, password });
  const page = await browser.submit(asked, { code: await freshCode(server, userId, secret) });
  expect(page.url.pathname).toBe('/account');
  return browser;
};

describe('/account/two-step', () => {
  it('sets an app up by a QR code and a key, and shows the backup codes once', async () => {
    const person = await someone();
    const { browser, email } = person;
    expect((await browser.go(path)).html).toContain(words('two-step.off'));
    const { page, secret, codes, done } = await setUp(person);
    expect(secret).toMatch(/^[A-Z2-7]{32}$/);
    expect(page.html).toMatch(/<svg class="qr" width="224" height="224" role="img" aria-label="[^"]+"/);
    expect(page.html).toContain('otpauth://totp/');
    expect(new Set(codes).size).toBe(10);
    expect(done.html).not.toContain(secret);
    await eventually(() => mailCount(server, email, /Two-step/) === 1, 'a mail');

    // The page takes somebody who has shown the factor from now on.
    const later = await again({ ...person, secret });
    const overview = await later.go(path);
    expect(overview.html).toContain(words('two-step.on'));
    expect(overview.html).toContain('Blue phone');
    for (const code of codes) expect(overview.html).not.toContain(code);
  });

  it('gives the codes as a text file, and nothing but codes', async () => {
    const { browser, done, codes } = await setUp(await someone());
    const form = formsOf(done.html).find(({ action }) => action.endsWith('/codes.txt'));
    const file = await postForm(browser, `${path}/codes.txt`, { codes: form?.fields.codes ?? '' });
    expect(file.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(file.headers.get('content-disposition')).toBe('attachment; filename="backup-codes.txt"');
    expect(file.headers.get('cache-control')).toBe('no-store');
    for (const code of codes) expect(file.html).toContain(code);
    const forged = await postForm(browser, `${path}/codes.txt`, { codes: '<script>alert(1)</script>' });
    expect([forged.status, forged.html.includes('<script>alert')]).toEqual([400, false]);
  });

  it('says what is wrong with a code, and keeps the key', async () => {
    const { browser } = await someone();
    const page = await postForm(browser, `${path}/app`, {});
    const refused = await postForm(browser, `${path}/app/confirm`, { code: '000000', name: 'Mine' });
    expect([refused.status, secretOf(refused)]).toEqual([400, secretOf(page)]);
    expect(refused.html).toContain(words('problems.totpWrong'));
    expect(refused.html).toContain('value="Mine"');
    await server.database
      .db('totpDevices')
      .update({ expiresAt: new Date(Date.now() - 1000) })
      .whereNull('confirmedAt');
    const late = await postForm(browser, `${path}/app/confirm`, { code: shownCode(secretOf(page)), name: 'Mine' });
    expect([late.status, late.html.includes(words('problems.totpExpired'))]).toEqual([400, true]);
    expect((await browser.go(`${path}/app`)).url.pathname).toBe(path);
  });

  it('renames, makes new codes, forgets browsers and removes', async () => {
    const person = await someone();
    const { secret, codes, userId, email } = await setUp(person);
    const { db } = server.database;
    const browser = await again({ ...person, secret });
    const { id } = await db('totpDevices').where({ userId }).first('id');
    const renamed = await postForm(browser, `${path}/rename`, { id, name: '<b>Phone</b>' });
    expect(renamed.url.search).toBe('?notice=factorRenamed');
    expect(renamed.html).not.toContain('<b>Phone');

    const made = await postForm(browser, `${path}/codes`, {});
    expect(codesOf(made)).toHaveLength(10);
    expect(codesOf(made).filter((code) => codes.includes(code))).toEqual([]);

    await db('knownDevices')
      .where({ userId })
      .update({ mfaUntil: new Date(Date.now() + 60_000) });
    expect((await browser.go(path)).html).toContain(words('two-step.forget'));
    expect((await postForm(browser, `${path}/browsers`, {})).url.search).toBe('?notice=browsersForgotten');
    expect(await db('knownDevices').where({ userId }).whereNotNull('mfaUntil')).toEqual([]);

    expect((await postForm(browser, `${path}/remove`, { id })).url.search).toBe('?notice=factorRemoved');
    expect((await postForm(browser, `${path}/remove`, { id })).status).toBe(404);
    expect(await db('backupCodes').where({ userId })).toEqual([]);
    await eventually(() => mailCount(server, email, /Two-step/) === 3, 'three mails');
  });

  it('is not for an old session, nor for one without the factor', async () => {
    const person = await someone();
    const { secret } = await setUp(person);
    const { id } = await server.database.db('totpDevices').where({ userId: person.userId }).first('id');
    // The session with which it was set up has not shown it.
    const weak = await postForm(person.browser, `${path}/remove`, { id });
    expect(weak.url.search).not.toContain('notice');
    const browser = await again({ ...person, secret });
    await server.database.db.raw(
      `update sessions set payload = jsonb_set(payload, '{loginTs}', to_jsonb(extract(epoch from now() - interval '11 minutes')::int)) where user_id = ?`,
      [person.userId],
    );
    const old = await postForm(browser, `${path}/remove`, { id });
    expect(old.status).toBe(403);
    expect(await server.database.db('totpDevices').where({ id })).toHaveLength(1);
  });

  it('touches nothing of anybody else’s', async () => {
    const [one, other] = [await setUp(await someone()), await setUp(await someone())];
    const browser = await again(one);
    const { id } = await server.database.db('totpDevices').where({ userId: other.userId }).first('id');
    expect((await postForm(browser, `${path}/remove`, { id })).status).toBe(404);
    expect((await postForm(browser, `${path}/rename`, { id, name: 'x' })).status).toBe(404);
    expect(await server.database.db('totpDevices').where({ id, name: 'Blue phone' })).toHaveLength(1);
  });
});
