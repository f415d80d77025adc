/**
 * JWT bearer (RFC 7523 section 2.1) for service accounts: an assertion signed with one of the client's registered keys, for an
 * access token of its own. It says the same as `private_key_jwt` does, so a client with keys needs nothing else to
 * authenticate; one that is registered with a secret or a certificate shows that as well. An assertion speaks for the
 * client alone: people's tokens are exchanged (RFC 8693), and nobody gets one for the mere naming of a person.
 */
import { decodeJwt, decodeProtectedHeader, errors as joseErrors, jwtVerify } from 'jose';
import { type Client, errors, type KoaContextWithOIDC, Provider, type TokenEndpointGrantContext } from 'oidc-provider';
import {
  buildTokenResponse,
  resolveRequestedResources,
  validateClientScope,
} from 'oidc-provider/lib/helpers/grants.js';
import { jwtBearer } from '../clients/grant-types.ts';
import { acceptedSigningAlgs } from './algorithms.ts';
import { keyStoreOf } from './client-keys.ts';
import { assertClientAssertion } from './profiles.ts';
import { checkSenderConstraints } from './sender-constraints.ts';

/** How far ahead an assertion may expire, and how far the client's clock may be off; in seconds. */
const lifetimeSecondsMax = 300;
const skewSeconds = 30;

type Parameters = Readonly<Record<string, unknown>>;

/**
 * Whom a token request is from that says nothing of its client but the assertion: RFC 7521 section 4.1 has `client_id`
 * optional. Nothing about it is proven.
 */
export const impliedClient = (authorization: string, parameters: Parameters): string | undefined => {
  const { grant_type, assertion, client_id, client_assertion } = parameters;
  if (grant_type !== jwtBearer || authorization || client_id || client_assertion || typeof assertion !== 'string')
    return undefined;
  try {
    const { iss } = decodeJwt(assertion);
    return typeof iss === 'string' && /^[\x21-\x7e]{1,200}$/.test(iss) ? iss : undefined;
  } catch {
    return undefined;
  }
};

/** RFC 7523 section 3.1. Unlike the engine's own error it says what is wrong: somebody is setting a service account up. */
const refuse = (message: string) =>
  new errors.CustomOIDCProviderError('invalid_grant', `the assertion is not valid: ${message}`);

type Header = { alg: string; kid?: string | undefined };

const isAboutClaims = (error: unknown): boolean =>
  error instanceof joseErrors.JWTExpired || error instanceof joseErrors.JWTClaimValidationFailed;

/** @throws what jose has against its claims; JWSSignatureVerificationFailed when no key of the client fits */
const verify = async (client: Client, assertion: string, header: Header, audience: string[]) => {
  const keys = keyStoreOf(client);
  for (const key of keys.selectForVerify(header)) {
    try {
      const { payload } = await jwtVerify(assertion, keys.getKeyObject(key, true), {
        algorithms: [header.alg],
        issuer: client.clientId,
        subject: client.clientId,
        audience,
        clockTolerance: skewSeconds,
        requiredClaims: ['exp', 'jti'],
      });
      return payload;
    } catch (error) {
      // By then its signature was right. A key that is of no use is one that does not fit.
      if (isAboutClaims(error)) throw error;
    }
  }
  throw new joseErrors.JWSSignatureVerificationFailed();
};

const readHeader = (client: Client, assertion: string): Header => {
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    header = decodeProtectedHeader(assertion);
  } catch {
    throw refuse('it is not a signed JWT');
  }
  const { alg = '', kid, typ } = header;
  const accepted = client.tokenEndpointAuthSigningAlg ? [client.tokenEndpointAuthSigningAlg] : acceptedSigningAlgs;
  if (!accepted.includes(alg)) throw refuse('its algorithm is not accepted');
  // What the client signs for other purposes says so in `typ` (RFC 8725 section 3.11).
  if (typ !== undefined && !/^jwt$/i.test(typ)) throw refuse('its typ is that of something else');
  return { alg, kid };
};

/** RFC 7523 section 3. @returns what it is used up by @throws the engine's invalid_grant */
const readAssertion = async (
  ctx: KoaContextWithOIDC,
  client: Client,
  assertion: string,
): Promise<{ jti: string; exp: number }> => {
  const { provider } = ctx.oidc;
  const header = readHeader(client, assertion);
  try {
    const payload = await verify(client, assertion, header, [provider.issuer, provider.urlFor('token')]);
    const { exp = 0, iat = 0, jti } = payload;
    const now = Math.floor(Date.now() / 1000);
    if (exp > now + lifetimeSecondsMax + skewSeconds) throw refuse('exp is more than five minutes ahead');
    if (iat > now + skewSeconds) throw refuse('iat is ahead');
    if (typeof jti !== 'string' || !jti || jti.length > 500) throw refuse('jti must be a string');
    await assertClientAssertion(ctx, payload, header, client);
    return { jti, exp };
  } catch (error) {
    if (isAboutClaims(error)) throw refuse((error as Error).message);
    if (error instanceof errors.InvalidClientAuth) throw refuse(String(error.error_detail));
    if (error instanceof joseErrors.JOSEError) throw refuse('no key of the client verifies its signature');
    throw error;
  }
};

/** Whether the client of the engine's present request needs no other proof than the assertion that it hands in. */
const isProvenByAssertion = (client: Client): boolean => {
  const { oidc, headers } = Provider.ctx ?? {};
  return (
    oidc?.route === 'token' &&
    oidc.params?.grant_type === jwtBearer &&
    oidc.params.client_assertion === undefined &&
    headers?.authorization === undefined &&
    client.tokenEndpointAuthMethod === 'private_key_jwt' &&
    client.grantTypeAllowed(jwtBearer)
  );
};

export const attachJwtBearer = (provider: Provider): void => {
  // RFC 7521 section 4.1: client authentication is optional. The engine knows no such grant, so to it the client is one that
  // authenticates by nothing; the handler, which gets it next, does nothing before the assertion has been verified.
  Object.defineProperty(provider.Client.prototype, 'clientAuthMethod', {
    configurable: true,
    get(this: Client) {
      return isProvenByAssertion(this) ? 'none' : this.tokenEndpointAuthMethod;
    },
  });

  const handler = async (context: KoaContextWithOIDC): Promise<void> => {
    const ctx = context as TokenEndpointGrantContext;
    const { client, params } = ctx.oidc;
    const { assertion, client_assertion } = params as Record<string, unknown>;
    if (typeof assertion !== 'string') throw new errors.InvalidRequest("missing required parameter(s) 'assertion'");
    const { jti, exp } = await readAssertion(ctx, client, assertion);
    const binding = await checkSenderConstraints(provider, ctx);
    const scopes = [...validateClientScope(provider, ctx)];
    const [server, ...others] = await resolveRequestedResources(provider, ctx);
    if (!server || others.length)
      throw new errors.InvalidTarget('exactly one resource is supported for this grant type');

    // Used up last, so that a request which could not have been answered anyway may be sent again. Under the client's name, as
    // the engine does for client assertions: one assertion is not good for both, except in one request.
    const engine = provider.ReplayDetection as unknown as {
      unique(issuer: string, jti: string, expires: number): Promise<boolean>;
    };
    if (assertion !== client_assertion && !(await engine.unique(client.clientId, jti, exp + skewSeconds)))
      throw refuse('it was used before');

    const allowed = new Set(server.scope?.split(' '));
    const scope = scopes.filter((name) => allowed.has(name)).join(' ') || undefined;
    const token = new provider.ClientCredentials({ client, scope } as never);
    token.resourceServer = server;
    await binding.bind(token as never);
    ctx.oidc.entity('ClientCredentials', token);
    const accessToken = await token.save();
    ctx.body = buildTokenResponse(provider, {
      accessToken,
      expiresIn: token.expiration,
      scope: token.scope || undefined,
      tokenType: token.tokenType,
    });
  };
  provider.registerGrantType(jwtBearer, handler, ['assertion', 'scope', 'resource'], ['resource']);
};
