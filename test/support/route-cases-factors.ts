/** Rows for second factors and for signing in by mail; see `route-cases.ts`. */
import { freshCode, setUpTotp, shownCode } from './authenticator.ts';
import { password } from './browser.ts';
import type { RouteCase } from './route-cases.ts';
import type { World } from './route-world.ts';

/** Somebody with an authenticator app, and a code of it. */
const holder = async ({ server, person }: World) => {
  const caller = await person();
  const { id, secret } = await setUpTotp(server, caller);
  return { caller, params: { id }, code: await freshCode(server, caller.id, secret) };
};
const withCode = async (world: World) => {
  const { caller, code } = await holder(world);
  return { caller, body: { code } };
};

export const factorCases: Record<string, RouteCase> = {
  enableTotp: { attempt: () => ({ body: { name: 'My phone' } }), opaque: ['password'] },
  verifyTotp: {
    attempt: async ({ person }) => {
      const caller = await person();
      const { json } = await caller.request('post', '/mfa/totp/enable', {});
      return { caller, body: { code: shownCode(json.secret) } };
    },
  },
  validateTotp: { attempt: withCode },
  disableTotp: { attempt: withCode },
  createBackupCodes: { attempt: withCode, opaque: ['password'] },
  countBackupCodes: { attempt: () => ({}) },
  listFactorDevices: { attempt: () => ({}) },
  renameFactorDevice: {
    attempt: async (world) => {
      const { caller, params } = await holder(world);
      return { caller, params, body: { name: 'Blue phone' } };
    },
    others: {
      status: 404,
      attempt: async (world) => ({ params: (await holder(world)).params, body: { name: 'Mine' } }),
    },
  },
  removeFactorDevice: {
    attempt: async (world) => {
      const { caller, params, code } = await holder(world);
      return { caller, params, body: { code } };
    },
    others: { status: 404, attempt: async (world) => ({ params: (await holder(world)).params, body: { password } }) },
    opaque: ['password'],
  },
  resetFactors: {
    attempt: async ({ account }) => ({ params: { id: (await account()).id } }),
    outranked: ({ superAdmin: { id } }) => ({ params: { id } }),
  },
  requestMagicLink: { attempt: async ({ account }) => ({ body: { email: (await account()).email } }) },
  verifyMagicLink: {
    attempt: async ({ anybody, account, mailed }) => {
      const { email } = await account();
      await anybody.request('post', '/auth/magic-link', { email });
      return { body: { email, code: await mailed(email, /\b(\d{6})\b/) } };
    },
    opaque: ['mfaCode'],
  },
};
