/** OpenID Connect Back-Channel Logout 1.0, delivered to a relying party's server that validates what it gets. */
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LogoutReceiver, startLogoutReceiver } from '../support/logout-receiver.ts';
import {
  elsewhere,
  newPerson,
  type Person,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let account: Person;
const receivers: LogoutReceiver[] = [];
beforeAll(async () => {
  server = await startServer();
  account = await newPerson(server);
});
afterAll(async () => {
  await server.stop();
  await Promise.all(receivers.map((receiver) => receiver.stop()));
});

/** A relying party with a logout endpoint. */
const party = async (metadata: Record<string, unknown> = {}): Promise<RelyingParty & { receiver: LogoutReceiver }> => {
  const receiver = await startLogoutReceiver();
  receivers.push(receiver);
  const rp = await registerRelyingParty(server, {
    first_party: true,
    backchannel_logout_uri: receiver.uri,
    backchannel_logout_session_required: true,
    ...metadata,
  });
  return { ...rp, receiver };
};

const signOut = async ({ browser }: Person) => browser.submit(await browser.go('/oauth/logout'), { logout: 'yes' });

/** Section 2.6, as a relying party must validate. */
const validate = async (token: string, { client }: RelyingParty, alg = 'RS256') => {
  const { body } = await send(`${server.issuer}/.well-known/jwks.json`);
  return jwtVerify(token, createLocalJWKSet(body), {
    issuer: server.issuer,
    audience: client.client_id,
    algorithms: [alg],
    typ: 'logout+jwt',
  });
};

describe('when a session ends, each application of it is told', () => {
  it('with a logout token that is valid, of its own session, and no id_token', async () => {
    const rp = await party();
    const person = elsewhere(account);
    const tokens = await rp.signIn(person);
    await signOut(person);
    const [token = ''] = await rp.receiver.received(1);
    const { payload, protectedHeader } = await validate(token, rp);
    expect(protectedHeader).toEqual({ alg: 'RS256', typ: 'logout+jwt', kid: expect.any(String) });
    expect(payload).toEqual({
      iss: server.issuer,
      aud: rp.client.client_id,
      sub: tokens.claims()?.sub,
      sid: decodeJwt(tokens.id_token).sid,
      iat: expect.any(Number),
      exp: expect.toSatisfy((exp: number) => exp - (payload.iat ?? 0) <= 600),
      jti: expect.stringMatching(/^[\w-]{16,}$/),
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    });
    expect(payload.sid).toBeTypeOf('string');
    expect(payload).not.toHaveProperty('nonce');
  });

  it('signed as its id_tokens are, without a sid if it needs none', async () => {
    const rp = await party({ id_token_signed_response_alg: 'ES256', backchannel_logout_session_required: false });
    const person = elsewhere(account);
    const { id_token } = await rp.signIn(person);
    expect(decodeJwt(id_token)).not.toHaveProperty('sid');
    await signOut(person);
    const [token = ''] = await rp.receiver.received(1);
    expect((await validate(token, rp, 'ES256')).payload).not.toHaveProperty('sid');
  });

  it('also by others that share the session, and not those that are not in it', async () => {
    const [one, two, absent] = [await party(), await party(), await party()];
    const [here, there] = [elsewhere(account), elsewhere(account)];
    for (const rp of [one, two]) await rp.signIn(here);
    await one.signIn(there);
    await absent.signIn(there);
    await signOut(here);
    await Promise.all([one.receiver.received(1), two.receiver.received(1)]);
    const sids = [one, two].map(({ receiver }) => decodeJwt(receiver.tokens[0] ?? '').sid);
    expect(new Set(sids).size).toBe(2);
    expect(await absent.signIn(there, { prompt: 'none' })).toBeTruthy();
    expect([one.receiver.tokens.length, absent.receiver.tokens.length]).toEqual([1, 0]);
  });

  it('from the account page too, when a device is signed out from another', async () => {
    const rp = await party();
    const [here, there] = [elsewhere(account), elsewhere(account)];
    await rp.signIn(here);
    const { id_token } = await rp.signIn(there);
    await here.browser.go('/account/sessions/end-others', {
      method: 'POST',
      headers: { origin: server.issuer },
      body: new URLSearchParams(),
    });
    const [token = ''] = await rp.receiver.received(1);
    expect((await validate(token, rp)).payload.sid).toBe(decodeJwt(id_token).sid);
  });

  it('again, when it answered 500: with another jti, and not once more after it answered 200', async () => {
    const rp = await party();
    rp.receiver.answers.push(500);
    const person = elsewhere(account);
    await rp.signIn(person);
    await signOut(person);
    const [first = '', second = ''] = await rp.receiver.received(2, 60_000);
    const [a, b] = [await validate(first, rp), await validate(second, rp)];
    expect(b.payload.jti).not.toBe(a.payload.jti);
    expect(b.payload.sid).toBe(a.payload.sid);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(rp.receiver.tokens).toHaveLength(2);
  }, 90_000);

  it('and nobody waits for a relying party that is away', async () => {
    const gone = await party();
    await gone.receiver.stop();
    receivers.splice(receivers.indexOf(gone.receiver), 1);
    const person = elsewhere(account);
    await gone.signIn(person);
    expect((await signOut(person)).status).toBe(200);
  });
});
