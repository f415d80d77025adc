/**
 * Pairwise subject identifiers (OpenID Connect Core section 8.1): clients of different sectors cannot find out from `sub` that
 * they know the same person. Whoever looks a token up here finds the person by its grant, so that nothing else depends on it.
 */
import type { Client, Configuration, Provider } from 'oidc-provider';
import type { Caller } from '../http/caller.ts';
import type { Secrets } from '../secrets.ts';

/** An account's id has no NUL in it and neither has a host. @throws the engine's InvalidClientMetadata without a sector */
const subjectAt = (secrets: Pick<Secrets, 'mac'>, accountId: string, client: Client): string =>
  secrets.mac('pairwise', `${client.sectorIdentifier}\0${accountId}`);

/** Whom a token of our own API speaks for, in the name by which its application knows them. */
export const subjectOf = async (
  provider: Provider,
  secrets: Pick<Secrets, 'mac'>,
  { kind, id, clientId, apiKeyId }: Caller,
): Promise<string> => {
  if (kind !== 'user' || clientId === undefined || apiKeyId !== undefined) return id;
  const client = await provider.Client.find(clientId);
  return client?.subjectType === 'pairwise' ? subjectAt(secrets, id, client) : id;
};

/** The parts of the engine's configuration that are about subjects. */
export const pairwiseSubjects = (
  secrets: Pick<Secrets, 'mac'>,
): Pick<Configuration, 'subjectTypes' | 'pairwiseIdentifier' | 'sectorIdentifierUriValidate'> => ({
  subjectTypes: ['public', 'pairwise'],
  pairwiseIdentifier: (_ctx, accountId, client) => subjectAt(secrets, accountId, client),
  /**
   * The document of `sector_identifier_uri` is checked at registration (OpenID Connect Registration section 5), where nothing
   * is stored yet and there is no rank; a stored client must not depend on somebody else's server being there.
   */
  sectorIdentifierUriValidate: (client) => client.rank === undefined,
});
