/**
 * The provider's side of a sign-in: where the browser is sent (RFC 6749 section 4.1.1, PKCE S256, nonce), and what comes of the
 * code that it brings back. Nothing of it is kept: neither code nor tokens outlive the request.
 */
import { createHash, createHmac } from 'node:crypto';
import { appleClientSecret } from './apple.ts';
import type { AuthMethod, Discover, Upstream } from './discovery.ts';
import { FederationError } from './federation-error.ts';
import { verifyIdToken } from './id-tokens.ts';
import { callbackPath, type IdentityProvider } from './identity-providers.ts';
import { isPlainOAuth, takesTenant } from './presets.ts';
import { personOf, type UpstreamPerson } from './profiles.ts';
import { type JsonObject, requestJson, requestList } from './upstream-requests.ts';

export interface UpstreamDeps {
  issuer: string;
  discover: Discover;
  fetchOf(provider: IdentityProvider): typeof globalThis.fetch;
}

/** What the application, or the person, wants of the sign-in there. */
export interface Wishes {
  loginHint?: string | undefined;
  locales?: string | undefined;
  /** In seconds: no older sign-in there counts. */
  maxAge?: number | undefined;
  /** The person is to be asked anew, whatever session there is. */
  asksAgain?: boolean | undefined;
  /** Another account than the one that the browser is signed in with. */
  another?: boolean | undefined;
  acrValues?: string | undefined;
}

/** What ties the answer to the question. */
export interface Ties {
  state: string;
  nonce: string;
  verifier: string;
}

const selects = new Set(['google', 'github', 'microsoft']);

const wishParameters = ({ metadata }: IdentityProvider, wishes: Wishes): Record<string, string | undefined> => {
  const { preset, trust_acr } = metadata;
  const hint = { loginHint: wishes.loginHint };
  if (preset === 'facebook' || preset === 'apple') return {};
  const prompt = wishes.another && selects.has(preset) ? 'select_account' : undefined;
  if (preset === 'github') return { login: hint.loginHint, prompt };
  const common = { login_hint: hint.loginHint, ui_locales: wishes.locales };
  if (preset === 'google') return { ...common, prompt, hd: metadata.hosted_domain };
  return {
    ...common,
    prompt: wishes.asksAgain ? 'login' : prompt,
    max_age: wishes.maxAge === undefined ? undefined : String(wishes.maxAge),
    acr_values: trust_acr === false ? undefined : wishes.acrValues,
  };
};

const challengeOf = (verifier: string) => createHash('sha256').update(verifier).digest('base64url');

/** Where the browser goes. @throws FederationError when the provider cannot be reached */
export const authorizationUrl = async (
  { issuer, discover }: UpstreamDeps,
  provider: IdentityProvider,
  { state, nonce, verifier }: Ties,
  wishes: Wishes,
): Promise<string> => {
  const { authorizationEndpoint } = await discover(provider);
  const { preset, client_id, scope } = provider.metadata;
  const url = new URL(authorizationEndpoint);
  const parameters: Record<string, string | undefined> = {
    ...wishParameters(provider, wishes),
    response_type: 'code',
    client_id,
    redirect_uri: `${issuer}${callbackPath(provider.id)}`,
    scope,
    state,
    code_challenge: challengeOf(verifier),
    code_challenge_method: 'S256',
    ...(isPlainOAuth(provider) ? {} : { nonce }),
    // Apple gives name and address in no other way.
    ...(preset === 'apple' && /\b(name|email)\b/.test(scope) ? { response_mode: 'form_post' } : {}),
  };
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) url.searchParams.set(name, value);
  return url.href;
};

/** Words that say the person, or somebody for them, did not want it. */
const cancelled = new Set(['access_denied', 'user_cancelled_authorize', 'user_cancelled_login', 'consent_required']);
const away = new Set(['server_error', 'temporarily_unavailable']);

/**
 * Reads an authorization response whose state has been checked.
 * @returns the code
 * @throws FederationError for an error of the provider, and for an answer that is another provider's (RFC 9207)
 */
export const readResponse = async (
  { discover }: UpstreamDeps,
  provider: IdentityProvider,
  parameters: URLSearchParams,
): Promise<string> => {
  const upstream = await discover(provider);
  const iss = parameters.get('iss');
  const isOther = iss !== null && !upstream.issuer.includes('{tenantid}') && iss !== upstream.issuer;
  if (isOther || (iss === null && upstream.announcesIssuer))
    throw new FederationError('invalid', `the answer is of another issuer: ${iss ?? 'none'}`);
  const error = parameters.get('error');
  if (error !== null) {
    const reason = cancelled.has(error) ? 'cancelled' : away.has(error) ? 'unavailable' : 'invalid';
    throw new FederationError(reason, `${error}: ${parameters.get('error_description') ?? ''}`);
  }
  const codes = parameters.getAll('code');
  if (codes.length !== 1 || !codes[0]) throw new FederationError('invalid', 'the answer has no code');
  return codes[0];
};

/** RFC 6749 section 2.3.1: names and secrets are form-encoded before they go into Basic. */
const basic = (id: string, secret: string): string => {
  const encode = (value: string) => new URLSearchParams({ v: value }).toString().slice(2);
  return `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}`;
};

const authenticate = async (
  provider: IdentityProvider,
  method: AuthMethod,
): Promise<{ form: Record<string, string>; headers: Record<string, string> }> => {
  const { preset, client_id } = provider.metadata;
  const secret = preset === 'apple' ? await appleClientSecret(provider) : (provider.secrets.client_secret ?? '');
  if (method === 'none') return { form: { client_id }, headers: {} };
  if (method === 'client_secret_basic') return { form: {}, headers: { authorization: basic(client_id, secret) } };
  return { form: { client_id, client_secret: secret }, headers: {} };
};

/** Refusals of this service, not of the person (RFC 6749 section 5.2); the last is GitHub's. */
const refusals = new Set(['invalid_client', 'unauthorized_client', 'incorrect_client_credentials']);

/** RFC 6749 section 4.1.3. GitHub answers errors with status 200, so the body decides. */
const redeem = async (
  deps: UpstreamDeps,
  provider: IdentityProvider,
  { tokenEndpoint, authMethod }: Upstream,
  { code, verifier }: { code: string; verifier: string },
): Promise<{ accessToken: string; idToken: unknown }> => {
  const { form, headers } = await authenticate(provider, authMethod);
  const { status, body } = await requestJson(deps.fetchOf(provider), tokenEndpoint, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: `${deps.issuer}${callbackPath(provider.id)}`,
      code_verifier: verifier,
      ...form,
    }).toString(),
  });
  const { access_token: accessToken, token_type: type, id_token: idToken, error } = body;
  if (refusals.has(String(error)))
    throw new FederationError(
      'misconfigured',
      `the token endpoint answered ${status} ${String(error)}: see client_id, client_secret and token_endpoint_auth_method (${authMethod})`,
    );
  if (status !== 200 || error !== undefined)
    throw new FederationError('invalid', `the token endpoint answered ${status} ${JSON.stringify(error ?? '')}`);
  if (typeof accessToken !== 'string' || !accessToken || String(type).toLowerCase() !== 'bearer')
    throw new FederationError('invalid', 'the token endpoint gave no bearer token');
  return { accessToken, idToken };
};

const bearer = (accessToken: string): RequestInit => ({ headers: { authorization: `Bearer ${accessToken}` } });

const ask = async (fetch: typeof globalThis.fetch, url: string, accessToken: string): Promise<JsonObject> => {
  const { status, body } = await requestJson(fetch, url, bearer(accessToken));
  if (status !== 200) throw new FederationError('invalid', `${new URL(url).host} answered ${status}`);
  return body;
};

/** GitHub: the address that is primary and verified is of a list of its own, and often not in the profile. */
const askGithub = async (fetch: typeof globalThis.fetch, provider: IdentityProvider, accessToken: string) => {
  const { userinfo_endpoint: userUrl = '', emails_endpoint: emailsUrl } = provider.metadata;
  const user = await ask(fetch, userUrl, accessToken);
  const emails = emailsUrl ? await requestList(fetch, emailsUrl, bearer(accessToken)).catch(withoutEmails) : [];
  const primary = emails.find(({ primary }) => primary === true);
  const { email: _public, email_verified: _claimed, ...claims } = user;
  const address = primary ? { email: primary.email, email_verified: primary.verified === true } : {};
  return { id: user.id, name: user.name ?? user.login, claims: { ...claims, ...address } };
};

/** The person, or an organization of theirs, has not let us see addresses. */
const withoutEmails = (error: unknown): JsonObject[] => {
  if (error instanceof FederationError && error.reason === 'invalid') return [];
  throw error;
};

/** Facebook: what is asked for is named, and `appsecret_proof` shows that it is us who ask with the token. */
const askFacebook = async (fetch: typeof globalThis.fetch, provider: IdentityProvider, accessToken: string) => {
  const url = new URL(provider.metadata.userinfo_endpoint ?? '');
  const wanted = Object.values(provider.metadata.claims).map((name) => name.split('.')[0] as string);
  const fields = ['id', 'name', 'email', ...wanted.filter((name) => /^[a-z_]+$/.test(name))];
  url.searchParams.set('fields', [...new Set(fields)].join(','));
  const proof = createHmac('sha256', provider.secrets.client_secret ?? '')
    .update(accessToken)
    .digest('hex');
  url.searchParams.set('appsecret_proof', proof);
  const claims = await ask(fetch, url.href, accessToken);
  return { id: claims.id, name: claims.name, claims };
};

const askPlain = async (deps: UpstreamDeps, provider: IdentityProvider, upstream: Upstream, accessToken: string) => {
  const fetch = deps.fetchOf(provider);
  const isGithub = provider.metadata.preset === 'github';
  const { id, name, claims } = await (isGithub ? askGithub : askFacebook)(fetch, provider, accessToken);
  const subject = typeof id === 'number' && Number.isSafeInteger(id) ? String(id) : id;
  if (typeof subject !== 'string' || !/^[^\p{Cc}\p{Cs}]{1,255}$/u.test(subject))
    throw new FederationError('invalid', 'the profile has no usable id');
  return personOf(provider, { issuer: upstream.issuer, subject, claims }, typeof name === 'string' ? name : undefined);
};

/** Apple posts it the first time alone, and signs nothing of it: it is good for a name. */
const appleName = (posted: string | null): string | undefined => {
  try {
    const { name } = JSON.parse(posted ?? '{}') as { name?: { firstName?: unknown; lastName?: unknown } };
    const parts = [name?.firstName, name?.lastName].filter((part) => typeof part === 'string' && part);
    return parts.length ? parts.join(' ') : undefined;
  } catch {
    return undefined;
  }
};

/** What is asked of the signed part as well: where userinfo speaks of somebody else, nothing of it is believed. */
const withUserinfo = async (
  deps: UpstreamDeps,
  provider: IdentityProvider,
  { userinfoEndpoint }: Upstream,
  { accessToken, claims }: { accessToken: string; claims: JsonObject },
): Promise<JsonObject> => {
  const isComplete = claims.email !== undefined && claims.name !== undefined;
  const { roles, claims: rules } = provider.metadata;
  const isRuled = roles.length > 0 || Object.keys(rules).length > 0;
  if (!userinfoEndpoint || provider.metadata.preset === 'apple' || (isComplete && !isRuled)) return claims;
  const userinfo = await ask(deps.fetchOf(provider), userinfoEndpoint, accessToken);
  // OpenID Connect Core 1.0 section 5.3.2.
  if (userinfo.sub !== claims.sub) throw new FederationError('invalid', 'userinfo is about somebody else');
  // An address and whether it is verified belong together.
  const address = claims.email === undefined ? userinfo : claims;
  const { email, email_verified, xms_edov } = address;
  return { ...userinfo, ...claims, email, email_verified, xms_edov };
};

/** How long ago a sign-in may be that was to be made anew, beyond the time that it took; clocks differ. */
const freshToleranceSeconds = 60;

export interface Freshness {
  /** In seconds since the epoch. */
  begunAt: number;
  maxAge?: number | undefined;
  asksAgain?: boolean | undefined;
}

/** @throws FederationError not_fresh unless the provider says that the person signed in there as lately as was asked */
export const assertFresh = ({ authTime }: UpstreamPerson, { begunAt, maxAge, asksAgain }: Freshness): void => {
  if (maxAge === undefined && !asksAgain) return;
  const oldest = asksAgain ? begunAt : Math.floor(Date.now() / 1000) - (maxAge ?? 0);
  if (authTime === undefined || authTime < oldest - freshToleranceSeconds)
    throw new FederationError('not_fresh', `auth_time is ${authTime ?? 'missing'}`);
};

/**
 * Turns a code into the person that it is of.
 * @throws FederationError
 */
export const fetchPerson = async (
  deps: UpstreamDeps,
  provider: IdentityProvider,
  { code, nonce, verifier, user }: { code: string; nonce: string; verifier: string; user: string | null },
): Promise<UpstreamPerson> => {
  const upstream = await deps.discover(provider);
  const { accessToken, idToken } = await redeem(deps, provider, upstream, { code, verifier });
  if (isPlainOAuth(provider)) return askPlain(deps, provider, upstream, accessToken);
  const { client_id: clientId, hosted_domain: domain, preset } = provider.metadata;
  const verified = await verifyIdToken(upstream, idToken, { clientId, nonce, accessToken });
  // The parameter is a wish that the browser could have changed; the claim is Google's word.
  if (domain !== undefined && preset === 'google' && verified.hd !== domain)
    throw new FederationError('wrong_account', `hd is ${String(verified.hd)}`);
  if (!takesTenant(provider, verified.tid)) throw new FederationError('wrong_account', 'tid is of personal accounts');
  const claims = await withUserinfo(deps, provider, upstream, { accessToken, claims: verified });
  const { iss: issuer, sub: subject } = verified;
  return personOf(provider, { issuer, subject, claims }, preset === 'apple' ? appleName(user) : undefined);
};
