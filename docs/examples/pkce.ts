/**
 * Sign-in for an application that runs in the browser: authorization code with PKCE (RFC 7636, OAuth 2.0 for Browser-Based
 * Applications). It knows no framework: auth-provider.tsx puts it into React and use-auth.ts into Vue. Register a public client:
 * `{ "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": [...] }`.
 *
 * Tokens stay in memory. In localStorage every script of the page, a hijacked dependency included, could carry them off, and they
 * would outlive the tab. The price: after a reload there are none. The session at Countersign is still there, so `begin()`
 * comes back with new ones without a question.
 */

export interface Settings {
  issuer: string;
  clientId: string;
  /** Registered for the client, character by character. */
  redirectUri: string;
  /** `openid` and what the application needs, separated by spaces. */
  scope: string;
  /** The API that the access token is for, `<issuer>/api`. Without it the token is opaque and for userinfo alone. */
  resource?: string;
  /** Where to go after signing out; registered as `post_logout_redirect_uris`. */
  afterSignOut?: string;
  /** Pass `sessionStorage`. It holds what connects the way out with the way back, for a minute or so, and no token. */
  store: {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
    removeItem(key: string): void;
  };
  /** Called when somebody is signed in, and with undefined when they are no more. */
  onChange?(user: User | undefined): void;
}

/** What the id_token says (OpenID Connect Core section 2); name and address are at userinfo. */
export interface User {
  sub: string;
  [claim: string]: unknown;
}

interface Tokens {
  access_token: string;
  id_token?: string;
  refresh_token?: string;
  expires_in: number;
}

const pendingKey = 'countersign.pending';

const base64url = (bytes: Uint8Array) =>
  btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (character) => ({ '+': '-', '/': '_' })[character] ?? '');
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** The payload of a JWT. Its signature need not be checked: it came from the issuer itself, over TLS (OpenID Connect Core section 3.1.3.7). */
const payloadOf = (jwt: string) => {
  const binary = atob((jwt.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/'));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (character) => character.charCodeAt(0))));
};

export const createAuth = (settings: Settings) => {
  const { issuer, clientId, redirectUri, scope, resource, afterSignOut, store, onChange } = settings;
  let tokens: Tokens | undefined;
  let expiresAt = 0;
  let user: User | undefined;
  let refreshing: Promise<void> | undefined;
  let completing: { href: string; done: Promise<User> } | undefined;

  const keep = (next: Tokens | undefined, whom: User | undefined) => {
    tokens = next;
    expiresAt = Date.now() + (next?.expires_in ?? 0) * 1000;
    user = whom;
    onChange?.(whom);
  };

  const request = async (parameters: Record<string, string>): Promise<Tokens> => {
    const response = await fetch(`${issuer}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: clientId, ...parameters }),
    });
    const answer = (await response.json()) as Tokens & { error?: string; error_description?: string };
    if (!response.ok) throw Object.assign(new Error(answer.error_description ?? answer.error), { code: answer.error });
    return answer;
  };

  /** Where to send the browser to sign in: `location.assign(await auth.begin())`. */
  const begin = async (extra: Record<string, string> = {}): Promise<URL> => {
    const pending = { state: random(), nonce: random(), verifier: random() };
    store.setItem(pendingKey, JSON.stringify(pending));
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(pending.verifier));
    const url = new URL(`${issuer}/oauth/authorize`);
    url.search = new URLSearchParams({
      response_type: 'code',
      client_id: clientId,
      redirect_uri: redirectUri,
      scope,
      ...(resource ? { resource } : {}),
      state: pending.state,
      nonce: pending.nonce,
      code_challenge: base64url(new Uint8Array(digest)),
      code_challenge_method: 'S256',
      ...extra,
    }).toString();
    return url;
  };

  const redeem = async (callback: URL): Promise<User> => {
    const pending = JSON.parse(store.getItem(pendingKey) ?? 'null');
    store.removeItem(pendingKey);
    const answer = callback.searchParams;
    // A callback that this tab did not ask for would sign the person in as somebody else (RFC 9700 section 4.7).
    if (!pending || answer.get('state') !== pending.state) throw new Error('This sign-in was not begun here');
    // RFC 9207: an answer of another issuer must not be taken to this one.
    if (answer.get('iss') !== issuer) throw new Error('The answer is not from the issuer');
    const error = answer.get('error');
    if (error) throw Object.assign(new Error(answer.get('error_description') ?? error), { code: error });
    const next = await request({
      grant_type: 'authorization_code',
      code: answer.get('code') ?? '',
      redirect_uri: redirectUri,
      code_verifier: pending.verifier,
    });
    const claims = payloadOf(next.id_token ?? '');
    const isOurs = claims.iss === issuer && [claims.aud].flat().includes(clientId) && claims.nonce === pending.nonce;
    if (!isOurs || claims.exp * 1000 < Date.now()) throw new Error('The id_token is not for this sign-in');
    keep(next, claims);
    return claims;
  };

  /**
   * At the redirect URI: exchanges the code for tokens. A code works once, and a second use ends what the first one got, so
   * calling this again with the same URL (React does, in StrictMode) gives the same answer.
   * @throws Error, with `code: 'access_denied'` if the person declined
   */
  const complete = (callback: URL): Promise<User> => {
    if (completing?.href !== callback.href) completing = { href: callback.href, done: redeem(callback) };
    return completing.done;
  };

  const refresh = async () => {
    const before = tokens;
    if (!before?.refresh_token) return keep(undefined, undefined);
    try {
      const next = await request({ grant_type: 'refresh_token', refresh_token: before.refresh_token });
      // Whoever has signed out meanwhile stays signed out.
      if (tokens === before) keep({ ...before, ...next }, user);
    } catch (error) {
      // The session has ended. Whatever else went wrong, a network that is down say, may be tried again.
      if ((error as { code?: string }).code !== 'invalid_grant') throw error;
      if (tokens === before) keep(undefined, undefined);
    }
  };

  /** A token that is good for half a minute at least; undefined when nobody is signed in any more. */
  const accessToken = async (): Promise<string | undefined> => {
    if (tokens && expiresAt - Date.now() < 30_000) {
      // Refresh tokens work once: all who ask meanwhile wait for the one request.
      refreshing ??= refresh().finally(() => {
        refreshing = undefined;
      });
      await refreshing;
    }
    return tokens?.access_token;
  };

  /** Forgets the tokens and says where to send the browser, so that the session at the issuer ends too. */
  const signOut = (): URL => {
    const url = new URL(`${issuer}/oauth/logout`);
    url.search = new URLSearchParams({
      client_id: clientId,
      ...(tokens?.id_token ? { id_token_hint: tokens.id_token } : {}),
      ...(afterSignOut ? { post_logout_redirect_uri: afterSignOut } : {}),
    }).toString();
    keep(undefined, undefined);
    return url;
  };

  return { begin, complete, accessToken, signOut, user: () => user };
};

export type Auth = ReturnType<typeof createAuth>;
