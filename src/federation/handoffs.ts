/**
 * Somebody whom a provider has signed in, kept on the server from the callback to where it goes on: the interaction of the page,
 * or the application's request for tokens. What travels is a handle that is good once.
 */
import { AppError } from '../errors.ts';
import type { IdentityProvider } from './identity-providers.ts';
import type { UpstreamPerson } from './profiles.ts';

export interface Handoffs {
  /** @returns a handle @throws AppError 413 */
  keep(text: string, seconds?: number): Promise<string>;
  /** Gives it back, once. @throws AppError 400 request_expired */
  take(handle: string): Promise<string>;
}

interface Kept {
  kind: 'social-page' | 'social-code';
  /** Of the provider: what has changed since does not count. */
  revision: string;
  person: UpstreamPerson;
}

interface KeptCode extends Kept {
  kind: 'social-code';
  codeChallenge: string;
}

const pageSeconds = 600;
const codeSeconds = 60;

const take = async <K extends Kept>(handoffs: Handoffs, handle: string, kind: K['kind']): Promise<K | undefined> => {
  try {
    const kept = JSON.parse(await handoffs.take(handle)) as K;
    return kept.kind === kind ? kept : undefined;
  } catch (error) {
    // Not there any more, or a handle of something else.
    if (error instanceof SyntaxError || (error instanceof AppError && error.code === 'request_expired'))
      return undefined;
    throw error;
  }
};

export const keepForPage = (
  handoffs: Handoffs,
  { revision }: Pick<IdentityProvider, 'revision'>,
  person: UpstreamPerson,
): Promise<string> => {
  const kept: Kept = { kind: 'social-page', revision, person };
  return handoffs.keep(JSON.stringify(kept), pageSeconds);
};

export const takeForPage = (handoffs: Handoffs, handle: string): Promise<Kept | undefined> =>
  take<Kept>(handoffs, handle, 'social-page');

/** @returns the code that an application redeems within a minute */
export const keepRestCode = (
  handoffs: Handoffs,
  { revision }: Pick<IdentityProvider, 'revision'>,
  person: UpstreamPerson,
  codeChallenge: string,
): Promise<string> => {
  const kept: KeptCode = { kind: 'social-code', revision, person, codeChallenge };
  return handoffs.keep(JSON.stringify(kept), codeSeconds);
};

export const takeRestCode = (handoffs: Handoffs, code: string): Promise<KeptCode | undefined> =>
  take<KeptCode>(handoffs, code, 'social-code');
