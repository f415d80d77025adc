/** Every command that writes, arranged so that it has something to do, and what the audit log must say of it. */
import { hash as bcrypt } from '@node-rs/bcrypt';
import { v7 as uuid } from 'uuid';
import { expect } from 'vitest';
import type { Db } from '../../db/connect.ts';
import * as apiKeys from '../../src/api-keys/api-keys.commands.ts';
import { type Actor, expireEvents, operator, system } from '../../src/audit/logs.commands.ts';
import * as registered from '../../src/auth/accounts.commands.ts';
import { dropMailedLinks } from '../../src/auth/action-tokens.commands.ts';
import * as administrators from '../../src/auth/administrators.commands.ts';
import { askPerson, recordDecision } from '../../src/auth/backchannel.commands.ts';
import { closeAccount } from '../../src/auth/closing.commands.ts';
import { createUser } from '../../src/auth/invitations.commands.ts';
import { type MfaDeps, sendMfaCode } from '../../src/auth/mfa.commands.ts';
import { createMfaToken } from '../../src/auth/mfa-tokens.commands.ts';
import { tellOfApiKey, tellOldAddress } from '../../src/auth/notices.commands.ts';
import { createOneTimeCode } from '../../src/auth/one-time-codes.commands.ts';
import * as codes from '../../src/auth/otp.commands.ts';
import * as passwords from '../../src/auth/password.commands.ts';
import type { SignInDeps } from '../../src/auth/proceed.commands.ts';
import { finishSignIn } from '../../src/auth/second-step.commands.ts';
import { signIn } from '../../src/auth/sign-in.commands.ts';
import { disownSignIn } from '../../src/auth/sign-ins.commands.ts';
import * as clients from '../../src/clients/clients.commands.ts';
import { deleteRetiredKeys, ensureKeys, rotateKeys } from '../../src/keys/keys.commands.ts';
import * as resources from '../../src/resource-servers/resource-servers.commands.ts';
import { assertMayChangeAccount, assertMayTakeOver } from '../../src/roles/accounts-of-others.ts';
import { assignRole } from '../../src/roles/roles.commands.ts';
import { hashToken } from '../../src/secrets.ts';
import { recordDeviceDecision } from '../../src/sessions/device-codes.commands.ts';
import { narrowResource } from '../../src/sessions/resources.commands.ts';
import {
  type EndSession,
  endExcessSessions,
  endSessions,
  grantConsent,
  revokeGrantsOf,
  withdrawConsent,
} from '../../src/sessions/sessions.commands.ts';
import { isSessionLive } from '../../src/sessions/sessions.queries.ts';
import { revokeTokens } from '../../src/sessions/tokens.commands.ts';
import * as users from '../../src/users/users.commands.ts';
import { updateProfile, verifyPhone } from '../../src/users/users.commands.ts';
import { accountCommands } from './audited-account.ts';
import { factorCommands } from './audited-factors.ts';
import { federationCommands } from './audited-federation.ts';
import { groupCommands } from './audited-groups.ts';
import { joiningCommands } from './audited-joining.ts';
import { keycloakCommands } from './audited-keycloak.ts';
import { organizationCommands } from './audited-organizations.ts';
import { passkeyCommands } from './audited-passkeys.ts';
import { policyCommands } from './audited-policies.ts';
import { registrationCommands } from './audited-registrations.ts';
import { roleCommands } from './audited-roles.ts';
import { userCommands } from './audited-users.ts';
import { tokenOf } from './requests.ts';
import type { TestServer } from './server.ts';

export const anonymous: Actor = {
  type: 'anonymous',
  address: '192.0.2.1',
  requestId: 'request-1',
  userAgent: 'a browser',
};
const password = 'correct horse battery staple';
const name = 'Ada Lovelace';
const pii = { phone_number: '+4930901820', birthdate: '1815-12-10', address: { street_address: '12 Square' } };

/** What must stand in no event. */
export const personal = [
  '@example.com',
  name,
  'Ada King',
  password,
  'another horse',
  pii.phone_number,
  pii.birthdate,
  '12 Square',
];

interface Expected {
  action: string;
  actor: [type: string, id?: string];
  /** Absent where it is about nothing in particular. */
  target?: [type: string, id: unknown];
  meta?: object;
}
export interface Arranged {
  run(): Promise<unknown>;
  /** What is recorded; `result` is what the command returned. */
  expected(result: never): Expected[];
}

/** What the commands find: accounts, sessions, mail. */
export const openWorld = (server: TestServer) => {
  const { db } = server.database;
  const register = async (): Promise<{ id: string; email: string }> => {
    const email = `${uuid()}@example.com`;
    const id = await accounts.register(server.app.accounts, anonymous, { email, password, name, locale: null });
    return { id: id as string, email };
  };
  const registerVerified = async () => {
    const user = await register();
    await db('users').where({ id: user.id }).update({ emailVerifiedAt: db.fn.now() });
    return user;
  };
  /** A client that wants to hear of sign-outs, and a session, a grant, a consent and tokens of the user there. */
  const openSession = async (userId: string) => {
    const clientId = uuid();
    await db('clients').insert({ clientId, backchannelLogoutUri: 'https://app.example.com/bye', redirectUris: [] });
    const expiresAt = new Date(Date.now() + 60_000);
    const authorizations = { [clientId]: { sid: 's', grantId: clientId } };
    await db('sessions').insert({ idHash: uuid(), uid: clientId, userId, payload: { authorizations }, expiresAt });
    await db('grants').insert({ id: clientId, userId, clientId, sessionUid: clientId, payload: {}, expiresAt });
    await db('refreshTokens').insert({
      tokenHash: uuid(),
      userId,
      clientId,
      grantId: clientId,
      payload: {},
      expiresAt,
    });
    await db('oidcPayloads').insert({
      model: 'AccessToken',
      idHash: uuid(),
      grantId: clientId,
      payload: {},
      expiresAt,
    });
    await grantConsent(db, operator, userId, clientId, { scopes: ['openid'], claims: [], resources: {} }, shownNow());
    return clientId;
  };
  const mailed = async (email: string, page: string, subject: RegExp) =>
    tokenOf((await server.mail(email, subject)).links, page);
  const queueLogout = (db: Db, logout: { clientId: string; sub: string; sid: string }) =>
    server.app.jobs.send(db, 'backchannel-logout', logout);
  const mfaDeps = (): MfaDeps => ({ ...server.app.signIn.mfa, requiredRank: 0 });
  const signInDeps = (): SignInDeps => server.app.signIn;
  return { server, db, register, registerVerified, openSession, mailed, queueLogout, signInDeps, mfaDeps };
};
const accounts = { ...registered, ...administrators, ...passwords };
export type World = ReturnType<typeof openWorld>;

/** The row of `sign_ins` that a sign-in has. */
const kept = { signIn: expect.any(String) };

/** A sign-in whose password was right. */
export const pendingOf = (
  user: { id: string; passwordChangedAt: Date | null },
  more: Partial<Parameters<typeof createMfaToken>[1]> = {},
): Parameters<typeof createMfaToken>[1] => ({
  ...{ due: 'factor', user, amr: ['pwd'], ts: Math.floor(Date.now() / 1000), browser: false, enrols: false },
  ...more,
});

/** A try is counted whatever comes of it; what is asked is whether anything else has changed. */
const uncounted = (server: TestServer, tried: Promise<void>): Promise<void> =>
  tried.finally(() => server.database.db('oneTimeCodes').update({ tries: 0 }));

export const user = (id: string): Actor => ({ ...anonymous, type: 'user', id });
const asUser = (action: string, id: string, meta = {}): Expected => ({
  action,
  actor: ['user', id],
  target: ['user', id],
  meta,
});
const asAnybody = (action: string, id: unknown, meta = {}): Expected => ({
  action,
  actor: ['anonymous'],
  target: ['user', id],
  meta,
});
const onClient = (action: string, id: string, meta = {}): Expected => ({
  action,
  actor: ['operator'],
  target: ['client', id],
  meta,
});
const powers = clients.operatorPowers;
const byOperator = (action: string, id: string, meta = {}): Expected => ({
  action,
  actor: ['operator'],
  target: ['user', id],
  meta,
});
/** Somebody who may do everything. */
const superAdmin = { kind: 'client', id: 'acme', rank: 100, roles: [], permissions: ['*:*:*'] } as const;
const userDeps = ({ app }: TestServer): users.UserDeps => ({
  ...app.accounts,
  dropMailedLinks,
  tellOldAddress: (db, account) => tellOldAddress(app.accounts, db, account),
  joinByWord: async () => {},
  assertMayTakeOver,
  assertMayChange: assertMayChangeAccount,
});
const keyDeps = ({ app, database: { db } }: TestServer): apiKeys.CreationDeps => ({
  db,
  isSessionLive,
  tellOwner: (db, actor, key) => tellOfApiKey(app.accounts, db, actor, key),
});
const newClient = { client_name: name, redirect_uris: ['https://app.example.com/'] };
/** In seconds since 1970, after every change so far. */
const shownNow = () => Math.ceil(Date.now() / 1000);
const soon = () => new Date(Date.now() + 600_000);
/** Somebody whom a client can ask something. */
const askable = async ({ server, registerVerified, openSession }: World) => {
  const { id } = await registerVerified();
  return { id, clientId: await openSession(id), deps: { ...server.app.accounts, mayMail: async () => true } };
};
const agreement = { scopes: ['openid', 'email'], claims: ['name'], resources: { 'https://api.example.com': ['read'] } };
const asked = { ...agreement, authReqId: 'a-request-id', bindingMessage: 'W4SCT' };

const resourceRules = { isIdentifier: () => true, signingAlgs: () => ['RS256'], narrow: narrowResource };
const newResourceServer = {
  ...{ name: 'Orders', description: null, scopes: [{ name: 'orders.read', description: null }], clients: [] },
  ...{ accessTokenFormat: 'jwt', accessTokenTtl: null, signingAlg: null, allow: 'any' },
} satisfies resources.ResourceServerInput;
/** A resource server to whose scope somebody has agreed at a client. */
const openResourceServer = async (db: Db, userId: string, openSession: (userId: string) => Promise<string>) => {
  const identifier = `https://${uuid()}.example.com/`;
  const { id } = await resources.createResourceServer(
    db,
    operator,
    powers,
    { ...newResourceServer, identifier },
    resourceRules,
  );
  const clientId = await openSession(userId);
  const granted = JSON.stringify({ [identifier]: ['orders.read'] });
  await db('consents').where({ userId, clientId }).update({ resources: granted });
  return { id, identifier };
};

export const auditedCommands: Record<string, (world: World) => Promise<Arranged>> = {
  setUp: async ({ server, db }) => {
    const token = (await accounts.createSetupToken(db)) as string;
    return {
      run: () =>
        accounts.setUp(server.app.accounts, anonymous, { token, email: `${uuid()}@example.com`, name, password }),
      expected: (id: string) => [asAnybody('user.create', id, { role: 'super_admin' })],
    };
  },
  createAdministrator: async ({ server }) => ({
    run: () =>
      accounts.createAdministrator(server.app.accounts, operator, { email: `${uuid()}@example.com`, name, password }),
    expected: (id: string) => [
      { action: 'user.create', actor: ['operator'], target: ['user', id], meta: { role: 'super_admin' } },
    ],
  }),
  register: async ({ server }) => ({
    run: () =>
      accounts.register(server.app.accounts, anonymous, {
        email: `${uuid()}@example.com`,
        password,
        name,
        locale: null,
      }),
    expected: (id: string) => [asAnybody('user.register', id)],
  }),
  'register, of an address that is taken': async ({ server, register }) => {
    const { id, email } = await register();
    return {
      run: () => accounts.register(server.app.accounts, anonymous, { email, password, name, locale: null }),
      expected: () => [asAnybody('user.register_again', id)],
    };
  },
  resendVerification: async ({ server, register }) => {
    const { id, email } = await register();
    return {
      run: () => accounts.resendVerification(server.app.accounts, anonymous, email),
      expected: () => [asAnybody('user.verify_requested', id)],
    };
  },
  answerCodeRequest: async ({ server, register }) => {
    const { id, email } = await register();
    return {
      run: () => codes.answerCodeRequest(server.app.otp, { email, actor: anonymous }),
      expected: () => [asAnybody('otp.send', id, { purpose: 'verify-email', channel: 'email' })],
    };
  },
  sendSmsCode: async ({ server, registerVerified }) => {
    const { id } = await registerVerified();
    return {
      run: () => codes.sendSmsCode(server.app.otp, user(id), { userId: id, phoneNumber: pii.phone_number }),
      expected: () => [asUser('otp.send', id, { purpose: 'verify-phone', channel: 'sms' })],
    };
  },
  verifyEmailByCode: async ({ server, register, openSession }) => {
    const { id, email } = await register();
    const uid = await openSession(id);
    await codes.answerCodeRequest(server.app.otp, { email, actor: anonymous });
    const code = /\d{6}/.exec((await server.mail(email, /code/)).text)?.[0] ?? '';
    return {
      run: () => uncounted(server, codes.verifyEmailByCode(server.app.otp, anonymous, { email, code })),
      expected: () => [
        asAnybody('session.end', id, { sessions: [uid], reason: 'verified' }),
        asUser('user.verify_email', id),
      ],
    };
  },
  verifyPhoneByCode: async ({ server, registerVerified, openSession }) => {
    const { id } = await registerVerified();
    const sessionUid = await openSession(id);
    const phoneNumber = '+4930901821';
    await codes.sendSmsCode(server.app.otp, user(id), { userId: id, phoneNumber });
    const code = /^\d{6}/.exec((await server.mail(phoneNumber)).text)?.[0] ?? '';
    return {
      run: () => uncounted(server, codes.verifyPhoneByCode(server.app.otp, user(id), { userId: id, sessionUid, code })),
      expected: () => [asUser('user.verify_phone', id)],
    };
  },
  verifyPhone: async ({ server, db, registerVerified }) => {
    const { id } = await registerVerified();
    return {
      run: () => verifyPhone(db, server.app.secrets, user(id), id, pii.phone_number),
      expected: () => [asUser('user.verify_phone', id)],
    };
  },
  verifyEmail: async ({ server, register, mailed }) => {
    const { id, email } = await register();
    const token = await mailed(email, 'verify', /Confirm/);
    return {
      run: () => accounts.verifyEmail(server.app.accounts, anonymous, token),
      expected: () => [asUser('user.verify_email', id)],
    };
  },
  forgotPassword: async ({ server, registerVerified }) => {
    const { id, email } = await registerVerified();
    return {
      run: () => accounts.forgotPassword(server.app.accounts, anonymous, email),
      expected: () => [asAnybody('password.reset_requested', id)],
    };
  },
  resetPassword: async ({ server, registerVerified, openSession, mailed }) => {
    const { id, email } = await registerVerified();
    const uid = await openSession(id);
    await accounts.forgotPassword(server.app.accounts, anonymous, email);
    const token = await mailed(email, 'reset', /new password/);
    return {
      run: () =>
        accounts.resetPassword(server.app.accounts, anonymous, { token, password: 'another horse battery staple' }),
      expected: () => [
        asAnybody('session.end', id, { sessions: [uid], reason: 'password_reset' }),
        asUser('password.reset', id),
      ],
    };
  },
  changePassword: async ({ server, registerVerified, openSession }) => {
    const { id } = await registerVerified();
    const [here, elsewhere] = [await openSession(id), await openSession(id)];
    return {
      run: () =>
        accounts.changePassword(server.app.accounts, user(id), {
          userId: id,
          sessionUid: here,
          currentPassword: password,
          newPassword: 'another horse battery staple',
        }),
      expected: () => [
        asUser('session.end', id, { sessions: [elsewhere], reason: 'password_change' }),
        asUser('password.change', id),
      ],
    };
  },
  signIn: async ({ registerVerified, signInDeps }) => {
    const { id, email } = await registerVerified();
    return {
      run: () => signIn(signInDeps(), anonymous, { email, password, clientId: 'acme' }),
      expected: () => [asUser('session.sign_in', id, { ...kept, clientId: 'acme', amr: ['pwd'] })],
    };
  },
  'signIn, with a second factor': async ({ registerVerified, signInDeps, mfaDeps, db, server }) => {
    const { id, email } = await registerVerified();
    const deps = { ...signInDeps(), mfa: mfaDeps() };
    const first = await signIn(deps, anonymous, { email, password, clientId: 'acme' });
    const mfaToken = first.kind === 'mfa-required' ? first.mfaToken : '';
    const code = await createOneTimeCode(db, server.app.secrets, {
      purpose: 'mfa',
      subject: id,
      userId: id,
      channel: 'email',
    });
    return {
      run: () =>
        finishSignIn(deps, anonymous, { mfaToken, code, clientId: 'acme', putsOff: true }).finally(() =>
          db('oneTimeCodes').where({ subject: id }).update({ tries: 0 }),
        ),
      expected: () => [asUser('session.sign_in', id, { ...kept, clientId: 'acme', amr: ['pwd', 'otp', 'mfa'] })],
    };
  },
  sendMfaCode: async ({ db, server, registerVerified, mfaDeps }) => {
    const { id } = await registerVerified();
    const user = await db('users').where({ id }).first('id', 'passwordChangedAt');
    const mfaToken = createMfaToken(server.app.secrets, pendingOf(user));
    return {
      run: () => sendMfaCode(mfaDeps(), anonymous, { mfaToken, channel: 'email' }),
      expected: () => [asAnybody('otp.send', id, { purpose: 'mfa', channel: 'email' })],
    };
  },
  'signIn, with a hash of another kind': async ({ db, registerVerified, signInDeps }) => {
    const { id, email } = await registerVerified();
    await db('users')
      .where({ id })
      .update({ passwordHash: await bcrypt(password, 4) });
    return {
      run: () => signIn(signInDeps(), anonymous, { email, password }),
      expected: () => [asUser('session.sign_in', id, { ...kept, amr: ['pwd'] })],
    };
  },
  'signIn, with a wrong password': async ({ registerVerified, signInDeps }) => {
    const { id, email } = await registerVerified();
    return {
      run: () => signIn(signInDeps(), anonymous, { email, password: 'not the password' }),
      expected: () => [asAnybody('session.sign_in_failed', id, { reason: 'wrong_password' })],
    };
  },
  'signIn, that locks the account': async ({ registerVerified, signInDeps }) => {
    const { id, email } = await registerVerified();
    const nothing = () => Promise.resolve();
    const begin = () => Promise.resolve({ held: 'delayed' as const, locks: true, undo: nothing, forgive: nothing });
    return {
      run: () => signIn({ ...signInDeps(), guesses: { begin, release: nothing } }, anonymous, { email, password }),
      expected: () => [
        asAnybody('session.sign_in_failed', id, { reason: 'delayed' }),
        { action: 'account.lock', actor: ['system'], target: ['user', id], meta: {} },
      ],
    };
  },
  ...registrationCommands,
  ...roleCommands,
  ...policyCommands,
  ...keycloakCommands,
  ...federationCommands,
  ...factorCommands,
  ...passkeyCommands,
  ...accountCommands,
  ...userCommands,
  ...groupCommands,
  ...organizationCommands,
  ...joiningCommands,
  createClient: async ({ server, db }) => ({
    run: () => clients.createClient(db, operator, powers, newClient, server.app.provider.validateClient),
    expected: ({ client_id }: { client_id: string }) => [
      { action: 'client.create', actor: ['operator'], target: ['client', client_id] },
    ],
  }),
  ensureClient: async ({ db }) => {
    const id = uuid();
    return {
      run: () => clients.ensureClient(db, id, { redirect_uris: ['https://app.example.com/'] }),
      expected: () => [{ action: 'client.create', actor: ['system'], target: ['client', id], meta: { builtIn: true } }],
    };
  },
  updateClient: async ({ server, db }) => {
    const { validateClient } = server.app.provider;
    const { client_id: id } = await clients.createClient(db, operator, powers, newClient, validateClient);
    const changed = { ...newClient, client_name: 'Ada King', scope: 'openid email' };
    return {
      run: () =>
        clients.updateClient(db, operator, powers, id, changed, {
          validate: validateClient,
          revokeGrants: revokeGrantsOf,
        }),
      expected: () => [onClient('client.update', id, { members: ['client_name', 'scope'], grantsEnded: true })],
    };
  },
  rotateClientSecret: async ({ server, db }) => {
    const { validateClient } = server.app.provider;
    const { client_id: id } = await clients.createClient(db, operator, powers, newClient, validateClient);
    return {
      run: () => clients.rotateClientSecret(db, operator, powers, id, 60),
      expected: () => [onClient('client.rotate_secret', id, { graceSeconds: 60 })],
    };
  },
  deleteClient: async ({ db, registerVerified, openSession }) => {
    const id = await openSession((await registerVerified()).id);
    return {
      run: () => clients.deleteClient(db, operator, powers, id, revokeGrantsOf),
      expected: () => [onClient('client.delete', id)],
    };
  },
  'deleteClient, of one that is a metadata document': async ({ db, registerVerified, openSession }) => {
    const id = await openSession((await registerVerified()).id);
    await db('clients').where({ clientId: id }).update({ kind: 'metadata-document' });
    return {
      run: () => clients.deleteClient(db, operator, powers, id, revokeGrantsOf),
      expected: () => [onClient('client.block', id)],
    };
  },
  unblockClient: async ({ db, registerVerified, openSession }) => {
    const id = await openSession((await registerVerified()).id);
    await db('clients').where({ clientId: id }).update({ kind: 'metadata-document', blockedAt: new Date() });
    return {
      run: () => clients.unblockClient(db, operator, powers, id, revokeGrantsOf),
      expected: () => [onClient('client.unblock', id)],
    };
  },
  createApiKey: async ({ server, registerVerified, openSession }) => {
    const { id: userId } = await registerVerified();
    const scopes = ['users:read:own'];
    const key = { userId, sessionUid: await openSession(userId), name, scopes };
    return {
      run: () => apiKeys.createApiKey(keyDeps(server), user(userId), scopes, key),
      expected: ({ id }: { id: string }) => [
        {
          action: 'api_key.create',
          actor: ['user', userId],
          target: ['api_key', id],
          meta: { userId, scopes, expiresAt: null },
        },
      ],
    };
  },
  revokeApiKeysOf: async ({ server, db, registerVerified, openSession }) => {
    const { id: userId } = await registerVerified();
    const key = { userId, sessionUid: await openSession(userId), name, scopes: ['users:read:own'] };
    const { id } = await apiKeys.createApiKey(keyDeps(server), user(userId), ['*:*:*'], key);
    return {
      run: () => apiKeys.revokeApiKeysOf(db, anonymous, userId, 'password_reset'),
      expected: () => [
        {
          action: 'api_key.revoke',
          actor: ['anonymous'],
          target: ['api_key', id],
          meta: { reason: 'password_reset' },
        },
      ],
    };
  },
  revokeApiKey: async ({ server, db, registerVerified, openSession }) => {
    const { id: userId } = await registerVerified();
    const key = { userId, sessionUid: await openSession(userId), name, scopes: ['users:read:own'] };
    const { id } = await apiKeys.createApiKey(keyDeps(server), user(userId), ['*:*:*'], key);
    await db('grants')
      .where({ id: await openSession(userId) })
      .update({ apiKeyId: id });
    return {
      run: () => apiKeys.revokeApiKey(db, user(userId), id, revokeGrantsOf),
      expected: () => [{ action: 'api_key.revoke', actor: ['user', userId], target: ['api_key', id] }],
    };
  },
  rotateKeys: async ({ server, db }) => ({
    run: () => rotateKeys(db, server.app.secrets, operator),
    expected: ({ keys }: { keys: { kid: string; alg: string }[] }) =>
      keys.map(({ kid, alg }) => ({
        action: 'key.rotate',
        actor: ['operator'],
        target: ['key', kid],
        meta: { alg, now: false, revoke: false },
      })),
  }),
  deleteRetiredKeys: async ({ server, db }) => {
    await rotateKeys(db, server.app.secrets, operator, { now: true });
    const old = await db('jwksKeys').orderBy('signsFrom', 'desc').offset(4).select('kid', 'alg');
    await db.raw(`update jwks_keys set signs_from = signs_from - interval '1 hour'`);
    return {
      run: () => deleteRetiredKeys(db, 60),
      expected: () =>
        old.map(({ kid, alg }) => ({ action: 'key.delete', actor: ['system'], target: ['key', kid], meta: { alg } })),
    };
  },
  expireEvents: async ({ db }) => {
    await db('auditLogs').insert({ id: uuid(), at: new Date(0), actorType: 'system', action: 'test.happen' });
    return {
      run: () => expireEvents(db, 31 * 86_400),
      expected: () => [
        { action: 'audit.expire', actor: ['system'], meta: { count: 1, before: expect.stringMatching(/Z$/) } },
      ],
    };
  },
  'ensureKeys, of fewer algorithms': async ({ server, db }) => {
    const unwanted = await db('jwksKeys').where({ alg: 'EdDSA', retiredAt: null }).select('kid', 'alg');
    return {
      run: () => ensureKeys(db, server.app.secrets, ['RS256', 'PS256', 'ES256']),
      expected: () =>
        unwanted.map(({ kid, alg }) => ({
          action: 'key.retire',
          actor: ['system'],
          target: ['key', kid],
          meta: { alg },
        })),
    };
  },
  ensureKeys: async ({ server, db }) => {
    await db('jwksKeys').where({ alg: 'EdDSA' }).delete();
    return {
      run: () => ensureKeys(db, server.app.secrets),
      expected: () => [
        { action: 'key.create', actor: ['system'], target: ['key', expect.any(String)], meta: { alg: 'EdDSA' } },
      ],
    };
  },
  createResourceServer: async ({ db }) => ({
    run: () =>
      resources.createResourceServer(
        db,
        operator,
        powers,
        { ...newResourceServer, identifier: 'https://api.example.com/' },
        resourceRules,
      ),
    expected: ({ id }: { id: string }) => [
      {
        action: 'resource_server.create',
        actor: ['operator'],
        target: ['resource_server', id],
        meta: { identifier: 'https://api.example.com/' },
      },
    ],
  }),
  updateResourceServer: async ({ db, registerVerified, openSession }) => {
    const { id, identifier } = await openResourceServer(db, (await registerVerified()).id, openSession);
    return {
      run: () =>
        resources.updateResourceServer(
          db,
          operator,
          powers,
          { ...newResourceServer, id, name: 'Other', scopes: [] },
          resourceRules,
        ),
      expected: () => [
        {
          action: 'resource_server.update',
          actor: ['operator'],
          target: ['resource_server', id],
          meta: { identifier, members: ['name', 'scopes'] },
        },
      ],
    };
  },
  deleteResourceServer: async ({ db, registerVerified, openSession }) => {
    const { id, identifier } = await openResourceServer(db, (await registerVerified()).id, openSession);
    return {
      run: () => resources.deleteResourceServer(db, operator, powers, id, narrowResource),
      expected: () => [
        {
          action: 'resource_server.delete',
          actor: ['operator'],
          target: ['resource_server', id],
          meta: { identifier },
        },
      ],
    };
  },
  createUser: async ({ server }) => ({
    run: () =>
      createUser(server.app.accounts, operator, superAdmin, {
        email: `${uuid()}@example.com`,
        name,
        role: 'partner',
        emailVerified: false,
        sendInvitation: true,
        locale: null,
      }),
    expected: ({ id }: { id: string }) => [byOperator('user.create', id, { role: 'partner', invited: true })],
  }),
  changeUser: async ({ server, registerVerified }) => {
    const { id } = await registerVerified();
    const email = `${uuid()}@example.com`;
    return {
      run: () => users.changeUser(userDeps(server), operator, superAdmin, id, { email, name: 'Ada King' }),
      expected: () => [byOperator('user.update', id, { members: ['name', 'email', 'emailVerified'] })],
    };
  },
  assignRole: async ({ db, registerVerified }) => {
    const { id } = await registerVerified();
    return {
      run: () => assignRole(db, operator, superAdmin, { userId: id, role: 'partner' }, () => Promise.resolve()),
      expected: () => [byOperator('user.assign_role', id, { from: 'user', to: 'partner' })],
    };
  },
  deactivateUser: async ({ server, registerVerified, openSession }) => {
    const { id } = await registerVerified();
    const uid = await openSession(id);
    return {
      run: () => users.deactivateUser(userDeps(server), operator, superAdmin, id),
      expected: () => [
        byOperator('session.end', id, { sessions: [uid], reason: 'deactivated' }),
        byOperator('user.deactivate', id),
      ],
    };
  },
  reactivateUser: async ({ server, db, registerVerified }) => {
    const { id } = await registerVerified();
    await db('users').where({ id }).update({ status: 'deactivated' });
    return {
      run: () => users.reactivateUser(userDeps(server), operator, superAdmin, id),
      expected: () => [byOperator('user.reactivate', id)],
    };
  },
  closeAccount: async ({ server, registerVerified, openSession }) => {
    const { id } = await registerVerified();
    const uid = await openSession(id);
    return {
      run: () => closeAccount(server.app.accounts, operator, superAdmin, { userId: id, password: undefined }),
      expected: () => [
        byOperator('session.end', id, { sessions: [uid], reason: 'closed' }),
        byOperator('user.close', id),
      ],
    };
  },
  'revokeTokens, of a user': async ({ db, registerVerified, openSession, queueLogout }) => {
    const { id } = await registerVerified();
    const uid = await openSession(id);
    return {
      run: () => revokeTokens(db, operator, { kind: 'user', userId: id }, 'INC-1', queueLogout),
      expected: () => [
        byOperator('session.end', id, { sessions: [uid], reason: 'tokens_revoked' }),
        byOperator('token.revoke', id, {
          sessions: 1,
          apiKeys: 0,
          grants: 1,
          refreshTokens: 1,
          opaqueTokens: 1,
          reason: 'INC-1',
        }),
      ],
    };
  },
  'revokeTokens, of a client': async ({ db, registerVerified, openSession, queueLogout }) => {
    const clientId = await openSession((await registerVerified()).id);
    return {
      run: () => revokeTokens(db, operator, { kind: 'client', clientId }, undefined, queueLogout),
      expected: () => [
        {
          action: 'token.revoke',
          actor: ['operator'],
          target: ['client', clientId],
          meta: { sessions: 0, apiKeys: 0, grants: 1, refreshTokens: 1, opaqueTokens: 1 },
        },
      ],
    };
  },
  'revokeTokens, of a grant': async ({ db, registerVerified, openSession, queueLogout }) => {
    const grantId = await openSession((await registerVerified()).id);
    return {
      run: () => revokeTokens(db, operator, { kind: 'grant', grantId }, undefined, queueLogout),
      expected: () => [
        {
          action: 'token.revoke',
          actor: ['operator'],
          target: ['grant', grantId],
          meta: { sessions: 0, apiKeys: 0, grants: 1, refreshTokens: 1, opaqueTokens: 1 },
        },
      ],
    };
  },
  endSessions: async ({ db, registerVerified, openSession, queueLogout }) => {
    const { id } = await registerVerified();
    const uid = await openSession(id);
    return {
      run: () => endSessions(db, user(id), { userId: id, reason: 'account_page' }, queueLogout),
      expected: () => [asUser('session.end', id, { sessions: [uid], reason: 'account_page' })],
    };
  },
  endExcessSessions: async ({ db, registerVerified, openSession, queueLogout }) => {
    const { id } = await registerVerified();
    const uid = await openSession(id);
    const of = { userId: id, begun: 'another', limit: 1 };
    return {
      run: () => db.transaction((db) => endExcessSessions(db, system, of, queueLogout)),
      expected: () => [
        {
          action: 'session.end',
          actor: ['system'],
          target: ['user', id],
          meta: { sessions: [uid], reason: 'too_many' },
        },
      ],
    };
  },
  disownSignIn: async ({ db, registerVerified, openSession, queueLogout }) => {
    const { id } = await registerVerified();
    const sessionUid = await openSession(id);
    const [signInId, token] = [uuid(), uuid()];
    const risk = { outcome: 'allow', score: 30, factors: '[]' };
    await db('signIns').insert({ ...risk, id: signInId, userId: id, sessionUid, tokenHash: hashToken(token) });
    const endSession: EndSession = (db, actor, of) => endSessions(db, actor, of, queueLogout);
    const target: [string, string] = ['user', id];
    return {
      run: () => disownSignIn({ db, endSession }, anonymous, token),
      expected: () => [
        { action: 'session.end', actor: ['anonymous'], target, meta: { sessions: [sessionUid], reason: 'disowned' } },
        { action: 'session.disown', actor: ['anonymous'], target, meta: { signIn: signInId } },
      ],
    };
  },
  grantConsent: async ({ db, registerVerified, openSession }) => {
    const { id } = await registerVerified();
    const clientId = await openSession(id);
    return {
      run: () => grantConsent(db, user(id), id, clientId, agreement, shownNow()),
      expected: () => [{ action: 'consent.grant', actor: ['user', id], target: ['client', clientId], meta: agreement }],
    };
  },
  recordDeviceDecision: async ({ db, registerVerified }) => {
    const { id } = await registerVerified();
    return {
      run: () => recordDeviceDecision(db, user(id), { clientId: 'a-television' }),
      expected: () => [{ action: 'device.approve', actor: ['user', id], target: ['client', 'a-television'] }],
    };
  },
  askPerson: async (world) => {
    const { id: userId, clientId, deps } = await askable(world);
    const client: Actor = { ...anonymous, type: 'client', id: clientId };
    return {
      run: () => askPerson(deps, client, { userId, client: { id: clientId, name }, details: asked, expiresAt: soon() }),
      expected: () => [
        {
          action: 'backchannel.request',
          actor: ['client', clientId],
          target: ['user', userId],
          meta: { request: expect.any(String), client: clientId },
        },
      ],
    };
  },
  recordDecision: async (world) => {
    const { id: userId, clientId, deps } = await askable(world);
    const question = { userId, client: { id: clientId, name }, details: asked, expiresAt: soon() };
    await askPerson(deps, operator, question);
    const { id } = await world.db('backchannelRequests').where({ userId }).first('id');
    const approval = {
      clientId,
      userId,
      sessionUid: clientId,
      details: asked,
      acr: 'any',
      amr: ['pwd'],
      authTime: shownNow(),
    };
    return {
      run: () => world.db.transaction((db) => recordDecision(db, user(userId), approval, { id, decision: 'approved' })),
      expected: () => [
        { action: 'consent.grant', actor: ['user', userId], target: ['client', clientId], meta: agreement },
        { action: 'backchannel.approve', actor: ['user', userId], target: ['client', clientId], meta: { request: id } },
      ],
    };
  },
  withdrawConsent: async ({ db, registerVerified, openSession }) => {
    const { id } = await registerVerified();
    const clientId = await openSession(id);
    return {
      run: () => withdrawConsent(db, user(id), id, clientId),
      expected: () => [{ action: 'consent.withdraw', actor: ['user', id], target: ['client', clientId] }],
    };
  },
  updateProfile: async ({ server, db, registerVerified }) => {
    const { id } = await registerVerified();
    return {
      run: () => updateProfile(db, server.app.secrets, user(id), id, { name: 'Ada King', locale: 'en', pii }),
      expected: () => [asUser('user.update_profile', id, { members: ['phone_number', 'birthdate', 'address'] })],
    };
  },
};
