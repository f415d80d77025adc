/** A person's authenticator app: the codes that it shows, made by an implementation of somebody else's. */
import { generateSync } from 'otplib';
import { expect } from 'vitest';
import type { TestCaller } from './callers.ts';
import type { TestServer } from './server.ts';

const periodMs = 30_000;

/** What the app shows `steps` away from now. @param secret in base 32 */
export const shownCode = (secret: string, steps = 0): string =>
  generateSync({ secret, epoch: Math.floor((Date.now() + steps * periodMs) / 1000) });

/** Waits until what the app shows lasts for a while yet, for whoever counts on what it has shown before or will show after. */
export const beginStep = async (): Promise<void> => {
  const left = periodMs - (Date.now() % periodMs);
  if (left < 5000) await new Promise((resolve) => setTimeout(resolve, left + 10));
};

/** A code that has surely not been used: the account forgets which ones were, as if time had passed. */
export const freshCode = async ({ database: { db } }: TestServer, userId: string, secret: string): Promise<string> => {
  await db('totpDevices').where({ userId }).update({ lastStep: null });
  return shownCode(secret);
};

export interface Authenticator {
  id: string;
  secret: string;
  backupCodes: string[];
}

/** Sets an app up over REST. */
export const setUpTotp = async (server: TestServer, caller: TestCaller, name = 'My phone'): Promise<Authenticator> => {
  const enabled = await caller.request('post', '/mfa/totp/enable', { name });
  expect([enabled.status, enabled.status === 200 || enabled.text]).toEqual([200, true]);
  const { id, secret } = enabled.json;
  const verified = await caller.request('post', '/mfa/totp/verify', { code: shownCode(secret) });
  expect([verified.status, verified.status === 200 || verified.text]).toEqual([200, true]);
  await server.database.db('totpDevices').where({ id }).update({ lastStep: null });
  return { id, secret, backupCodes: verified.json.backupCodes };
};
