/** Binds the tokens of our own grants to the client's key or certificate, as the engine does those of its grants. */
import type { AccessToken, KoaContextWithOIDC, Provider, RefreshToken, TokenEndpointGrantContext } from 'oidc-provider';
import {
  applyRefreshTokenBindings,
  checkDpopReplay,
  checkDpopRequired,
  checkMtlsCert,
  validateDpop,
} from 'oidc-provider/lib/helpers/grants.js';

/** What binds a token before it is saved. */
export interface TokenBinding {
  /**
   * Uses the proof up, once it is known that there will be a token: what is remembered of it is a row.
   * @throws the engine's InvalidRequest when the client proves possession of a key and of a certificate, InvalidGrant for a
   *   proof that was used before
   */
  bind(token: AccessToken): Promise<void>;
  /** A public client's refresh token is bound as its access token is (RFC 9449 section 5, RFC 8705 section 4). */
  bindRefresh(accessToken: AccessToken, refreshToken: RefreshToken): Promise<void>;
}

/**
 * Checks what the token request proves possession of. Call it before anything is used up: whoever must ask again with a
 * nonce has lost nothing.
 * @throws the engine's InvalidDpopProof, UseDpopNonce, and InvalidGrant for a client that must prove something and did not
 */
export const checkSenderConstraints = async (provider: Provider, ctx: KoaContextWithOIDC): Promise<TokenBinding> => {
  const request = ctx as TokenEndpointGrantContext;
  const certificate = checkMtlsCert(provider, request);
  const proof = await validateDpop(provider, request);
  checkDpopRequired(provider, request, proof);
  return {
    bind: async (token) => {
      await checkDpopReplay(provider, request, proof, request.oidc.client.clientId);
      if (certificate) token.setThumbprint('x5t', certificate);
      if (proof) token.setThumbprint('jkt', proof.thumbprint);
    },
    bindRefresh: async (accessToken, refreshToken) => {
      await applyRefreshTokenBindings(provider, request, accessToken, refreshToken);
    },
  };
};
