/** Passkeys in a real Chromium with a virtual authenticator: added on the account page, used alone and after a password, removed. */
import type { Browser, BrowserContext, CDPSession, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import { axe, launchChromium, watch } from '../support/chromium.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(), launchChromium()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

interface Device {
  context: BrowserContext;
  page: Page;
  found: string[];
  credentials(): Promise<{ signCount: number; isResidentCredential: boolean; userHandle?: string }[]>;
}

/** A browser with an authenticator of its own. @param autofill whether it offers passkeys by itself */
const newDevice = async ({ autofill = false, scripts = true } = {}): Promise<Device> => {
  const context = await browser.newContext({ reducedMotion: 'reduce', javaScriptEnabled: scripts });
  context.setDefaultTimeout(20_000);
  if (!autofill)
    await context.addInitScript(
      'if (window.PublicKeyCredential) PublicKeyCredential.isConditionalMediationAvailable = () => Promise.resolve(false)',
    );
  const found = watch(context, [server.issuer]);
  const page = await context.newPage();
  const cdp: CDPSession = await context.newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      ctap2Version: 'ctap2_1',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return {
    context,
    page,
    found,
    credentials: async () => (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
  };
};

const titled = async (page: Page, title: string | RegExp) => {
  await expect.poll(() => page.title(), { timeout: 20_000 }).toMatch(title);
  await page.waitForLoadState();
};
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

const signInByPassword = async (page: Page, email: string) => {
  await page.fill('#email', email);
  await page.fill('#password', password);
  await button(page, 'Sign in').click();
};

/** Signs in, and adds a passkey on the account page. */
const enrol = async (device: Device): Promise<string> => {
  const { page } = device;
  const email = await registerAccount(server);
  await page.goto(`${server.issuer}/account/passkeys`);
  await signInByPassword(page, email);
  await titled(page, /^Passkeys/);
  await page.fill('#name', 'My laptop');
  await button(page, 'Add a passkey').click();
  await titled(page, /^Your backup codes/);
  expect(await page.locator('.codes li').count()).toBe(10);
  await page.getByRole('link', { name: 'I have kept them' }).click();
  await titled(page, /^Passkeys/);
  expect(await page.getByText('My laptop').count()).toBeGreaterThan(0);
  expect(await axe(page)).toEqual([]);
  return email;
};

const signOut = async ({ context }: Device) => {
  await context.clearCookies();
};

describe('a person with a passkey', () => {
  it('adds it, signs in with it by the button, and removes it', async () => {
    const device = await newDevice();
    const { page, found } = device;
    const email = await enrol(device);
    expect(await device.credentials()).toMatchObject([{ isResidentCredential: true }]);

    await signOut(device);
    await page.goto(`${server.issuer}/account`);
    await titled(page, /^Sign in/);
    expect(await axe(page)).toEqual([]);
    await button(page, 'Sign in with a passkey').click();
    await expect.poll(() => page.url(), { timeout: 20_000 }).toMatch(/\/account(\?|$)/);
    expect(await page.locator('.who').textContent()).toContain(email);

    // With a passkey alone one is in as strongly as one can be: the page asks for nothing more.
    await page.goto(`${server.issuer}/account/passkeys`);
    await titled(page, /^Passkeys/);
    await page.locator('summary', { hasText: 'Rename' }).click();
    await page.getByRole('textbox', { name: 'Name' }).first().fill('Old laptop');
    await button(page, 'Save').click();
    await expect.poll(() => page.getByText('Old laptop').count(), { timeout: 20_000 }).toBeGreaterThan(0);
    await page.getByRole('link', { name: /^Remove/ }).click();
    await titled(page, /^Remove this passkey/);
    await button(page, 'Remove the passkey').click();
    await expect.poll(() => page.getByText('You have no passkey yet.').count(), { timeout: 20_000 }).toBe(1);

    // The device shows it still, and it opens nothing.
    await signOut(device);
    await page.goto(`${server.issuer}/account`);
    await button(page, 'Sign in with a passkey').click();
    await titled(page, /^Error: /);
    expect(await page.getByRole('alert').textContent()).toContain('This passkey could not sign you in here');
    await signInByPassword(page, email);
    await titled(page, /account/i);
    expect(found).toEqual([]);
    await device.context.close();
  });

  it('is offered it among the names that the browser fills in', async () => {
    const device = await newDevice({ autofill: true });
    const { page, found } = device;
    const email = await enrol(device);
    await signOut(device);
    await page.goto(`${server.issuer}/account`);
    await expect.poll(() => page.url(), { timeout: 20_000 }).toMatch(/\/account(\?|$)/);
    expect(await page.locator('.who').textContent()).toContain(email);
    expect(found).toEqual([]);
    await device.context.close();
  });

  it('shows it after the password, where that comes first', async () => {
    const device = await newDevice();
    const { page, found } = device;
    const email = await enrol(device);
    await signOut(device);
    await page.goto(`${server.issuer}/account`);
    await signInByPassword(page, email);
    await titled(page, /^Two-step verification/);
    await button(page, 'Use a passkey').click();
    await expect.poll(() => page.url(), { timeout: 20_000 }).toMatch(/\/account(\?|$)/);
    expect(await page.locator('.who').textContent()).toContain(email);
    expect(found).toEqual([]);
    await device.context.close();
  });

  it('is told when nothing comes of it, and signs in by password', async () => {
    const device = await newDevice();
    const { page } = device;
    const email = await registerAccount(server);
    await page.goto(`${server.issuer}/account`);
    await button(page, 'Sign in with a passkey').click();
    await expect.poll(() => page.getByText('That did not work.').isVisible(), { timeout: 20_000 }).toBe(true);
    expect(await axe(page)).toEqual([]);
    await signInByPassword(page, email);
    await expect.poll(() => page.url(), { timeout: 20_000 }).toMatch(/\/account(\?|$)/);
    await device.context.close();
  });
});

describe('without scripts', () => {
  it('signs in by password, shows no button that would do nothing, and says what adding a passkey takes', async () => {
    const device = await newDevice({ scripts: false });
    const { page, found } = device;
    const email = await registerAccount(server);
    await page.goto(`${server.issuer}/account/passkeys`);
    expect(await button(page, 'Sign in with a passkey').isVisible()).toBe(false);
    await signInByPassword(page, email);
    await titled(page, /^Passkeys/);
    expect(await page.getByText('with JavaScript switched on').isVisible()).toBe(true);
    expect(await button(page, 'Add a passkey').isVisible()).toBe(false);
    expect(found).toEqual([]);
    await device.context.close();
  });

  it('is the same in a browser that knows no passkeys', async () => {
    const device = await newDevice();
    await device.context.addInitScript('delete window.PublicKeyCredential');
    const { page, found } = device;
    const email = await registerAccount(server);
    await page.goto(`${server.issuer}/account`);
    expect(await button(page, 'Sign in with a passkey').isVisible()).toBe(false);
    await signInByPassword(page, email);
    await expect.poll(() => page.url(), { timeout: 20_000 }).toMatch(/\/account(\?|$)/);
    expect(found).toEqual([]);
    await device.context.close();
  });
});
