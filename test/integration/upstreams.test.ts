/** The loopback peers themselves: a well-made client can sign people in with each, and each refuses what the real one refuses. */
import { createHmac } from 'node:crypto';
import { importPKCS8, SignJWT } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, describe, expect, it } from 'vitest';
import { send } from '../support/relying-party.ts';
import { startApple } from '../support/upstreams/apple.ts';
import { graphVersion, startFacebook } from '../support/upstreams/facebook.ts';
import { startGitHub } from '../support/upstreams/github.ts';
import { startGoogle } from '../support/upstreams/google.ts';
import { companyTenant, startMicrosoft } from '../support/upstreams/microsoft.ts';
import { startOpenIdPeer } from '../support/upstreams/openid-peer.ts';
import type { Peer } from '../support/upstreams/peer.ts';

const redirectUri = 'https://app.example.com/callback';
const registered = <P extends Peer>(peer: P): P => {
  peer.redirectUris.push(redirectUri);
  return peer;
};
const google = registered(await startGoogle());
const github = registered(await startGitHub());
const facebook = registered(await startFacebook());
const microsoft = registered(await startMicrosoft());
const apple = registered(await startApple());
const upstream = registered(await startOpenIdPeer());
afterAll(() => Promise.all([google, github, facebook, microsoft, apple, upstream].map((peer) => peer.stop())));

const appleSecret = async (changes: Record<string, string> = {}, kid = apple.keyId) =>
  new SignJWT({ iss: apple.teamId, sub: apple.clientId, aud: apple.origin, ...changes })
    .setProtectedHeader({ alg: 'ES256', kid })
    .setIssuedAt()
    .setExpirationTime(changes.exp ?? '5m')
    .sign(await importPKCS8(apple.privateKey, 'ES256'));

const secretOf = (peer: Peer) => (peer === apple ? appleSecret() : peer.clientSecret);

/** An authorization request with PKCE and nonce, gone through with. */
const begin = async (peer: Peer, authorizationEndpoint: string, scope: string, more: Record<string, string> = {}) => {
  const verifier = oidc.randomPKCECodeVerifier();
  const checks = { pkceCodeVerifier: verifier, expectedState: oidc.randomState(), expectedNonce: oidc.randomNonce() };
  const url = new URL(authorizationEndpoint);
  url.search = new URLSearchParams({
    client_id: peer.clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope,
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...more,
  }).toString();
  return { url, checks };
};

const openId: { peer: Peer; path?: string; scope?: string; more?: Record<string, string>; claims: object }[] = [
  { peer: google, claims: { email: 'ada@gmail.example', email_verified: true, azp: google.clientId } },
  { peer: upstream, claims: { sub: 'subject-of-mary', email_verified: true } },
  {
    peer: apple,
    scope: 'name email',
    more: { response_mode: 'form_post' },
    claims: { email_verified: 'true', is_private_email: 'true' },
  },
  {
    peer: microsoft,
    path: '/common/v2.0',
    claims: { tid: companyTenant, ver: '2.0', iss: `${microsoft.origin}/${companyTenant}/v2.0` },
  },
];

describe('peers that speak OpenID Connect', () => {
  for (const { peer, path = '', scope = 'openid email profile', more, claims } of openId)
    it(`${peer.name}: openid-client accepts what it answers`, async () => {
      const { body: metadata } = await send(`${peer.origin}${path}/.well-known/openid-configuration`);
      // Microsoft's issuer is each tenant's own.
      const issuer = metadata.issuer.replace('{tenantid}', companyTenant);
      const config = new oidc.Configuration(
        { ...metadata, issuer },
        peer.clientId,
        undefined,
        oidc.ClientSecretPost(await secretOf(peer)),
      );
      oidc.allowInsecureRequests(config);
      oidc.enableNonRepudiationChecks(config);
      const { url, checks } = await begin(peer, metadata.authorization_endpoint, scope, more);
      const delivered = await peer.signIn(url);
      const current = new URL(delivered.url);
      if (delivered.form) current.search = new URLSearchParams(delivered.form).toString();
      const tokens = await oidc.authorizationCodeGrant(config, current, checks);
      expect(tokens.claims()).toMatchObject(claims);
    });

  it('Google says who it is although it does not announce that', async () => {
    const { url } = await begin(google, `${google.origin}/o/oauth2/v2/auth`, 'openid');
    const { url: back } = await google.signIn(url);
    expect(back.searchParams.get('iss')).toBe(google.origin);
  });

  it('Apple tells the name once, by a form, and never by a query', async () => {
    const query = await begin(apple, `${apple.origin}/auth/authorize`, 'name email');
    expect((await fetch(query.url)).status).toBe(400);
    apple.accounts.push({ login: 'new', id: 'new', name: 'Emmy Noether', email: 'emmy@mail.example', verified: true });
    const form = async () =>
      apple.signIn(
        (await begin(apple, `${apple.origin}/auth/authorize`, 'name email', { response_mode: 'form_post' })).url,
      );
    expect(JSON.parse((await form()).form?.user ?? '')).toEqual({
      name: { firstName: 'Emmy', lastName: 'Noether' },
      email: 'emmy@mail.example',
    });
    expect((await form()).form).not.toHaveProperty('user');
  });
});

describe('GitHub', () => {
  const redeem = async (
    form: Record<string, string>,
    headers: Record<string, string> = { accept: 'application/json' },
  ) =>
    fetch(`${github.origin}/login/oauth/access_token`, {
      method: 'POST',
      headers,
      body: new URLSearchParams({
        client_id: github.clientId,
        client_secret: github.clientSecret,
        redirect_uri: redirectUri,
        ...form,
      }),
    });
  const newCode = async (scope = 'read:user user:email') => {
    const { url, checks } = await begin(github, `${github.origin}/login/oauth/authorize`, scope);
    const { url: back } = await github.signIn(url);
    return { code: back.searchParams.get('code') as string, code_verifier: checks.pkceCodeVerifier };
  };

  it('answers a form unless asked for JSON, and 200 to a mistake', async () => {
    const code = await newCode();
    const answer = await redeem(code, {});
    expect(answer.headers.get('content-type')).toMatch(/x-www-form-urlencoded/);
    expect(Object.fromEntries(new URLSearchParams(await answer.text()))).toMatchObject({
      scope: 'read:user,user:email',
      token_type: 'bearer',
    });
    const again = await redeem(code);
    expect([again.status, ((await again.json()) as { error: string }).error]).toEqual([200, 'bad_verification_code']);
  });

  for (const [name, form, error] of [
    ['a wrong secret', { client_secret: 'wrong' }, 'incorrect_client_credentials'],
    ['another redirect URI', { redirect_uri: `${redirectUri}/x` }, 'redirect_uri_mismatch'],
    ['another verifier', { code_verifier: oidc.randomPKCECodeVerifier() }, 'bad_verification_code'],
  ] as const)
    it(`refuses ${name}`, async () => {
      expect(await (await redeem({ ...(await newCode()), ...form })).json()).toMatchObject({ error });
    });

  it('tells addresses to whoever may know them, and nothing to a client without a name', async () => {
    const token = async (scope?: string) =>
      ((await (await redeem(await newCode(scope))).json()) as { access_token: string }).access_token;
    const ask = async (path: string, authorization: string, headers = { 'user-agent': 'test' }) =>
      fetch(`${github.origin}${path}`, { headers: { authorization, ...headers } });
    const bearer = `Bearer ${await token()}`;
    expect(((await (await ask('/user', bearer)).json()) as { email: null }).email).toBeNull();
    expect(await (await ask('/user/emails', bearer)).json()).toHaveLength(3);
    expect((await ask('/user/emails', `Bearer ${await token('read:user')}`)).status).toBe(404);
    expect((await ask('/user', bearer, { 'user-agent': '' })).status).toBe(403);
    expect((await ask('/user', 'Bearer wrong')).status).toBe(401);
  });
});

describe('Facebook', () => {
  const me = async (change: (query: URLSearchParams) => void = () => undefined) => {
    const { url, checks } = await begin(
      facebook,
      `${facebook.origin}/${graphVersion}/dialog/oauth`,
      'email public_profile',
    );
    const { url: back } = await facebook.signIn(url);
    expect(back.hash).toBe('#_=_');
    const answer = await fetch(`${facebook.origin}/${graphVersion}/oauth/access_token`, {
      method: 'POST',
      body: new URLSearchParams({
        client_id: facebook.clientId,
        client_secret: facebook.clientSecret,
        redirect_uri: redirectUri,
        code: back.searchParams.get('code') as string,
        code_verifier: checks.pkceCodeVerifier,
      }),
    });
    const { access_token } = (await answer.json()) as { access_token: string };
    const query = new URLSearchParams({
      fields: 'id,name,email',
      access_token,
      appsecret_proof: createHmac('sha256', facebook.clientSecret).update(access_token).digest('hex'),
    });
    change(query);
    const found = await fetch(`${facebook.origin}/${graphVersion}/me?${query}`);
    return [found.status, await found.json()];
  };

  it('tells the fields that are asked for, to whoever proves to have the secret', async () => {
    expect(await me()).toEqual([200, { id: '10158399812345678', name: 'Grace Hopper', email: 'grace@mail.example' }]);
    expect(await me((query) => query.delete('fields'))).toEqual([
      200,
      { id: '10158399812345678', name: 'Grace Hopper' },
    ]);
    for (const change of [
      (query: URLSearchParams) => query.delete('appsecret_proof'),
      (query: URLSearchParams) => query.set('appsecret_proof', 'x'),
    ])
      expect(await me(change)).toMatchObject([400, { error: { code: 100 } }]);
  });
});

describe('refusals at the token endpoints', () => {
  const endpoints = [
    { peer: google, authorize: '/o/oauth2/v2/auth', token: '/token', prefix: '' },
    { peer: microsoft, authorize: '/common/oauth2/v2.0/authorize', token: '/common/oauth2/v2.0/token', prefix: '' },
    { peer: upstream, authorize: '/authorize', token: '/token', prefix: '' },
    { peer: apple, authorize: '/auth/authorize', token: '/auth/token', prefix: '' },
  ];
  for (const { peer, authorize, token } of endpoints) {
    const redeem = async (form: Record<string, string> = {}, times = 1) => {
      const { url, checks } = await begin(peer, `${peer.origin}${authorize}`, 'openid');
      const { url: back } = await peer.signIn(url);
      let status = 0;
      for (let time = 0; time < times; time++)
        status = (
          await fetch(`${peer.origin}${token}`, {
            method: 'POST',
            body: new URLSearchParams({
              grant_type: 'authorization_code',
              client_id: peer.clientId,
              client_secret: await secretOf(peer),
              redirect_uri: redirectUri,
              code: back.searchParams.get('code') as string,
              code_verifier: checks.pkceCodeVerifier,
              ...form,
            }),
          })
        ).status;
      return status;
    };
    it(`${peer.name}: the secret, the redirect URI, a second use, and PKCE where it is known`, async () => {
      expect(await redeem()).toBe(200);
      expect(await redeem({}, 2)).toBe(400);
      expect(await redeem({ client_secret: 'wrong' })).toBe(peer === apple ? 400 : 401);
      expect(await redeem({ redirect_uri: `${redirectUri}/other` })).toBe(400);
      // Apple documents no PKCE, and looks at none.
      expect(await redeem({ code_verifier: oidc.randomPKCECodeVerifier() })).toBe(peer === apple ? 200 : 400);
    });
    it(`${peer.name}: an unregistered redirect URI gets a page and no redirect`, async () => {
      const { url } = await begin(peer, `${peer.origin}${authorize}`, 'openid', {
        redirect_uri: 'https://evil.example',
      });
      expect((await fetch(url, { redirect: 'manual' })).status).toBe(400);
    });
  }

  for (const [name, secret] of [
    ['another team', () => appleSecret({ iss: 'OTHER' })],
    ['another audience', () => appleSecret({ aud: 'https://example.com' })],
    ['another application', () => appleSecret({ sub: 'other' })],
    ['another key id', () => appleSecret({}, 'OTHER')],
    ['more than half a year', () => appleSecret({ exp: '300 days' })],
  ] as const)
    it(`Apple refuses a client secret of ${name}`, async () => {
      const { url } = await begin(apple, `${apple.origin}/auth/authorize`, 'openid');
      const { url: back } = await apple.signIn(url);
      const answer = await fetch(`${apple.origin}/auth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'authorization_code',
          client_id: apple.clientId,
          client_secret: await secret(),
          redirect_uri: redirectUri,
          code: back.searchParams.get('code') as string,
        }),
      });
      expect([answer.status, await answer.json()]).toEqual([400, { error: 'invalid_client' }]);
    });
});
