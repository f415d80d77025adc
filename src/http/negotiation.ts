/** What Koa works out of a request's headers, remembered: applications send the same few over and over. */
import type Koa from 'koa';
import { LRUCache } from 'lru-cache';

/** How many headers are remembered, and how long they may be. */
const headersMax = 500;
const lengthMax = 200;

interface Negotiating {
  accepts(...types: unknown[]): unknown;
  is(...types: unknown[]): unknown;
}

/** Makes `ctx.accepts` of an app remember its answers, and `ctx.is` see at once what is written out. */
export const rememberNegotiation = (app: Koa): void => {
  const request = app.request as unknown as Negotiating;
  const { accepts, is } = request;
  const known = new LRUCache<string, string | false>({ max: headersMax });
  request.accepts = function (this: Koa.Request & Negotiating, ...types) {
    const { accept = '' } = this.req.headers;
    if (!types.length || accept.length > lengthMax || types.some((type) => typeof type !== 'string'))
      return accepts.apply(this, types);
    const key = `${types.join(' ')}\n${accept}`;
    const answered = known.get(key);
    if (answered !== undefined) return answered;
    const answer = accepts.apply(this, types) as string | false;
    known.set(key, answer);
    return answer;
  };
  request.is = function (this: Koa.Request & Negotiating, ...types) {
    const [type] = types;
    const { 'content-type': given, 'content-length': length } = this.req.headers;
    // Without a body nothing is of any type (RFC 9110 section 8.3), whatever the header says.
    if (types.length === 1 && given === type && given?.includes('/') && length !== undefined) return given;
    return is.apply(this, types);
  };
};
