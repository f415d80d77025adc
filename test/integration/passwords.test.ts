import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, password, registerAccount } from '../support/browser.ts';
import {
  comparable,
  comparableHtml,
  eventually,
  mailCount,
  postForm,
  type RelyingParty,
  relyingParty,
  signedIn,
  signIn,
  tokenOf,
  words,
} from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let app: RelyingParty;
beforeAll(async () => {
  server = await startServer();
  app = await relyingParty(server);
});
afterAll(() => server.stop());

const someone = () => `${uuid()}@example.com`;
const better = 'an altogether different phrase';
const resetMail = /Set a new password/;
const changedMail = /changed/;

const askForReset = async (browser: Browser, email: string) => {
  const page = await browser.submit(await browser.go('/forgot'), { email });
  expect([page.status, page.url.pathname + page.url.search]).toEqual([200, '/check-mail?for=reset']);
  return page;
};
const resetToken = async (email: string) => tokenOf((await server.mail(email, resetMail)).links, 'reset');
const passwordWorks = async (email: string, candidate: string) => {
  const { url, status } = await signIn(new Browser(server.issuer), email, candidate);
  if (url.pathname !== '/account') expect(status).toBe(401);
  return url.pathname === '/account';
};
const changedAt = async (email: string) =>
  (await server.database.db('users').where({ email }).first('passwordChangedAt'))?.passwordChangedAt.getTime();

describe('a forgotten password', () => {
  it('is asked for with the same answer for an address without an account', async () => {
    const known = await registerAccount(server);
    const answers = [];
    for (const email of [known, someone()]) {
      const browser = new Browser(server.issuer);
      const response = await browser.request('/forgot', {
        method: 'POST',
        headers: { origin: server.issuer, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ email }),
      });
      const page = await browser.go(response.headers.get('location') as string);
      answers.push({
        status: response.status,
        headers: comparable(response.headers),
        text: await response.text(),
        html: comparableHtml(page.html).replaceAll(email, ''),
      });
    }
    expect(answers[0]).toEqual(answers[1]);
    await server.mail(known, resetMail);
  });

  it('is set anew by a mailed link, once, and every session and token of before ends', async () => {
    const email = await registerAccount(server);
    const elsewhere = await signedIn(server, email);
    const tokens = await app.tokens(elsewhere, email);
    expect(await app.alive(tokens)).toEqual({ refresh: true, access: true });
    const browser = new Browser(server.issuer);
    await askForReset(browser, email);
    const mail = await server.mail(email, resetMail);
    expect(mail.text).toMatch(/Firefox · Linux/);
    const token = tokenOf(mail.links, 'reset');

    for (let scan = 0; scan < 2; scan++)
      expect((await new Browser(server.issuer).go(`/reset?token=${token}`)).status).toBe(200);
    const page = await browser.go(`/reset?token=${token}`);
    const done = await browser.submit(page, { password: better });
    expect(done.status).toBe(200);
    expect(done.html).toContain(words('notices.passwordChanged'));
    expect(await app.alive(tokens)).toEqual({ refresh: false, access: false });
    expect((await elsewhere.go('/account')).url.pathname).toMatch(/^\/interaction\//);
    expect([await passwordWorks(email, password), await passwordWorks(email, better)]).toEqual([false, true]);
    const notice = await server.mail(email, changedMail);
    expect(notice.links).toContain(`${server.issuer}/forgot`);

    const again = await browser.submit(page, { password: 'yet another quite good phrase' });
    expect([again.status, again.html.includes(words('link-expired.title'))]).toEqual([400, true]);
    expect((await browser.go(`/reset?token=${token}`)).status).toBe(400);
    expect(await passwordWorks(email, better)).toBe(true);
  });

  it('keeps its link alive while the new password is refused', async () => {
    const email = `margaret-${uuid()}@example.com`;
    await registerAccount(server, email, 'Margaret Hamilton');
    const browser = new Browser(server.issuer);
    await askForReset(browser, email);
    const page = await browser.go(`/reset?token=${await resetToken(email)}`);
    for (const [candidate, problem] of [
      ['', 'passwordRequired'],
      ['password1234', 'passwordCommon'],
      ['margaret hamilton', 'passwordPersonal'],
    ] as const) {
      const refused = await browser.submit(page, { password: candidate });
      expect([candidate, refused.status]).toEqual([candidate, 400]);
      expect(refused.html).toContain(words(`problems.${problem}`));
      if (candidate) expect(refused.html).not.toContain(candidate);
    }
    expect(await passwordWorks(email, password)).toBe(true);
    expect((await browser.submit(page, { password: better })).status).toBe(200);
    expect(await passwordWorks(email, better)).toBe(true);
  });

  it('of two submissions at once takes one', async () => {
    const email = await registerAccount(server);
    await askForReset(new Browser(server.issuer), email);
    const token = await resetToken(email);
    const answers = await Promise.all(
      ['the first of two phrases', 'the second of two phrases'].map((candidate) =>
        postForm(new Browser(server.issuer), '/reset', { token, password: candidate }),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
  });

  it('has a link that expires, and a newer one that ends it', async () => {
    const email = await registerAccount(server);
    const browser = new Browser(server.issuer);
    await askForReset(browser, email);
    const first = await resetToken(email);
    await askForReset(browser, email);
    await eventually(() => mailCount(server, email, resetMail) === 2, 'a second link');
    expect((await browser.go(`/reset?token=${first}`)).status).toBe(400);
    const page = await browser.go(`/reset?token=${await resetToken(email)}`);
    expect(page.status).toBe(200);
    const before = await changedAt(email);
    await server.database
      .db('actionTokens')
      .where({ purpose: 'reset-password' })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    const late = await browser.submit(page, { password: better });
    expect([late.status, late.html.includes(words('link-expired.title'))]).toEqual([400, true]);
    expect(await changedAt(email)).toBe(before);
    // The expired page mails another.
    const resent = await browser.submit(late, { email }, '/forgot');
    expect(resent.url.pathname).toBe('/check-mail');
    await eventually(() => mailCount(server, email, resetMail) === 3, 'a third link');
  });

  for (const [name, token] of [
    ['none', ''],
    ['a made-up one', 'x'.repeat(43)],
    ['an endless one', 'x'.repeat(5000)],
  ] as const) {
    it(`refuses a token that is ${name}`, async () => {
      const page = await postForm(new Browser(server.issuer), '/reset', { token, password: better });
      expect(page.status).toBe(400);
    });
  }

  it('verifies an address too, since the link came by mail', async () => {
    const email = someone();
    await postForm(new Browser(server.issuer), '/register', { name: 'Ada', email, password });
    const browser = new Browser(server.issuer);
    await askForReset(browser, email);
    await browser.submit(await browser.go(`/reset?token=${await resetToken(email)}`), { password: better });
    expect(await passwordWorks(email, better)).toBe(true);
  });
});

describe('the change-password page', () => {
  it('refuses a wrong current password and a bad new one, and changes nothing', async () => {
    const email = await registerAccount(server);
    const browser = await signedIn(server, email);
    const before = await changedAt(email);
    const page = await browser.go('/account/password');
    for (const [currentPassword, newPassword, problem] of [
      ['not my password', better, 'currentPasswordWrong'],
      [password, 'password1234', 'passwordCommon'],
      [password, 'short', 'passwordTooShort'],
      ['', '', 'currentPasswordRequired'],
      ['', '', 'newPasswordRequired'],
    ] as const) {
      const refused = await browser.submit(page, { currentPassword, newPassword });
      expect([problem, refused.status]).toEqual([problem, 400]);
      expect(refused.html).toContain(words(`problems.${problem}`).replace('{{min}}', '8'));
      expect(refused.html).not.toContain(`"${newPassword || better}"`);
    }
    expect(await changedAt(email)).toBe(before);
    expect(mailCount(server, email, changedMail)).toBe(0);
  });

  it('changes it, ends the other sessions with their tokens, keeps this one, and tells by mail', async () => {
    const email = await registerAccount(server);
    const [here, elsewhere] = [await signedIn(server, email), await signedIn(server, email)];
    const [mine, theirs] = [await app.tokens(here, email), await app.tokens(elsewhere, email)];
    const done = await here.submit(await here.go('/account/password'), {
      currentPassword: password,
      newPassword: better,
    });
    expect([done.status, done.url.pathname]).toEqual([200, '/account/password']);
    expect(done.html).toContain(words('notices.passwordChanged'));
    expect(await app.alive(theirs)).toEqual({ refresh: false, access: false });
    expect(await app.alive(mine)).toEqual({ refresh: true, access: true });
    expect((await elsewhere.go('/account')).url.pathname).toMatch(/^\/interaction\//);
    const notice = await server.mail(email, changedMail);
    expect(notice.text).toMatch(/Firefox · Linux/);
    expect([await passwordWorks(email, password), await passwordWorks(email, better)]).toEqual([false, true]);
  });
});
