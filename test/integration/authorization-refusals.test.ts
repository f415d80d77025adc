/** Authorization requests that are refused: on a page of ours while the redirect URI is in doubt, else at the client. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { operatorPowers } from '../../src/clients/clients.commands.ts';
import { createInitialToken } from '../../src/clients/software-policies.commands.ts';
import {
  basic,
  elsewhere,
  errorOf,
  expectErrorPage,
  newPerson,
  type Parameters,
  type Person,
  post,
  postLogoutRedirectUri,
  type RelyingParty,
  redirectUri,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let rp: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  rp = await registerRelyingParty(server, { redirect_uris: [redirectUri, 'http://127.0.0.1/cb'] });
  person = await newPerson(server);
  await rp.signIn(person);
});
afterAll(() => server.stop());

describe('a request whose redirect URI cannot be trusted ends on an error page (RFC 6749 section 4.1.2.1)', () => {
  const unregistered: [name: string, uri: string | undefined][] = [
    ['one character more', `${redirectUri}x`],
    ['one character less', redirectUri.slice(0, -1)],
    ['a slash at the end', `${redirectUri}/`],
    ['another letter case in the path', redirectUri.replace('callback', 'Callback')],
    ['another letter case in the host', redirectUri.replace('app', 'App')],
    ['http instead of https', redirectUri.replace('https', 'http')],
    ['a port', redirectUri.replace('.com', '.com:8443')],
    ['the default port spelled out', redirectUri.replace('.com', '.com:443')],
    ['a query', `${redirectUri}?x=1`],
    ['an empty query', `${redirectUri}?`],
    ['a fragment', `${redirectUri}#x`],
    ['a way up and down again', 'https://app.example.com/x/../callback'],
    ['an escaped letter', 'https://app.example.com/%63allback'],
    ['credentials', 'https://user@app.example.com/callback'],
    ['a longer host', 'https://app.example.com.evil.example/callback'],
    ['a backslash', 'https://evil.example\\@app.example.com/callback'],
    ['a space in front', ` ${redirectUri}`],
    ['a scheme that runs', 'javascript:alert(1)//app.example.com/callback'],
    ['data', 'data:text/html,x'],
    ['no scheme', '//app.example.com/callback'],
    ['a path alone', '/callback'],
    ['nothing', ''],
    ['no such parameter, though another is registered', undefined],
  ];
  for (const [name, uri] of unregistered) {
    it(`redirect_uri with ${name}`, async () => {
      const { url } = await rp.begin({ redirect_uri: uri });
      if (uri === undefined) url.searchParams.delete('redirect_uri');
      const page = await person.browser.go(url);
      expectErrorPage(page, server.issuer, [400, uri ? 'invalid_redirect_uri' : 'invalid_request']);
      // The address may be named on the page, but nothing on it leads there.
      expect(page.html).not.toMatch(/(href|action|src)="(https?:)?\/\/[^"]*(app|evil)\.example/);
    });
  }

  it('also with prompt=none, an error of its own, or a response mode that would post it', async () => {
    const wrong = { redirect_uri: `${redirectUri}x` };
    const more: Parameters[] = [
      { prompt: 'none' },
      { response_type: 'token' },
      { scope: 'nonsense' },
      { response_mode: 'form_post' },
      { response_mode: 'nonsense' },
      { code_challenge: undefined, code_challenge_method: undefined },
    ];
    for (const parameters of more) {
      const page = await person.browser.go((await rp.begin({ ...wrong, ...parameters })).url);
      expect([page.status, page.url.origin]).toEqual([400, server.issuer]);
      expect(page.html).not.toContain('method="post" action="https://app.example.com');
    }
  });

  const unknownClients: [name: string, id: string | undefined][] = [
    ['unknown', 'nobody'],
    ['of another letter case', 'lower'],
    ['empty', ''],
    ['missing', undefined],
    ['not ASCII', 'é'],
    ['very long', 'x'.repeat(5000)],
    ['an attempt at SQL', "' or 1=1 --"],
  ];
  for (const [name, id] of unknownClients) {
    it(`a client_id that is ${name}`, async () => {
      const given = id === 'lower' ? swapCase(rp.client.client_id) : id;
      const { url } = await rp.begin({ client_id: given });
      const page = await person.browser.go(url);
      expectErrorPage(page, server.issuer, [400, id ? 'invalid_client' : 'invalid_request']);
    });
  }

  for (const name of ['client_id', 'redirect_uri']) {
    it(`${name} twice`, async () => {
      const { url } = await rp.begin();
      url.searchParams.append(name, name === 'client_id' ? 'another' : 'https://evil.example/');
      expectErrorPage(await person.browser.go(url), server.issuer, [400, 'invalid_request']);
    });
  }
});

const swapCase = (text: string) =>
  text.replace(/[a-z]/i, (c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase()));

describe('any other mistake is told to the client', () => {
  const longState = { state: 'x'.repeat(4000) };
  const refusals: { name: string; parameters: Parameters; error: string }[] = [
    {
      name: 'no PKCE',
      parameters: { code_challenge: undefined, code_challenge_method: undefined },
      error: 'invalid_request',
    },
    { name: 'plain PKCE', parameters: { code_challenge_method: 'plain' }, error: 'invalid_request' },
    {
      name: 'PKCE that is plain by default',
      parameters: { code_challenge_method: undefined },
      error: 'invalid_request',
    },
    { name: 'a PKCE method alone', parameters: { code_challenge: undefined }, error: 'invalid_request' },
    { name: 'a code challenge that is no SHA-256', parameters: { code_challenge: 'short' }, error: 'invalid_request' },
    { name: 'no response_type', parameters: { response_type: undefined }, error: 'invalid_request' },
    { name: 'an unknown response_type', parameters: { response_type: 'nonsense' }, error: 'unsupported_response_type' },
    { name: 'response_type=token', parameters: { response_type: 'token' }, error: 'unsupported_response_type' },
    {
      name: 'a response_type that it is not registered for',
      parameters: { response_type: 'none' },
      error: 'invalid_request',
    },
    { name: 'an unknown response_mode', parameters: { response_mode: 'nonsense' }, error: 'unsupported_response_mode' },
    { name: 'an unknown prompt', parameters: { prompt: 'nonsense' }, error: 'invalid_request' },
    {
      name: 'a request_uri',
      parameters: { request_uri: 'https://evil.example/r' },
      error: 'request_uri_not_supported',
    },
    { name: 'registration', parameters: { registration: '{}' }, error: 'registration_not_supported' },
    {
      name: 'a resource that nobody may ask for',
      parameters: { resource: 'http://api.example.com' },
      error: 'invalid_target',
    },
    { name: 'a resource that is no URI', parameters: { resource: 'api' }, error: 'invalid_target' },
    { name: 'claims that are no JSON', parameters: { claims: '{' }, error: 'invalid_request' },
    { name: 'claims that are a list', parameters: { claims: '[]' }, error: 'invalid_request' },
    { name: 'claims without id_token or userinfo', parameters: { claims: '{"x":{}}' }, error: 'invalid_request' },
    { name: 'claims of the wrong shape', parameters: { claims: '{"id_token":"x"}' }, error: 'invalid_request' },
    { name: 'an id_token_hint that is no JWT', parameters: { id_token_hint: 'x' }, error: 'invalid_request' },
    { name: 'a mistake and a long state', parameters: { prompt: 'nonsense', ...longState }, error: 'invalid_request' },
  ];
  for (const { name, parameters, error } of refusals) {
    it(`${name}: ${error}`, async () => {
      const answer = await rp.authorize(person, parameters);
      const query = inQueryOrFragment(answer.callback);
      expect(`${answer.callback.origin}${answer.callback.pathname}`).toBe(redirectUri);
      expect([query.get('error'), query.get('state'), query.get('iss')]).toEqual([
        error,
        answer.attempt.state,
        server.issuer,
      ]);
      expect(query.has('code')).toBe(false);
    });
  }

  for (const name of ['scope', 'state', 'nonce', 'prompt', 'response_type', 'code_challenge', 'response_mode']) {
    it(`${name} twice: invalid_request`, async () => {
      const { url, ...attempt } = await rp.begin({ prompt: 'none', response_mode: 'query' });
      url.searchParams.append(name, url.searchParams.get(name) as string);
      const page = await person.browser.go(url);
      expect(errorOf({ attempt: { url, ...attempt }, callback: page.url })).toBe('invalid_request');
      // A state that was given twice is not known.
      if (name === 'state') expect(page.url.searchParams.has('state')).toBe(false);
    });
  }

  it('scopes that a client did not register: not granted, or invalid_scope', async () => {
    const narrow = await registerRelyingParty(server, { scope: 'openid', first_party: true });
    expect(errorOf(await narrow.authorize(person, { scope: 'openid email' }))).toBe('invalid_scope');
    const { scope } = await rp.signIn(person, { scope: 'openid nonsense' });
    expect(scope).toBe('openid');
  });
});

const inQueryOrFragment = (url: URL) => (url.hash ? new URLSearchParams(url.hash.slice(1)) : url.searchParams);

describe('a client that nobody answers for sends nobody away who did nothing (RFC 9700 section 4.11.2)', () => {
  /** As it is after it registered itself without a token. */
  const open = async (metadata: Record<string, unknown> = {}): Promise<RelyingParty> => {
    const self = await registerRelyingParty(server, metadata);
    const { client_id: clientId } = self.client;
    await server.database.db('clients').where({ clientId }).update({ kind: 'dynamic', vouchedFor: false });
    return self;
  };
  let self: RelyingParty;
  beforeAll(async () => {
    self = await open();
  });

  const mistakes: [name: string, parameters: Parameters, error: string][] = [
    ['prompt=none of somebody who is not signed in', { prompt: 'none' }, 'login_required'],
    ['an unknown response_type', { response_type: 'nonsense' }, 'unsupported_response_type'],
    ['an unknown prompt', { prompt: 'nonsense' }, 'invalid_request'],
    ['no PKCE', { code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    ['an error that is posted', { prompt: 'none', response_mode: 'form_post' }, 'login_required'],
    ['an error in the fragment', { prompt: 'none', response_mode: 'fragment' }, 'login_required'],
    ['an error in a JWT', { prompt: 'none', response_mode: 'query.jwt' }, 'login_required'],
    ['an error in a JWT that is posted', { prompt: 'none', response_mode: 'form_post.jwt' }, 'login_required'],
  ];
  for (const [name, parameters, error] of mistakes)
    it(`${name}: ${error} on a page of ours that names the host`, async () => {
      const { browser } = elsewhere(person);
      const page = await browser.go((await self.begin(parameters)).url);
      expectErrorPage(page, server.issuer, [400, error]);
      expect(page.html).toContain('app.example.com');
      expect(page.html).not.toMatch(/<form[^>]+action="https:\/\/app\.example\.com/);
      expect(page.headers.get('content-security-policy')).not.toContain('sha256');
      const posted = parameters.response_mode?.startsWith('form_post');
      expect(page.html.includes('href="https://app.example.com/callback')).toBe(!posted);
    });

  it('nor by a request that was pushed', async () => {
    const { url } = await self.begin({ prompt: 'none' });
    const { body } = await post(server, '/oauth/par', Object.fromEntries(url.searchParams), basic(self.client));
    const pushed = new URL(`${url.origin}${url.pathname}`);
    pushed.search = new URLSearchParams({
      client_id: self.client.client_id,
      request_uri: String(body.request_uri),
    }).toString();
    expectErrorPage(await elsewhere(person).browser.go(pushed), server.issuer, [400, 'login_required']);
  });

  it('somebody who is signed in and has not agreed to it is sent nowhere either', async () => {
    const page = await person.browser.go((await self.begin({ prompt: 'none' })).url);
    expectErrorPage(page, server.issuer, [400, 'consent_required']);
  });

  it('somebody who presses Don’t allow is sent back, and so is whoever has agreed', async () => {
    const agreed = await open();
    const page = await person.browser.go((await agreed.begin()).url);
    const refused = await person.browser.submit(page, {}, 'abort');
    expect([refused.url.origin, refused.url.searchParams.get('error')]).toEqual([
      'https://app.example.com',
      'access_denied',
    ]);
    await agreed.signIn(person);
    expect(errorOf(await agreed.authorize(person, { response_type: 'nonsense' }))).toBe('unsupported_response_type');
    expect(errorOf(await agreed.authorize(person, { prompt: 'none', acr_values: undefined, max_age: '0' }))).toBe(
      'login_required',
    );
  });

  it('is not where the browser of nobody ends up after a sign-out', async () => {
    const parameters = {
      client_id: self.client.client_id,
      post_logout_redirect_uri: postLogoutRedirectUri,
      state: 'x',
    };
    const browser = elsewhere(person).browser;
    const page = await browser.go(`/oauth/logout?${new URLSearchParams(parameters)}`);
    const { url, status } = await browser.submit(page);
    expect([url.origin, url.search, status]).toEqual([server.issuer, '', 200]);
  });

  it('is one that registered itself without an initial access token, and not one that came with one', async () => {
    const metadata = { redirect_uris: [redirectUri], token_endpoint_auth_method: 'none' };
    const { token } = await createInitialToken(server.database.db, operator, operatorPowers, {
      note: 'For a test',
      uses: 1,
      expiresIn: 60,
    });
    for (const [authorization, vouchedFor] of [
      [{}, false],
      [{ authorization: `Bearer ${token}` }, true],
    ] as const) {
      const { status, body } = await send(`${server.issuer}/oauth/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...authorization },
        body: JSON.stringify(metadata),
      });
      expect(status).toBe(201);
      const { url } = await rp.begin({ client_id: String(body.client_id), prompt: 'none' });
      const page = await elsewhere(person).browser.go(url);
      expect([vouchedFor, page.url.origin]).toEqual([
        vouchedFor,
        vouchedFor ? 'https://app.example.com' : server.issuer,
      ]);
    }
  });
});

describe('PKCE for clients that were registered without (require_pkce false)', () => {
  it('may be left out, and when it is not must be verified', async () => {
    const old = await registerRelyingParty(server, { require_pkce: false, first_party: true });
    const without = { code_challenge: undefined, code_challenge_method: undefined };
    expect((await old.signIn(person, without)).access_token).toBeTruthy();
    expect((await old.signIn(person)).access_token).toBeTruthy();
    const answer = await old.authorize(person);
    answer.attempt.verifier = 'x'.repeat(43);
    await expect(old.redeem(answer)).rejects.toMatchObject({ error: 'invalid_grant' });
    const plain = await old.authorize(person, { code_challenge_method: 'plain', code_challenge: 'x'.repeat(43) });
    expect(errorOf(plain)).toBe('invalid_request');
  });

  it('cannot be left out by a public client', async () => {
    const metadata = { token_endpoint_auth_method: 'none', require_pkce: false };
    await expect(registerRelyingParty(server, metadata)).rejects.toMatchObject({ code: 'invalid_client_metadata' });
  });
});

describe('loopback redirect URIs (RFC 8252 section 7.3)', () => {
  it('take any port for a native client, and no other for a web client', async () => {
    const native = await registerRelyingParty(server, {
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/cb'],
    });
    const { callback } = await native.authorize(person, { redirect_uri: 'http://127.0.0.1:51004/cb' });
    expect(callback.href).toMatch(/^http:\/\/127\.0\.0\.1:51004\/cb\?code=/);
    for (const uri of ['http://127.0.0.1:51004/cbx', 'http://127.0.0.2:51004/cb', 'https://127.0.0.1:51004/cb'])
      expect((await person.browser.go((await native.begin({ redirect_uri: uri })).url)).status).toBe(400);
    const web = await rp.begin({ redirect_uri: 'http://127.0.0.1:51004/cb' });
    expect((await person.browser.go(web.url)).status).toBe(400);
  });
});

describe('input that nobody means well with', () => {
  const garbage: [name: string, query: string][] = [
    ['NUL in state', 'state=a%00b'],
    ['NUL in nonce', 'nonce=%00'],
    ['NUL as a JSON escape in claims', `claims=${encodeURIComponent('{"id_token":{"acr":{"value":"\\u0000"}}}')}`],
    ['half a surrogate pair in claims', `claims=${encodeURIComponent('{"id_token":{"acr":{"value":"\\ud800"}}}')}`],
    ['NUL in a parameter that nobody knows', 'extra=%00'],
    ['NUL in client_id', 'client_id=%00'],
    ['NUL in login_hint', 'login_hint=%00&prompt=login'],
    ['bytes that are not UTF-8', 'state=%ff%fe'],
    ['a broken escape', 'state=%zz'],
    ['a name from JavaScript', '__proto__=x&constructor=y&hasOwnProperty=z'],
    ['a thousand parameters', Array.from({ length: 1000 }, (_, i) => `p${i}=1`).join('&')],
    ['deep claims', `claims=${encodeURIComponent(`{"id_token":${'{"a":'.repeat(500)}1${'}'.repeat(500)}}`)}`],
    ['a claim named after JavaScript', `claims=${encodeURIComponent('{"id_token":{"__proto__":{"essential":true}}}')}`],
    ['an unsigned hint for a client named NUL', `id_token_hint=${unsigned({ aud: '\0', sub: 'x' })}`],
    ['a huge max_age', `max_age=${'9'.repeat(400)}`],
    ['a handle of a posted request that is none', 'posted=x'],
    ['a handle twice', 'posted=x&posted=y'],
  ];
  for (const [name, query] of garbage) {
    it(`${name} never gives a 5xx`, async () => {
      const { url } = await rp.begin({ prompt: 'none' });
      for (const part of query.split('&')) url.searchParams.delete(decodeURIComponent(part.split('=')[0] ?? ''));
      for (const page of [
        await person.browser.go(`${url.href}&${query}`),
        await person.browser.go(url.pathname, form(`${url.search.slice(1)}&${query}`)),
        await person.browser.go(`${url.pathname}?${query}`),
      ]) {
        expect(page.status).toBeLessThan(500);
        expect([server.issuer, 'https://app.example.com']).toContain(page.url.origin);
      }
    });
  }

  it('a posted request that is too large is a 413, and one of another type a 4xx', async () => {
    expectErrorPage(await person.browser.go('/oauth/authorize', form(`state=${'x'.repeat(60_000)}`)), server.issuer, [
      413,
      'request_too_large',
    ]);
    const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' };
    expect((await person.browser.go('/oauth/authorize', json)).status).toBe(400);
  });
});

function unsigned(payload: object): string {
  return [{ alg: 'RS256' }, payload, 'x']
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
}

const form = (body: string): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body,
});
