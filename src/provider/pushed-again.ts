/** A request that came pushed (RFC 9126) or signed (RFC 9101), begun again with a change of ours that its client cannot sign. */
import { UnsecuredJWT } from 'jose';
import type { Provider } from 'oidc-provider';
import { routes } from './configuration.ts';

/** Long enough for a redirect. */
const lifetimeSeconds = 60;

/** What the engine keeps of how a request came, which its published types leave out. */
interface Provenance {
  params: Record<string, unknown>;
  /** The pushed request that it came as. */
  parJti?: string;
  /** The names of its parameters that the client has signed, or pushed with authentication. */
  trusted?: string[];
}

/** The model's published type is without its constructor. */
type PushedModel = new (
  request: Record<string, unknown>,
) => { attestationJkt?: string; save(ttl: number): Promise<string> };

/** Whether a request would be refused, or believed less, if its parameters came again in a URL. */
export const isProtected = (interaction: object): boolean => {
  const { parJti, trusted } = interaction as Provenance;
  return parJti !== undefined || Boolean(trusted?.length);
};

/**
 * Keeps parameters as the engine keeps what a client pushes: an unsigned JWT that only the server can read or change. They
 * are trusted as far as the request was that they are of, and bound to the same keys.
 * @param parameters of a request that the engine has accepted, with what is to be different
 * @returns the path that a browser begins it at
 */
export const pushAgain = async (
  provider: Provider,
  interaction: object,
  parameters: Record<string, unknown>,
): Promise<string> => {
  const { params, parJti, trusted } = interaction as Provenance;
  const clientId = String(params.client_id);
  const before = parJti
    ? await provider.PushedAuthorizationRequest.find(parJti, { ignoreExpiration: true })
    : undefined;
  const { attestationJkt } = (before ?? {}) as { attestationJkt?: string };
  const now = Math.floor(Date.now() / 1000);
  const request = new UnsecuredJWT(parameters)
    .setIssuedAt(now)
    .setNotBefore(now)
    .setIssuer(clientId)
    .setAudience(provider.issuer)
    .setExpirationTime(now + lifetimeSeconds)
    .encode();
  const pushed = new (provider.PushedAuthorizationRequest as unknown as PushedModel)({
    request,
    dpopJkt: parameters.dpop_jkt,
    attestationJkt,
    trusted: Boolean(trusted?.length),
  });
  const id = await pushed.save(lifetimeSeconds);
  const query = new URLSearchParams({ client_id: clientId, request_uri: `urn:ietf:params:oauth:request_uri:${id}` });
  return `${routes.authorization}?${query}`;
};
