/** What is asked of a server: for each item, a step that a connection goes through over and over. */
import type { HttpConnection } from './http-connection.ts';
import { requestText } from './http-connection.ts';
import { assertStatus, basic, type Cookies, signIn } from './sign-in.ts';
import { hostOf, type Person, paths, scopes, type Target } from './targets.ts';

/** One request, or the requests that belong together. @returns the bytes of the last answer's body @throws when one is not right */
type Step = () => Promise<number>;

/** Who goes through it: the how-manieth connection, and what it remembers from one measurement to the next. */
export interface Visit {
  connection: HttpConnection;
  target: Target;
  number: number;
  memory: { refreshToken?: string; cookies?: Cookies };
}

export interface Item {
  /** What must be done whatever does it: the floor does that and nothing else. */
  unavoidable: 'sign' | 'hash' | 'nothing';
  /** Whether the engine alone can do it, or something that is compared with it. */
  engine: boolean;
  /** What the engine is asked instead. */
  engineItem?: string;
  begin(visit: Visit): Step;
}

const form = { 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json' };

/** Sends the same request each time; the answer must be a 200 that has the text. */
const repeated =
  (make: (target: Target) => string, text: string): Item['begin'] =>
  ({ connection, target }) => {
    const request = make(target);
    return async () => {
      const answer = await connection.send(request);
      assertStatus(answer, 200, 'request');
      if (!answer.body.includes(text)) throw new Error(`an answer without ${text}: ${answer.body.slice(0, 600)}`);
      return answer.body.length;
    };
  };

const get = (path: string) => (target: Target) =>
  requestText('GET', path, { Host: hostOf(target), Accept: 'application/json' });

const introspect = (token: (target: Target) => string) => (target: Target) =>
  requestText(
    'POST',
    paths.introspection,
    { Host: hostOf(target), Authorization: basic(target.web), ...form },
    `token=${token(target)}`,
  );

const nextRefresh: Item['begin'] = ({ connection, target, number, memory }) => {
  memory.refreshToken ??= target.refreshTokens[number];
  const headers = { Host: hostOf(target), Authorization: basic(target.web), ...form };
  return async () => {
    const body = `grant_type=refresh_token&refresh_token=${memory.refreshToken}`;
    const answer = await connection.send(requestText('POST', paths.token, headers, body));
    assertStatus(answer, 200, 'refresh');
    const { refresh_token } = JSON.parse(answer.body) as { refresh_token: string };
    if (!refresh_token || refresh_token === memory.refreshToken) throw new Error('the refresh token was not rotated');
    memory.refreshToken = refresh_token;
    return answer.body.length;
  };
};

const nextSignIn: Item['begin'] = ({ connection, target, number, memory }) => {
  memory.cookies ??= new Map();
  const { cookies } = memory;
  const person = target.people[number % target.people.length] as Person;
  return async () => JSON.stringify(await signIn(connection, target, person, cookies)).length;
};

export const items: Readonly<Record<string, Item>> = {
  client_credentials: {
    unavoidable: 'sign',
    engine: true,
    begin: repeated(
      ({ origin, machine }) =>
        requestText(
          'POST',
          paths.token,
          { Host: hostOf({ origin }), Authorization: basic(machine), ...form },
          `grant_type=client_credentials&scope=${encodeURIComponent(scopes.machine)}`,
        ),
      '"access_token":"eyJ',
    ),
  },
  introspection: {
    unavoidable: 'nothing',
    engine: true,
    begin: repeated(
      introspect(({ accessToken }) => accessToken),
      '"active":true',
    ),
  },
  introspection_jwt: {
    unavoidable: 'nothing',
    engine: true,
    engineItem: 'introspection',
    begin: repeated(
      introspect(({ jwt }) => jwt),
      '"active":true',
    ),
  },
  userinfo: {
    unavoidable: 'nothing',
    engine: true,
    begin: repeated(
      ({ origin, accessToken }) =>
        requestText('GET', paths.userinfo, {
          Host: hostOf({ origin }),
          Accept: 'application/json',
          Authorization: `Bearer ${accessToken}`,
        }),
      '"email":',
    ),
  },
  validate: {
    unavoidable: 'nothing',
    engine: true,
    engineItem: 'introspection',
    begin: repeated(
      ({ origin, jwt }) =>
        requestText('GET', '/auth/validate', {
          Host: hostOf({ origin }),
          Accept: 'application/json',
          Authorization: `Bearer ${jwt}`,
        }),
      '"valid":true',
    ),
  },
  refresh: { unavoidable: 'sign', engine: true, begin: nextRefresh },
  sign_in: { unavoidable: 'hash', engine: true, begin: nextSignIn },
  discovery: { unavoidable: 'nothing', engine: true, begin: repeated(get(paths.discovery), '"issuer":') },
  jwks: { unavoidable: 'nothing', engine: true, begin: repeated(get(paths.jwks), '"keys":') },
};

/** A request to the floor, which does what is unavoidable and answers that many bytes. It is sent what the product is sent. */
export const beginFloor = (item: string, bytes: number, visit: Visit): Step => {
  const { unavoidable } = items[item] as Item;
  const { connection } = visit;
  const headers = { Host: hostOf(visit.target), Authorization: basic(visit.target.machine), ...form };
  const request = requestText('POST', `/${unavoidable}/${bytes}`, headers, 'grant_type=client_credentials');
  return async () => {
    const answer = await connection.send(request);
    assertStatus(answer, 200, 'the floor');
    if (answer.body.length !== bytes) throw new Error(`the floor answered ${answer.body.length} bytes, not ${bytes}`);
    return bytes;
  };
};
