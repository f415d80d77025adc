/**
 * Documents whose bytes are there already, answered in front of Koa: relying parties ask for discovery and JWKS more often than for
 * anything else. What is not the plainest of requests for one goes the way of all others, to the middleware that knows all rules.
 */
import type { RequestListener } from 'node:http';
import { newRequestId } from './request-id.ts';

export interface PrebuiltDocument {
  bytes: Buffer;
  /** Strong: the same bytes on every replica. */
  etag: string;
  /** Content-Type, ETag and whatever else goes with the bytes. */
  headers: Readonly<Record<string, string>>;
}

/**
 * Whether `If-None-Match` names the document (RFC 9110 section 13.1.2), whatever the request's `Cache-Control` says: that is for
 * caches, and scripts that send this header always send `no-cache` along (Fetch standard). Koa's `fresh` would have them fetch
 * everything anew.
 */
export const isNamed = (ifNoneMatch: string, etag: string): boolean =>
  ifNoneMatch !== '' &&
  ifNoneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);

/** Header lines as `writeHead` takes them, but for the request's id, which comes last. */
interface Answer {
  found: readonly string[];
  notModified: readonly string[];
}

interface PrebuiltParts {
  /** What is at a path now. */
  find(path: string): PrebuiltDocument | undefined;
  /** Headers of every answer. */
  headers: readonly (readonly [name: string, value: string])[];
  /** Whether requests go the other way now: there is a line to be written of each, or connections are to be closed. */
  isOff(): boolean;
  /** A host at which there are no such documents. */
  otherHost: string | undefined;
  count(method: string, route: string, status: number, seconds: number): void;
  /** Answers everything else. */
  next: RequestListener;
}

/** Answers GET and HEAD of documents by their exact paths. */
export const servePrebuilt = ({ find, headers, isOff, otherHost, count, next }: PrebuiltParts): RequestListener => {
  const answers = new WeakMap<PrebuiltDocument, Answer>();
  const answerOf = (document: PrebuiltDocument): Answer => {
    const known = answers.get(document);
    if (known) return known;
    const lines = [...headers, ...Object.entries(document.headers)];
    const answer = {
      found: [...lines, ['Content-Length', String(document.bytes.length)], ['X-Request-Id']].flat(),
      // Section 15.4.5 of RFC 9110: what the 200 would have said, but for what describes its bytes.
      notModified: [...lines.filter(([name]) => name !== 'Content-Type'), ['X-Request-Id']].flat(),
    };
    answers.set(document, answer);
    return answer;
  };

  return (request, response) => {
    const { url = '', method = '' } = request;
    const document = method === 'GET' || method === 'HEAD' ? find(url) : undefined;
    if (!document || isOff()) return next(request, response);
    const given = request.headers;
    // Whose ids are to be repeated, and whoever asks elsewhere.
    if (given['x-correlation-id'] || given['x-request-id'] || (otherHost !== undefined && given.host === otherHost))
      return next(request, response);
    const started = performance.now();
    const { found, notModified } = answerOf(document);
    const isKnown = given['if-none-match'] !== undefined && isNamed(given['if-none-match'], document.etag);
    const status = isKnown ? 304 : 200;
    response.writeHead(status, [...(isKnown ? notModified : found), newRequestId()]);
    response.end(isKnown || method === 'HEAD' ? undefined : document.bytes);
    count(method, url.slice(1), status, (performance.now() - started) / 1000);
  };
};
