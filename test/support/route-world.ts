/** The people, applications and things that the REST routes are tried on. */
import { decodeJwt } from 'jose';
import { v7 as uuid } from 'uuid';
import { catalogue } from '../../src/roles/permissions.ts';
import { insertUser } from '../../src/users/users.queries.ts';
import { password } from './browser.ts';
import { machineOf, nobody, requester, type TestCaller } from './callers.ts';
import { eventually } from './requests.ts';
import type { RegisteredClient, TestServer } from './server.ts';
import { type Application, openApplication, redirectUri } from './tokens.ts';

export interface Account {
  id: string;
  email: string;
}

export interface World {
  server: TestServer;
  anybody: TestCaller;
  /** Signed in over REST, with everything that their roles permit. */
  superAdmin: TestCaller;
  user: TestCaller;
  /** An account like `user`, whose things are not theirs. */
  stranger: TestCaller;
  /** A super_admin at somebody else's application, which may know who they are and nothing more. */
  thirdParty: TestCaller;
  /** An application by itself, with every permission. */
  machine: TestCaller;
  /** A new account, verified unless told otherwise. */
  account(role?: string, verified?: boolean): Promise<Account>;
  /** A new account that is signed in. */
  person(role?: string): Promise<TestCaller & { refreshToken: string; sessionId: string }>;
  /** Somebody with a token for all that they hold now. */
  signIn(account: Account): Promise<TestCaller & { refreshToken: string; sessionId: string }>;
  /** The person with a token for just that permission. */
  narrowed(who: 'superAdmin' | 'user', permission: string): Promise<TestCaller>;
  /** An application by itself with just that permission. */
  machineWith(permission: string): Promise<TestCaller>;
  client(): Promise<RegisteredClient>;
  apiKey(userId: string): Promise<string>;
  /** What the newest mail to the address has of the pattern; waits for it. */
  mailed(to: string, pattern: RegExp): Promise<string>;
}

/** Everything that a token can be asked to have. */
const everything = `openid ${Object.keys(catalogue).join(' ')}`;

export const openRouteWorld = async (server: TestServer): Promise<World> => {
  const { db } = server.database;
  const passwordHash = await server.app.accounts.passwords.hash(password);
  const anybody = nobody(server);

  const account: World['account'] = async (role = 'user', verified = true) => {
    const user = { id: uuid(), email: `${uuid()}@example.com`, name: 'Ada Lovelace', passwordHash };
    await insertUser(db, { ...user, role, emailVerifiedAt: verified ? new Date() : null });
    return user;
  };
  const signIn: World['signIn'] = async ({ id, email }) => {
    const { status, json, text } = await anybody.request('post', '/auth/login', { email, password });
    if (status !== 200) throw new Error(`no sign-in: ${text}`);
    const { accessToken: token, refreshToken } = json;
    return {
      id,
      email,
      token,
      refreshToken,
      sessionId: decodeJwt(token).sid as string,
      request: requester(server, token),
    };
  };
  const person: World['person'] = async (role = 'user') => signIn(await account(role));
  const holder = async (role: string, client: object = {}) => {
    const { id, email } = await account(role);
    const application = await openApplication(server, { scope: everything, first_party: true, ...client }, { email });
    return { id, email, application };
  };
  const tokenOf = async ({ id, email, application }: Account & { application: Application }, scope: string) => {
    const { access_token: token } = await application.tokens({ scope, resource: `${server.issuer}/api` });
    return { id, email, token, request: requester(server, token) };
  };
  const holders = { superAdmin: await holder('super_admin'), user: await holder('user') };
  const scoped = new Map<string, Promise<TestCaller>>();
  const once = (name: string, make: () => Promise<TestCaller>) => {
    const caller = scoped.get(name) ?? make();
    scoped.set(name, caller);
    return caller;
  };

  return {
    server,
    anybody,
    superAdmin: await person('super_admin'),
    user: await person(),
    stranger: await person(),
    thirdParty: await tokenOf(await holder('super_admin', { scope: 'openid', first_party: false }), 'openid'),
    machine: await machineOf(server, '*:*:*'),
    account,
    person,
    signIn,
    narrowed: (who, permission) => once(`${who} ${permission}`, () => tokenOf(holders[who], `openid ${permission}`)),
    machineWith: (permission) => once(permission, () => machineOf(server, permission)),
    client: () => server.client({ redirect_uris: [redirectUri] }),
    apiKey: async (userId) => {
      const key = { id: uuid(), userId, name: 'a key', prefix: 'cs_000000', scopes: ['users:read:own'] };
      await db('apiKeys').insert({ ...key, keyHash: uuid() });
      return key.id;
    },
    mailed: async (to, pattern) => {
      const find = () =>
        server.app.mailbox
          ?.messages()
          .filter((mail) => mail.to === to)
          .map(({ text }) => pattern.exec(text)?.[1])
          .find(Boolean);
      await eventually(() => find() !== undefined, `a mail to ${to} with ${pattern}`);
      return find() as string;
    },
  };
};
