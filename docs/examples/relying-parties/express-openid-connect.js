/** A web application on express-openid-connect: sign-in, refresh, sign-out, and sign-outs that begin elsewhere. */
import express from 'express';
import openid from 'express-openid-connect';

const { ISSUER = 'http://localhost:3000', APP_URL = 'http://localhost:4000' } = process.env;
const { CLIENT_ID, CLIENT_SECRET, SESSION_SECRET } = process.env;

const app = express();
/** Sessions that have ended at the provider. Several processes need a store that they share, with an expiry of a week. */
const ended = new Set();

// Brings /login, /callback, /logout and /backchannel-logout along.
app.use(
  openid.auth({
    issuerBaseURL: ISSUER,
    baseURL: APP_URL,
    clientID: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    secret: SESSION_SECRET,
    authRequired: false,
    // Otherwise it asks for an id_token from the authorization endpoint, and gets no code.
    authorizationParams: { response_type: 'code', scope: 'openid email' },
    // Signing out here ends the session at the provider too.
    idpLogout: true,
    // The library's own way goes by `sub` as well as by `sid`: whoever signs out on one device would be signed out on all.
    backchannelLogout: {
      onLogoutToken: ({ sid }) => ended.add(sid),
      isLoggedOut: (request) => ended.has(request.oidc.idTokenClaims.sid),
      onLogin: false,
    },
  }),
);

/** Refreshes if need be. False: nobody is signed in, or not at the provider any more. */
const isSignedIn = async (request) => {
  if (!request.oidc.isAuthenticated()) return false;
  if (!request.oidc.accessToken.isExpired()) return true;
  try {
    await request.oidc.accessToken.refresh();
    return true;
  } catch (error) {
    if (error.error !== 'invalid_grant') throw error;
    request.appSession = undefined;
    return false;
  }
};

app.get('/', async (request, response) => {
  if (!(await isSignedIn(request))) return response.status(401).send('<a href="/login">Sign in</a>');
  response.json(await request.oidc.fetchUserInfo());
});

app.listen(new URL(APP_URL).port);
