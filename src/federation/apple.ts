/** Apple has no secret that stays: the client makes one of its private key each time (Sign in with Apple, "Creating a client secret"). */
import { importPKCS8, SignJWT } from 'jose';
import { FederationError } from './federation-error.ts';
import type { IdentityProvider } from './identity-providers.ts';

const lifetimeSeconds = 300;
const made = new Map<string, { secret: string; until: number }>();

const keyOf = (text: string) =>
  importPKCS8(text.replaceAll('\\n', '\n'), 'ES256').catch((cause: unknown) => {
    throw new FederationError('unavailable', 'private_key is no PKCS #8 key for ES256', { cause });
  });

/** A client secret that is good for some minutes. @throws FederationError unavailable when the private key is none for ES256 */
export const appleClientSecret = async (provider: IdentityProvider): Promise<string> => {
  const known = made.get(provider.id + provider.revision);
  const now = Math.floor(Date.now() / 1000);
  if (known && known.until > now + 60) return known.secret;
  const { client_id, team_id = '', key_id = '', issuer = '' } = provider.metadata;
  const key = await keyOf(provider.secrets.private_key ?? '');
  const until = now + lifetimeSeconds;
  const secret = await new SignJWT()
    .setProtectedHeader({ alg: 'ES256', kid: key_id })
    .setIssuer(team_id)
    .setSubject(client_id)
    .setAudience(issuer)
    .setIssuedAt(now)
    .setExpirationTime(until)
    .sign(key);
  if (made.size > 100) made.clear();
  made.set(provider.id + provider.revision, { secret, until });
  return secret;
};
