/** A web application on Passport: sign-in, and sign-out here and at the provider. */
import express from 'express';
import session from 'express-session';
import passport from 'passport';
import OpenIDConnectStrategy from 'passport-openidconnect';

const { ISSUER = 'http://localhost:3000', APP_URL = 'http://localhost:4000' } = process.env;
const { CLIENT_ID, CLIENT_SECRET, SESSION_SECRET } = process.env;

passport.use(
  new OpenIDConnectStrategy(
    {
      issuer: ISSUER,
      authorizationURL: `${ISSUER}/oauth/authorize`,
      tokenURL: `${ISSUER}/oauth/token`,
      userInfoURL: `${ISSUER}/oauth/userinfo`,
      clientID: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      callbackURL: `${APP_URL}/callback`,
      scope: 'email',
      // The strategy knows no PKCE; a nonce, too, binds the code to this browser (RFC 9700 section 2.1.1).
      nonce: true,
      // Name and address are at userinfo, not in the id_token.
      skipUserProfile: false,
    },
    // An application with a database of its own would look the person up here, by the `sub` and never by the address.
    (_issuer, profile, _context, idToken, done) =>
      done(null, { sub: profile.id, email: profile.emails?.[0]?.value, idToken }),
  ),
);
passport.serializeUser((user, done) => done(null, user));
passport.deserializeUser((user, done) => done(null, user));

const app = express();
app.use(
  session({
    secret: SESSION_SECRET,
    resave: false,
    saveUninitialized: false,
    cookie: { sameSite: 'lax', secure: 'auto' },
  }),
);
app.use(passport.session());

app.get('/login', passport.authenticate('openidconnect'));
app.get('/callback', passport.authenticate('openidconnect', { successRedirect: '/', failureRedirect: '/' }));

app.get('/', (request, response) => {
  if (!request.user) return response.status(401).send('<a href="/login">Sign in</a>');
  const { sub, email } = request.user;
  response.json({ sub, email });
});

app.get('/logout', (request, response, next) => {
  const { idToken } = request.user ?? {};
  request.logout((error) => {
    if (error) return next(error);
    if (!idToken) return response.redirect('/');
    const query = new URLSearchParams({ id_token_hint: idToken, post_logout_redirect_uri: `${APP_URL}/` });
    response.redirect(`${ISSUER}/oauth/logout?${query}`);
  });
});

app.listen(new URL(APP_URL).port);
