/** The composition root: every part is built and mounted here. Read it top to bottom. */
import Koa from 'koa';
import compose from 'koa-compose';
import { createJobs, type Jobs } from '../adapters/jobs.ts';
import type { DevMailbox } from '../adapters/mailer.ts';
import { createOutboundFetch } from '../adapters/outbound.ts';
import { addressKey, createRateLimits } from '../adapters/rate-limits.ts';
import { cleanExpired } from '../db/clean.ts';
import type { Database } from '../db/connect.ts';
import { accountClient, accountClientId } from '../interactions/account/account-client.ts';
import { passkeysPath } from '../interactions/account/passkeys.ts';
import { apiDocs } from '../interactions/api-docs.ts';
import { toAppError } from '../interactions/app-error.ts';
import { assets } from '../interactions/assets.ts';
import { isDeviceOutcome } from '../interactions/device.ts';
import { formPost } from '../interactions/form-post.ts';
import { oauthErrors } from '../interactions/oauth-errors.ts';
import { protocolPages } from '../interactions/protocol.ts';
import { createViews } from '../interactions/views.ts';
import { createApprovals } from './approvals.ts';
import { expireEvents } from './audit/logs.commands.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import { answerMailRequest } from './auth/mail-requests.commands.ts';
import { answerCodeRequest, type OtpDeps } from './auth/otp.commands.ts';
import type { SignInDeps } from './auth/proceed.commands.ts';
import { signIn } from './auth/sign-in.commands.ts';
import { ensureClient } from './clients/clients.commands.ts';
import { expireClients } from './clients/self-registration.commands.ts';
import { type Config, isDevelopment } from './config.ts';
import { createDelivery } from './delivery.ts';
import { health } from './health/health.routes.ts';
import { createHostedPages } from './hosted-pages.ts';
import { trustProxies } from './http/client-address.ts';
import type { OpenApiDocument } from './http/openapi.ts';
import { passkeyDocumentPaths, passkeyDocuments } from './http/passkey-documents.ts';
import { logRequests } from './http/request-log.ts';
import type { Route } from './http/route.ts';
import { securityHeaders } from './http/security-headers.ts';
import { scheduleKeycloakSync } from './keycloak-sync.ts';
import { deleteRetiredKeys, ensureKeys } from './keys/keys.commands.ts';
import { readProxyAddresses, readRoleLimits } from './limit-settings.ts';
import type { Log } from './log.ts';
import { createMetrics, exposeMetrics } from './metrics/metrics.ts';
import type { FactorDeps } from './mfa/factor-changes.ts';
import { createPeople } from './people.ts';
import { limitAnonymous } from './provider/anonymous-limits.ts';
import { readDetailsTypes } from './provider/authorization-details.ts';
import { cacheProtocol } from './provider/cache-control.ts';
import { registrationPath } from './provider/client-registration.ts';
import { routes as oauth } from './provider/configuration.ts';
import { untypeEmptyAnswers } from './provider/empty-answers.ts';
import { exactPaths } from './provider/exact-paths.ts';
import { limitFailures } from './provider/failure-limits.ts';
import { fapiInteractionId } from './provider/fapi-interaction-id.ts';
import { createProviderHost, type ProviderHost } from './provider/host.ts';
import { restClient, restClientId } from './provider/issue-tokens.ts';
import { discoveryPaths, metadataDocuments } from './provider/metadata-documents.ts';
import { certificateOrigin, onlyAliases } from './provider/mutual-tls.ts';
import { createPostedRequests } from './provider/posted-requests.ts';
import { protectedResource, protectedResourcePaths } from './provider/protected-resource.ts';
import { pinOrigin, prepareRequest } from './provider/requests.ts';
import { resourceTokenSecondsMax } from './provider/resource-servers.ts';
import { requestToken } from './provider/token-endpoint.ts';
import { webfinger, webfingerPath } from './provider/webfinger.ts';
import { createRestApi } from './rest-api.ts';
import { createSecrets, type Secrets } from './secrets.ts';
import { createSessionRules } from './session-rules.ts';
import type { QueueLogout } from './sessions/sessions.commands.ts';
import { createUnregisteredClients } from './unregistered-clients.ts';

export interface App {
  config: Config;
  secrets: Secrets;
  koa: Koa;
  jobs: Jobs;
  provider: ProviderHost;
  accounts: AccountDeps;
  otp: OtpDeps;
  signIn: SignInDeps;
  factors: FactorDeps;
  /** In development, unless mail and SMS both go elsewhere. */
  mailbox: DevMailbox | undefined;
  /** What the REST API is made of. */
  routes: readonly Route[];
  /** The OpenAPI document of this service. */
  createDocument(): Promise<OpenApiDocument>;
  /** From now on `/health/ready` answers 503 and connections are not kept alive. */
  drain(): void;
  /** Stops jobs, timers and listeners; the database stays open. */
  stop(): Promise<void>;
}

/** Whether the engine answers at a path, and not a page of ours. */
const isProtocol = (path: string): boolean =>
  /^\/((oauth|\.well-known)\/|device(\/|$))/.test(path) && !isDeviceOutcome(path);

export const createApp = async ({
  config,
  database,
  log,
}: {
  config: Config;
  database: Database;
  log: Log;
}): Promise<App> => {
  const { db } = database;
  const issuer = config.JWT_ISSUER;
  const development = isDevelopment(config);
  const secrets = createSecrets(config.ENCRYPTION_MASTER_KEY);
  let stopping = false;

  // What we talk to
  const roleLimits = readRoleLimits(config.RATE_LIMITS);
  const limits = createRateLimits({
    ...(config.REDIS_URL ? { redisUrl: config.REDIS_URL } : {}),
    keyPrefix: config.REDIS_KEY_PREFIX,
    factor: config.RATE_LIMIT_FACTOR,
    roles: roleLimits,
    smsPerHour: config.SMS_PER_HOUR,
    onRefusal: (limit) => metrics.countRefusal(limit),
    log,
  });
  const jobs = createJobs({ db, listen: database.listen, secrets, log });
  const outboundFetch = createOutboundFetch({ allow: config.OUTBOUND_ALLOW });
  const views = createViews({ brand: config.BRAND_NAME, ...(config.VIEWS_DIR ? { overlay: config.VIEWS_DIR } : {}) });
  const countSms = (outcome: string) => metrics.countSms(outcome);
  const delivery = createDelivery({ config, jobs, views, log, countSms });
  const { mailbox } = delivery;

  // What people do
  // Applications that nobody registered share one place in the queue: a hanging one must not hold up the others.
  const queueLogout: QueueLogout = (db, { vouchedFor, ...logout }) =>
    jobs.send(db, 'backchannel-logout', logout, vouchedFor ? logout.clientId : 'strangers');
  const people = await createPeople({
    ...{ config, db, secrets, limits, jobs, delivery, queueLogout, log },
    count: {
      sms: countSms,
      signIn: (outcome) => metrics.countSignIn(outcome),
      federation: (outcome) => metrics.countFederation(outcome),
    },
  });
  const { accounts, otp, signInDeps, needsMfa } = people;
  const approvals = createApprovals({ accounts, limits, jobs, needsMfa, provider: () => provider.provider() });

  // The provider
  const detailsTypes = await readDetailsTypes(config.AUTHORIZATION_DETAILS_PATH);
  if (!config.JWKS_PRIVATE_KEY_PATH) await ensureKeys(db, secrets, config.SIGNING_ALGS);
  await ensureClient(db, accountClientId, accountClient(issuer, config.BRAND_NAME));
  await ensureClient(db, restClientId, restClient(config.BRAND_NAME));
  // Loaded in development alone: it brings a client library of its own.
  const demoApp = development ? await import('../interactions/demo.ts') : undefined;
  if (demoApp) await ensureClient(db, demoApp.demoClientId, demoApp.demoClient(issuer));
  const unregistered = createUnregisteredClients({
    config,
    db,
    limits,
    fetch: outboundFetch,
    validate: (metadata) => provider.validateClient(metadata),
    log,
  });
  const provider: ProviderHost = await createProviderHost(
    {
      config,
      db,
      ...unregistered.lookup,
      secrets,
      log,
      locales: views.locales,
      fetch: outboundFetch,
      detailsTypes,
      pages: protocolPages(db, () => pages),
      queueLogout,
      sessions: createSessionRules(config, accounts, queueLogout),
      userCodeLimits: approvals.userCodeLimits,
      backchannel: approvals.backchannel,
      signIn: (actor, input) => signIn(signInDeps, actor, input),
      needsMfa,
      countUnasked: async (clientId, address) =>
        (await limits.count('recordedRefusals', `${clientId} ${addressKey(address)}`)) <= 0,
    },
    database.listen,
  );

  // The pages
  const postedRequests = createPostedRequests(db, secrets);
  const limitPosted = (address: string) => limits.consume('posted', addressKey(address));
  const hosted = createHostedPages({
    ...people,
    ...{
      config,
      db,
      log,
      secrets,
      views,
      mailbox,
      approvals,
      detailsTypes,
      queueLogout,
      postedRequests,
      limitPosted,
      demoApp,
    },
    provider: provider.provider,
  });
  const { pages } = hosted;
  const protocol = compose([
    oauthErrors(pages, log),
    formPost(pages),
    cacheProtocol,
    untypeEmptyAnswers,
    fapiInteractionId,
    webfinger(issuer),
    passkeyDocuments({ issuer, relatedOrigins: config.WEBAUTHN_ORIGINS, page: passkeysPath }),
    protectedResource(config),
    unregistered.registration,
    exactPaths,
    prepareRequest(postedRequests, limitPosted),
    limitAnonymous({ ...limits, addressKey }),
    limitFailures({ ...limits, addressKey }),
    approvals.limitDeviceRequests,
    provider.middleware,
  ]);

  // The work behind it
  await delivery.work();
  await jobs.work('code-request', (request) => answerCodeRequest(otp, request));
  await jobs.work('mail-request', (request) => answerMailRequest(accounts, request));
  await jobs.work('backchannel-logout', ({ clientId, sub, sid = '' }) =>
    provider.deliverLogout({ clientId, sub, sid }),
  );
  await jobs.work('ciba-ping', provider.deliverPing);
  await jobs.every('clean', 600, async () => {
    await cleanExpired(db, config.SIGN_IN_RETENTION);
    await expireClients(db);
    // An id_token is a hint at sign-out for as long as the session that it is of.
    await deleteRetiredKeys(db, Math.max(config.SESSION_TTL, resourceTokenSecondsMax));
  });
  await jobs.every('audit-retention', 3600, async () => {
    await expireEvents(db, config.AUDIT_RETENTION);
  });
  await scheduleKeycloakSync(config, db, secrets, jobs, log);

  // The request's way
  const rest = createRestApi({
    config,
    db,
    secrets,
    limits,
    ...people,
    handoffs: postedRequests,
    provider,
    smsReports: delivery.smsReports,
    queueLogout,
    decideRequest: approvals.decideRequest,
    negotiate: views.negotiate,
    hiddenClientId: accountClientId,
    askTokenEndpoint: (actor, parameters) => requestToken(koa, protocol, actor, parameters),
    toError: (ctx, error) => toAppError(ctx, error, log),
  });
  const wellKnown = [
    ...discoveryPaths,
    webfingerPath,
    ...passkeyDocumentPaths,
    ...protectedResourcePaths,
    registrationPath,
  ];
  const metrics = createMetrics([...Object.values(oauth), ...wellKnown, ...rest.routes.map(({ path }) => path)]);
  const koa = new Koa({ keys: [secrets.mac('cookie', '1')] });
  pinOrigin(koa, issuer, certificateOrigin(config));
  trustProxies(koa, config.TRUST_PROXY, readProxyAddresses(config.TRUST_PROXY_ADDRESSES));
  koa.on('error', (error: NodeJS.ErrnoException) => {
    if (!['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'].includes(error.code ?? ''))
      log.error({ err: error }, 'a response failed');
  });
  koa.use(logRequests(issuer, log, () => stopping));
  koa.use(metrics.middleware);
  koa.use(health({ db, stopping: () => stopping }));
  if (config.PROMETHEUS_ENABLED) koa.use(exposeMetrics(metrics));
  koa.use(await securityHeaders(issuer));
  koa.use(assets({ views, pages }));
  koa.use(apiDocs({ views, brand: config.BRAND_NAME, createDocument: rest.createDocument }));
  koa.use(hosted.federation);
  koa.use(rest.middleware);
  koa.use(onlyAliases(config, oauth));
  koa.use(metadataDocuments(provider.provider));
  koa.use((ctx, next) => (isProtocol(ctx.path) ? protocol(ctx, next) : hosted.middleware(ctx, next)));

  return {
    config,
    secrets,
    koa,
    jobs,
    provider,
    accounts,
    otp,
    signIn: signInDeps,
    factors: people.factors,
    mailbox,
    routes: rest.routes,
    createDocument: rest.createDocument,
    drain: () => {
      stopping = true;
    },
    stop: async () => {
      people.close();
      await provider.stop();
      await jobs.stop();
      await delivery.close();
      await limits.close();
    },
  };
};
