/** The REST API: who calls, what routes there are, and how they are served. */
import type Koa from 'koa';
import { createOperatorFetch } from '../adapters/outbound.ts';
import { addressKey, type RateLimits, roleWindowSeconds } from '../adapters/rate-limits.ts';
import type { Db } from '../db/connect.ts';
import { apiKeyRoutes } from './api-keys/api-keys.routes.ts';
import { recordEvent } from './audit/logs.commands.ts';
import { logRoutes } from './audit/logs.routes.ts';
import { statisticsRoutes } from './audit/statistics.routes.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import { activityRoutes } from './auth/activity.routes.ts';
import { authRoutes } from './auth/auth.routes.ts';
import { type BackchannelRouteDeps, backchannelRoutes } from './auth/backchannel.routes.ts';
import { callerOfHeaders } from './auth/dev-headers.commands.ts';
import { enrolmentRoutes } from './auth/enrolment.routes.ts';
import { createExternalTokens } from './auth/external-tokens.ts';
import { meRoutes } from './auth/me.routes.ts';
import type { MfaDeps } from './auth/mfa.commands.ts';
import { tellOfApiKey } from './auth/notices.commands.ts';
import type { OtpDeps } from './auth/otp.commands.ts';
import { otpRoutes } from './auth/otp.routes.ts';
import type { PasskeySignInDeps } from './auth/passkey-sign-in.commands.ts';
import { passwordRoutes } from './auth/password.routes.ts';
import { proceed, type SignInDeps } from './auth/proceed.commands.ts';
import { finishSignIn } from './auth/second-step.commands.ts';
import { signIn } from './auth/sign-in.commands.ts';
import { signInRoutes } from './auth/sign-ins.routes.ts';
import type { SmsReportDeps } from './auth/sms.routes.ts';
import { smsRoutes } from './auth/sms.routes.ts';
import { type TokenDeps, tokenRoutes } from './auth/tokens.routes.ts';
import type { ClientAccess } from './clients/client-access.ts';
import { clientRoutes } from './clients/clients.routes.ts';
import { softwarePolicyRoutes } from './clients/software-policies.routes.ts';
import type { Config } from './config.ts';
import type { Decisions } from './decisions.ts';
import type { Handoffs } from './federation/handoffs.ts';
import { identityProviderRoutes } from './federation/identity-providers.routes.ts';
import { socialRoutes } from './federation/social.routes.ts';
import type { Federation } from './federation-parts.ts';
import { personalDataRoutes } from './governance/personal-data.routes.ts';
import { createGroupRoutes } from './groupings.ts';
import type { OpenApiDocument } from './http/openapi.ts';
import { createRoleLimits } from './http/role-limits.ts';
import type { Route } from './http/route.ts';
import type { RouterDeps } from './http/router.ts';
import { mountRoutes } from './http/router.ts';
import { type Joining, joiningRoutes } from './joining.ts';
import { keyRoutes } from './keys/keys.routes.ts';
import { readRoleLimits } from './limit-settings.ts';
import { createMagicLinkRoutes } from './magic-link-sign-in.ts';
import type { FactorDeps } from './mfa/factor-changes.ts';
import { mfaRoutes } from './mfa/mfa.routes.ts';
import { passkeyRoutes } from './mfa/passkeys.routes.ts';
import { createOrganizationRoutes } from './organization-parts.ts';
import { createPasskeyRoutes } from './passkey-sign-in.ts';
import { findCaller } from './provider/bearer.ts';
import { challengePath } from './provider/client-attestation.ts';
import { routes as oauth } from './provider/configuration.ts';
import type { ProviderHost } from './provider/host.ts';
import { restClientId } from './provider/issue-tokens.ts';
import { readCertificates } from './provider/mutual-tls.ts';
import { subjectOf } from './provider/pairwise.ts';
import { createProofCheck } from './provider/proofs.ts';
import { resourceMetadataUrl } from './provider/protected-resource.ts';
import { isAudience } from './provider/resources.ts';
import { issueRestTokens, refreshRestTokens } from './provider/rest-tokens.ts';
import { createRbacRoutes } from './rbac.ts';
import { resourceServerRoutes } from './resource-servers/resource-servers.routes.ts';
import type { EndSessions } from './roles/roles.commands.ts';
import { findRanks } from './roles/roles.queries.ts';
import { createMfaRouteDeps } from './second-factors.ts';
import type { Secrets } from './secrets.ts';
import { narrowResource } from './sessions/resources.commands.ts';
import { endSessionOfRefreshToken, type QueueLogout, revokeGrantsOf } from './sessions/sessions.commands.ts';
import { isSessionLive } from './sessions/sessions.queries.ts';
import { sessionRoutes } from './sessions/sessions.routes.ts';
import { tokenRevocationRoutes } from './sessions/tokens.routes.ts';
import { createUserRoutes } from './user-routes.ts';

export interface RestParts {
  config: Config;
  joining: Joining;
  db: Db;
  access: ClientAccess;
  decisions: Decisions;
  secrets: Secrets;
  limits: RateLimits;
  accounts: AccountDeps;
  otp: OtpDeps;
  mfa: MfaDeps;
  factors: FactorDeps;
  signInDeps: SignInDeps;
  passkeySignInDeps: PasskeySignInDeps;
  provider: ProviderHost;
  smsReports: SmsReportDeps;
  federated: Federation;
  /** Where somebody whom an identity provider has signed in waits for the tokens to be asked for. */
  handoffs: Handoffs;
  queueLogout: QueueLogout;
  decideRequest: BackchannelRouteDeps['decide'];
  /** The best of the languages that we have. */
  negotiate(locales: readonly string[]): string;
  /** The account page's own client, which no list of applications shows. */
  hiddenClientId: string;
  /** Asks the token endpoint from within the process. */
  askTokenEndpoint: Parameters<typeof refreshRestTokens>[0];
  toError: RouterDeps['toError'];
}

export interface RestApi {
  routes: readonly Route[];
  /** The OpenAPI document of this service. */
  createDocument(): Promise<OpenApiDocument>;
  middleware: Koa.Middleware;
}

export const createRestApi = (parts: RestParts): RestApi => {
  const { config, db, access, secrets, limits, accounts, otp, mfa, signInDeps, provider, queueLogout, hiddenClientId } =
    parts;
  const { askTokenEndpoint, negotiate, smsReports, toError } = parts;
  const issuer = config.JWT_ISSUER;

  // Who calls
  const external = config.AUTH_OIDC_ISSUER
    ? createExternalTokens(
        {
          issuer: config.AUTH_OIDC_ISSUER,
          audience: config.AUTH_OIDC_AUDIENCE,
          jwksUrl: config.AUTH_OIDC_JWKS_URL as string,
        },
        createOperatorFetch(config.AUTH_OIDC_JWKS_URL as string, 'external-issuer'),
      )
    : undefined;
  const identify = async (token: string, told: boolean) =>
    (await external?.(token)) ?? findCaller(provider.provider(), { db, access }, config, token, told);
  const limitInvalid = (address: string) => limits.consume('validations', addressKey(address));
  const issuerOfTokens = () => ({ provider: provider.provider(), access, config });
  const tokens: TokenDeps = {
    db,
    assertRoom: signInDeps.passwords.assertRoom,
    signIn: (actor, input) => signIn(signInDeps, actor, { ...input, clientId: restClientId, putsOff: true }),
    finishSignIn: (actor, input) =>
      finishSignIn(signInDeps, actor, { ...input, clientId: restClientId, putsOff: true }),
    proceed: (actor, proof) =>
      proceed(signInDeps, actor, proof, {
        clientId: restClientId,
        putsOff: true,
        deviceHash: accounts.hashDevice(proof.user.id, actor, undefined),
      }),
    issue: (actor, signIn) => issueRestTokens(issuerOfTokens(), actor, signIn),
    refresh: (actor, refreshToken) => refreshRestTokens(askTokenEndpoint, actor, refreshToken),
    endSessionOf: (actor, refreshToken) =>
      endSessionOfRefreshToken(db, actor, { clientId: restClientId, refreshToken }, queueLogout),
  };

  const endSessionsOfRisen: EndSessions = async (db, actor, userId, rank) => {
    if (mfa.requiredRank !== undefined && rank >= mfa.requiredRank)
      await accounts.endSessions(db, actor, userId, undefined, 'second_factor_needed');
  };

  // What there is
  const factorRouteDeps = createMfaRouteDeps(parts.factors, { accounts, otp, brand: config.BRAND_NAME });
  const routes = [
    ...authRoutes(accounts, tokens, { signsIn: config.REGISTER_SIGNS_IN, negotiate }),
    ...passwordRoutes(accounts),
    ...otpRoutes({ ...otp, mfa }),
    ...smsRoutes(smsReports),
    ...tokenRoutes(tokens),
    ...enrolmentRoutes({ mfa, clientId: restClientId, brand: config.BRAND_NAME }),
    ...(config.MAGIC_LINK ? createMagicLinkRoutes({ ...otp, ...accounts }, tokens, signInDeps) : []),
    ...createPasskeyRoutes(parts.passkeySignInDeps, tokens),
    ...meRoutes({ db, identify, limitInvalid, subjectOf: (caller) => subjectOf(provider.provider(), secrets, caller) }),
    ...activityRoutes({ db }),
    ...personalDataRoutes({ db, secrets, issuer }),
    ...signInRoutes({ db }),
    ...backchannelRoutes({ db, secrets, decide: parts.decideRequest }),
    ...createUserRoutes(accounts),
    ...createRbacRoutes(db, mfa.requiredRank, endSessionsOfRisen),
    ...createGroupRoutes(accounts, endSessionsOfRisen),
    // First, because /organizations/invitations is no organization.
    ...joiningRoutes(parts.joining),
    ...createOrganizationRoutes(db),
    ...sessionRoutes({ db, queueLogout, hiddenClientId }),
    ...tokenRevocationRoutes({ db, queueLogout }),
    ...clientRoutes({ db, validate: provider.validateClient, revokeGrants: revokeGrantsOf }),
    ...resourceServerRoutes({
      db,
      isIdentifier: (identifier) => identifier !== config.JWT_AUD && isAudience(config, identifier),
      signingAlgs: provider.signingAlgs,
      narrow: narrowResource,
    }),
    ...identityProviderRoutes({
      ...{ db, secrets, issuer, providers: parts.federated.attempts.providers },
      refusalOf: parts.federated.refusalOf,
    }),
    ...socialRoutes({
      ...parts.federated.people,
      providers: parts.federated.attempts.providers,
      handoffs: parts.handoffs,
      tokens,
      negotiate,
    }),
    ...softwarePolicyRoutes({ db }),
    ...apiKeyRoutes({
      db,
      revokeGrants: revokeGrantsOf,
      isSessionLive,
      tellOwner: (db, actor, key) => tellOfApiKey(accounts, db, actor, key),
    }),
    ...mfaRoutes(factorRouteDeps),
    ...passkeyRoutes({ ...factorRouteDeps, relyingParty: mfa.relyingParty }),
    ...keyRoutes({ db, secrets, config, reload: provider.reload }),
    ...parts.decisions.routes,
    ...logRoutes({ db }),
    ...statisticsRoutes({ db }),
  ];
  // Loaded when somebody asks: what it is made with takes memory.
  const createDocument = async () => {
    const { createOpenApi } = await import('./http/openapi.ts');
    const endpoints = config.CLIENT_ATTESTATION ? { ...oauth, challenge: challengePath } : oauth;
    return createOpenApi({ routes, endpoints, issuer, brand: config.BRAND_NAME });
  };

  // How it is served
  const middleware = mountRoutes(routes, {
    identify,
    inRequest: parts.decisions.inRequest,
    recordDecision: parts.decisions.recorder.record,
    assertPossession: createProofCheck({
      provider: provider.provider,
      config,
      secrets,
      certificateOf: readCertificates(config),
    }),
    ...(config.AUTH_ALLOW_DEV_HEADERS
      ? {
          // The host is compared, so that a name of somebody else's that leads to this machine cannot be used for it.
          identifyByHeaders: async (ctx) =>
            ctx.req.headers.host === new URL(issuer).host
              ? callerOfHeaders(db, { email: ctx.get('x-user-email'), name: ctx.get('x-user-name') })
              : undefined,
        }
      : {}),
    findPaths: access.paths,
    limit: createRoleLimits({
      policies: Object.keys(readRoleLimits(config.RATE_LIMITS)),
      windowSeconds: roleWindowSeconds,
      take: limits.take,
      addressKey,
      findRanks: (names) => findRanks(db, names),
    }),
    limitFailures: limitInvalid,
    ownClientId: restClientId,
    resourceMetadata: resourceMetadataUrl(issuer),
    recordRefusal: (actor, { id }, permission) =>
      recordEvent(db, actor, { action: 'authorization.refuse', meta: { operation: id, permission } }),
    toError,
    corsOrigins: config.AUTH_API_CORS_ORIGINS,
  });
  return { routes, createDocument, middleware };
};
