/**
 * GitHub: https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps and its page of token errors.
 * Plain OAuth 2.0: the token endpoint answers 200 whatever happened, in a form unless JSON is asked for; addresses are at
 * `/user/emails` only; the API wants a User-Agent. PKCE is checked where it is used (S256 alone).
 */
import { randomBytes } from 'node:crypto';
import { type Account, type Peer, type PeerAnswer, type PeerRequest, pkceMatches, startPeer } from './peer.ts';

export const githubAccount: Account = {
  login: 'octocat',
  id: '583231',
  name: 'The Octocat',
  extra: {
    emails: [
      { email: '583231+octocat@users.noreply.github.example', verified: true, primary: false, visibility: null },
      { email: 'octocat@mail.example', verified: true, primary: true, visibility: 'private' },
      { email: 'unverified@mail.example', verified: false, primary: false, visibility: null },
    ],
  },
};

const errors = {
  incorrect_client_credentials: 'The client_id and/or client_secret passed are incorrect.',
  redirect_uri_mismatch: 'The redirect_uri MUST match the registered callback URL for this application.',
  bad_verification_code: 'The code passed is incorrect or expired.',
} as const;

/** Scopes come separated by commas here. */
const scopesOf = (scope = '') => scope.split(/[\s,]+/).filter(Boolean);

const inWantedFormat = ({ headers }: PeerRequest, body: Record<string, string>): PeerAnswer =>
  /\bapplication\/json\b/.test(headers.accept ?? '')
    ? { body }
    : {
        headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
        body: new URLSearchParams(body).toString(),
      };

const refusal = (request: PeerRequest, error: keyof typeof errors) =>
  inWantedFormat(request, {
    error,
    error_description: errors[error],
    error_uri: `https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#${error.replaceAll('_', '-')}`,
  });

/** What `GET /user` says of somebody whose address is not public. */
const publicProfile = ({ login, id, name }: Account) => ({
  login,
  id: Number(id),
  node_id: Buffer.from(`04:User${id}`).toString('base64'),
  avatar_url: `https://avatars.githubusercontent.example/u/${id}?v=4`,
  gravatar_id: '',
  url: `https://api.github.example/users/${login}`,
  html_url: `https://github.example/${login}`,
  type: 'User',
  user_view_type: 'public',
  site_admin: false,
  name: name ?? null,
  company: null,
  blog: '',
  location: null,
  email: null,
  hireable: null,
  bio: null,
  created_at: '2011-01-25T18:44:36Z',
  updated_at: '2026-01-25T18:44:36Z',
});

export const startGitHub = (accounts: Account[] = [githubAccount]): Promise<Peer> => {
  const people = new Map<string, { account: Account; scopes: string[] }>();
  const api =
    (answer: (found: { account: Account; scopes: string[] }) => PeerAnswer) =>
    ({ headers }: PeerRequest): PeerAnswer => {
      if (!headers['user-agent'])
        return {
          status: 403,
          headers: { 'content-type': 'text/plain' },
          body: 'Request forbidden by administrative rules. Please make sure your request has a User-Agent header.',
        };
      const found = people.get(headers.authorization?.replace(/^(Bearer|token) /i, '') ?? '');
      if (!found)
        return {
          status: 401,
          body: { message: 'Bad credentials', documentation_url: 'https://docs.github.com/rest', status: '401' },
        };
      return { headers: { 'x-oauth-scopes': found.scopes.join(', ') }, ...answer(found) };
    };
  return startPeer(
    {
      name: 'GitHub',
      host: '127.0.0.1',
      authorizationPath: '/login/oauth/authorize',
      consented: (pending, peer) => ({ code: peer.issueCode(pending) }),
      declined: () => ({
        error: 'access_denied',
        error_description: 'The user has denied your application access.',
        error_uri:
          'https://docs.github.com/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/#access-denied',
      }),
      handlers: (peer) => ({
        'POST /login/oauth/access_token': (request) => {
          const { client_id, client_secret, code, redirect_uri, code_verifier } = request.form;
          if (client_id !== peer.clientId || client_secret !== peer.clientSecret)
            return refusal(request, 'incorrect_client_credentials');
          const pending = peer.redeemCode(code);
          if (!pending || !pkceMatches(pending, code_verifier)) return refusal(request, 'bad_verification_code');
          if (redirect_uri !== undefined && redirect_uri !== pending.parameters.redirect_uri)
            return refusal(request, 'redirect_uri_mismatch');
          const scopes = scopesOf(pending.parameters.scope);
          const access_token = `gho_${randomBytes(18).toString('hex')}`;
          people.set(access_token, { account: pending.account, scopes });
          return inWantedFormat(request, { access_token, scope: scopes.join(','), token_type: 'bearer' });
        },
        'GET /user': api(({ account }) => ({ body: publicProfile(account) })),
        'GET /user/emails': api(({ account, scopes }) =>
          scopes.includes('user:email') || scopes.includes('user')
            ? { body: (account.extra?.emails as object | undefined) ?? [] }
            : { status: 404, body: { message: 'Not Found', status: '404' } },
        ),
      }),
    },
    accounts,
  );
};
