/**
 * What the engine does for a grant, with what that writes put together: the exchange of a code (RFC 6749 section 4.1.3), see
 * `adapters/code-redemptions.ts`, and a refresh (section 6), see `adapters/oidc-refresh-tokens.ts`.
 */
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
// @ts-expect-error: the published types leave this out.
import partsOf from 'oidc-provider/lib/helpers/weak_cache.js';
import type { Redemption } from '../../adapters/code-redemptions.ts';
import { orOrphaned } from '../../adapters/oidc.ts';
import { finishRotation, requestState } from '../../adapters/oidc-storage.ts';

type Handle = (ctx: KoaContextWithOIDC) => Promise<void>;

/** The engine has its handlers in a map, by the name of the grant type, and no way to ask for one. */
const handlersOf = (provider: Provider): Map<string, Handle> =>
  ((partsOf as (provider: Provider) => object)(provider) as { grantTypeHandlers: Map<string, Handle> })
    .grantTypeHandlers;

/** The engine's own part of a token request whose client is known, as it is registered when this is called. */
export const handlerOf = (provider: Provider, grantType: string): Handle =>
  handlersOf(provider).get(grantType) as Handle;

/**
 * A code that has been looked at is used up, also where the exchange is refused after that: whoever tries has one attempt.
 * @throws what the engine throws; InvalidGrant when the code was used before
 */
const inRedemption = async (exchange: () => Promise<void>): Promise<void> => {
  const state = requestState();
  const redemption: Redemption = {};
  state.redemption = redemption;
  /** Nothing, where a refresh token was saved and all else with it. */
  const finish = (): Promise<void> => orOrphaned(state.redemption?.use?.() ?? Promise.resolve());
  try {
    await exchange();
  } catch (error) {
    delete redemption.accessToken;
    await finish();
    throw error;
  }
  await finish();
};

/** Nothing leaves before the refresh token has been used. @throws InvalidGrant when it was used before */
const inRotation = async (refresh: () => Promise<void>): Promise<void> => {
  try {
    await refresh();
  } finally {
    await orOrphaned(finishRotation());
  }
};

export const joinWrites = (provider: Provider): void => {
  const handlers = handlersOf(provider);
  const exchange = handlerOf(provider, 'authorization_code');
  handlers.set('authorization_code', (ctx) => inRedemption(() => exchange(ctx)));
  const refresh = handlerOf(provider, 'refresh_token');
  handlers.set('refresh_token', (ctx) => inRotation(() => refresh(ctx)));
};
