/** The composition root: every part is built and mounted here. Read it top to bottom. */
import type { RequestListener } from 'node:http';
import Koa from 'koa';
import { createJobs, type Jobs } from '../adapters/jobs.ts';
import type { DevMailbox } from '../adapters/mailer.ts';
import { createOutboundFetch } from '../adapters/outbound.ts';
import { addressKey, createRateLimits } from '../adapters/rate-limits.ts';
import { cleanExpired } from '../db/clean.ts';
import type { Database } from '../db/connect.ts';
import { accountClient, accountClientId } from '../interactions/account/account-client.ts';
import { apiDocs } from '../interactions/api-docs.ts';
import { toAppError } from '../interactions/app-error.ts';
import { assets } from '../interactions/assets.ts';
import { refuseUnseen } from '../interactions/oauth-errors.ts';
import { protocolPages } from '../interactions/protocol.ts';
import { createViews } from '../interactions/views.ts';
import { createApprovals } from './approvals.ts';
import { expireEvents } from './audit/logs.commands.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import { answerMailRequest } from './auth/mail-requests.commands.ts';
import { answerCodeRequest, type OtpDeps } from './auth/otp.commands.ts';
import type { SignInDeps } from './auth/proceed.commands.ts';
import { rememberRules } from './auth/second-factor-policy.ts';
import { signIn } from './auth/sign-in.commands.ts';
import { createCachedAccess } from './cached-access.ts';
import type { ClientAccess } from './clients/client-access.ts';
import { ensureClient } from './clients/clients.commands.ts';
import { expireClients } from './clients/self-registration.commands.ts';
import { type Config, isDevelopment } from './config.ts';
import { createCookieKeys } from './cookie-keys.ts';
import { createDecisions } from './decisions.ts';
import { createDelivery } from './delivery.ts';
import { health } from './health/health.routes.ts';
import { createHostedPages } from './hosted-pages.ts';
import { authzenRequestId } from './http/authzen.ts';
import { trustProxies } from './http/client-address.ts';
import { createLoadShedding } from './http/load-shedding.ts';
import { rememberNegotiation } from './http/negotiation.ts';
import type { OpenApiDocument } from './http/openapi.ts';
import { servePrebuilt } from './http/prebuilt.ts';
import { logRequests } from './http/request-log.ts';
import type { Route } from './http/route.ts';
import { buildSecurityHeaders, securityHeaders } from './http/security-headers.ts';
import { createJoining, scheduleDomainChecks } from './joining.ts';
import { scheduleKeyRotation } from './key-schedule.ts';
import { scheduleKeycloakSync } from './keycloak-sync.ts';
import { deleteRetiredKeys, ensureKeys } from './keys/keys.commands.ts';
import { openSecrets } from './lasting-keys.ts';
import { readProxyAddresses, readRoleLimits } from './limit-settings.ts';
import type { Log } from './log.ts';
import type { JoinMetrics, Metrics } from './metrics/metrics.ts';
import type { FactorDeps } from './mfa/factor-changes.ts';
import { observe } from './observe.ts';
import { createPeople } from './people.ts';
import { createProtocol, frequentPaths, isForApplications, isProtocol, protocolPaths } from './protocol.ts';
import { readDetailsTypes } from './provider/authorization-details.ts';
import { routes as oauth } from './provider/configuration.ts';
import { createDiscoveryDocuments } from './provider/discovery-documents.ts';
import { createProviderHost, type ProviderHost } from './provider/host.ts';
import { restClient, restClientId } from './provider/issue-tokens.ts';
import { certificateOrigin, onlyAliases } from './provider/mutual-tls.ts';
import { createPostedRequests } from './provider/posted-requests.ts';
import { pinOrigin } from './provider/requests.ts';
import { resourceTokenSecondsMax } from './provider/resource-servers.ts';
import { requestToken } from './provider/token-endpoint.ts';
import { createRestApi } from './rest-api.ts';
import type { Secrets } from './secrets.ts';
import { createSessionRules } from './session-rules.ts';
import type { QueueLogout } from './sessions/sessions.commands.ts';
import { createUnregisteredClients } from './unregistered-clients.ts';

export interface App {
  config: Config;
  database: Database;
  secrets: Secrets;
  /** Who may do what, as requests ask it. */
  access: ClientAccess;
  koa: Koa;
  /** What answers requests. */
  handler: RequestListener;
  jobs: Jobs;
  metrics: Metrics;
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

export const createApp = async ({
  config,
  database,
  log,
  joinMetrics,
}: {
  config: Config;
  database: Database;
  log: Log;
  /** Whose measures `/metrics` tells; its own unless given. */
  joinMetrics?: JoinMetrics | undefined;
}): Promise<App> => {
  const { db } = database;
  const issuer = config.JWT_ISSUER;
  const development = isDevelopment(config);
  const secrets = await openSecrets(db, config);
  let stopping = false;
  const { metrics, ...observed } = await observe({ config, database, log, joinMetrics });

  // What we talk to
  const roleLimits = readRoleLimits(config.RATE_LIMITS);
  const limits = await createRateLimits({
    ...(config.REDIS_URL ? { redisUrl: config.REDIS_URL } : {}),
    keyPrefix: config.REDIS_KEY_PREFIX,
    factor: config.RATE_LIMIT_FACTOR,
    roles: roleLimits,
    smsPerHour: config.SMS_PER_HOUR,
    onRefusal: metrics.countRefusal,
    log,
  });
  const access = await createCachedAccess({ config, database, secrets, log, count: metrics.countCache });
  const jobs = createJobs({ db, listen: database.listen, secrets, log });
  const outboundFetch = createOutboundFetch({ allow: config.OUTBOUND_ALLOW, purpose: 'client' });
  const views = createViews({ brand: config.BRAND_NAME, ...(config.VIEWS_DIR ? { overlay: config.VIEWS_DIR } : {}) });
  const { countSms } = metrics;
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
      signIn: observed.countSignIn,
      federation: metrics.countFederation,
    },
  });
  const { accounts, otp, signInDeps, needsMfa } = people;
  const joining = createJoining(config, accounts, limits);
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
      access,
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
      signIn: (actor, input) => signIn({ ...signInDeps, countSignIn: observed.countTokenSignIn }, actor, input),
      needsMfa: rememberRules(access, needsMfa),
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
      joining,
      demoApp,
    },
    provider: provider.provider,
    shelf: access.shelf,
  });
  const { pages } = hosted;
  const protocol = createProtocol({
    ...{ config, log, limits, pages, postedRequests, limitPosted },
    registration: unregistered.registration,
    limitDeviceRequests: approvals.limitDeviceRequests,
    engine: provider.middleware,
  });

  // The work behind it
  await delivery.work();
  await observed.work(jobs);
  await jobs.work('code-request', (request) => answerCodeRequest(otp, request));
  await jobs.work('mail-request', (request) => answerMailRequest(accounts, request));
  await jobs.work('backchannel-logout', ({ clientId, sub, sid = '' }) =>
    provider.deliverLogout({ clientId, sub, sid }),
  );
  await jobs.work('ciba-ping', provider.deliverPing);
  await jobs.every('clean', 600, async () => {
    await cleanExpired(db, config.SIGN_IN_RETENTION, config.DECISION_RETENTION);
    await expireClients(db);
    // An id_token is a hint at sign-out for as long as the session that it is of.
    await deleteRetiredKeys(db, Math.max(config.SESSION_TTL, resourceTokenSecondsMax));
  });
  await jobs.every('audit-retention', 3600, async () => {
    await expireEvents(db, config.AUDIT_RETENTION);
  });
  await scheduleDomainChecks(joining, jobs, log);
  await scheduleKeyRotation(config, db, secrets, jobs, log);
  await scheduleKeycloakSync(config, db, secrets, jobs, log);

  // The request's way
  const decisions = await createDecisions(database, { access, retention: config.DECISION_RETENTION });
  const rest = createRestApi({
    config,
    db,
    decisions,
    access,
    secrets,
    limits,
    ...people,
    joining,
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
  const koa = new Koa();
  koa.keys = createCookieKeys(secrets.macs('cookie', '1'));
  const certificatesAt = certificateOrigin(config);
  pinOrigin(koa, issuer, certificatesAt);
  rememberNegotiation(koa);
  trustProxies(koa, config.TRUST_PROXY, readProxyAddresses(config.TRUST_PROXY_ADDRESSES), config.MTLS_PORT);
  koa.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever asked is gone, in the middle of a body perhaps; or the request went on after its time.
    if (!/^(EPIPE|ECONNRESET|ERR_STREAM_PREMATURE_CLOSE|ERR_HTTP_HEADERS_SENT|HPE_\w+)$/.test(error.code ?? ''))
      log.error({ err: error }, 'a response failed');
  });
  if (observed.trace) koa.use(observed.trace);
  koa.use(logRequests(issuer, log, () => stopping, frequentPaths));
  koa.use(metrics.middleware([...protocolPaths, ...rest.routes.map(({ path }) => path)]));
  koa.use(health({ db, available: () => !stopping && jobs.isReady() }));
  koa.use(observed.expose);
  const headers = await buildSecurityHeaders(issuer);
  koa.use(securityHeaders(headers));
  const shedding = createLoadShedding(config, { answer: refuseUnseen(pages, isProtocol), count: metrics.countShed });
  koa.use(shedding.middleware);
  koa.use((ctx, next) => (isForApplications(ctx.path) ? protocol(ctx, next) : next()));
  koa.use(assets({ views, pages }));
  koa.use(apiDocs({ views, brand: config.BRAND_NAME, createDocument: rest.createDocument }));
  koa.use(hosted.federation);
  koa.use(authzenRequestId);
  koa.use(rest.middleware);
  koa.use(onlyAliases(config, oauth));
  const documents = createDiscoveryDocuments(provider.provider);
  koa.use(documents.middleware);
  koa.use((ctx, next) => (isProtocol(ctx.path) ? protocol(ctx, next) : hosted.middleware(ctx, next)));
  const handler = servePrebuilt({
    find: documents.find,
    headers,
    isOff: () => stopping || observed.trace !== undefined || log.isLevelEnabled('debug'),
    otherHost: certificatesAt && new URL(certificatesAt).host,
    count: metrics.countRequest,
    next: koa.callback(),
  });

  return {
    config,
    database,
    secrets,
    access,
    koa,
    handler,
    jobs,
    metrics,
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
      shedding.stop();
      people.close();
      await decisions.stop();
      await provider.stop();
      await jobs.stop();
      await delivery.close();
      await limits.close();
      await access.close();
      await observed.stop();
    },
  };
};
