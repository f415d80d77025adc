/**
 * Verifies Countersign's JWT access tokens (RFC 9068) without asking it. Copy this file: it needs Node.js 20 and nothing else.
 * What a signature cannot say, because it happened after the token was signed, is in docs/verify-tokens.md.
 */
import { constants, createPublicKey, type JsonWebKey, type KeyObject, verify as verifySignature } from 'node:crypto';

/** The token is not good: answer 401, or 403 if only a scope is missing, with this code in `WWW-Authenticate` (RFC 6750 section 3.1). */
export class TokenRefused extends Error {
  readonly code: 'invalid_token' | 'insufficient_scope';
  constructor(message: string, code: TokenRefused['code'] = 'invalid_token') {
    super(message);
    this.code = code;
  }
}

/** There are no keys to verify with, which says nothing about the token: answer 503, not 401. */
export class KeysUnavailable extends Error {}

/** RFC 9068 section 2.2. */
export interface AccessToken {
  iss: string;
  /** The person's id, or the `client_id` of an application that acts for itself. */
  sub: string;
  aud: string | string[];
  exp: number;
  client_id: string;
  /** Separated by spaces. */
  scope?: string;
  /** Names of the person's roles. */
  roles?: string[];
  [claim: string]: unknown;
}

export interface VerifierOptions {
  /** Compared with `iss` character by character, so without a slash at the end. */
  issuer: string;
  /** What `aud` must contain: the name of *your* API. Without this any token of the issuer would open your door. */
  audience: string;
  jwksUrl?: string;
  /** For clocks that disagree a little. */
  clockToleranceSeconds?: number;
}

/**
 * The algorithms are ours to choose, never the token's (RFC 8725 section 3.1): `none` is not here, and neither is HS256, under
 * which a public key would serve as the secret.
 */
const algorithms = new Map([
  ['RS256', { kty: 'RSA', crv: undefined, digest: 'sha256', padding: constants.RSA_PKCS1_PADDING }],
  ['PS256', { kty: 'RSA', crv: undefined, digest: 'sha256', padding: constants.RSA_PKCS1_PSS_PADDING }],
  ['ES256', { kty: 'EC', crv: 'P-256', digest: 'sha256', padding: undefined }],
  ['EdDSA', { kty: 'OKP', crv: 'Ed25519', digest: null, padding: undefined }],
]);

/** An unknown `kid` may be a new key or somebody's invention; inventions must not become a stream of requests. */
const refetchFloorMs = 30_000;
/** While the issuer is out of reach its last known keys will do, but not for ever: one of them may have leaked. */
const staleMaxMs = 3_600_000;

/** Seconds that an answer may be kept (RFC 9111 section 4.2.1), within reason. */
const lifetimeSeconds = (headers: Headers): number => {
  const control = headers.get('cache-control') ?? '';
  const maxAge = /\bmax-age=(\d+)/i.exec(control)?.[1] ?? '300';
  const left = /\bno-(store|cache)\b/i.test(control) ? 0 : Number(maxAge) - Number(headers.get('age') ?? 0);
  return Math.min(Math.max(left, refetchFloorMs / 1000), 86_400);
};

const createKeyFinder = (jwksUrl: string) => {
  let keys = new Map<string, KeyObject>();
  let freshUntil = Number.NEGATIVE_INFINITY;
  let triedAt = Number.NEGATIVE_INFINITY;
  let pending: Promise<void> | undefined;
  let failure: unknown;

  const load = async (): Promise<void> => {
    const response = await fetch(jwksUrl, { redirect: 'error', signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`${jwksUrl} answered ${response.status}`);
    const { keys: published } = (await response.json()) as { keys: (JsonWebKey & { kid?: string; alg?: string })[] };
    const loaded = new Map<string, KeyObject>();
    for (const jwk of published) {
      const known = algorithms.get(jwk.alg ?? '');
      // Keys of kinds that we do not know are for others.
      if (!jwk.kid || !known || jwk.kty !== known.kty || (known.crv && jwk.crv !== known.crv)) continue;
      loaded.set(`${jwk.alg} ${jwk.kid}`, createPublicKey({ key: jwk, format: 'jwk' }));
    }
    keys = loaded;
    freshUntil = Date.now() + lifetimeSeconds(response.headers) * 1000;
  };
  /** One request at a time however many wait for it, and none within the floor of the last one, which may have failed. */
  const refresh = (): Promise<void> => {
    if (pending || Date.now() - triedAt < refetchFloorMs) return pending ?? Promise.resolve();
    triedAt = Date.now();
    pending = load()
      .catch((error: unknown) => {
        failure = error;
      })
      .finally(() => {
        pending = undefined;
      });
    return pending;
  };

  /** Looked up by algorithm and id, so that a key is used for nothing but its own algorithm. */
  return async (alg: string, kid: string): Promise<KeyObject | undefined> => {
    if (Date.now() >= freshUntil || !keys.has(`${alg} ${kid}`)) await refresh();
    if (Date.now() > freshUntil + staleMaxMs) throw new KeysUnavailable(`no keys from ${jwksUrl}`, { cause: failure });
    return keys.get(`${alg} ${kid}`);
  };
};

const parse = (part: string): Record<string, unknown> => {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString());
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Told below, in our own words: the parser's would quote the token.
  }
  throw new TokenRefused('not a JWT: an opaque token, which only the issuer can explain, or none of its tokens');
};

/** Make one and keep it: it holds the keys. */
export const createVerifier = (options: VerifierOptions) => {
  const { issuer, audience, jwksUrl = `${issuer}/.well-known/jwks.json`, clockToleranceSeconds = 30 } = options;
  const findKey = createKeyFinder(jwksUrl);

  /**
   * @param scope that the token must have; compared as it is, since what a wildcard such as `orders:*:any` leaves out only the issuer knows
   * @throws TokenRefused, KeysUnavailable
   */
  return async (token: string, scope?: string): Promise<AccessToken> => {
    const [head = '', body = '', signature = '', ...more] = token.length > 8192 ? [] : token.split('.');
    const { alg, kid, typ, crit } = parse(head);
    const { digest, padding } = algorithms.get(String(alg)) ?? {};
    if (more.length || digest === undefined) throw new TokenRefused('not signed as this issuer signs');
    // RFC 9068 section 4: an id_token, say, has the same issuer and keys, and is no access token.
    if (!/^(application\/)?at\+jwt$/i.test(String(typ))) throw new TokenRefused('not an access token');
    // RFC 7515 section 4.1.11: what is critical must be understood, and we understand no extension.
    if (crit !== undefined || typeof kid !== 'string') throw new TokenRefused('its header is not understood');

    const key = await findKey(String(alg), kid);
    const signed = Buffer.from(`${head}.${body}`);
    // JWS has the two numbers of an ECDSA signature one after the other (RFC 7518 section 3.4); RSA ignores this. The salt of
    // PS256 is as long as its hash (section 3.5).
    const options = { dsaEncoding: 'ieee-p1363', ...(padding ? { padding, saltLength: 32 } : {}) } as const;
    const isSigned = key && verifySignature(digest, signed, { key, ...options }, Buffer.from(signature, 'base64url'));
    if (!isSigned) throw new TokenRefused('its signature is not this issuer’s');

    const claims = parse(body) as AccessToken & { nbf?: unknown };
    const now = Date.now() / 1000;
    if (claims.iss !== issuer) throw new TokenRefused('from another issuer');
    if (![claims.aud].flat().includes(audience)) throw new TokenRefused('for another API');
    if (typeof claims.exp !== 'number' || now >= claims.exp + clockToleranceSeconds) throw new TokenRefused('expired');
    if (claims.nbf !== undefined && !(Number(claims.nbf) <= now + clockToleranceSeconds))
      throw new TokenRefused('not valid yet');
    // Whoever sends it must prove more than that they have it: see docs/bound-tokens.md before you take this out.
    if (claims.cnf !== undefined) throw new TokenRefused('bound to a key, which nobody has proven to hold');
    if (typeof claims.sub !== 'string' || typeof claims.client_id !== 'string') throw new TokenRefused('incomplete');
    const scopes = String(claims.scope ?? '').split(' ');
    if (scope !== undefined && !scopes.includes(scope))
      throw new TokenRefused(`the scope ${scope} is missing`, 'insufficient_scope');
    return claims;
  };
};
