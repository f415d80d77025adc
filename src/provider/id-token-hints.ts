/** id_tokens that come back as hints (OpenID Connect Core section 3.1.2.1, RP-Initiated Logout 1.0 section 2). */
import { decodeProtectedHeader } from 'jose';
import type { Provider } from 'oidc-provider';
import type { KeySet } from '../keys/key-set.ts';

interface HintClient {
  idTokenSignedResponseAlg: string;
}

/** By what the key was made for that a token names; undefined when it is none of ours. */
const algorithmOf = (jwt: string, { jwks }: KeySet): string | undefined => {
  try {
    const { kid } = decodeProtectedHeader(jwt);
    return jwks.keys.find((key) => key.use === 'sig' && key.kid === kid)?.alg;
  } catch {
    return undefined;
  }
};

/**
 * A hint is good for as long as its key is there. The engine expects the algorithm that the client has now, so that
 * whoever changes that, or the order of SIGNING_ALGS, would keep people from signing out at applications.
 */
export const acceptEarlierHints = (provider: Provider, keySet: KeySet): void => {
  const tokens = provider.IdToken as unknown as { validate(jwt: string, client: HintClient): Promise<unknown> };
  const validate = tokens.validate.bind(tokens);
  tokens.validate = (jwt, client) => {
    const alg = algorithmOf(jwt, keySet);
    return validate(jwt, alg ? Object.create(client, { idTokenSignedResponseAlg: { value: alg } }) : client);
  };
};
