/** The commands by which second factors are set up, used and removed, and those of signing in by mail. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import { expect } from 'vitest';
import type { Actor } from '../../src/audit/logs.commands.ts';
import { answerLinkRequest } from '../../src/auth/magic-links.commands.ts';
import type { Caller } from '../../src/http/caller.ts';
import * as backup from '../../src/mfa/backup-codes.commands.ts';
import { tryFactorCode } from '../../src/mfa/factor-codes.commands.ts';
import * as factors from '../../src/mfa/factors.commands.ts';
import * as totp from '../../src/mfa/totp.commands.ts';
import { assertMayTakeOver } from '../../src/roles/accounts-of-others.ts';
import type { Arranged, World } from './audited-commands.ts';
import { shownCode } from './authenticator.ts';

const anonymous: Actor = { type: 'anonymous', address: '192.0.2.1', requestId: 'request-1', userAgent: 'a browser' };
const user = (id: string): Actor => ({ ...anonymous, type: 'user', id });
const label = { issuer: 'Countersign', account: 'ada@example.com' };
const asUser = (action: string, id: string, meta?: object) => ({
  action,
  actor: ['user', id] as [string, string],
  target: ['user', id] as [string, string],
  ...(meta ? { meta } : {}),
});

/** Somebody in a session, who sets an app up or has done so. */
const owner = async ({ server, db, registerVerified, openSession }: World, confirmed = true) => {
  const { id: userId } = await registerVerified();
  const standing = { sessionUid: await openSession(userId) };
  const deps = server.app.factors;
  const app = { userId, standing, name: 'My phone', label };
  const { id, secret } = await totp.beginTotp(deps, db, user(userId), app);
  const code = shownCode(secret);
  const confirmation = { userId, standing, code };
  const codes = confirmed ? await totp.confirmTotp(deps, db, user(userId), confirmation) : undefined;
  return { userId, standing, deps, app, id, secret, confirmation, backupCodes: codes?.backupCodes ?? [] };
};

const unlimited = {
  limitCodeAddress: () => Promise.resolve(),
  limitFactorTries: () => Promise.resolve(),
  returnFactorTry: () => Promise.resolve(),
};

export const factorCommands: Record<string, (world: World) => Promise<Arranged>> = {
  beginTotp: async (world) => {
    const { userId, deps, app } = await owner(world, false);
    return {
      run: () => totp.beginTotp(deps, world.db, user(userId), app),
      expected: ({ id }: { id: string }) => [asUser('factor.begin', userId, { factor: 'totp', id })],
    };
  },
  confirmTotp: async (world) => {
    const { userId, deps, id, confirmation } = await owner(world, false);
    return {
      run: () => totp.confirmTotp(deps, world.db, user(userId), confirmation),
      expected: () => [asUser('factor.add', userId, { factor: 'totp', id, backupCodes: 10 })],
    };
  },
  disableTotp: async (world) => {
    const { userId, deps, standing, id } = await owner(world);
    return {
      run: () => totp.disableTotp(deps, world.db, user(userId), { userId, standing }),
      expected: () => [asUser('factor.remove', userId, { factor: 'totp', ids: [id] })],
    };
  },
  removeFactor: async (world) => {
    const { userId, deps, standing, id } = await owner(world);
    return {
      run: () => factors.removeFactor(deps, world.db, user(userId), { userId, standing, id }),
      expected: () => [asUser('factor.remove', userId, { factor: 'totp', ids: [id] })],
    };
  },
  renameFactor: async (world) => {
    const { userId, standing, id } = await owner(world);
    return {
      run: () => factors.renameFactor(world.db, user(userId), { userId, standing, id, name: 'Blue phone' }),
      expected: () => [asUser('factor.rename', userId, { factor: 'totp', id })],
    };
  },
  regenerateBackupCodes: async (world) => {
    const { userId, deps, standing } = await owner(world);
    return {
      run: () => backup.regenerateBackupCodes(deps, world.db, user(userId), { userId, standing }),
      expected: () => [asUser('backup_codes.create', userId)],
    };
  },
  'tryFactorCode, with a backup code': async (world) => {
    const { userId, deps, backupCodes } = await owner(world);
    const code = backupCodes[0] as string;
    return {
      run: () =>
        tryFactorCode({ ...deps, ...unlimited }, user(userId), { userId, code, operation: 'validate' }, () =>
          Promise.resolve(true),
        ),
      expected: () => [asUser('backup_code.use', userId)],
    };
  },
  'tryFactorCode, with a wrong code': async (world) => {
    const { userId, deps } = await owner(world);
    return {
      run: () =>
        tryFactorCode({ ...deps, ...unlimited }, user(userId), { userId, code: 'x', operation: 'change' }, () =>
          Promise.resolve(true),
        ),
      expected: () => [asUser('factor.verify_failed', userId, { operation: 'change' })],
    };
  },
  forgetAllBrowsers: async (world) => {
    const { userId, deps } = await owner(world);
    const mfaUntil = new Date(Date.now() + 60_000);
    await world.db('knownDevices').insert({ userId, deviceHash: uuid(), expiresAt: mfaUntil, mfaUntil });
    return {
      run: () => factors.forgetAllBrowsers(deps, user(userId), userId),
      expected: () => [asUser('factor.forget_browsers', userId)],
    };
  },
  resetFactors: async (world) => {
    const { userId, deps, standing } = await owner(world);
    const by = { kind: 'client', id: 'helpdesk', roles: [], rank: 100, permissions: ['*:*:*'] } satisfies Caller;
    const { endSessions } = world.server.app.accounts;
    const actor = { ...anonymous, type: 'client', id: 'helpdesk' } as const;
    const target: [string, string] = ['user', userId];
    return {
      run: () => factors.resetFactors({ ...deps, endSessions, assertMayTakeOver }, actor, by, userId),
      expected: () => [
        {
          action: 'session.end',
          actor: ['client', 'helpdesk'],
          target,
          meta: { sessions: [standing.sessionUid], reason: 'factors_reset' },
        },
        { action: 'factor.reset', actor: ['client', 'helpdesk'], target, meta: { totp: 1, passkeys: 0 } },
      ],
    };
  },
  answerLinkRequest: async ({ server, registerVerified }) => {
    const { id, email } = await registerVerified();
    return {
      run: () => answerLinkRequest(server.app.accounts, { email, actor: anonymous, browserHash: 'x' }),
      expected: () => [
        { action: 'sign_in_link.request', actor: ['anonymous'], target: ['user', expect.stringMatching(id)] },
      ],
    };
  },
};
