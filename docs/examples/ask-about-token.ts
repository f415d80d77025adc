/**
 * Asks Countersign about a token (RFC 7662): what offline verification cannot know, and the only way with opaque tokens. Needs
 * a confidential client of your own, for nothing but this: the one with `introspects` of your API's resource server, or one that
 * may ask about every token: `{ "grant_types": [], "redirect_uris": [], "scope": "tokens:introspect:any" }`.
 */
import { createHash } from 'node:crypto';

/** RFC 7662 section 2.2. */
export interface Answer {
  active: boolean;
  sub?: string;
  client_id?: string;
  scope?: string;
  aud?: string | string[];
  exp?: number;
}

export interface AskOptions {
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** What `aud` must contain. The issuer says that a token is alive, not that it is meant for you. */
  audience: string;
  /** For how long an answer is believed: this is how late you learn that a token was revoked. 0 asks each time. */
  cacheSeconds?: number;
}

const answersMax = 10_000;

export const createAsk = ({ issuer, clientId, clientSecret, audience, cacheSeconds = 10 }: AskOptions) => {
  /** By hash: whoever sees this process's memory or a dump of it should not find live tokens. */
  const answers = new Map<string, { until: number; answer: Promise<Answer> }>();

  const ask = async (token: string): Promise<Answer> => {
    const response = await fetch(`${issuer}/oauth/introspect`, {
      method: 'POST',
      // RFC 6749 section 2.3.1: both halves are form-encoded before they are joined.
      headers: {
        authorization: `Basic ${btoa(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`)}`,
      },
      body: new URLSearchParams({ token }),
      signal: AbortSignal.timeout(5000),
    });
    // Our credentials are wrong, or the issuer is away: no verdict on the token. Answer 503, not 401.
    if (!response.ok) throw new Error(`introspection answered ${response.status}`);
    const answer = (await response.json()) as Answer;
    return answer.active && [answer.aud].flat().includes(audience) ? answer : { active: false };
  };

  /** `{ active: false }` for whatever is not alive or not for this API. @throws Error when there is no verdict */
  return async (token: string): Promise<Answer> => {
    const id = createHash('sha256').update(token).digest('base64url');
    let known = answers.get(id);
    if (!known || known.until <= Date.now()) {
      // Of many requests with one token a single one asks.
      known = { until: Date.now() + cacheSeconds * 1000, answer: ask(token) };
      answers.delete(id);
      answers.set(id, known);
      known.answer.catch(() => answers.delete(id));
      // A Map keeps the order in which things came, so the first is the oldest.
      for (const oldest of answers.keys()) {
        if (answers.size <= answersMax) break;
        answers.delete(oldest);
      }
    }
    const answer = await known.answer;
    return answer.exp !== undefined && answer.exp <= Date.now() / 1000 ? { active: false } : answer;
  };
};
