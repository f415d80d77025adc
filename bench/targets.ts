/** What the load needs to know of a server that it asks: where it is, and whose credentials it takes. */

/** Where the engine answers, here and in the reference. */
export const paths = {
  authorization: '/oauth/authorize',
  token: '/oauth/token',
  userinfo: '/oauth/userinfo',
  introspection: '/oauth/introspect',
  jwks: '/.well-known/jwks.json',
  discovery: '/.well-known/openid-configuration',
} as const;

/** The `Host` that requests to it name. */
export const hostOf = ({ origin }: Pick<Place, 'origin'>): string => new URL(origin).host;

export interface Credentials {
  id: string;
  secret: string;
}

export interface Person {
  email: string;
  password: string;
}

/** Where a server is, and how it calls itself. */
export interface Place {
  /** What connections are opened to, such as http://127.0.0.1:3000. */
  address: string;
  /** The issuer's origin, which requests name. */
  origin: string;
}

export interface Target extends Place {
  /** An application that acts for itself, and one that people sign in to. */
  machine: Credentials;
  web: Credentials;
  people: readonly Person[];
  accessToken: string;
  /** An access token for the API, which is a JWT. */
  jwt: string;
  /** A refresh token for each connection. */
  refreshTokens: readonly string[];
}

/** What applications of the bench ask for. */
export const scopes = { machine: 'users:read:any', web: 'openid profile email' } as const;

export const redirectUri = 'https://app.example.com/callback';

/** Lifetimes of the product's defaults, which the reference has too, in seconds. */
export const lifetimes = { accessToken: 900, refreshToken: 30 * 86_400, session: 14 * 86_400 } as const;
