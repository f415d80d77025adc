/** How a provider is asked: with a limit in time and size, JSON alone, and every failure told apart from a refusal. */
import { FederationError } from './federation-error.ts';

export type JsonObject = Record<string, unknown>;

export interface JsonAnswer {
  status: number;
  body: JsonObject;
}

const timeoutMs = 5000;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What is refused before anything is sent (outbound.ts) is for the operator to allow, so the log names the setting. */
const unavailable = (url: string, cause: unknown) => {
  const { message, code } = cause as NodeJS.ErrnoException;
  const hint = code === 'outbound_refused' ? '; OUTBOUND_ALLOW (development) allows hosts' : '';
  return new FederationError('unavailable', `${new URL(url).host}: ${message}${hint}`, { cause });
};

const send = async (fetch: typeof globalThis.fetch, url: string, init: RequestInit): Promise<[number, unknown]> => {
  let text: string;
  let status: number;
  try {
    const response = await fetch(url, {
      ...init,
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
      headers: { accept: 'application/json', 'user-agent': 'Countersign', ...init.headers },
    });
    status = response.status;
    text = await response.text();
  } catch (cause) {
    throw unavailable(url, cause);
  }
  if (status >= 500 || status === 429) throw unavailable(url, new Error(`answered ${status}`));
  try {
    return [status, JSON.parse(text)];
  } catch {
    throw new FederationError('invalid', `${new URL(url).host}: answered ${status} without JSON`);
  }
};

/** @throws FederationError unavailable, or invalid for what is no JSON object */
export const requestJson = async (
  fetch: typeof globalThis.fetch,
  url: string,
  init: RequestInit = {},
): Promise<JsonAnswer> => {
  const [status, body] = await send(fetch, url, init);
  if (!isObject(body))
    throw new FederationError('invalid', `${new URL(url).host}: answered ${status} without an object`);
  return { status, body };
};

/** The same for an array of objects; what is none of them is left out. */
export const requestList = async (
  fetch: typeof globalThis.fetch,
  url: string,
  init: RequestInit = {},
): Promise<JsonObject[]> => {
  const [status, body] = await send(fetch, url, init);
  if (status !== 200 || !Array.isArray(body))
    throw new FederationError('invalid', `${new URL(url).host}: answered ${status} without a list`);
  return body.filter(isObject);
};
