/** The authorization code flow with a password, over HTTP, as a browser goes through it. */
import { createHash, randomBytes } from 'node:crypto';
import { type Answer, type HttpConnection, headerValues, requestText } from './http-connection.ts';
import { hostOf, type Person, paths, redirectUri, scopes, type Target } from './targets.ts';

export interface Tokens {
  access_token: string;
  refresh_token: string;
  id_token?: string;
}

/** What a browser keeps; by the names of cookies, since ours are each for one path. */
export type Cookies = Map<string, string>;

const browserHeaders = {
  'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  Accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'Accept-Language': 'en-US,en;q=0.5',
};

const keep = (cookies: Cookies, answer: Answer): void => {
  for (const line of headerValues(answer, 'set-cookie')) {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    const expires = /;\s*expires=([^;]*)/i.exec(line)?.[1];
    if (value === '' || (expires && Date.parse(expires) <= Date.now())) cookies.delete(name);
    else cookies.set(name, value);
  }
};

const cookieHeader = (cookies: Cookies): Record<string, string> =>
  cookies.size ? { Cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') } : {};

export const basic = ({ id, secret }: { id: string; secret: string }) =>
  `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;

/** Says what came instead of what was expected. @throws Error */
export const assertStatus = (answer: Answer, status: number, what: string): void => {
  if (answer.status !== status)
    throw new Error(`${what}: ${answer.status} instead of ${status}\n${answer.head}\n\n${answer.body.slice(0, 600)}`);
};

/** Where a redirect goes, as a path of the service; whole where it goes elsewhere. */
const locationOf = (answer: Answer, origin: string): string =>
  (headerValues(answer, 'location')[0] ?? '').replace(origin, '');

/** A browser in front of the sign-in page of an application. */
export interface SignInPage {
  visit(method: 'GET' | 'POST', path: string, body?: string): Promise<Answer>;
  /** The request with which the form is sent. */
  submit(person: Person): string;
  /** The PKCE verifier of the authorization request. */
  verifier: string;
}

/**
 * Begins as if the person came back another day: the browser's session ends, and that the device is known stays.
 * @param resource an API that the access token is to be for; without one it is for userinfo
 * @throws Error when any answer is not what it should be
 */
export const openSignIn = async (
  connection: HttpConnection,
  target: Pick<Target, 'origin' | 'web'>,
  cookies: Cookies,
  resource?: string,
): Promise<SignInPage> => {
  const { origin, web } = target;
  const host = hostOf(target);
  const textOf = (method: 'GET' | 'POST', path: string, body?: string): string => {
    const form: Record<string, string> =
      body === undefined ? {} : { Origin: origin, 'Content-Type': 'application/x-www-form-urlencoded' };
    return requestText(method, path, { Host: host, ...browserHeaders, ...form, ...cookieHeader(cookies) }, body);
  };
  const visit: SignInPage['visit'] = async (method, path, body) => {
    const answer = await connection.send(textOf(method, path, body));
    keep(cookies, answer);
    return answer;
  };

  for (const name of [...cookies.keys()]) if (/session|interaction|resume/.test(name)) cookies.delete(name);
  const verifier = randomBytes(32).toString('base64url');
  const question = new URLSearchParams({
    client_id: web.id,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: scopes.web,
    state: randomBytes(8).toString('base64url'),
    nonce: randomBytes(8).toString('base64url'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...(resource ? { resource } : {}),
  });
  const begun = await visit('GET', `${paths.authorization}?${question}`);
  assertStatus(begun, 303, 'authorization request');
  const interaction = locationOf(begun, origin);
  const page = await visit('GET', interaction);
  assertStatus(page, 200, 'sign-in page');
  const csrf = /name="csrf" value="([^"]*)"/.exec(page.body)?.[1] ?? '';
  const submit = (person: Person) =>
    textOf('POST', interaction, String(new URLSearchParams({ ...(csrf ? { csrf } : {}), ...person })));
  return { visit, submit, verifier };
};

/**
 * Signs somebody in and redeems the code: five requests, one of which costs a password hash.
 * @param resource as in `openSignIn`
 * @throws Error when any answer is not what it should be
 */
export const signIn = async (
  connection: HttpConnection,
  target: Pick<Target, 'origin' | 'web'>,
  person: Person,
  cookies: Cookies,
  resource?: string,
): Promise<Tokens> => {
  const { origin } = target;
  const { visit, submit, verifier } = await openSignIn(connection, target, cookies, resource);
  let answer = await connection.send(submit(person));
  keep(cookies, answer);
  for (let hops = 0; hops < 4 && answer.status === 303; hops++) {
    const next = locationOf(answer, origin);
    const code = next.startsWith(redirectUri) ? new URL(next).searchParams.get('code') : undefined;
    if (code) return redeem(connection, target, code, verifier, resource);
    answer = await visit('GET', next);
  }
  throw new Error(`no code: ${answer.status}\n${answer.head}\n\n${answer.body.slice(0, 2000)}`);
};

/** The application's own part. */
const redeem = async (
  connection: HttpConnection,
  { origin, web }: Pick<Target, 'origin' | 'web'>,
  code: string,
  verifier: string,
  resource?: string,
): Promise<Tokens> => {
  const headers = {
    Host: hostOf({ origin }),
    Accept: 'application/json',
    Authorization: basic(web),
    'Content-Type': 'application/x-www-form-urlencoded',
  };
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    code,
    redirect_uri: redirectUri,
    code_verifier: verifier,
    ...(resource ? { resource } : {}),
  });
  const answer = await connection.send(requestText('POST', paths.token, headers, String(body)));
  assertStatus(answer, 200, 'redeeming the code');
  return JSON.parse(answer.body) as Tokens;
};
