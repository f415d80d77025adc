/** Every page as the service serves it, each with what leads there. `describePages` looks at them. */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { v7 as uuid } from 'uuid';
import { expect } from 'vitest';
import { createSetupToken } from '../../src/auth/administrators.commands.ts';
import { makeAccount, password, registerAccount } from './browser.ts';
import { launchChromium } from './chromium.ts';
import { startServer, type TestServer } from './server.ts';

const longName = 'Hubert Blaine Wolfeschlegelsteinhausenbergerdorff';
const longApp = 'The Royal Society for the Encouragement of Arts, Manufactures and Commerce';

let server: TestServer;
/** One with the limits that people meet. */
let limited: TestServer;
let browser: Browser;

export interface Site {
  browser: Browser;
  /** Cookies of somebody who is signed in, and has let the demo app in. */
  member: Awaited<ReturnType<BrowserContext['storageState']>>;
  origins: string[];
}

/** Starts what the states are opened in; one at a time. */
export const openSite = async (): Promise<Site> => {
  [server, limited, browser] = await Promise.all([
    startServer(),
    startServer({ RATE_LIMIT_FACTOR: '1' }),
    launchChromium(),
  ]);
  const context = await browser.newContext();
  await signInToDemo(await context.newPage());
  const member = await context.storageState();
  await context.close();
  return { browser, member, origins: [server.issuer, limited.issuer] };
};

export const closeSite = async (): Promise<void> => {
  await browser?.close();
  await limited?.stop();
  await server?.stop();
};

const go = (page: Page, path: string) => page.goto(server.issuer + path);
const send = (page: Page, form = 'form:has(.primary)') => page.click(`${form} button:not([type=button]) >> nth=0`);

const fill = async (page: Page, values: Record<string, string>) => {
  for (const [field, value] of Object.entries(values)) await page.fill(`#${field}`, value);
};

/** The address of a link in the newest mail that has one. */
const mailedLink = async (email: string, path: string): Promise<string> => {
  const find = () =>
    server.app.mailbox
      ?.messages()
      .filter(({ to }) => to === email)
      .flatMap(({ links }) => links)
      .find((link) => link.startsWith(`${server.issuer}${path}?`));
  await expect.poll(find, { timeout: 20_000 }).toBeDefined();
  return find() as string;
};

const authorization = (parameters: Record<string, string>) =>
  `/oauth/authorize?${new URLSearchParams({
    response_type: 'code',
    scope: 'openid',
    client_id: 'countersign-demo',
    redirect_uri: `${server.issuer}/demo/callback`,
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
    ...parameters,
  })}`;

const signIn = async (page: Page, email: string, path = '/demo/sign-in') => {
  await go(page, path);
  await fill(page, { email, password });
  await send(page, 'form:has(#password)');
};

/** Somebody who has let the demo app in. */
const signInToDemo = async (page: Page) => {
  const email = await makeAccount(server);
  await signIn(page, email);
  await send(page);
  await page.waitForURL('**/demo');
  return email;
};

export interface State {
  /** `view`, or `view` and what is the matter with it; also the picture's name. */
  name: string;
  /** A key under `errors`, for error pages. */
  error?: string;
  /** Opened by the member, who stays signed in. */
  member?: true;
  open(page: Page): Promise<unknown>;
}

export const states: State[] = [
  { name: 'home', open: (page) => go(page, '/') },
  {
    name: 'home signed in',
    member: true,
    open: async (page) => {
      await go(page, '/');
    },
  },
  { name: 'demo-home', open: (page) => go(page, '/demo') },
  {
    name: 'demo-signed-in',
    member: true,
    open: async (page) => {
      await go(page, '/demo');
      await send(page, 'form[action="/demo/userinfo"]');
      await send(page, 'form[action="/demo/refresh"]');
      await page.waitForSelector('[role=status]');
    },
  },
  {
    name: 'demo-home denied',
    open: async (page) => {
      await signIn(page, await makeAccount(server));
      await send(page, 'form[action$="/abort"]');
      await page.waitForSelector('[role=status]');
    },
  },
  {
    name: 'demo-home access ended',
    open: async (page) => {
      await signInToDemo(page);
      await go(page, '/account/applications');
      await send(page, 'form[action="/account/applications/withdraw"]');
      await go(page, '/demo');
      await send(page, 'form[action="/demo/refresh"]');
      await page.waitForSelector('[role=status]');
    },
  },
  { name: 'sign-in', open: (page) => go(page, '/demo/sign-in') },
  { name: 'sign-in account page', open: (page) => go(page, '/account') },
  {
    name: 'sign-in nothing entered',
    open: async (page) => {
      await go(page, '/demo/sign-in');
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  {
    name: 'sign-in wrong password',
    open: async (page) => {
      await go(page, '/demo/sign-in');
      await fill(page, { email: 'nobody@example.com', password: 'not it' });
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  {
    name: 'sign-in limited',
    open: async (page) => {
      const email = `${uuid()}@example.com`;
      await page.goto(`${limited.issuer}/account`);
      for (let attempt = 0; attempt < 6; attempt++) {
        await fill(page, { email, password: 'not it' });
        await send(page);
        await page.waitForSelector('[role=alert]');
      }
    },
  },
  {
    name: 'sign-in known account',
    member: true,
    open: async (page) => {
      await go(page, authorization({ prompt: 'login' }));
    },
  },
  {
    name: 'sign-in known account wrong password',
    member: true,
    open: async (page) => {
      await go(page, authorization({ prompt: 'login' }));
      await fill(page, { password: 'not it' });
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  {
    name: 'sign-in another account',
    member: true,
    open: async (page) => {
      await go(page, authorization({ prompt: 'login' }));
      await send(page, 'form[action$="/switch"]');
      await page.waitForSelector('#email:not([readonly])');
    },
  },
  {
    name: 'sign-in after a reset',
    open: async (page) => {
      const email = await makeAccount(server);
      await go(page, '/demo/sign-in');
      await go(page, '/forgot');
      await fill(page, { email });
      await send(page);
      await page.goto(await mailedLink(email, '/reset'));
      await fill(page, { password: 'seven quiet lighthouses blink' });
      await send(page);
      await page.waitForSelector('[role=status]');
    },
  },
  { name: 'register', open: (page) => go(page, '/register') },
  {
    name: 'register with errors',
    open: async (page) => {
      await go(page, '/register');
      await fill(page, { email: 'ada@', password: 'short' });
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  {
    name: 'check-mail',
    open: async (page) => {
      await go(page, '/register');
      await fill(page, { name: longName, email: `${uuid()}@example.com`, password });
      await send(page);
      await page.waitForURL('**/check-mail');
    },
  },
  {
    name: 'verify',
    open: async (page) => {
      const email = `${uuid()}@example.com`;
      await go(page, '/register');
      await fill(page, { name: 'Ada Lovelace', email, password });
      await send(page);
      await page.goto(await mailedLink(email, '/verify'));
    },
  },
  {
    name: 'verify-done',
    open: async (page) => {
      const email = `${uuid()}@example.com`;
      await go(page, '/register');
      await fill(page, { name: 'Ada Lovelace', email, password });
      await send(page);
      await page.goto(await mailedLink(email, '/verify'));
      await send(page);
      await page.waitForURL('**/verified');
    },
  },
  { name: 'link-expired verify', open: (page) => go(page, '/verify?token=gone') },
  { name: 'link-expired reset', open: (page) => go(page, '/reset?token=gone') },
  { name: 'link-expired setup', open: (page) => go(page, '/setup?token=gone') },
  { name: 'forgot', open: (page) => go(page, '/forgot') },
  {
    name: 'forgot with an error',
    open: async (page) => {
      await go(page, '/forgot');
      await fill(page, { email: 'ada' });
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  { name: 'resend', open: (page) => go(page, '/verify/resend') },
  {
    name: 'check-mail reset',
    open: async (page) => {
      await go(page, '/forgot');
      await fill(page, { email: `${uuid()}@example.com` });
      await send(page);
      await page.waitForURL('**/check-mail?for=reset');
    },
  },
  {
    name: 'reset',
    open: async (page) => {
      const email = await makeAccount(server);
      await go(page, '/forgot');
      await fill(page, { email });
      await send(page);
      await page.goto(await mailedLink(email, '/reset'));
    },
  },
  {
    name: 'reset with an error',
    open: async (page) => {
      const email = await makeAccount(server);
      await go(page, '/forgot');
      await fill(page, { email });
      await send(page);
      await page.goto(await mailedLink(email, '/reset'));
      await fill(page, { password: 'password1234' });
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  {
    name: 'setup',
    open: async (page) => go(page, `/setup?token=${await createSetupToken(server.database.db)}`),
  },
  {
    name: 'setup with errors',
    open: async (page) => {
      await go(page, `/setup?token=${await createSetupToken(server.database.db)}`);
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  {
    name: 'consent',
    open: async (page) => {
      await signIn(page, await makeAccount(server));
      await page.waitForSelector('.grants');
    },
  },
  {
    name: 'consent with everything',
    open: async (page) => {
      const { client_id } = await server.client({
        client_name: longApp,
        client_uri: 'https://rsa.example',
        policy_uri: 'https://rsa.example/privacy',
        tos_uri: 'https://rsa.example/terms',
        redirect_uris: ['https://app.a-rather-long-name-for-an-application.example/callback'],
        grant_types: ['authorization_code', 'refresh_token'],
        token_endpoint_auth_method: 'none',
      });
      const email = await registerAccount(server, `${'long.'.repeat(8)}${uuid()}@example.com`, longName);
      const path = authorization({
        client_id,
        redirect_uri: 'https://app.a-rather-long-name-for-an-application.example/callback',
        scope: 'openid profile email phone address offline_access',
        prompt: 'consent',
        claims: JSON.stringify({ userinfo: { birthdate: { essential: true } } }),
      });
      await signIn(page, email, path);
      await page.waitForSelector('.grants');
    },
  },
  {
    name: 'sign-out',
    member: true,
    open: async (page) => {
      await go(page, '/oauth/logout');
    },
  },
  {
    name: 'sign-out from an app',
    open: async (page) => {
      await signInToDemo(page);
      await send(page, 'form[action="/demo/sign-out"]');
      await page.waitForURL('**/oauth/logout*');
    },
  },
  {
    name: 'signed-out',
    open: async (page) => {
      await signInToDemo(page);
      await go(page, '/oauth/logout');
      await send(page);
      await page.waitForURL('**/oauth/logout/success*');
    },
  },
  {
    name: 'continue',
    member: true,
    open: async (page) => {
      // Its script would send it on at once.
      await page.route('**/assets/page.js*', (route) => route.fulfill({ contentType: 'text/javascript', body: '' }));
      await go(page, authorization({ response_mode: 'form_post' }));
    },
  },
  {
    name: 'account',
    open: async (page) => {
      const email = await signInToDemo(page);
      const elsewhere = await browser.newContext();
      const other = await elsewhere.newPage();
      await signIn(other, email);
      await other.waitForURL('**/demo');
      await elsewhere.close();
      await go(page, '/account');
    },
  },
  {
    name: 'profile saved',
    open: async (page) => {
      await signIn(page, await registerAccount(server, undefined, longName), '/account');
      await page.waitForURL(/\/account/);
      await go(page, '/account/profile');
      await send(page);
      await page.waitForSelector('[role=status]');
    },
  },
  {
    name: 'profile',
    member: true,
    open: async (page) => {
      await go(page, '/account/profile');
    },
  },
  {
    name: 'profile with errors',
    member: true,
    open: async (page) => {
      await go(page, '/account/profile');
      await fill(page, { name: '', website: 'ada.example', birthdate: '10.12.1815', phone_number: '020', locale: '?' });
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  ...(
    [
      ['sessions', '/account/sessions'],
      ['applications', '/account/applications'],
      ['activity', '/account/activity'],
      ['requests', '/account/requests'],
      ['change-email', '/account/profile/email'],
      ['data', '/account/data'],
      ['close-account', '/account/data/close'],
      ['account-closed', '/account/closed'],
    ] as const
  ).map(([name, path]): State => ({ name, member: true, open: (page) => go(page, path) })),
  {
    name: 'change-password',
    member: true,
    open: async (page) => {
      await go(page, '/account/password');
    },
  },
  {
    name: 'change-password with errors',
    member: true,
    open: async (page) => {
      await go(page, '/account/password');
      await fill(page, { currentPassword: 'not it', newPassword: 'seven quiet lighthouses blink' });
      await send(page);
      await page.waitForSelector('[role=alert]');
    },
  },
  {
    name: 'dev-mail',
    open: async (page) => {
      await registerAccount(server);
      await go(page, '/dev/mail');
    },
  },
  {
    name: 'error unknown app',
    error: 'invalidClient',
    open: (page) => go(page, authorization({ client_id: 'nobody' })),
  },
  {
    name: 'error wrong redirect',
    error: 'invalidRedirect',
    open: (page) => go(page, authorization({ redirect_uri: `${server.issuer}/demo/callbacks` })),
  },
  {
    name: 'error expired',
    error: 'expired',
    open: (page) => go(page, '/oauth/authorize?posted=gone'),
  },
  { name: 'error interrupted', error: 'cookies', open: (page) => go(page, '/interaction/gone') },
  { name: 'error not found', error: 'notFound', open: (page) => go(page, '/nowhere') },
  {
    name: 'error from elsewhere',
    error: 'crossSite',
    open: async (page) => {
      await page.setContent(`<form method="post" action="${server.issuer}/register"><button>Go</button></form>`);
      await page.click('button');
    },
  },
];
