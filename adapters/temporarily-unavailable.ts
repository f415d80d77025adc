/** What the engine says while something is away, or too busy. */
import { errors } from 'oidc-provider';

/** RFC 6749 section 4.1.2.1 knows the code; the status says that trying again helps. */
export const temporarilyUnavailable = (description: string, status = 503): errors.OIDCProviderError =>
  Object.assign(new errors.CustomOIDCProviderError('temporarily_unavailable', description), {
    status,
    statusCode: status,
  });
