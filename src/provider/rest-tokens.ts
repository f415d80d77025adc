/** What the REST API's sign-in routes do with tokens, on the engine's models and its token endpoint. */
import { errors } from 'oidc-provider';
import type { Actor } from '../audit/logs.commands.ts';
import type { SignIn } from '../auth/record-sign-in.commands.ts';
import { AppError, databaseAway, invalid, tooMany } from '../errors.ts';
import { tokenGrants } from '../observing.ts';
import { issueTokens, restClientId, type TokenIssuer, type TokenResponse } from './issue-tokens.ts';
import type { requestToken } from './token-endpoint.ts';

/** Nothing is proven at these routes, so nothing is bound to it. */
type BearerResponse = TokenResponse & { token_type: 'Bearer' };

type AskTokenEndpoint = (actor: Actor, parameters: Record<string, string>) => ReturnType<typeof requestToken>;

/** @throws AppError 401 when the account has changed hands between the password and the tokens */
export const issueRestTokens = async (issuer: TokenIssuer, actor: Actor, signIn: SignIn): Promise<BearerResponse> => {
  try {
    const tokens = await issueTokens(issuer, actor, signIn, { clientId: restClientId });
    tokenGrants.tell?.('rest');
    return { ...tokens, token_type: 'Bearer' };
  } catch (error) {
    if (error instanceof errors.AccessDenied)
      throw new AppError(401, 'invalid_credentials', 'The account has changed since the password was checked');
    throw error;
  }
};

/** @throws AppError 401 invalid_refresh_token, 429, 503 */
export const refreshRestTokens = async (
  ask: AskTokenEndpoint,
  actor: Actor,
  refreshToken: string,
): Promise<BearerResponse> => {
  const { status, retryAfterSeconds, body } = await ask(actor, {
    grant_type: 'refresh_token',
    client_id: restClientId,
    refresh_token: refreshToken,
  });
  if ('access_token' in body) return { ...body, token_type: 'Bearer' };
  if (status === 503) throw databaseAway();
  if (status === 429) throw tooMany(retryAfterSeconds ?? 60);
  if (body.error === 'invalid_grant')
    throw new AppError(401, 'invalid_refresh_token', 'The refresh token is not valid, or was already used');
  if (status < 500) throw invalid('invalid_request', body.error_description ?? body.error);
  throw new Error(`the token endpoint answered ${status} ${body.error}`);
};
