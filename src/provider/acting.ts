/**
 * Who acts for whom: the `act` and `may_act` claims of RFC 8693 sections 4.1 and 4.4. The outermost `act` is whoever acts now,
 * and what is nested in it is who acted before.
 */

/** An actor as a token names it. */
export interface Act {
  /** A person's id, or the `client_id` of an application that acts by itself. */
  sub: string;
  /** The application that a person acts with, or that acts. */
  client_id?: string;
  act?: Act;
}

/** As many actors as a token may name. */
export const actorsMax = 5;

/** The chain, the present actor first. */
export const actorsOf = (act: Act | undefined): { sub: string; clientId?: string }[] =>
  act
    ? [{ sub: act.sub, ...(act.client_id === undefined ? {} : { clientId: act.client_id }) }, ...actorsOf(act.act)]
    : [];

/** The chain with one actor more; undefined when it would be too long. */
export const withActor = ({ sub, clientId }: { sub: string; clientId: string }, before?: Act): Act | undefined =>
  actorsOf(before).length < actorsMax ? { sub, client_id: clientId, ...(before ? { act: before } : {}) } : undefined;

/**
 * Whether a token lets this party act for its subject: one that does not say lets anybody whom the policy lets. Members of the
 * claim identify the actor together; one that we cannot compare identifies nobody.
 */
export const mayAct = (
  claim: unknown,
  { sub, clientId }: { sub: string; clientId: string },
  issuer: string,
): boolean => {
  if (claim === undefined) return true;
  if (typeof claim !== 'object' || claim === null) return false;
  const named = Object.entries(claim);
  const ours: Record<string, string> = { sub, client_id: clientId, iss: issuer };
  return named.some(([name]) => name !== 'iss') && named.every(([name, value]) => ours[name] === value);
};

const chains = new WeakMap<object, Act>();

/** Has the token say, when it is saved, who acts. */
export const setAct = (token: object, act: Act): void => {
  chains.set(token, act);
};

/** For `extraTokenClaims`: in the token if it is a JWT, and at introspection in any case. */
export const actClaim = (token: object): { act: Act } | undefined => {
  const act = chains.get(token);
  return act && { act };
};
