/**
 * Step-up authentication: what an application asks of a sign-in by `acr_values` or the `claims` parameter (OpenID Connect
 * Core sections 3.1.2.1 and 5.5.1.1, RFC 9470).
 */
import { errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';
import { directSignIn } from '../../adapters/oidc-storage.ts';
import { acrValues, satisfies } from '../auth/authentication-context.ts';

/** What the request asks of the sign-in, in its order of preference. */
interface AcrRequest {
  values: string[];
  essential: boolean;
}

/** @throws InvalidRequest */
export const requestedAcr = ({ oidc }: KoaContextWithOIDC): AcrRequest => {
  const { value, values, essential } = ((oidc.claims as { id_token?: { acr?: unknown } }).id_token?.acr ??
    {}) as Record<'value' | 'values' | 'essential', unknown>;
  const wanted = values ?? (value === undefined ? [] : [value]);
  if (!Array.isArray(wanted) || wanted.some((one) => typeof one !== 'string'))
    throw new errors.InvalidRequest('claims.id_token.acr must ask for strings');
  return { values: wanted as string[], essential: essential === true };
};

/** An essential one must be among those that were asked for by name; otherwise whatever is stronger will do too. */
const isReached = (acr: string | undefined, { values, essential }: AcrRequest) =>
  essential ? values.includes(acr ?? '') : satisfies(acr, values);

const isReachable = ({ values }: AcrRequest): boolean =>
  values.some((value) => (acrValues as readonly string[]).includes(value));

const unmet = () =>
  new errors.UnmetAuthenticationRequirements('the requested authentication context cannot be reached');

/**
 * What a backchannel request asks of the sign-in that approves it: that is another request's, so it is kept. Max-age is in
 * seconds; the engine has turned one of 0 into `prompt=login`.
 * @throws UnmetAuthenticationRequirements when what is essential can never be had
 */
export const requestedSignIn = (ctx: KoaContextWithOIDC): { acr?: AcrRequest; maxAge?: number } => {
  const acr = requestedAcr(ctx);
  if (acr.values.length && acr.essential && !isReachable(acr)) throw unmet();
  const { params, prompts } = ctx.oidc;
  const maxAge = prompts.has('login') ? 0 : params?.max_age;
  return {
    ...(isReachable(acr) ? { acr } : {}),
    ...(maxAge === undefined ? {} : { maxAge: Number(maxAge) }),
  };
};

/**
 * Asks for another sign-in where this one is not enough. What is essential and cannot be had ends the request (OpenID
 * Connect Core Unmet Authentication Requirements section 3); what is not is left at that, and the `acr` of the tokens says so.
 */
export const acrCheck = new interactionPolicy.Check(
  'acr',
  'the requested authentication context was not reached',
  'login_required',
  (ctx) => {
    const wanted = requestedAcr(ctx);
    const { session, result } = ctx.oidc;
    const acr = session?.accountId ? session.acr : undefined;
    if (!wanted.values.length || isReached(acr, wanted)) return false;
    if (isReachable(wanted) && !result?.login) return true;
    if (wanted.essential) throw unmet();
    return false;
  },
  (ctx) => ({ acr: requestedAcr(ctx).values }),
);

/** The engine's checks that this one takes the place of. */
export const replacedChecks = ['essential_acrs', 'essential_acr'];

/** How the person of a token signed in (RFC 9068 section 2.2.1): from the code, refresh token or the like that it was given for. */
export const authenticationClaims = (ctx: KoaContextWithOIDC | undefined): object => {
  const { AuthorizationCode, RefreshToken, DeviceCode, BackchannelAuthenticationRequest } = (ctx?.oidc.entities ??
    {}) as Record<string, { acr?: string; amr?: string[]; authTime?: number } | undefined>;
  const source =
    AuthorizationCode ??
    RefreshToken ??
    DeviceCode ??
    BackchannelAuthenticationRequest ??
    directSignIn()?.authentication;
  return source?.authTime === undefined ? {} : { auth_time: source.authTime, acr: source.acr, amr: source.amr };
};
