/** An application that signs people in: openid-client against the service, and a browser for each person. */
import { type CryptoKey, exportJWK, generateKeyPair } from 'jose';
import * as oidc from 'openid-client';
import { expect } from 'vitest';
import { authorize, Browser, makeAccount, type Page } from './browser.ts';
import type { RegisteredClient, TestServer } from './server.ts';

export const redirectUri = 'https://app.example.com/callback';
export const postLogoutRedirectUri = 'https://app.example.com/bye';

export interface Person {
  browser: Browser;
  email: string;
}

/** An account, and a browser in which nobody is signed in yet. */
export const newPerson = async (server: TestServer): Promise<Person> => ({
  browser: new Browser(server.issuer),
  email: await makeAccount(server),
});

/** The same account on another device. */
export const elsewhere = ({ browser, email }: Person): Person => ({ browser: new Browser(browser.issuer), email });

/** Of an authorization or token request. An undefined one takes a default away. */
export type Parameters = Record<string, string | undefined>;

const defined = (parameters: Parameters) =>
  Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== undefined)) as Record<string, string>;

/** An authorization request, and what is needed to redeem its code. */
export interface Attempt {
  url: URL;
  verifier: string;
  state: string | undefined;
  nonce: string | undefined;
}

/** Where the browser was sent in the end: the redirect URI, or a page of the service. */
export interface Answer {
  attempt: Attempt;
  callback: URL;
}

export type Tokens = oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers;

export interface RelyingParty {
  client: RegisteredClient;
  config: oidc.Configuration;
  /** The private key of a `private_key_jwt` client. */
  key: CryptoKey | undefined;
  begin(parameters?: Parameters): Promise<Attempt>;
  /** Signs in and consents if asked. */
  authorize(person: Person, parameters?: Parameters): Promise<Answer>;
  /** Exchanges the code, and validates the response and the id_token, its signature included. */
  redeem(answer: Answer, parameters?: Parameters, checks?: oidc.AuthorizationCodeGrantChecks): Promise<Tokens>;
  signIn(person: Person, parameters?: Parameters): Promise<Tokens & { id_token: string; refresh_token: string }>;
  refresh(token: string, parameters?: Parameters): Promise<Tokens>;
}

const authentication = (client: RegisteredClient, key: CryptoKey | undefined): oidc.ClientAuth => {
  switch (client.token_endpoint_auth_method) {
    case 'client_secret_basic':
      return oidc.ClientSecretBasic(client.client_secret);
    case 'client_secret_post':
      return oidc.ClientSecretPost(client.client_secret);
    case 'private_key_jwt':
      return oidc.PrivateKeyJwt({ key: key as CryptoKey, kid: 'k1' });
    default:
      return oidc.None();
  }
};

/** Registers an application: confidential, with PKCE and refresh tokens, unless the metadata says otherwise. */
export const registerRelyingParty = async (
  server: TestServer,
  metadata: Record<string, unknown> = {},
): Promise<RelyingParty> => {
  const keys =
    metadata.token_endpoint_auth_method === 'private_key_jwt'
      ? await generateKeyPair('ES256', { extractable: true })
      : undefined;
  const jwks = keys && {
    jwks: { keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }] },
  };
  const client = await server.client({
    client_name: 'Acme',
    redirect_uris: [redirectUri],
    post_logout_redirect_uris: [postLogoutRedirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    ...jwks,
    ...metadata,
  });
  const config = await oidc.discovery(
    new URL(server.issuer),
    client.client_id,
    metadata.id_token_signed_response_alg || metadata.userinfo_signed_response_alg
      ? {
          id_token_signed_response_alg: metadata.id_token_signed_response_alg as string,
          userinfo_signed_response_alg: metadata.userinfo_signed_response_alg as string,
        }
      : undefined,
    authentication(client, keys?.privateKey),
    { execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks] },
  );

  const party: RelyingParty = {
    client,
    config,
    key: keys?.privateKey,

    begin: async (parameters = {}) => {
      const verifier = oidc.randomPKCECodeVerifier();
      const all = defined({
        redirect_uri: client.redirect_uris[0],
        scope: 'openid',
        state: oidc.randomState(),
        nonce: oidc.randomNonce(),
        code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...parameters,
      });
      const url = oidc.buildAuthorizationUrl(config, all);
      if ('client_id' in parameters || 'response_type' in parameters) {
        for (const name of ['client_id', 'response_type'] as const)
          if (name in parameters && parameters[name] === undefined) url.searchParams.delete(name);
      }
      return { url, verifier, state: all.state, nonce: all.nonce };
    },

    authorize: async ({ browser, email }, parameters) => {
      const attempt = await party.begin(parameters);
      return { attempt, callback: await authorize(browser, attempt.url, email) };
    },

    redeem: ({ attempt, callback }, parameters = {}, checks = {}) =>
      oidc.authorizationCodeGrant(
        config,
        callback,
        {
          ...(attempt.url.searchParams.has('code_challenge') ? { pkceCodeVerifier: attempt.verifier } : {}),
          ...(attempt.state === undefined ? {} : { expectedState: attempt.state }),
          ...(attempt.nonce === undefined ? {} : { expectedNonce: attempt.nonce }),
          ...checks,
        },
        defined(parameters),
      ),

    signIn: async (person, parameters) =>
      (await party.redeem(await party.authorize(person, parameters))) as Tokens & {
        id_token: string;
        refresh_token: string;
      },

    refresh: (token, parameters = {}) => oidc.refreshTokenGrant(config, token, defined(parameters)),
  };
  return party;
};

/** `client_secret_basic` (RFC 6749 section 2.3.1). */
export const basic = ({ client_id, client_secret = '' }: Pick<RegisteredClient, 'client_id' | 'client_secret'>) => ({
  authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}`,
});

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

export interface Reply {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the service answers is looked at, not believed.
  body: any;
}

/** One request without a browser. The body is parsed if it is JSON. */
export const send = async (url: string | URL, init: RequestInit = {}): Promise<Reply> => {
  const response = await fetch(url, { redirect: 'manual', ...init });
  const text = await response.text();
  const isJson = text !== '' && /^application\/([\w-]+\+)?json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
};

/** Posts a form. */
export const post = (
  { issuer }: Pick<TestServer, 'issuer'>,
  path: string,
  form: Record<string, string> | [string, string][] | string,
  headers: Record<string, string> = {},
): Promise<Reply> =>
  send(`${issuer}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body: typeof form === 'string' ? form : new URLSearchParams(form).toString(),
  });

/** What RFC 6749 section 5.2 says of an error: JSON that nobody stores. */
export const expectError = ({ status, headers, body }: Reply, expected: [status: number, error: string]): void => {
  expect([status, body.error]).toEqual(expected);
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  expect(headers.get('cache-control')).toBe('no-store');
};

/** An error page: that status and code, for people, that goes nowhere. */
export const expectErrorPage = (page: Page, issuer: string, [status, code]: [status: number, code: string]): void => {
  expect([page.status, /\d{3} (\w+)/.exec(/<details>[\s\S]*?<\/details>/.exec(page.html)?.[0] ?? '')?.[1]]).toEqual([
    status,
    code,
  ]);
  expect(page.url.origin).toBe(issuer);
  expect(page.headers.get('content-type')).toMatch(/^text\/html/);
  expect(page.headers.get('location')).toBeNull();
  expect(page.headers.get('refresh')).toBeNull();
  expect(page.html).not.toMatch(/http-equiv="refresh"/i);
};

/** The error that was sent to the redirect URI, which must be the registered one. */
export const errorOf = ({ callback }: Answer): string | null => {
  expect(`${callback.origin}${callback.pathname}`).toBe(redirectUri);
  expect(callback.searchParams.has('code')).toBe(false);
  return callback.searchParams.get('error');
};

/** With the letter at the position (from the end) changed: another base64url value of the same length. */
export const tampered = (value: string, fromEnd = 5): string => {
  const at = value.length - fromEnd;
  return `${value.slice(0, at)}${value[at] === 'A' ? 'B' : 'A'}${value.slice(at + 1)}`;
};
