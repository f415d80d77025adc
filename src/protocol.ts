/** What comes in front of the engine, and which paths are the protocol's. */
import type Koa from 'koa';
import compose from 'koa-compose';
import { addressKey, type RateLimits } from '../adapters/rate-limits.ts';
import { passkeysPath } from '../interactions/account/navigation.ts';
import { isDeviceOutcome } from '../interactions/device.ts';
import { formPost } from '../interactions/form-post.ts';
import { oauthErrors } from '../interactions/oauth-errors.ts';
import type { Pages } from '../interactions/pages.ts';
import type { createApprovals } from './approvals.ts';
import type { Config } from './config.ts';
import { authzenMetadata, authzenMetadataPath } from './http/authzen.ts';
import { passkeyDocumentPaths, passkeyDocuments } from './http/passkey-documents.ts';
import type { Log } from './log.ts';
import { limitAnonymous } from './provider/anonymous-limits.ts';
import { cacheProtocol } from './provider/cache-control.ts';
import { registrationPath } from './provider/client-registration.ts';
import { routes as oauth } from './provider/configuration.ts';
import { discoveryPaths } from './provider/discovery-documents.ts';
import { untypeEmptyAnswers } from './provider/empty-answers.ts';
import { exactPaths } from './provider/exact-paths.ts';
import { limitFailures } from './provider/failure-limits.ts';
import { fapiInteractionId } from './provider/fapi-interaction-id.ts';
import type { PostedRequests } from './provider/posted-requests.ts';
import { protectedResource, protectedResourcePaths } from './provider/protected-resource.ts';
import { prepareRequest } from './provider/requests.ts';
import { webfinger, webfingerPath } from './provider/webfinger.ts';
import type { createUnregisteredClients } from './unregistered-clients.ts';

/** Endpoints of the engine that applications ask without a browser, each thousands of times in a second. */
const applicationPaths = new Set<string>([oauth.token, oauth.introspection, oauth.userinfo, oauth.revocation]);

/** Whether applications ask there all the time, and the engine answers. */
export const isForApplications = (path: string): boolean => applicationPaths.has(path);

/** Paths that machines ask for all the time: of what succeeds there the log has a line at `debug` alone. */
export const frequentPaths: ReadonlySet<string> = new Set<string>([
  ...[oauth.token, oauth.introspection, oauth.userinfo, oauth.jwks, ...discoveryPaths],
  ...['/auth/validate', '/api/v1/auth/validate'],
  ...['/health', '/health/live', '/health/ready', '/ready', '/metrics'],
]);

/** Every path of the protocol that has a name of its own in measurements. */
export const protocolPaths: readonly string[] = [
  ...Object.values(oauth),
  ...discoveryPaths,
  webfingerPath,
  ...passkeyDocumentPaths,
  ...protectedResourcePaths,
  authzenMetadataPath,
  registrationPath,
];

/** Whether the engine answers at a path, and not a page of ours. */
export const isProtocol = (path: string): boolean =>
  /^\/((oauth|\.well-known)\/|device(\/|$))/.test(path) && !isDeviceOutcome(path);

export interface ProtocolParts {
  config: Config;
  log: Log;
  limits: RateLimits;
  pages: Pages;
  postedRequests: PostedRequests;
  limitPosted(address: string): Promise<void>;
  registration: ReturnType<typeof createUnregisteredClients>['registration'];
  limitDeviceRequests: ReturnType<typeof createApprovals>['limitDeviceRequests'];
  engine: Koa.Middleware;
}

/** Everything from the outer error handler to the engine itself. */
export const createProtocol = ({ config, log, limits, pages, engine, ...parts }: ProtocolParts): Koa.Middleware => {
  const { JWT_ISSUER: issuer } = config;
  const errors = oauthErrors(pages, log);
  const prepared = prepareRequest(parts.postedRequests, parts.limitPosted);
  const failuresLimited = limitFailures({ ...limits, addressKey });
  // At the endpoints that applications ask all the time no more comes in front of the engine than concerns them.
  const ofApplications = compose([
    errors,
    cacheProtocol,
    untypeEmptyAnswers,
    fapiInteractionId,
    exactPaths,
    prepared,
    failuresLimited,
    engine,
  ]);
  const ofAll = compose([
    errors,
    formPost(pages),
    cacheProtocol,
    untypeEmptyAnswers,
    fapiInteractionId,
    webfinger(issuer),
    passkeyDocuments({ issuer, relatedOrigins: config.WEBAUTHN_ORIGINS, page: passkeysPath }),
    protectedResource(config),
    authzenMetadata(issuer),
    parts.registration,
    exactPaths,
    prepared,
    limitAnonymous({ ...limits, addressKey }),
    failuresLimited,
    parts.limitDeviceRequests,
    engine,
  ]);
  return (ctx, next) => (isForApplications(ctx.path) ? ofApplications : ofAll)(ctx, next);
};
