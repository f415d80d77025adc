/** Limits of the REST routes by who calls: each role has its own, machines have theirs, everybody else is counted by address. */
import type Koa from 'koa';
import { tooMany } from '../errors.ts';
import type { Caller } from './caller.ts';

export interface RoleLimitDeps {
  /** RATE_LIMITS: which roles (and `anonymous`, `client`) have a limit. */
  policies: readonly string[];
  windowSeconds: number;
  /** Takes one request from what the caller `key` has left. */
  take(
    limit: `role:${string}`,
    key: string,
  ): Promise<{ limit: number; remaining: number; resetSeconds: number; exceeded: boolean }>;
  /** What a network address is counted by. */
  addressKey(address: string): string;
  /** The ranks of roles, by name; names without a role are left out. */
  findRanks(names: readonly string[]): Promise<Record<string, number>>;
}

/** How long a change of a role's rank may go unnoticed, in milliseconds. */
const ranksMs = 60_000;

/** The highest of the listed roles that does not outrank the caller. */
const policyFor = (ranks: Readonly<Record<string, number>>, caller: Caller): string => {
  const below = Object.entries(ranks).filter(([, rank]) => rank <= caller.rank);
  const [best] = below.sort(
    ([one, rank], [other, otherRank]) =>
      // Of two roles of one rank the one that the caller holds.
      otherRank - rank || Number(caller.roles.includes(other)) - Number(caller.roles.includes(one)),
  );
  return best?.[0] ?? 'anonymous';
};

/**
 * What a caller is counted by. A person, each application that acts for them and their API keys have quotas of their own, or
 * whoever holds a leaked key could keep its owner from revoking it. However many keys somebody makes, they share sixteen
 * quotas, told apart by the last digit of their ids: keys would be a way around the limit otherwise.
 */
const keyOf = ({ kind, id, apiKeyId, clientId }: Caller): string =>
  `${kind} ${id} ${apiKeyId === undefined ? (clientId ?? '') : `key ${apiKeyId.at(-1)}`}`;

/**
 * Counts a request against the limit of the caller's role and tells it in headers (draft-ietf-httpapi-ratelimit-headers,
 * sections 3 and 4).
 * @returns a function that throws AppError 429
 */
export const createRoleLimits = (
  deps: RoleLimitDeps,
): ((ctx: Koa.Context, caller: Caller | undefined) => Promise<void>) => {
  const { policies, windowSeconds, take, addressKey } = deps;
  let ranks: { at: number; known: Promise<Record<string, number>> } | undefined;
  const findRanks = (): Promise<Record<string, number>> => {
    if (!ranks || Date.now() - ranks.at > ranksMs) {
      const known = deps.findRanks(policies);
      ranks = { at: Date.now(), known };
      known.catch(() => {
        ranks = undefined;
      });
    }
    return ranks.known;
  };

  const policyOf = async (caller: Caller): Promise<string> => {
    if (caller.kind === 'client') return 'client';
    // Somebody whom another issuer vouches for has no role here and counts as any person who has signed in.
    return caller.kind === 'external' ? 'user' : policyFor(await findRanks(), caller);
  };

  return async (ctx, caller) => {
    const policy = caller ? await policyOf(caller) : 'anonymous';
    const key = caller ? keyOf(caller) : addressKey(ctx.ip);
    const { limit, remaining, resetSeconds, exceeded } = await take(`role:${policy}`, key);
    ctx.set('RateLimit-Policy', `"${policy}";q=${limit};w=${windowSeconds}`);
    ctx.set('RateLimit', `"${policy}";r=${remaining};t=${resetSeconds}`);
    if (exceeded) throw tooMany(resetSeconds);
  };
};
