/** A service with identity providers: peers on loopback are registered with it, and people come in by way of them. */
import type { Browser, Page } from './browser.ts';
import { callerOf, type TestCaller } from './callers.ts';
import type { TestServer } from './server.ts';
import type { Apple } from './upstreams/apple.ts';
import { graphVersion } from './upstreams/facebook.ts';
import type { Delivered, Peer } from './upstreams/peer.ts';

/** Where a peer's endpoints are, in the document that describes it to the service. */
export const documents = {
  google: ({ origin }: Peer) => ({ preset: 'google', issuer: origin }),
  github: ({ origin }: Peer) => ({
    preset: 'github',
    issuer: origin,
    authorization_endpoint: `${origin}/login/oauth/authorize`,
    token_endpoint: `${origin}/login/oauth/access_token`,
    userinfo_endpoint: `${origin}/user`,
    emails_endpoint: `${origin}/user/emails`,
  }),
  facebook: ({ origin }: Peer) => ({
    preset: 'facebook',
    issuer: origin,
    authorization_endpoint: `${origin}/${graphVersion}/dialog/oauth`,
    token_endpoint: `${origin}/${graphVersion}/oauth/access_token`,
    userinfo_endpoint: `${origin}/${graphVersion}/me`,
  }),
  microsoft: ({ origin }: Peer) => ({ preset: 'microsoft', issuer: `${origin}/{tenantid}/v2.0` }),
  apple: (peer: Peer) => {
    const { teamId, keyId, privateKey } = peer as Apple;
    return { preset: 'apple', issuer: peer.origin, team_id: teamId, key_id: keyId, private_key: privateKey };
  },
  oidc: ({ origin, name }: Peer) => ({ preset: 'oidc', name, issuer: origin }),
} as const;

const administrators = new WeakMap<TestServer, Promise<TestCaller>>();

/** Whoever registers providers. */
export const administrator = (server: TestServer): Promise<TestCaller> => {
  const known = administrators.get(server) ?? callerOf(server, { role: 'super_admin' });
  administrators.set(server, known);
  return known;
};

/** Tells each of the other. @returns the provider's id */
export const connectPeer = async (
  server: TestServer,
  peer: Peer,
  kind: keyof typeof documents,
  id: string = kind,
  more: Record<string, unknown> = {},
): Promise<string> => {
  const caller = await administrator(server);
  const { status, text } = await caller.request('POST', '/identity-providers', {
    id,
    client_id: peer.clientId,
    ...(kind === 'apple' ? {} : { client_secret: peer.clientSecret }),
    ...documents[kind](peer),
    ...more,
  });
  if (status !== 201) throw new Error(`the provider was refused: ${text}`);
  peer.redirectUris.push(`${server.issuer}/auth/social/${id}/callback`);
  return id;
};

/** Brings an answer back as a browser does: a form from another site comes without cookies (SameSite=Lax). */
export const deliver = async (browser: Browser, { url, form }: Delivered): Promise<Page> => {
  if (!form) return browser.go(url);
  const response = await fetch(url, {
    method: 'POST',
    redirect: 'manual',
    headers: { origin: 'https://elsewhere.example', 'sec-fetch-site': 'cross-site', accept: 'text/html' },
    body: new URLSearchParams(form),
  });
  const location = response.headers.get('location');
  if (location) return browser.go(new URL(location, url));
  return { status: response.status, url: new URL(url), html: await response.text(), headers: response.headers };
};

/** The sign-in page of the account. */
export const signInPage = (browser: Browser): Promise<Page> => browser.go('/account');

/** Presses a provider's button. @returns where the browser is sent: to the provider, unless that cannot be */
export const press = async (browser: Browser, page: Page, id: string): Promise<Page> =>
  browser.submit(page, { social: id });

/** Who signs in there, and whether they let the service have what it asks for. */
export interface Choice {
  login?: string;
  answer?: 'allow' | 'deny';
}

/** Goes by way of a provider, from its button to where the service leads in the end. */
export const throughPeer = async (
  browser: Browser,
  peer: Peer,
  id: string,
  { login, answer }: Choice = {},
  page?: Page,
): Promise<Page> => {
  const { url } = await press(browser, page ?? (await signInPage(browser)), id);
  if (url.origin !== peer.origin) throw new Error(`not sent to ${peer.name}, but to ${url}`);
  return deliver(browser, await peer.signIn(url, login, answer));
};

/** Whose session the browser has; undefined when nobody is signed in. */
export const whoIsSignedIn = async (server: TestServer, browser: Browser): Promise<string | undefined> => {
  const response = await browser.request('/account', { redirect: 'manual' });
  if (response.status !== 200) return undefined;
  const html = await response.text();
  const rows: { email: string }[] = await server.database.db('users').select('email');
  return rows.find(({ email }) => html.includes(email))?.email ?? 'somebody';
};
