/** Rows for setting up a second factor while signing in; see `route-cases.ts`. */
import { createMfaToken } from '../../src/auth/mfa-tokens.commands.ts';
import { restClientId } from '../../src/provider/issue-tokens.ts';
import { pendingOf } from './audited-commands.ts';
import { shownCode } from './authenticator.ts';
import type { RouteCase } from './route-cases.ts';
import type { World } from './route-world.ts';
import { SecurityKey } from './security-key.ts';

/** A sign-in that waits for a factor to be set up. */
const waiting = async ({ server, account }: World): Promise<{ mfaToken: string }> => {
  const { id } = await account();
  const user = await server.database.db('users').where({ id }).first('id', 'passwordChangedAt');
  const pending = pendingOf(user, {
    due: 'enrolment',
    enrols: true,
    amr: ['pwd', 'otp', 'mfa'],
    clientId: restClientId,
  });
  return { mfaToken: createMfaToken(server.app.secrets, pending) };
};

export const enrolmentCases: Record<string, RouteCase> = {
  enrolApp: { attempt: async (world) => ({ body: { ...(await waiting(world)), name: 'My phone' } }) },
  confirmEnrolledApp: {
    attempt: async (world) => {
      const begun = await waiting(world);
      const { json } = await world.anybody.request('post', '/auth/mfa/totp/enable', begun);
      return { body: { ...begun, code: shownCode(json.secret) } };
    },
    opaque: ['code'],
  },
  askEnrolledPasskey: { attempt: async (world) => ({ body: await waiting(world) }) },
  enrolPasskey: {
    attempt: async (world) => {
      const begun = await waiting(world);
      const { json } = await world.anybody.request('post', '/auth/mfa/passkeys/options', begun);
      const credential = new SecurityKey(world.server.issuer).create(json.options);
      return { body: { ...begun, name: 'My key', credential } };
    },
  },
};
