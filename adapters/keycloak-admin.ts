/**
 * Keycloak's Admin REST API, as far as provisioning needs it: a service account (`client_credentials`) finds, creates and changes
 * users. https://www.keycloak.org/docs-api/latest/rest-api/#_users
 *
 * What fails for a while (429, 5xx, no answer) is tried again, later each time, and no sooner than Retry-After says. A create
 * whose answer was lost is answered 409 then, which the caller resolves by looking. A token that has ended is renewed once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type KeycloakAdmin, type KeycloakPerson, KeycloakRefusal } from '../src/keycloak/provisioning.ts';

export interface KeycloakAdminOptions {
  /** Up to, and without, `/realms` and `/admin`. */
  url: string;
  realm: string;
  clientId: string;
  clientSecret: string;
  /** For the host of `url` alone. */
  fetch: typeof fetch;
  /** Milliseconds; tests wait less. */
  wait?: (ms: number) => Promise<unknown>;
}

const attempts = 5;
const firstWaitMs = 500;
const longestWaitMs = 60_000;

/** Worth another try. */
const passing = new Set([408, 425, 429, 500, 502, 503, 504]);

const Token = z.object({ access_token: z.string().min(1), expires_in: z.number().catch(60) });
const Person = z.looseObject({
  id: z.string().min(1),
  username: z.string().optional(),
  email: z.string().optional(),
  emailVerified: z.boolean().optional(),
  enabled: z.boolean().optional(),
  firstName: z.string().optional(),
  lastName: z.string().optional(),
  attributes: z.record(z.string(), z.array(z.string())).optional(),
});

/** Seconds or a date (RFC 9110 section 10.2.3), in milliseconds. */
const retryAfterMs = (response: Response | undefined): number => {
  const value = response?.headers.get('retry-after');
  if (!value) return 0;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
};

/** Somebody's name is in what Keycloak says of a conflict; the status says enough. */
const failed = (what: string, status: number) => new Error(`Keycloak answered ${status} to ${what}`);

export const createKeycloakAdmin = ({
  url,
  realm,
  clientId,
  clientSecret,
  fetch,
  wait = sleep,
}: KeycloakAdminOptions): KeycloakAdmin => {
  const base = url.replace(/\/+$/, '');
  const users = `${base}/admin/realms/${encodeURIComponent(realm)}/users`;
  const tokenUrl = `${base}/realms/${encodeURIComponent(realm)}/protocol/openid-connect/token`;

  /** Sends until there is an answer that counts. @throws the last failure when there is none */
  const persist = async (send: () => Promise<Response>): Promise<Response> => {
    for (let attempt = 1; ; attempt++) {
      let response: Response | undefined;
      let failure: unknown;
      try {
        response = await send();
        if (!passing.has(response.status)) return response;
      } catch (error) {
        if (error instanceof KeycloakRefusal) throw error;
        failure = error;
      }
      await response?.body?.cancel();
      if (attempt === attempts) throw failure ?? failed('a request', response?.status ?? 0);
      // Between half and all of it, so that several do not come back together.
      const backoff = firstWaitMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
      await wait(Math.min(longestWaitMs, Math.max(backoff, retryAfterMs(response))));
    }
  };

  let token: { value: string; until: number } | undefined;
  let asking: Promise<string> | undefined;

  const askToken = async (): Promise<string> => {
    const response = await persist(() =>
      fetch(tokenUrl, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: clientId,
          client_secret: clientSecret,
        }).toString(),
      }),
    );
    const body: unknown = await response.json().catch(() => undefined);
    const answer = Token.safeParse(body);
    if (response.status !== 200 || !answer.success) {
      const { error } = (body ?? {}) as { error?: unknown };
      const code = typeof error === 'string' && /^[a-z_]{1,40}$/.test(error) ? `, ${error}` : '';
      throw new KeycloakRefusal(`Keycloak gives no token (${response.status}${code}): see KEYCLOAK_SYNC_*`);
    }
    const { access_token: value, expires_in: seconds } = answer.data;
    // Some seconds before its end, since it takes a while to get there.
    token = { value, until: Date.now() + Math.max(1, seconds - 10) * 1000 };
    return value;
  };

  /** Several that need one wait for the same. */
  const currentToken = (): Promise<string> => {
    if (token && token.until > Date.now()) return Promise.resolve(token.value);
    asking ??= askToken().finally(() => {
      asking = undefined;
    });
    return asking;
  };

  const call = async (method: string, target: string, body?: KeycloakPerson): Promise<Response> => {
    const send = async (): Promise<Response> => {
      const bearer = await currentToken();
      const response = await fetch(target, {
        method,
        headers: {
          authorization: `Bearer ${bearer}`,
          accept: 'application/json',
          ...(body ? { 'content-type': 'application/json' } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      if (response.status === 401 && token?.value === bearer) token = undefined;
      return response;
    };
    let response = await persist(send);
    if (response.status === 401) {
      await response.body?.cancel();
      response = await persist(send);
    }
    if (response.status === 401 || response.status === 403)
      throw new KeycloakRefusal(
        `Keycloak refuses the service account (${response.status}): it needs the role manage-users of realm-management`,
      );
    return response;
  };

  const drop = (response: Response) => response.body?.cancel();

  return {
    findByEmail: async (email) => {
      const query = new URLSearchParams({ email, exact: 'true', max: '2', briefRepresentation: 'false' });
      const response = await call('GET', `${users}?${query}`);
      if (response.status === 404) throw new KeycloakRefusal(`Keycloak has no realm ${realm}`);
      if (response.status !== 200) throw failed('a search', response.status);
      const found = z.array(Person).parse(await response.json());
      // `exact` came with version 13: before, and in case of doubt, it is only a beginning.
      return found.find((person) => person.email?.toLowerCase() === email) as KeycloakPerson | undefined;
    },

    get: async (id) => {
      const response = await call('GET', `${users}/${encodeURIComponent(id)}`);
      if (response.status === 404) {
        await drop(response);
        return undefined;
      }
      if (response.status !== 200) throw failed('a look at a user', response.status);
      return Person.parse(await response.json()) as KeycloakPerson;
    },

    create: async (person) => {
      const response = await call('POST', users, person);
      await drop(response);
      if (response.status === 409) return undefined;
      if (response.status === 404) throw new KeycloakRefusal(`Keycloak has no realm ${realm}`);
      if (response.status !== 201) throw failed('a new user', response.status);
      const id = /\/users\/([^/?#]+)$/.exec(response.headers.get('location') ?? '')?.[1];
      if (!id) throw new Error('Keycloak created a user and did not say where');
      return decodeURIComponent(id);
    },

    update: async (id, person) => {
      const response = await call('PUT', `${users}/${encodeURIComponent(id)}`, person);
      await drop(response);
      if (response.status === 404) return 'gone';
      if (response.status === 409) return 'taken';
      if (response.status !== 204 && response.status !== 200) throw failed('a change of a user', response.status);
      return 'updated';
    },
  };
};
