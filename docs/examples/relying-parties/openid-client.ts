/** A web application on openid-client: a pushed request, code with PKCE, refresh, introspection, revocation, sign-out. */
import express from 'express';
import session from 'express-session';
import * as client from 'openid-client';

const { ISSUER = 'http://localhost:3000', APP_URL = 'http://localhost:4000' } = process.env;
const { CLIENT_ID = '', CLIENT_SECRET = '', SESSION_SECRET = '' } = process.env;

declare module 'express-session' {
  interface SessionData {
    /** While the browser is away at the provider. */
    attempt: { verifier: string; state: string; nonce: string };
    tokens: { access: string; refresh: string; id: string; sub: string; expiresAt: number };
  }
}

const provider = await client.discovery(
  new URL(ISSUER),
  CLIENT_ID,
  undefined,
  client.ClientSecretBasic(CLIENT_SECRET),
  // Plain http is for localhost alone.
  ISSUER.startsWith('http:') ? { execute: [client.allowInsecureRequests] } : undefined,
);

/** What a token response leaves in the session: a refresh replaces the refresh token, and brings another id_token. */
const keep = (
  { access_token, refresh_token, id_token, expiresIn, claims }: Awaited<ReturnType<typeof client.refreshTokenGrant>>,
  before?: session.SessionData['tokens'],
): session.SessionData['tokens'] => ({
  access: access_token,
  refresh: refresh_token ?? before?.refresh ?? '',
  id: id_token ?? before?.id ?? '',
  sub: claims()?.sub ?? before?.sub ?? '',
  expiresAt: Date.now() + ((expiresIn() ?? 60) - 30) * 1000,
});

/** An access token that is good for a while, or undefined once the person is signed out. */
const freshTokens = async (session: Partial<session.SessionData>) => {
  const { tokens } = session;
  if (!tokens || Date.now() < tokens.expiresAt) return tokens;
  try {
    session.tokens = keep(await client.refreshTokenGrant(provider, tokens.refresh), tokens);
  } catch (error) {
    if (!(error instanceof client.ResponseBodyError) || error.error !== 'invalid_grant') throw error;
    delete session.tokens;
  }
  return session.tokens;
};

const app = express();
app.use(
  session({
    secret: SESSION_SECRET,
    resave: false,
    saveUninitialized: false,
    cookie: { sameSite: 'lax', secure: 'auto' },
  }),
);

app.get('/login', async (request, response) => {
  const attempt = {
    verifier: client.randomPKCECodeVerifier(),
    state: client.randomState(),
    nonce: client.randomNonce(),
  };
  request.session.attempt = attempt;
  const url = await client.buildAuthorizationUrlWithPAR(provider, {
    redirect_uri: `${APP_URL}/callback`,
    scope: 'openid email',
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: await client.calculatePKCECodeChallenge(attempt.verifier),
    code_challenge_method: 'S256',
  });
  response.redirect(url.href);
});

app.get('/callback', async (request, response) => {
  const { attempt } = request.session;
  if (!attempt) return response.redirect('/login');
  const tokens = await client.authorizationCodeGrant(provider, new URL(request.originalUrl, APP_URL), {
    pkceCodeVerifier: attempt.verifier,
    expectedState: attempt.state,
    expectedNonce: attempt.nonce,
    idTokenExpected: true,
  });
  // Another session from here on: somebody else may know the identifier of the one before the sign-in.
  request.session.regenerate((error) => {
    if (error) throw error;
    request.session.tokens = keep(tokens);
    response.redirect('/');
  });
});

app.get('/', async (request, response) => {
  const tokens = await freshTokens(request.session);
  if (!tokens) return response.status(401).send('<a href="/login">Sign in</a>');
  response.json(await client.fetchUserInfo(provider, tokens.access, tokens.sub));
});

/** Whether the provider still stands by the access token, which it does no more once the session there has ended. */
app.get('/token', async (request, response) => {
  const tokens = await freshTokens(request.session);
  if (!tokens) return response.status(401).json({ active: false });
  const { active, exp } = await client.tokenIntrospection(provider, tokens.access);
  response.json({ active, exp });
});

app.get('/logout', (request, response) => {
  const { tokens } = request.session;
  request.session.destroy(async () => {
    if (!tokens) return response.redirect('/');
    if (tokens.refresh) await client.tokenRevocation(provider, tokens.refresh);
    const url = client.buildEndSessionUrl(provider, {
      id_token_hint: tokens.id,
      post_logout_redirect_uri: `${APP_URL}/`,
    });
    response.redirect(url.href);
  });
});

app.listen(Number(new URL(APP_URL).port));
