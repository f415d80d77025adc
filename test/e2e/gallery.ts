/**
 * Every page in every state, for people to look at and for axe-core to judge.
 *
 *   node test/e2e/gallery.ts <outdir> [part of a sample's name]
 *
 * writes each as HTML, takes screenshots at three widths in light and dark, and exits with 1 if axe-core finds anything.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import type { Browser } from 'playwright-core';
import type { MailProps } from '../../interactions/mail-props.ts';
import type { PageContext, ViewProps } from '../../interactions/view-props.ts';
import { createViews, type Views } from '../../interactions/views.ts';
import { launchChromium } from '../support/chromium.ts';
import { accountSamples } from './gallery-account.ts';
import { factorSamples } from './gallery-factors.ts';
import { joiningSamples } from './gallery-joining.ts';
import { membershipSamples } from './gallery-memberships.ts';
import { organizationSamples } from './gallery-organization.ts';
import { passkeySamples } from './gallery-passkeys.ts';
import { secondStepSamples } from './gallery-second-step.ts';
import { socialSamples } from './gallery-social.ts';
import {
  acme,
  at,
  email,
  logo,
  longApp,
  longEmail,
  longWord,
  name,
  passwordMinLength,
  token,
} from './gallery-values.ts';

/** One page in one state. */
export type Sample = {
  [V in keyof ViewProps]: { view: V; state: string; props: ViewProps[V]; page?: Partial<PageContext> };
}[keyof ViewProps];

const signIn: ViewProps['sign-in'] = {
  action: '/interaction/1/sign-in',
  email: '',
  problems: [],
  registerHref: '/interaction/1/register',
  forgotHref: '/forgot-password',
  cancelAction: '/interaction/1/cancel',
  passkey: { action: '/interaction/1', optionsHref: '/interaction/1/passkey', autofill: true },
  magicLink: true,
};

const register: ViewProps['register'] = {
  action: '/register',
  email: '',
  name: '',
  problems: [],
  signInHref: '/sign-in',
  passwordMinLength,
};

const notMe: ViewProps['not-me'] = {
  action: '/not-me',
  token,
  at,
  device: 'Firefox · Linux',
  place: { country: 'SE', city: 'Linköping' },
  address: '89.160.20.112',
};

const consent: ViewProps['consent'] = {
  action: '/interaction/1/consent',
  cancelAction: '/interaction/1/cancel',
  account: { name, email },
  clientUri: 'https://acme.example',
  policyUri: 'https://acme.example/privacy',
  tosUri: 'https://acme.example/terms',
  verified: true,
  firstParty: false,
  scopes: ['openid', 'profile', 'email'],
  claims: [],
  resources: [],
  details: [],
  alreadyGranted: [],
  redirectHost: 'acme.example',
  switchAccountAction: '/interaction/1/switch',
};

const deviceCode: ViewProps['device-code'] = { action: '/device', xsrf: token, userCode: '', problems: [] };
const deviceConfirm: ViewProps['device-confirm'] = {
  action: '/device',
  xsrf: token,
  userCode: 'WDJB-MJHT',
  clientName: 'Living Room TV',
  device: 'WebOS Browser · WebOS',
  address: '192.0.2.17',
  account: { name, email },
};
const deviceDone = { accountHref: '/account', againHref: '/device' } as const;

const demo: ViewProps['demo-signed-in'] = {
  claims: {
    sub: '01960000-7c0e-7000-8000-5a0c9b1e2f3d',
    name,
    email,
    email_verified: true,
    address: { locality: 'London', country: 'United Kingdom' },
    auth_time: 1_772_615_100,
  },
  tokens: [
    { label: 'Access token', value: `eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.${'Zm9vYmFy'.repeat(40)}` },
    { label: 'Refresh token', value: 'p0Xk2m8s_vWqYt1ZbN4c' },
  ],
  actions: { refresh: '/demo/refresh', userinfo: '/demo/userinfo', signOut: '/demo/sign-out' },
};

const message: ViewProps['dev-mail']['messages'][number] = {
  id: 'm1',
  to: email,
  subject: 'Confirm your email address for Countersign',
  text: 'Hello Ada Lovelace,\n\nConfirm that this is your address, and your account is ready.\n\nConfirm this address:\nhttps://id.example/verify?token=q1w2e3r4t5\n',
  html: '<p>Hello Ada Lovelace,</p>\n<p><a href="https://id.example/verify?token=q1w2e3r4t5">Confirm this address</a></p>',
  links: ['https://id.example/verify?token=q1w2e3r4t5'],
  at,
};

/** Every page and state that a person can meet. */
export const samples: Sample[] = [
  { view: 'sign-in', state: 'empty', props: signIn, page: { client: acme } },
  { view: 'sign-in', state: 'no-client', props: { ...signIn, registerHref: undefined, cancelAction: undefined } },
  { view: 'sign-in', state: 'notice', props: { ...signIn, email, notice: 'passwordChanged' }, page: { client: acme } },
  {
    view: 'sign-in',
    state: 'error',
    props: {
      ...signIn,
      email,
      problems: [{ field: 'email', code: 'wrongCredentials' }],
      resendHref: '/verify/resend',
    },
    page: { client: acme, development: true },
  },
  {
    view: 'sign-in',
    state: 'limited',
    props: { ...signIn, email, problems: [{ code: 'tooManyAttempts', values: { minutes: 15 } }] },
    page: { client: acme },
  },
  {
    view: 'sign-in',
    state: 'again',
    props: { ...signIn, email, registerHref: undefined, switchAccount: { action: '/interaction/1/switch', email } },
    page: { client: acme },
  },
  { view: 'sign-in', state: 'long', props: { ...signIn, email: longEmail }, page: { client: longApp } },
  {
    view: 'sign-in',
    state: 'long-word',
    props: { ...signIn, switchAccount: { action: '/switch', email: longEmail } },
    page: { client: { ...acme, name: longWord }, locale: 'de' },
  },
  { view: 'sign-in', state: 'rtl', props: { ...signIn, email }, page: { client: acme, locale: 'ar' } },
  {
    view: 'sign-in',
    state: 'rtl-error',
    props: { ...signIn, email, problems: [{ field: 'password', code: 'passwordRequired' }] },
    page: { client: acme, locale: 'ar' },
  },
  { view: 'register', state: 'empty', props: register, page: { client: acme } },
  {
    view: 'register',
    state: 'error',
    props: {
      ...register,
      email: 'ada@',
      problems: [
        { field: 'name', code: 'nameRequired' },
        { field: 'email', code: 'emailInvalid' },
        { field: 'password', code: 'passwordTooShort', values: { min: passwordMinLength } },
      ],
    },
  },
  { view: 'register', state: 'french', props: { ...register, name, email }, page: { locale: 'fr' } },
  {
    view: 'check-mail',
    state: 'verify',
    props: { email, purpose: 'verify', resendAction: '/register/resend', returnHref: '/sign-in' },
  },
  { view: 'check-mail', state: 'reset-long', props: { email: longEmail, purpose: 'reset' } },
  { view: 'verify', state: 'ready', props: { action: '/verify', token, asksPassword: false, problems: [] } },
  { view: 'verify', state: 'password', props: { action: '/verify', token, asksPassword: true, problems: [] } },
  {
    view: 'verify',
    state: 'without-password',
    props: {
      action: '/verify',
      token,
      asksPassword: true,
      withoutPassword: { email, action: '/forgot', signInHref: '/sign-in' },
      problems: [],
    },
  },
  {
    view: 'verify',
    state: 'error',
    props: { action: '/verify', token, asksPassword: false, problems: [{ code: 'busy' }] },
  },
  { view: 'verify-done', state: 'continue', props: { continueHref: '/account' } },
  { view: 'verify-done', state: 'close', props: {} },
  { view: 'link-expired', state: 'verify', props: { purpose: 'verify', action: '/register/resend' } },
  { view: 'link-expired', state: 'reset', props: { purpose: 'reset', action: '/forgot-password' } },
  { view: 'link-expired', state: 'setup', props: { purpose: 'setup' } },
  { view: 'link-expired', state: 'disown', props: { purpose: 'disown', signInHref: '/account/sessions' } },
  { view: 'not-me', state: 'known', props: notMe },
  { view: 'not-me', state: 'unknown', props: { ...notMe, device: '', place: {} } },
  { view: 'not-me', state: 'long', props: { ...notMe, device: longWord, place: { country: 'GS', city: longWord } } },
  { view: 'not-me', state: 'rtl', props: notMe, page: { locale: 'ar' } },
  { view: 'not-me-done', state: 'done', props: { changeHref: '/forgot' } },
  {
    view: 'resend',
    state: 'empty',
    props: { action: '/verify/resend', email, problems: [], signInHref: '/sign-in' },
  },
  { view: 'forgot', state: 'empty', props: { action: '/forgot', email: '', problems: [], signInHref: '/sign-in' } },
  {
    view: 'forgot',
    state: 'error',
    props: { action: '/forgot', email: 'ada', problems: [{ field: 'email', code: 'emailInvalid' }], signInHref: '/' },
  },
  { view: 'reset', state: 'empty', props: { action: '/reset', token, email, problems: [], passwordMinLength } },
  {
    view: 'reset',
    state: 'error',
    props: { action: '/reset', token, problems: [{ field: 'password', code: 'passwordBreached' }], passwordMinLength },
  },
  { view: 'consent', state: 'plain', props: consent, page: { client: { ...acme, logo }, signedInAs: email } },
  {
    view: 'consent',
    state: 'unverified',
    props: {
      ...consent,
      verified: false,
      comesFrom: 'app.acme.example',
      scopes: ['openid', 'profile', 'email', 'address', 'phone', 'offline_access', 'urn:example:everything'],
      claims: ['birthdate', 'https://acme.example/claims/department'],
      resources: [{ indicator: 'https://api.acme.example/v1', scopes: ['invoices:read', 'invoices:write'] }],
      alreadyGranted: ['zoneinfo', 'x:y'],
    },
    page: { client: acme, signedInAs: email },
  },
  {
    view: 'consent',
    state: 'authorization-details',
    props: {
      ...consent,
      details: [
        {
          title: 'Make a payment',
          text: 'Pay 123.50 EUR to Merchant A',
          members: [
            { name: 'amount.currency', value: 'EUR' },
            { name: 'amount.value', value: '123.50' },
            { name: 'creditor', value: 'Merchant A' },
          ],
        },
        { title: 'See your accounts', members: [{ name: 'actions.1', value: 'list_accounts' }] },
      ],
    },
    page: { client: acme, signedInAs: email },
  },
  {
    view: 'consent',
    state: 'first-party-nothing-new',
    props: { ...consent, firstParty: true, scopes: [], alreadyGranted: ['openid', 'email'] },
    page: { client: acme, signedInAs: email },
  },
  {
    view: 'consent',
    state: 'resource',
    props: {
      ...consent,
      resources: [
        {
          indicator: 'https://orders.acme.example/',
          name: 'Acme Orders',
          scopes: ['orders.read', 'orders.write', 'urn:acme:scope:return'],
          texts: { 'orders.read': 'See your orders', 'orders.write': 'Place orders and change them' },
        },
      ],
    },
    page: { client: acme, signedInAs: email },
  },
  {
    view: 'consent',
    state: 'long',
    props: { ...consent, account: { name: longWord, email: longEmail }, redirectHost: `${longWord}.example` },
    page: { client: longApp, signedInAs: longEmail, locale: 'de' },
  },
  {
    view: 'consent',
    state: 'rtl',
    props: { ...consent, verified: false, resources: [{ indicator: 'https://api.acme.example', scopes: ['read'] }] },
    page: { client: acme, signedInAs: email, locale: 'ar' },
  },
  {
    view: 'consent',
    state: 'device',
    props: { ...consent, redirectHost: undefined, switchAccountAction: undefined },
    page: { client: { ...acme, name: 'Living Room TV' }, signedInAs: email },
  },
  {
    view: 'consent',
    state: 'organization',
    props: {
      ...consent,
      organization: 'Analytical Engines Ltd',
      scopes: ['openid', 'roles', 'permissions', 'groups', 'organizations'],
      claims: ['organization'],
    },
    page: { client: acme, signedInAs: email },
  },
  ...organizationSamples,
  ...membershipSamples,
  { view: 'device-code', state: 'empty', props: deviceCode },
  {
    view: 'device-code',
    state: 'wrong',
    props: { ...deviceCode, userCode: 'WDJB-MJHT', problems: [{ field: 'user_code', code: 'userCode' }] },
    page: { signedInAs: email },
  },
  {
    view: 'device-code',
    state: 'limited',
    props: {
      ...deviceCode,
      problems: [{ code: 'tooManyAttempts', values: { minutes: 15 } }],
      signInHref: '/account',
    },
    page: { locale: 'de' },
  },
  { view: 'device-code', state: 'rtl', props: { ...deviceCode, userCode: 'WDJB-MJHT' }, page: { locale: 'ar' } },
  {
    view: 'device-confirm',
    state: 'signed-in',
    props: deviceConfirm,
    page: { client: { ...acme, name: 'Living Room TV' }, signedInAs: email },
  },
  {
    view: 'device-confirm',
    state: 'nobody',
    props: { ...deviceConfirm, device: '', account: undefined },
    page: { client: { ...acme, name: 'Living Room TV' } },
  },
  {
    view: 'device-confirm',
    state: 'long',
    props: { ...deviceConfirm, clientName: longApp.name, account: { name: longWord, email: longEmail } },
    page: { client: longApp, locale: 'de', signedInAs: longEmail },
  },
  {
    view: 'device-confirm',
    state: 'rtl',
    props: deviceConfirm,
    page: { client: { ...acme, name: 'Living Room TV' }, signedInAs: email, locale: 'ar' },
  },
  {
    view: 'device-done',
    state: 'connected',
    props: { ...deviceDone, outcome: 'connected', clientName: 'Living Room TV' },
    page: { client: { ...acme, name: 'Living Room TV' } },
  },
  { view: 'device-done', state: 'refused', props: { ...deviceDone, outcome: 'refused' }, page: { locale: 'ar' } },
  { view: 'sign-out', state: 'ask', props: { action: '/session/end/confirm', xsrf: token, account: { email } } },
  { view: 'sign-out', state: 'app', props: { action: '/session/end/confirm', xsrf: token }, page: { client: acme } },
  { view: 'signed-out', state: 'done', props: { signInHref: '/account' } },
  { view: 'continue', state: 'form-post', props: { action: '/callback', fields: { code: token, state: 'st' } } },
  { view: 'error', state: 'not-found', props: { status: 404, title: 'notFound', code: 'not_found', homeHref: '/' } },
  {
    view: 'error',
    state: 'no-provider',
    props: { status: 404, title: 'noProvider', code: 'identity_provider_not_found', homeHref: '/' },
  },
  {
    view: 'error',
    state: 'restart',
    props: {
      status: 400,
      title: 'invalidRedirect',
      code: 'invalid_redirect_uri',
      detail: "redirect_uri did not match any of the client's registered redirect_uris",
      retry: 'restart',
    },
  },
  {
    view: 'error',
    state: 'stopped',
    props: {
      status: 400,
      title: 'stopped',
      code: 'login_required',
      detail: 'login_required: End-User authentication is required',
      goOn: { host: 'app.example.net', href: 'https://app.example.net/callback?error=login_required' },
      homeHref: '/',
    },
  },
  { view: 'error', state: 'again', props: { status: 503, title: 'unavailable', code: 'overloaded', retry: 'again' } },
  {
    view: 'error',
    state: 'rtl',
    props: { status: 500, title: 'internal', code: 'server_error', detail: 'oops: "x"', retry: 'again', homeHref: '/' },
    page: { locale: 'ar' },
  },
  ...accountSamples,
  ...passkeySamples,
  ...factorSamples,
  ...secondStepSamples,
  ...joiningSamples,
  ...socialSamples,
  {
    view: 'setup',
    state: 'empty',
    props: { action: '/setup', token, email: '', name: '', problems: [], passwordMinLength },
  },
  { view: 'dev-mail', state: 'empty', props: { messages: [] }, page: { development: true } },
  {
    view: 'dev-mail',
    state: 'full',
    props: { messages: [message, { ...message, id: 'm2', subject: longWord, to: longEmail }] },
    page: { development: true },
  },
  {
    view: 'home',
    state: 'development',
    props: {
      signedIn: false,
      accountHref: '/account',
      demoHref: '/demo',
      mailHref: '/dev/mail',
      docs: { api: '/docs', discovery: '/.well-known/openid-configuration' },
    },
    page: { development: true },
  },
  {
    view: 'home',
    state: 'signed-in',
    props: {
      signedIn: true,
      accountHref: '/account',
      docs: { api: '/docs', discovery: '/.well-known/openid-configuration' },
    },
    page: { signedInAs: email },
  },
  { view: 'demo-home', state: 'start', props: { signInHref: '/demo/sign-in' }, page: { development: true } },
  {
    view: 'demo-signed-in',
    state: 'tokens',
    props: { ...demo, notice: 'tokensRefreshed' },
    page: { development: true },
  },
  { view: 'demo-signed-in', state: 'userinfo', props: { ...demo, tokens: [], userinfo: { sub: '1', name: longWord } } },
];

const notice = {
  name,
  at,
  device: 'Firefox on Linux',
  address: '192.0.2.17',
  resetLink: 'https://id.example/forgot',
};

/** Each mail once. */
export const mailSamples: MailProps = {
  'verify-email': { name, link: 'https://id.example/verify?token=abc&x=1', minutes: 1440 },
  'verify-email-code': { name, code: '048151', minutes: 10 },
  'sign-in-code': { name, code: '048151', minutes: 10 },
  'change-email-code': { name, code: '048151', minutes: 10 },
  'already-registered': { name, signInLink: 'https://id.example/account', resetLink: 'https://id.example/forgot' },
  'reset-password': {
    name,
    link: 'https://id.example/reset?token=abc',
    minutes: 30,
    device: 'Firefox on Linux',
    address: '192.0.2.17',
    at,
  },
  'sign-in-link': {
    ...{ name, link: 'https://id.example/sign-in-link?token=abc', code: '048151', minutes: 10 },
    ...{ device: 'Firefox on Linux', address: '192.0.2.17', at },
  },
  invitation: { name, link: 'https://id.example/reset?token=abc', minutes: 4320 },
  'organization-invitation': {
    ...{ name: '', organization: 'Analytical Engines', inviter: name, expiresAt: at },
    link: 'https://id.example/invitation?token=abc',
  },
  'password-changed': { ...notice, apiKeys: 'kept' },
  'factor-changed': { ...notice, change: 'totp-added' },
  'api-key-created': { ...notice, prefix: 'cs_4fTq9Z' },
  'new-sign-in': {
    ...{ name, at, device: notice.device, address: notice.address },
    place: { country: 'SE', city: 'Linköping' },
    link: `https://id.example/not-me?token=${token}`,
  },
  'session-refused': notice,
  'identity-connected': { ...notice, provider: 'Google' },
  'identity-disconnected': { ...notice, provider: 'Acme staff' },
  'phone-verified': { ...notice, ending: '820' },
  'backchannel-request': {
    name,
    client: 'The Bank Counter',
    link: 'https://id.example/account/requests',
    minutes: 10,
    at: notice.at,
  },
  'address-changed': { name, at: notice.at },
};

/** A sample's page context, filled up. */
export const pageOf = ({ view, page }: Sample): PageContext => ({
  locale: 'en',
  path: `/${view}?x=1`,
  requestId: '01960000-1f2e-7abc-9def-0123456789ab',
  ...page,
});

const csp =
  "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/** A sample as a document that stays: one that sends itself on would be gone before anybody has looked. */
export const renderSample = (views: Views, sample: Sample): string =>
  views.render(sample.view, sample.props, pageOf(sample)).replace(' data-continue', '');

/** Serves pages by their paths, with the files that they link to. */
export const serve = async (views: Views, pages: Map<string, string>): Promise<Server> => {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://gallery');
    const asset = pathname.startsWith('/assets/') ? views.asset(pathname.slice('/assets/'.length)) : undefined;
    const html = pages.get(pathname);
    // 204 leaves the page as it is, which shows the busy state.
    if (request.method === 'POST') response.writeHead(204).end();
    // What a page's script asks for before it asks the browser for a passkey.
    else if (pathname.endsWith('/passkey'))
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"rpId":"localhost","challenge":"AAAA"}');
    else if (asset) response.writeHead(200, { 'content-type': asset.type }).end(asset.body);
    else if (html)
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': csp }).end(html);
    else response.writeHead(404).end();
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return server;
};

const inspect = async (browser: Browser, base: string, name: string, outdir: string): Promise<string[]> => {
  const found: string[] = [];
  for (const colorScheme of ['light', 'dark'] as const) {
    const context = await browser.newContext({ colorScheme, reducedMotion: 'reduce' });
    const page = await context.newPage();
    page.on('console', (entry) => entry.type() === 'error' && found.push(`${name} console: ${entry.text()}`));
    page.on('pageerror', (error) => found.push(`${name} script: ${error.message}`));
    for (const width of [320, 390, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      await page.goto(`${base}/${name}.html`);
      const overflow = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      );
      if (Number(overflow) > 0) found.push(`${name} ${width}: scrolls sideways by ${Number(overflow)}px`);
      if (width !== 390) {
        const { violations } = await new AxeBuilder({ page })
          .options({ rules: { region: { enabled: true } } })
          .analyze();
        for (const { id, help, nodes } of violations) {
          found.push(
            `${name} ${colorScheme} ${width} ${id}: ${help}\n    ${nodes.map((node) => node.html).join('\n    ')}`,
          );
        }
      }
      await page.screenshot({ path: join(outdir, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    }
    if (name === 'sign-in-empty') {
      await page.fill('#email', email);
      await page.fill('#password', 'a password');
      await page.click('[data-reveal]');
      await page.screenshot({ path: join(outdir, `${name}-reveal-${colorScheme}.png`) });
      await page.click('.primary');
      await page.screenshot({ path: join(outdir, `${name}-busy-${colorScheme}.png`) });
    }
    await context.close();
  }
  return found;
};

const main = async (outdir: string, only: string): Promise<number> => {
  mkdirSync(outdir, { recursive: true });
  const views = createViews({ brand: 'Countersign' });
  const chosen = samples.filter((sample) => `${sample.view}-${sample.state}`.includes(only));
  const pages = new Map<string, string>();
  for (const sample of chosen) {
    pages.set(`/${sample.view}-${sample.state}.html`, renderSample(views, sample));
  }
  for (const mail of Object.keys(mailSamples) as (keyof MailProps)[]) {
    for (const locale of ['en', 'ar']) {
      const { text, html } = views.mail(mail, mailSamples[mail], locale);
      writeFileSync(join(outdir, `mail-${mail}-${locale}.html`), html);
      writeFileSync(join(outdir, `mail-${mail}-${locale}.txt`), text);
    }
  }
  const server = await serve(views, pages);
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const browser = await launchChromium();
  const found: string[] = [];
  const queue = [...pages];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [path, html] = next;
      writeFileSync(join(outdir, path), html);
      found.push(...(await inspect(browser, base, path.slice(1, -'.html'.length), outdir)));
    }
  };
  await Promise.all(Array.from({ length: 4 }, work));
  await browser.close();
  server.closeAllConnections();
  server.close();
  for (const line of new Set(found)) console.error(line);
  console.log(`${pages.size} pages, ${found.length} findings, in ${outdir}`);
  return found.length > 0 ? 1 : 0;
};

if (import.meta.main) process.exitCode = await main(process.argv[2] ?? 'gallery', process.argv[3] ?? '');
