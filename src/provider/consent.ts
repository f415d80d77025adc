/** Turns remembered consent into the engine's Grants, and says when a person must be asked. */
import { interactionPolicy, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { requestState } from '../../adapters/oidc-storage.ts';
import type { Db } from '../../db/connect.ts';
import { hasSecondFactor } from '../auth/authentication-context.ts';
import type { RequestDetails } from '../auth/backchannel.commands.ts';
import type { ClientAccess } from '../clients/client-access.ts';
import { type Consent, findConsent } from '../sessions/sessions.queries.ts';
import { createOrganizationPrompt, organizationClaims } from './organization-parameter.ts';
import { acrCheck, replacedChecks } from './step-up.ts';

type Agreed = Pick<Consent, 'scopes' | 'claims' | 'resources'>;

/** What the request asks for: the operator's own applications are granted that without a question. */
export const requested = (ctx: KoaContextWithOIDC): Agreed => {
  const { oidc } = ctx;
  return {
    scopes: [...oidc.requestParamOIDCScopes],
    claims: [...oidc.requestParamClaims, ...organizationClaims(ctx)],
    resources: Object.fromEntries(
      Object.entries(oidc.resourceServers ?? {}).map(([indicator, server]) => [
        indicator,
        [...oidc.requestParamScopes].filter((scope) => server.scopes.has(scope)),
      ]),
    ),
  };
};

/** Has the Grant allow what the person has agreed to, besides what it allows already. */
export const addAgreed = (
  grant: InstanceType<Provider['Grant']>,
  { scopes, claims, resources }: Pick<RequestDetails, keyof Agreed>,
): void => {
  if (scopes.length) grant.addOIDCScope(scopes.join(' '));
  if (claims.length) grant.addOIDCClaims([...claims]);
  for (const [indicator, names] of Object.entries(resources))
    if (names.length) grant.addResourceScope(indicator, names.join(' '));
};

/**
 * `loadExistingGrant`: the Grant of this session and client, brought up to what the person has agreed to. Undefined
 * when they have agreed to nothing yet.
 */
export const createLoadExistingGrant = (db: Db, access: ClientAccess) => async (ctx: KoaContextWithOIDC) => {
  const { client, session, account, provider } = ctx.oidc;
  if (!client || !session || !account) return undefined;
  const agreed = (await access.isTrusted(client.clientId, account.accountId))
    ? requested(ctx)
    : await findConsent(db, account.accountId, client.clientId);
  // A Grant from when the client was trusted is none any more.
  if (!agreed) return undefined;
  const grantId = session.grantIdFor(client.clientId);
  const existing = grantId ? await provider.Grant.find(grantId) : undefined;

  const grant = existing ?? new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
  const before = JSON.stringify([grant.openid, grant.resources]);
  addAgreed(grant, agreed);
  if (!existing || JSON.stringify([grant.openid, grant.resources]) !== before) await grant.save();
  return grant;
};

/** Instead of the engine's check, which knows of claims that were asked for one by one, and not of the organization. */
const claimsCheck = new interactionPolicy.Check(
  'op_claims_missing',
  'requested claims not granted',
  'consent_required',
  (ctx) => missingClaims(ctx).length > 0,
  (ctx) => ({ missingOIDCClaims: missingClaims(ctx) }),
);

/** Those that a person is not asked about: they are about the sign-in, and in every token. */
const unasked = new Set(['sub', 'sid', 'auth_time', 'acr', 'amr', 'iss']);

const missingClaims = (ctx: KoaContextWithOIDC): string[] => {
  const encountered = new Set(ctx.oidc.grant?.getOIDCClaimsEncountered());
  return requested(ctx).claims.filter((claim) => !encountered.has(claim) && !unasked.has(claim));
};

export type NeedsMfa = (userId: string) => Promise<boolean>;

/** Why somebody is asked to sign in whose session's cookie comes from another device. */
export const otherDevice = 'other_device';

/** `prompt=create`. */
export const createPrompt = 'create';

/** The engine's prompts, with our differences. */
export const createInteractionPolicy = (db: Db, needsMfa: NeedsMfa) => {
  const policy = interactionPolicy.base();
  const { Check, Prompt } = interactionPolicy;
  const login = policy.get('login');
  const consent = policy.get('consent');

  // A session outlives a user's deactivation by as long as it takes to come back here.
  login?.checks.add(
    new Check('no_account', 'the account of this session is not active', 'login_required', (ctx) =>
      Boolean(ctx.oidc.session?.accountId && !ctx.oidc.account),
    ),
  );

  // So does a session of the password alone, from before its user was given a role that needs more. An application that needs
  // more itself is not satisfied with a browser that is remembered.
  login?.checks.add(
    new Check('second_factor', 'a second factor is needed', 'login_required', async ({ oidc: { session, client } }) => {
      if (!session?.accountId || session.amr?.includes('mfa')) return false;
      return Boolean(client?.require_mfa) || (!hasSecondFactor(session) && (await needsMfa(session.accountId)));
    }),
  );

  // Nor is the session's cookie enough on another device than the one that signed in (DEVICE_BINDING).
  login?.checks.add(
    new Check(otherDevice, 'the session was begun on another device', 'login_required', ({ oidc }) =>
      Boolean(oidc.session?.accountId && !oidc.result?.login && requestState().otherDevice),
    ),
  );

  // Initiating User Registration via OpenID Connect 1.0 section 4: a new account, whoever is signed in here.
  policy.add(new Prompt({ name: createPrompt, requestable: true }), 0);
  login?.checks.add(
    new Check('create', 'a new account was asked for', 'login_required', ({ oidc }) =>
      Boolean(oidc.prompts.has(createPrompt) && !oidc.result?.login),
    ),
  );

  policy.add(createOrganizationPrompt(db), policy.length - 1);
  consent?.checks.remove('op_claims_missing');
  consent?.checks.add(claimsCheck);

  // The engine's own know neither strength nor an end to asking.
  for (const reason of replacedChecks) login?.checks.remove(reason);
  login?.checks.add(acrCheck);

  // RFC 8252 section 8.6: a native client can be impersonated, so it is confirmed each time, unless it is the
  // operator's own and its redirect URI is a claimed https one.
  consent?.checks.remove('native_client_prompt');
  consent?.checks.add(
    new Check(
      'native_client_prompt',
      'native clients require End-User interaction',
      'interaction_required',
      ({ oidc }) => {
        const { client, params, result } = oidc;
        if (client?.applicationType !== 'native' || params?.response_type === 'none' || result?.consent) return false;
        return !(client.first_party && String(params?.redirect_uri).startsWith('https:'));
      },
    ),
  );
  return policy;
};
