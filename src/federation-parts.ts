/** Identity providers, as `app.ts` puts them together: how they are asked, and who somebody is that they have signed in. */
import { createOutboundCheck, createOutboundFetch, portOf } from '../adapters/outbound.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import type { Config } from './config.ts';
import type { AttemptDeps } from './federation/attempts.ts';
import { createDiscovery } from './federation/discovery.ts';
import { createProviders } from './federation/identity-providers.queries.ts';
import type { IdentityProvider } from './federation/identity-providers.ts';
import type { PeopleDeps } from './federation/people.commands.ts';

export interface Federation {
  attempts: AttemptDeps;
  people: PeopleDeps;
  /** Why a URL in a row could never be fetched. */
  refusalOf(url: string): string | undefined;
}

/** The hosts that a document names. */
const hostsOf = ({ metadata }: IdentityProvider): string[] =>
  [
    ...[metadata.issuer, metadata.token_endpoint, metadata.userinfo_endpoint],
    ...[metadata.emails_endpoint, metadata.jwks_uri],
  ].flatMap((value) => {
    const url = URL.parse(value ?? '');
    return url ? [`${url.hostname}:${portOf(url)}`] : [];
  });

/** @param requiredRank from which on a sign-in needs two factors */
export const createFederation = (
  config: Config,
  accounts: AccountDeps,
  requiredRank: number | undefined,
  countFederation: PeopleDeps['countFederation'],
): Federation => {
  const { db, secrets, issuer } = accounts;
  // The operator chose what is in the file, and what is their own is likely to have a private address.
  const fetchOf = (provider: IdentityProvider) =>
    createOutboundFetch({
      purpose: 'identity-provider',
      allow: [...config.OUTBOUND_ALLOW, ...(provider.source === 'file' ? hostsOf(provider) : [])],
    });
  const providers = createProviders(db, secrets, config.identityProviders);
  return {
    refusalOf: createOutboundCheck(config.OUTBOUND_ALLOW),
    attempts: { db, secrets, issuer, providers, fetchOf, discover: createDiscovery(fetchOf) },
    people: { ...accounts, requiredRank, requireVerifiedEmail: config.REQUIRE_VERIFIED_EMAIL, countFederation },
  };
};
