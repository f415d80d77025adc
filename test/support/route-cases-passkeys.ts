/** Rows for passkeys; see `route-cases.ts`. */
import { password } from './browser.ts';
import type { TestCaller } from './callers.ts';
import type { RouteCase } from './route-cases.ts';
import type { World } from './route-world.ts';
import { SecurityKey } from './security-key.ts';

/** What somebody's browser makes when they add a passkey. */
const made = async (caller: TestCaller, issuer: string) => {
  const key = new SecurityKey(issuer);
  const { json } = await caller.request('post', '/mfa/passkeys/options', {});
  return { key, credential: key.create(json.options) };
};

/** Somebody with a passkey. */
const holder = async ({ server, person }: World) => {
  const caller = await person();
  const { key, credential } = await made(caller, server.issuer);
  const { json } = await caller.request('post', '/mfa/passkeys', { credential });
  return { caller, key, params: { id: json.passkey.id as string }, code: json.backupCodes[0] as string };
};

export const passkeyCases: Record<string, RouteCase> = {
  askPasskey: { attempt: () => ({ body: { passwordless: true } }) },
  addPasskey: {
    attempt: async ({ server, person }) => {
      const caller = await person();
      const { credential } = await made(caller, server.issuer);
      return { caller, body: { name: 'My key', credential } };
    },
    opaque: ['password', 'code'],
  },
  listPasskeys: { attempt: () => ({}) },
  renamePasskey: {
    attempt: async (world) => {
      const { caller, params } = await holder(world);
      return { caller, params, body: { name: 'Blue key' } };
    },
    others: {
      status: 404,
      attempt: async (world) => ({ params: (await holder(world)).params, body: { name: 'Mine' } }),
    },
  },
  removePasskey: {
    attempt: async (world) => {
      const { caller, params, code } = await holder(world);
      return { caller, params, body: { code } };
    },
    others: { status: 404, attempt: async (world) => ({ params: (await holder(world)).params, body: { password } }) },
    opaque: ['password', 'code'],
  },
  askPasskeySignIn: { attempt: () => ({ body: {} }) },
  signInWithPasskey: {
    attempt: async (world) => {
      const { key } = await holder(world);
      const { json } = await world.anybody.request('post', '/auth/passkey/options', {});
      return { body: { credential: key.get(json.options) } };
    },
  },
};
