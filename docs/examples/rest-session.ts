/**
 * A person's session over REST, for a back end, a script or a native application. Browsers are better off with pkce.ts: there
 * nobody but Countersign sees the password, and what it asks besides the password works by itself.
 */

/** A refusal as the REST API tells it (RFC 9457). Switch on `code`; docs/errors.md lists all codes. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  /** All of it: `errors` names the fields that were refused, `mfaToken` and `methods` come with mfa_required. */
  readonly body: Record<string, unknown>;
  constructor(status: number, body: Record<string, unknown>) {
    super(`${status} ${body.code}: ${body.title}`);
    this.status = status;
    this.code = String(body.code);
    this.body = body;
  }
}

const post = async (url: string, body: unknown) => {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Problem(response.status, text.startsWith('{') ? JSON.parse(text) : {});
  return text ? JSON.parse(text) : undefined;
};

interface Tokens {
  accessToken: string;
  refreshToken: string;
  expires_in: number;
}

export interface Session {
  user: { id: string; email: string; name: string; role: string };
  /** A token that is good for half a minute at least. @throws Problem 401 invalid_refresh_token: the session has ended */
  accessToken(): Promise<string>;
  /** Ends the session; its tokens stop working at once. */
  signOut(): Promise<void>;
}

/**
 * @throws Problem 401 invalid_credentials; 429: wait; 401 mfa_required: have a code sent, `POST /auth/otp/send { channel, mfaToken }`
 *   with one of `body.methods` and `body.mfaToken`, and call again with it
 */
export const signIn = async (
  baseUrl: string,
  credentials: { email: string; password: string; mfaCode?: string },
): Promise<Session> => {
  const { user, ...first } = (await post(`${baseUrl}/auth/login`, credentials)) as Tokens & Pick<Session, 'user'>;
  let tokens: Tokens = first;
  let expiresAt = Date.now() + first.expires_in * 1000;
  let refreshing: Promise<void> | undefined;

  const refresh = async () => {
    tokens = await post(`${baseUrl}/auth/refresh`, { refreshToken: tokens.refreshToken });
    expiresAt = Date.now() + tokens.expires_in * 1000;
  };

  return {
    user,
    accessToken: async () => {
      if (expiresAt - Date.now() < 30_000) {
        // Each refresh token works once, and a second use looks like theft and ends the session. So whoever comes while
        // one refresh is under way waits for that one. If its answer gets lost, the next call repeats it, which is
        // allowed for a few seconds (REFRESH_TOKEN_GRACE).
        refreshing ??= refresh().finally(() => {
          refreshing = undefined;
        });
        await refreshing;
      }
      return tokens.accessToken;
    },
    signOut: async () => {
      await refreshing?.catch(() => {});
      await post(`${baseUrl}/auth/logout`, { refreshToken: tokens.refreshToken });
    },
  };
};
