/** The commands by which passkeys are added, kept and used. See `audited-commands.ts`. */
import { expect } from 'vitest';
import type { Actor } from '../../src/audit/logs.commands.ts';
import { signInWithPasskey } from '../../src/auth/passkey-sign-in.commands.ts';
import { removeFactor, renameFactor } from '../../src/mfa/factors.commands.ts';
import { restSignIn } from '../../src/mfa/passkey-challenges.ts';
import {
  type PasskeyDeps,
  passkeyRegistrationOptions,
  passkeySignInOptions,
  registerPasskey,
  verifyPasskey,
} from '../../src/mfa/passkeys.commands.ts';
import type { Arranged, World } from './audited-commands.ts';
import { type Lies, SecurityKey } from './security-key.ts';

/** As in `audited-commands.ts`, which reads this file. */
const anonymous: Actor = {
  type: 'anonymous',
  address: '192.0.2.1',
  requestId: 'request-1',
  userAgent: 'a browser',
};
const user = (id: string): Actor => ({ ...anonymous, type: 'user', id });

const asUser = (action: string, id: string, meta?: object) => ({
  action,
  actor: ['user', id] as [string, string],
  target: ['user', id] as [string, string],
  ...(meta ? { meta } : {}),
});

/** Somebody in a session, and the passkey that their browser has just made. */
const maker = async ({ server, db, registerVerified, openSession }: World) => {
  const { id: userId, email } = await registerVerified();
  const standing = { sessionUid: await openSession(userId) };
  const { factors, signIn } = server.app;
  const deps: PasskeyDeps = { ...factors, relyingParty: signIn.mfa.relyingParty };
  const key = new SecurityKey(server.issuer);
  const options = await passkeyRegistrationOptions(deps, { userId, standing, email, name: 'Ada Lovelace' });
  const registration = { userId, standing, name: 'My key', response: key.create(options) };
  return { userId, standing, deps, db, key, registration };
};

/** Likewise, once it has been added. */
const owner = async (world: World) => {
  const made = await maker(world);
  const { passkey } = await registerPasskey(made.deps, made.db, user(made.userId), made.registration);
  const ceremony = { kind: 'sign-in', at: restSignIn } as const;
  const shown = async (lies: Lies = {}) => made.key.get(await passkeySignInOptions(made.deps, ceremony), lies);
  return { ...made, id: passkey.id, ceremony, shown };
};

const signInDeps = ({ server }: World) => ({
  ...server.app.signIn,
  limitPasskeys: () => Promise.resolve(),
  returnPasskeyTry: () => Promise.resolve(),
});

export const passkeyCommands: Record<string, (world: World) => Promise<Arranged>> = {
  registerPasskey: async (world) => {
    const { userId, deps, db, registration } = await maker(world);
    return {
      run: () => registerPasskey(deps, db, user(userId), registration),
      expected: ({ passkey: { id } }: { passkey: { id: string } }) => [
        asUser('factor.add', userId, { factor: 'passkey', id, backupCodes: 10 }),
      ],
    };
  },
  'renameFactor, a passkey': async (world) => {
    const { userId, standing, db, id } = await owner(world);
    return {
      run: () => renameFactor(db, user(userId), { userId, standing, kind: 'passkey', id, name: 'Blue key' }),
      expected: () => [asUser('factor.rename', userId, { factor: 'passkey', id })],
    };
  },
  'removeFactor, a passkey': async (world) => {
    const { userId, standing, deps, db, id } = await owner(world);
    return {
      run: () => removeFactor(deps, db, user(userId), { userId, standing, kind: 'passkey', id }),
      expected: () => [asUser('factor.remove', userId, { factor: 'passkey', ids: [id] })],
    };
  },
  'verifyPasskey, whose counter goes backwards': async (world) => {
    const { userId, deps, db, id, ceremony, shown } = await owner(world);
    await db('passkeys').where({ id }).update({ counter: 50 });
    const response = await shown();
    return {
      run: () => verifyPasskey(deps, anonymous, ceremony, response),
      expected: () => [{ action: 'passkey.refuse', actor: ['anonymous'], target: ['user', userId], meta: { id } }],
    };
  },
  signInWithPasskey: async (world) => {
    const { userId, shown } = await owner(world);
    const response = await shown();
    return {
      run: () => signInWithPasskey(signInDeps(world), anonymous, { at: restSignIn, response }),
      expected: () => [
        asUser('session.sign_in', userId, expect.objectContaining({ amr: ['pop', 'user', 'mfa'] }) as object),
      ],
    };
  },
  'signInWithPasskey, in vain': async (world) => {
    const { shown } = await owner(world);
    const response = await shown({ origin: 'https://phish.example' });
    return {
      run: () => signInWithPasskey(signInDeps(world), anonymous, { at: restSignIn, response }),
      expected: () => [{ action: 'session.sign_in_failed', actor: ['anonymous'], meta: { reason: 'wrong_passkey' } }],
    };
  },
};
