/**
 * A sign-in that goes by way of a provider, from the moment the browser is sent there until it comes back. All of it travels
 * sealed in `state`, bound to the browser by a cookie, and can come back once (RFC 9700 section 2.1: CSRF; 4.4: mix-up).
 */
import { v4 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { consumeOnce } from '../consumed-tokens.ts';
import { equalInConstantTime, hashToken, randomToken, type Secrets } from '../secrets.ts';
import { FederationError } from './federation-error.ts';
import type { Providers } from './identity-providers.queries.ts';
import type { IdentityProvider } from './identity-providers.ts';
import type { UpstreamPerson } from './profiles.ts';
import {
  assertFresh,
  authorizationUrl,
  fetchPerson,
  readResponse,
  type UpstreamDeps,
  type Wishes,
} from './upstream.ts';

/** What somebody goes there for. */
export type Purpose =
  /** To sign in; the interaction of the sign-in page. */
  | { kind: 'interaction'; uid: string }
  /** To sign in, from no page of ours. */
  | { kind: 'page' }
  /** To connect it with the account that is signed in. */
  | { kind: 'link'; userId: string; sessionUid: string }
  /** To sign in to an application that uses the REST API. */
  | { kind: 'rest'; redirectUri: string; codeChallenge: string; state?: string | undefined };

interface Attempt {
  id: string;
  provider: string;
  revision: string;
  /** Of the cookie; none for an application that began it in the person's stead: what comes of it takes its verifier. */
  browser?: string | undefined;
  nonce: string;
  verifier: string;
  /** In seconds since the epoch. */
  begunAt: number;
  maxAge?: number | undefined;
  asksAgain?: boolean | undefined;
  purpose: Purpose;
}

const lifetimeSeconds = 600;
const row = 'attempt';

export interface AttemptDeps extends UpstreamDeps {
  db: Db;
  secrets: Secrets;
  providers: Providers;
}

const now = () => Math.floor(Date.now() / 1000);

/**
 * Begins one.
 * @param browser the secret that the browser keeps; undefined for `rest` alone, when an application asks in its stead
 * @returns where the browser goes, and the `state` that it brings back
 * @throws FederationError unavailable
 */
export const beginAttempt = async (
  deps: AttemptDeps,
  provider: IdentityProvider,
  { browser, purpose, wishes = {} }: { browser: string | undefined; purpose: Purpose; wishes?: Wishes },
): Promise<{ url: string; state: string }> => {
  const { maxAge, asksAgain } = wishes;
  const attempt: Attempt = {
    id: uuid(),
    provider: provider.id,
    revision: provider.revision,
    browser: browser === undefined ? undefined : hashToken(browser),
    nonce: randomToken(),
    verifier: randomToken(),
    begunAt: now(),
    maxAge,
    asksAgain,
    purpose,
  };
  const state = deps.secrets.seal('federation', row, JSON.stringify(attempt)).toString('base64url');
  const url = await authorizationUrl(deps, provider, { ...attempt, state }, wishes);
  return { url, state };
};

const expired = (message: string) => new FederationError('expired', message);

const openState = ({ secrets }: AttemptDeps, state: string): Attempt => {
  let attempt: Attempt;
  try {
    attempt = JSON.parse(secrets.open('federation', row, Buffer.from(state, 'base64url')).toString()) as Attempt;
  } catch {
    throw expired('the state is none of ours');
  }
  if (attempt.begunAt + lifetimeSeconds < now()) throw expired('the state is too old');
  return attempt;
};

/** An attempt that has come back, whatever became of it. */
export interface Returned {
  purpose: Purpose;
  provider: IdentityProvider;
  /** @throws FederationError */
  person(): Promise<UpstreamPerson>;
}

/**
 * Takes an answer that a browser brings to the redirect URI of a provider. Once this returns it cannot be brought again.
 * @param browser the cookie, if there is one
 * @throws FederationError expired for a state that is not this browser's, another provider's, too old, or was used
 */
export const takeAnswer = async (
  deps: AttemptDeps,
  { providerId, parameters, browser }: { providerId: string; parameters: URLSearchParams; browser: string },
): Promise<Returned> => {
  const attempt = openState(deps, parameters.get('state') ?? '');
  // One redirect URI for each provider: an answer that comes to another's is a mix-up.
  if (attempt.provider !== providerId) throw expired('the state is of another provider');
  const isBound = attempt.browser !== undefined || attempt.purpose.kind !== 'rest';
  if (isBound && (!browser || !equalInConstantTime(attempt.browser ?? '', hashToken(browser))))
    throw expired('the state is of another browser');
  const provider = await deps.providers.find(providerId);
  // What was asked of one must not be told to what has taken its place.
  if (!provider || provider.revision !== attempt.revision) throw expired('the provider has changed');
  const until = (attempt.begunAt + lifetimeSeconds + 60) * 1000;
  if (!(await consumeOnce(deps.db, `federation-attempt ${attempt.id}`, until))) throw expired('the state was used');
  return {
    purpose: attempt.purpose,
    provider,
    person: async () => {
      const code = await readResponse(deps, provider, parameters);
      const { nonce, verifier } = attempt;
      const person = await fetchPerson(deps, provider, { code, nonce, verifier, user: parameters.get('user') });
      assertFresh(person, attempt);
      return person;
    },
  };
};
