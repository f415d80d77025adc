/** One kind of error for whatever is thrown: by us, by the engine, by a database that is away. */
import type Koa from 'koa';
import { errors as oidcErrors } from 'oidc-provider';
import { AppError, databaseAway, foreignError, isOutage } from '../src/errors.ts';
import type { Log } from '../src/log.ts';

/** Makes an AppError of anything that was thrown. What is not meant for a caller is logged and becomes a plain 500. */
export const toAppError = (ctx: Koa.Context, error: unknown, log: Log): AppError => {
  if (error instanceof AppError) return error;
  if (isOutage(error)) {
    log.warn({ requestId: ctx.state.requestId, path: ctx.path }, 'a request failed: the database is out of reach');
    return databaseAway();
  }
  if (error instanceof oidcErrors.SessionNotFound)
    return new AppError(400, 'session_not_found', error.error_description ?? error.message);
  if (error instanceof oidcErrors.OIDCProviderError && error.statusCode < 500) {
    return foreignError(error.statusCode, error.error, error.error_description ?? error.message);
  }
  if (error instanceof oidcErrors.OIDCProviderError && error.statusCode === 503) return databaseAway();
  log.error({ err: error, requestId: ctx.state.requestId, path: ctx.path }, 'a request failed');
  return new AppError(500, 'internal_error', 'Something went wrong on our side');
};
