/** A web application on oauth4webapi, step by step: private_key_jwt, code with PKCE, signatures, refresh, sign-out. */
import { readFileSync } from 'node:fs';
import express from 'express';
import session from 'express-session';
import * as oauth from 'oauth4webapi';

const { ISSUER = 'http://localhost:3000', APP_URL = 'http://localhost:4000' } = process.env;
const { CLIENT_ID = '', CLIENT_KEY_FILE = 'client-key.json', SESSION_SECRET = '' } = process.env;

declare module 'express-session' {
  interface SessionData {
    /** While the browser is away at the provider. */
    attempt: { verifier: string; state: string; nonce: string };
    tokens: { access: string; refresh: string; id: string; sub: string; expiresAt: number };
  }
}

// Plain http is for localhost alone.
const options = { [oauth.allowInsecureRequests]: ISSUER.startsWith('http:') };
const issuer = new URL(ISSUER);
const provider = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));

const jwk = JSON.parse(readFileSync(CLIENT_KEY_FILE, 'utf8'));
const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
const client: oauth.Client = { client_id: CLIENT_ID };
const authentication = oauth.PrivateKeyJwt({ key, kid: jwk.kid });

/** What a token response leaves in the session: a refresh replaces the refresh token, and brings another id_token. */
const keep = (
  tokens: oauth.TokenEndpointResponse,
  before?: session.SessionData['tokens'],
): session.SessionData['tokens'] => ({
  access: tokens.access_token,
  refresh: tokens.refresh_token ?? before?.refresh ?? '',
  id: tokens.id_token ?? before?.id ?? '',
  sub: oauth.getValidatedIdTokenClaims(tokens)?.sub ?? before?.sub ?? '',
  expiresAt: Date.now() + ((tokens.expires_in ?? 60) - 30) * 1000,
});

/** An access token that is good for a while, or undefined once the person is signed out. */
const freshTokens = async (session: Partial<session.SessionData>) => {
  const { tokens } = session;
  if (!tokens || Date.now() < tokens.expiresAt) return tokens;
  const response = await oauth.refreshTokenGrantRequest(provider, client, authentication, tokens.refresh, options);
  try {
    const renewed = await oauth.processRefreshTokenResponse(provider, client, response);
    if (renewed.id_token) await oauth.validateApplicationLevelSignature(provider, response, options);
    session.tokens = keep(renewed, tokens);
  } catch (error) {
    if (!(error instanceof oauth.ResponseBodyError) || error.error !== 'invalid_grant') throw error;
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
    verifier: oauth.generateRandomCodeVerifier(),
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
  };
  request.session.attempt = attempt;
  const url = new URL(provider.authorization_endpoint as string);
  url.search = new URLSearchParams({
    client_id: CLIENT_ID,
    response_type: 'code',
    redirect_uri: `${APP_URL}/callback`,
    scope: 'openid email',
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(attempt.verifier),
    code_challenge_method: 'S256',
  }).toString();
  response.redirect(url.href);
});

app.get('/callback', async (request, response) => {
  const { attempt } = request.session;
  if (!attempt) return response.redirect('/login');
  const answer = oauth.validateAuthResponse(provider, client, new URL(request.originalUrl, APP_URL), attempt.state);
  const reply = await oauth.authorizationCodeGrantRequest(
    provider,
    client,
    authentication,
    answer,
    `${APP_URL}/callback`,
    attempt.verifier,
    options,
  );
  const tokens = await oauth.processAuthorizationCodeResponse(provider, client, reply, {
    expectedNonce: attempt.nonce,
    requireIdToken: true,
  });
  // The claims came straight from the provider (OpenID Connect Core section 3.1.3.7); their signature is checked as well.
  await oauth.validateApplicationLevelSignature(provider, reply, options);
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
  const reply = await oauth.userInfoRequest(provider, client, tokens.access, options);
  response.json(await oauth.processUserInfoResponse(provider, client, tokens.sub, reply));
});

app.get('/logout', (request, response) => {
  const { tokens } = request.session;
  request.session.destroy(() => {
    if (!tokens) return response.redirect('/');
    const url = new URL(provider.end_session_endpoint as string);
    url.search = new URLSearchParams({
      id_token_hint: tokens.id,
      post_logout_redirect_uri: `${APP_URL}/`,
    }).toString();
    response.redirect(url.href);
  });
});

app.listen(Number(new URL(APP_URL).port));
