/**
 * A row for each REST operation: a request that does what the operation is for, and where it names things, requests for
 * somebody else's. `test/integration/routes.test.ts` makes everything else from these and from what the route declares.
 */
import { createHash } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import { signTwilioRequest } from '../../adapters/sms-twilio.ts';
import { createMfaToken } from '../../src/auth/mfa-tokens.commands.ts';
import { keepRestCode } from '../../src/federation/handoffs.ts';
import { createProviders } from '../../src/federation/identity-providers.queries.ts';
import { restClientId } from '../../src/provider/issue-tokens.ts';
import { createPostedRequests } from '../../src/provider/posted-requests.ts';
import { pendingOf } from './audited-commands.ts';
import { password } from './browser.ts';
import type { TestCaller } from './callers.ts';
import * as parts from './route-cases-parts.ts';
import type { World } from './route-world.ts';
import { redirectUri } from './tokens.ts';

export const twilioSettings = {
  SMS_PROVIDER: 'twilio',
  TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}`,
  TWILIO_AUTH_TOKEN: 'a twilio token of tests',
  TWILIO_FROM: '+15005550006',
};

/** What is sent; the path's parameters are filled in by name. */
export interface Attempt {
  params?: Record<string, string>;
  query?: Record<string, string>;
  body?: Record<string, unknown>;
  headers?: Record<string, string>;
  /** Who does it; else somebody with just what the route asks for. */
  caller?: TestCaller;
}

export interface RouteCase {
  /** Permissions that it takes beside the route's own. */
  needs?: readonly string[];
  /** Makes what the operation needs, so that it succeeds: each time anew. */
  attempt(world: World): Promise<Attempt> | Attempt;
  /** The same about somebody else's thing, as an ordinary user: how that is refused. */
  others?: { status: 403 | 404; attempt(world: World): Promise<Attempt> | Attempt };
  /** The same about somebody who ranks higher, as an admin. */
  outranked?(world: World): Promise<Attempt> | Attempt;
  /** It takes a person: an application by itself is refused by the handler. */
  byPerson?: true;
  /** Fields that are compared and never stored, so that whatever they hold is merely wrong. */
  opaque?: readonly string[];
}

const name = 'Ada Lovelace';
const newPassword = 'another horse battery staple';
const unknown = uuid();

const someone = async ({ account }: World): Promise<Attempt> => ({ params: { id: (await account()).id } });
const stranger = ({ stranger }: World): Attempt => ({ params: { id: stranger.id } });
const someClient = async ({ client }: World) => ({ client_id: (await client()).client_id });
const blockedClient = async ({ server }: World) => {
  const clientId = `https://app.example.com/${uuid()}.json`;
  await server.database
    .db('clients')
    .insert({ clientId, kind: 'metadata-document', redirectUris: [redirectUri], blockedAt: new Date() });
  return { client_id: clientId };
};
const someResourceServer = async ({ server }: World) => {
  const [{ id }] = await server.database
    .db('resourceServers')
    .insert({ id: uuid(), identifier: `https://${uuid()}.example.com/`, name: 'Orders', rank: 0 })
    .returning('id');
  return { id };
};
/** One that nobody but the operator may change. */
const highResourceServer = async (world: World) => {
  const { id } = await someResourceServer(world);
  await world.server.database.db('resourceServers').where({ id }).update({ rank: 100 });
  return { id };
};
const identityProvider = {
  preset: 'oidc',
  name: 'Acme',
  issuer: 'https://id.acme.example',
  client_id: 'countersign',
  client_secret: 'a secret of acme',
};
const newProviderId = () => `p-${uuid()}`;
const someIdentityProvider = async ({ server }: World, rank = 0) => {
  const id = newProviderId();
  const { client_secret: _secret, ...metadata } = { ...identityProvider, ...providerDefaults };
  await server.database.db('identityProviders').insert({ id, metadata: JSON.stringify(metadata), rank });
  return { id };
};
const providerDefaults = { enabled: true, trust_acr: false, sign_up: true, claims: {}, roles: [] };
const someIdentity = async ({ server }: World, userId: string): Promise<string> => {
  const identity = { userId, providerId: 'acme', issuer: 'https://id.acme.example', subject: uuid() };
  const [row] = await server.database.db('identities').insert(identity).returning('id');
  return row.id;
};
/** What an application is given for somebody whom a provider has signed in. */
const someSocialCode = async (world: World) => {
  const { id } = await someIdentityProvider(world, 100);
  const { db } = world.server.database;
  const { app } = world.server;
  const provider = await createProviders(db, app.secrets, []).find(id);
  if (!provider) throw new Error('no provider');
  const person = { providerId: id, issuer: 'https://id.acme.example', subject: uuid(), emailProven: false };
  const { id: userId } = await world.account();
  await db('identities').insert({ userId, providerId: id, issuer: person.issuer, subject: person.subject });
  const codeVerifier = uuid() + uuid();
  const challenge = createHash('sha256').update(codeVerifier).digest('base64url');
  const known = { ...person, profile: {}, firstProfile: {}, roles: [], amr: ['fed'] };
  const code = await keepRestCode(createPostedRequests(db, app.secrets), provider, known, challenge);
  return { code, codeVerifier };
};
const somePolicy = async ({ server }: World) => {
  const name = `p-${uuid()}`;
  await server.database.db('softwarePolicies').insert({ name, grantTypes: ['authorization_code'] });
  return { name };
};
const superAdmin = ({ superAdmin }: World): Attempt => ({ params: { id: superAdmin.id } });

const login = async ({ anybody, account }: World): Promise<{ refreshToken: string }> => {
  const { email } = await account();
  const { json } = await anybody.request('post', '/auth/login', { email, password });
  return { refreshToken: json.refreshToken };
};
/** A question of an application's to somebody. */
const asked = async ({ server }: World, userId: string): Promise<Record<string, string>> => {
  const { client_id, client_secret } = await server.client({
    redirect_uris: [],
    grant_types: ['urn:openid:params:grant-type:ciba'],
    backchannel_token_delivery_mode: 'poll',
  });
  const response = await fetch(`${server.address}/oauth/backchannel`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` },
    body: new URLSearchParams({ scope: 'openid', login_hint: userId }),
  });
  if (response.status !== 200) throw new Error(await response.text());
  const { id } = await server.database.db('backchannelRequests').where({ userId }).orderBy('id', 'desc').first('id');
  return { id };
};
const waitingRequest: RouteCase = {
  attempt: async (world) => {
    const caller = await world.person();
    return { caller, params: await asked(world, caller.id) };
  },
  others: { status: 404, attempt: async (world) => ({ params: await asked(world, (await world.person()).id) }) },
};
/** A sign-in that waits for its second factor, and the code for it. */
const beginLogin = async ({ server, anybody, account, mailed }: World) => {
  const { db } = server.database;
  const { id, email } = await account();
  const user = await db('users').where({ id }).first('id', 'passwordChangedAt');
  const mfaToken = createMfaToken(server.app.secrets, pendingOf(user, { clientId: restClientId }));
  await anybody.request('post', '/auth/otp/send', { channel: 'email', mfaToken });
  return { mfaToken, code: await mailed(email, /\b(\d{6})\b/) };
};

const accounts: Record<string, RouteCase> = {
  register: {
    attempt: () => ({ body: { email: `${uuid()}@example.com`, password, name } }),
    opaque: ['password'],
  },
  verifyEmail: {
    attempt: async ({ anybody, account, mailed }) => {
      const { email } = await account('user', false);
      await anybody.request('post', '/auth/verify/resend', { email });
      return { body: { token: await mailed(email, /\/verify\?token=([\w-]+)/) } };
    },
    opaque: ['token'],
  },
  resendVerification: {
    attempt: async ({ account }) => ({ body: { email: (await account('user', false)).email } }),
  },
  forgotPassword: { attempt: async ({ account }) => ({ body: { email: (await account()).email } }) },
  resetPassword: {
    attempt: async ({ anybody, account, mailed }) => {
      const { email } = await account();
      await anybody.request('post', '/auth/forgot-password', { email });
      return { body: { token: await mailed(email, /\/reset\?token=([\w-]+)/), password: newPassword } };
    },
    opaque: ['token', 'password'],
  },
  changePassword: {
    attempt: async ({ person }) => ({
      caller: await person(),
      body: { currentPassword: password, newPassword },
    }),
    opaque: ['currentPassword', 'newPassword'],
  },
  sendCode: {
    attempt: async ({ account }) => ({ body: { channel: 'email', email: (await account('user', false)).email } }),
  },
  verifyCode: {
    attempt: async ({ anybody, account, mailed }) => {
      const { email } = await account('user', false);
      await anybody.request('post', '/auth/otp/send', { channel: 'email', email });
      return { body: { channel: 'email', email, code: await mailed(email, /\b(\d{6})\b/) } };
    },
  },
  reportSmsStatus: {
    attempt: ({ server }) => {
      const body = { MessageSid: `SM${'a'.repeat(32)}`, MessageStatus: 'delivered' };
      const url = `${server.issuer}/sms/twilio/status`;
      return {
        body,
        headers: { 'x-twilio-signature': signTwilioRequest(twilioSettings.TWILIO_AUTH_TOKEN, url, body) },
      };
    },
  },
  exportMyData: { attempt: () => ({}) },
  listMyActivity: { attempt: () => ({ query: { limit: '1' } }) },
  listMySignIns: { attempt: () => ({ query: { limit: '1' } }) },
};

const signIn: Record<string, RouteCase> = {
  login: {
    attempt: async ({ account }) => ({ body: { email: (await account()).email, password } }),
    opaque: ['password', 'mfaCode'],
  },
  finishLogin: { attempt: async (world) => ({ body: await beginLogin(world) }), opaque: ['code'] },
  refresh: { attempt: async (world) => ({ body: await login(world) }) },
  logout: { attempt: async (world) => ({ body: await login(world) }) },
  getMe: { attempt: () => ({}) },
  validateToken: { attempt: ({ user }) => ({ body: { token: user.token } }), opaque: ['token'] },
  validateBearer: { attempt: () => ({}) },
};

const users: Record<string, RouteCase> = {
  listUsers: { attempt: () => ({ query: { limit: '1', q: 'ada' } }) },
  administerUsers: { attempt: () => ({ query: { limit: '1', role: 'user', emailVerified: 'true' } }) },
  getUser: {
    attempt: async ({ narrowed }) => {
      const caller = await narrowed('user', 'users:read:own');
      return { caller, params: { id: caller.id } };
    },
    others: { status: 403, attempt: stranger },
  },
  createUser: {
    attempt: () => ({ body: { email: `${uuid()}@example.com`, name } }),
    outranked: () => ({ body: { email: `${uuid()}@example.com`, name, role: 'super_admin' } }),
    opaque: ['password'],
  },
  updateUser: {
    attempt: async ({ narrowed }) => {
      const caller = await narrowed('user', 'users:write:own');
      return { caller, params: { id: caller.id }, body: { name: 'Ada King', locale: 'de' } };
    },
    others: { status: 403, attempt: ({ stranger: { id } }) => ({ params: { id }, body: { name } }) },
    outranked: ({ superAdmin: { id } }) => ({ params: { id }, body: { name } }),
  },
  getProfile: {
    attempt: async ({ narrowed }) => {
      const caller = await narrowed('user', 'users:read:own');
      return { caller, params: { id: caller.id } };
    },
    others: { status: 403, attempt: stranger },
  },
  replaceProfile: {
    attempt: async ({ narrowed }) => {
      const caller = await narrowed('user', 'users:write:own');
      const address = { locality: 'London', country: 'United Kingdom' };
      return { caller, params: { id: caller.id }, body: { name, locale: 'en', birthdate: '1815-12-10', address } };
    },
    others: { status: 403, attempt: ({ stranger: { id } }) => ({ params: { id }, body: { name } }) },
    outranked: ({ superAdmin: { id } }) => ({ params: { id }, body: { name } }),
  },
  deactivateUser: { attempt: someone, outranked: superAdmin },
  reactivateUser: {
    attempt: async ({ account, superAdmin }) => {
      const { id } = await account();
      await superAdmin.request('post', `/users/${id}/deactivate`);
      return { params: { id } };
    },
    outranked: superAdmin,
  },
  closeUser: {
    attempt: async ({ person }) => {
      const caller = await person();
      return { caller, params: { id: caller.id }, body: { password } };
    },
    others: { status: 403, attempt: stranger },
    outranked: superAdmin,
    opaque: ['password'],
  },
  assignRole: {
    attempt: async ({ account }) => ({ params: { id: (await account()).id }, body: { role: 'partner' } }),
    outranked: ({ user: { id } }) => ({ params: { id }, body: { role: 'super_admin' } }),
  },
};

const sessions: Record<string, RouteCase> = {
  listRequests: { attempt: () => ({ query: { limit: '1' } }) },
  approveRequest: waitingRequest,
  denyRequest: waitingRequest,
  listSessions: { attempt: () => ({ query: { limit: '1' } }) },
  endSession: {
    attempt: async ({ person }) => {
      const caller = await person();
      return { caller, params: { id: caller.sessionId } };
    },
    others: { status: 404, attempt: async ({ person }) => ({ params: { id: (await person()).sessionId } }) },
  },
  endOtherSessions: { attempt: async ({ person }) => ({ caller: await person() }) },
  listUserSessions: { attempt: stranger },
  listUserSignIns: { attempt: stranger },
  endUserSessions: { attempt: someone, outranked: superAdmin },
  revokeTokens: { attempt: async ({ account }) => ({ body: { userId: (await account()).id, reason: 'INC-1' } }) },
};

const machines: Record<string, RouteCase> = {
  createResourceServer: {
    attempt: () => ({
      body: {
        identifier: `https://${uuid()}.example.com/`,
        name: 'Orders',
        scopes: [{ name: 'orders.read', description: 'See your orders' }],
      },
    }),
  },
  listResourceServers: { attempt: () => ({ query: { limit: '2' } }) },
  readResourceServer: { attempt: async (world) => ({ params: await someResourceServer(world) }) },
  replaceResourceServer: {
    attempt: async (world) => ({ params: await someResourceServer(world), body: { name: 'Orders' } }),
    outranked: async (world) => ({ params: await highResourceServer(world), body: { name: 'Orders' } }),
  },
  deleteResourceServer: {
    attempt: async (world) => ({ params: await someResourceServer(world) }),
    outranked: async (world) => ({ params: await highResourceServer(world) }),
  },
  createIdentityProvider: {
    attempt: () => ({ body: { id: newProviderId(), ...identityProvider } }),
  },
  listIdentityProviders: { attempt: () => ({ query: { limit: '2' } }) },
  getIdentityProvider: { attempt: async (world) => ({ params: await someIdentityProvider(world) }) },
  replaceIdentityProvider: {
    attempt: async (world) => ({ params: await someIdentityProvider(world), body: identityProvider }),
    outranked: async (world) => ({ params: await someIdentityProvider(world, 100), body: identityProvider }),
  },
  deleteIdentityProvider: {
    attempt: async (world) => ({ params: await someIdentityProvider(world) }),
    outranked: async (world) => ({ params: await someIdentityProvider(world, 100) }),
  },
  listSocialProviders: { attempt: () => ({}) },
  redeemSocialCode: {
    attempt: async (world) => ({ body: await someSocialCode(world) }),
    opaque: ['code', 'codeVerifier'],
  },
  listOwnIdentities: { attempt: () => ({}) },
  deleteOwnIdentity: {
    attempt: async (world) => {
      const caller = await world.person();
      return { caller, params: { id: await someIdentity(world, caller.id as string) } };
    },
    others: {
      status: 404,
      attempt: async (world) => ({ params: { id: await someIdentity(world, world.stranger.id as string) } }),
    },
  },
  createClient: { attempt: () => ({ body: { client_name: 'Acme', redirect_uris: [redirectUri] } }) },
  listClients: { attempt: () => ({ query: { limit: '2' } }) },
  readClient: { attempt: async (world) => ({ params: await someClient(world) }) },
  replaceClient: {
    attempt: async (world) => ({
      params: await someClient(world),
      body: { client_name: 'Acme', redirect_uris: [redirectUri] },
    }),
    // Another one than the path's, or another than the present one, is refused with whatever it holds.
    opaque: ['client_id', 'client_secret'],
  },
  rotateClientSecret: {
    attempt: async (world) => ({ params: await someClient(world), body: { graceSeconds: 0 } }),
  },
  deleteClient: { attempt: async (world) => ({ params: await someClient(world) }) },
  unblockClient: { attempt: async (world) => ({ params: await blockedClient(world) }) },
  listSoftwarePolicies: { attempt: () => ({ query: { limit: '2' } }) },
  createSoftwarePolicy: { attempt: () => ({ body: { name: `p-${uuid()}`, redirectHosts: ['app.example.com'] } }) },
  replaceSoftwarePolicy: {
    attempt: async (world) => ({ params: await somePolicy(world), body: { description: 'x', requirePkce: false } }),
  },
  deleteSoftwarePolicy: { attempt: async (world) => ({ params: await somePolicy(world) }) },
  listInitialAccessTokens: { attempt: () => ({ query: { limit: '2' } }) },
  createInitialAccessToken: {
    attempt: async (world) => ({
      body: { note: 'For Acme', softwarePolicy: (await somePolicy(world)).name, uses: 1, expiresIn: 3600 },
    }),
  },
  deleteInitialAccessToken: {
    attempt: async ({ server }) => {
      const token = { id: uuid(), tokenHash: uuid(), note: 'x', expiresAt: new Date(Date.now() + 60_000) };
      await server.database.db('initialAccessTokens').insert(token);
      return { params: { id: token.id } };
    },
  },
  createApiKey: {
    attempt: () => ({ body: { name: 'a key', scopes: ['api_keys:write:own'], expiresIn: 3600 } }),
  },
  listApiKeys: {
    attempt: () => ({ query: { limit: '1' } }),
    others: { status: 403, attempt: ({ stranger: { id } }) => ({ query: { userId: id } }) },
  },
  readApiKey: {
    attempt: async ({ narrowed, apiKey }) => {
      const caller = await narrowed('user', 'api_keys:read:own');
      return { caller, params: { id: await apiKey(caller.id) } };
    },
    others: { status: 404, attempt: async ({ apiKey, stranger: { id } }) => ({ params: { id: await apiKey(id) } }) },
  },
  revokeApiKey: {
    attempt: async ({ narrowed, apiKey }) => {
      const caller = await narrowed('user', 'api_keys:write:own');
      return { caller, params: { id: await apiKey(caller.id) } };
    },
    others: { status: 404, attempt: async ({ apiKey, stranger: { id } }) => ({ params: { id: await apiKey(id) } }) },
  },
};

const administration: Record<string, RouteCase> = {
  listKeys: { attempt: () => ({}) },
  rotateKeys: { attempt: () => ({ body: { now: false } }) },
  listAuditLogs: { attempt: () => ({ query: { limit: '2', action: 'session.*' } }) },
  exportAuditLogs: { attempt: () => ({ query: { format: 'jsonl', targetId: unknown } }) },
  getAuditStatistics: { attempt: () => ({}) },
};

/** By operation. An operation has one row: of two files that have one for it the first would never be tried. */
export const routeCases: Readonly<Record<string, RouteCase>> = Object.fromEntries(
  [accounts, signIn, users, sessions, machines, administration, ...Object.values(parts)]
    .flatMap((cases: Record<string, RouteCase>) => Object.entries(cases))
    .map(([id, row], at, all) => {
      if (all.findIndex(([other]) => other === id) !== at) throw new Error(`two rows for ${id}`);
      return [id, row];
    }),
);
