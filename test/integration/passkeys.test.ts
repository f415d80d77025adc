/** Passkeys over REST, against an authenticator that can lie: adding, signing in, and everything that must be refused. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password } from '../support/browser.ts';
import { callerOf, nobody, requester, type TestCaller } from '../support/callers.ts';
import { encodeCbor, type KeyKind, type Lies, SecurityKey } from '../support/security-key.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let anybody: TestCaller;
beforeAll(async () => {
  server = await startServer();
  anybody = nobody(server);
});
afterAll(() => server.stop());

const db = () => server.database.db;

/** Somebody who signed in over REST just now. */
const person = async () => {
  const caller = await callerOf(server);
  return caller;
};

const ask = async (caller: TestCaller, body: object = {}) => {
  const answer = await caller.request('post', '/mfa/passkeys/options', body);
  expect([answer.status, answer.status === 200 || answer.text]).toEqual([200, true]);
  return answer.json.options;
};

const add = async (
  caller: TestCaller,
  key: SecurityKey,
  { lies = {}, asked = {} }: { lies?: Lies; asked?: object } = {},
) =>
  caller.request('post', '/mfa/passkeys', { name: 'My key', credential: key.create(await ask(caller, asked), lies) });

const addFine = async (caller: TestCaller, key = new SecurityKey(server.issuer)) => {
  const answer = await add(caller, key);
  expect([answer.status, answer.status === 201 || answer.text]).toEqual([201, true]);
  return { key, ...answer.json } as { key: SecurityKey; passkey: { id: string }; backupCodes: string[] };
};

const askSignIn = async (body: object = {}) =>
  (await anybody.request('post', '/auth/passkey/options', body)).json.options;
const signIn = (credential: object) => anybody.request('post', '/auth/passkey/verify', { credential });

const claims = (jwt: string) => JSON.parse(Buffer.from(jwt.split('.')[1] as string, 'base64url').toString());

/** The same person, signed in with the passkey: only then may another one be added without further proof. */
const withKey = async (caller: TestCaller, key: SecurityKey): Promise<TestCaller> => {
  const { json } = await signIn(key.get(await askSignIn()));
  return { ...caller, token: json.access_token, request: requester(server, json.access_token) };
};

const audited = async (userId: string, action: string) =>
  Number((await db()('auditLogs').where({ targetId: userId, action }).count('* as n').first())?.n);

describe('adding a passkey', () => {
  it('asks for what every authenticator has, and says nothing of the address but in its name', async () => {
    const caller = await person();
    const options = await ask(caller);
    expect(options).toMatchObject({
      rp: { id: 'localhost' },
      attestation: 'none',
      authenticatorSelection: { residentKey: 'preferred', userVerification: 'preferred' },
      excludeCredentials: [],
      timeout: 300_000,
    });
    expect(options.pubKeyCredParams.map(({ alg }: { alg: number }) => alg)).toEqual([-8, -7, -257]);
    const handle = Buffer.from(options.user.id, 'base64url').toString('latin1');
    expect([handle.includes(caller.email), handle.includes(caller.id), options.user.name]).toEqual([
      false,
      false,
      caller.email,
    ]);
    expect((await ask(caller, { passwordless: true })).authenticatorSelection).toMatchObject({
      residentKey: 'required',
      userVerification: 'required',
    });
  });

  for (const kind of ['ES256', 'EdDSA', 'RS256'] as const satisfies KeyKind[]) {
    it(`takes a key of ${kind}, and signs in with it alone as with two factors`, async () => {
      const caller = await person();
      const { key, passkey, backupCodes } = await addFine(caller, new SecurityKey(server.issuer, { kind }));
      expect(passkey).toMatchObject({ name: 'My key', discoverable: true, synced: false, lastUsedAt: null });
      expect(backupCodes).toHaveLength(10);
      const answer = await signIn(key.get(await askSignIn()));
      expect([answer.status, answer.json.user?.email]).toEqual([200, caller.email]);
      expect(claims(answer.json.access_token)).toMatchObject({ sub: caller.id });
      const [event] = await db()('auditLogs')
        .where({ targetId: caller.id, action: 'session.sign_in' })
        .orderBy('id', 'desc')
        .select('meta');
      expect(event.meta.amr).toEqual(['pop', 'user', 'mfa']);
      const { data } = (await caller.request('get', '/mfa/passkeys')).json;
      expect(data[0].lastUsedAt).not.toBeNull();
    });
  }

  it('tells the owner by mail, and writes it down', async () => {
    const caller = await person();
    await addFine(caller);
    expect((await server.mail(caller.email, /Two-step/)).text).toContain('A passkey was added');
    expect(await audited(caller.id, 'factor.add')).toBe(1);
  });

  it('names what is there already, and takes nothing twice', async () => {
    const caller = await person();
    const { key, backupCodes } = await addFine(caller);
    const options = await ask(caller);
    expect(options.excludeCredentials).toEqual([
      { id: key.credentialId.toString('base64url'), type: 'public-key', transports: ['usb', 'hybrid'] },
    ]);
    const strong = await withKey(caller, key);
    const again = await add(strong, key);
    expect([again.status, again.json.code]).toEqual([409, 'passkey_exists']);
    const others = await add(await person(), key);
    expect([others.status, others.json.code]).toEqual([409, 'passkey_exists']);
    const second = await add(strong, new SecurityKey(server.issuer));
    expect([backupCodes.length, second.json.backupCodes]).toEqual([10, []]);
  });

  it('adds ten, and no eleventh, however many come at a time', async () => {
    const first = await person();
    const caller = await withKey(first, (await addFine(first)).key);
    const answers = await Promise.all(Array.from({ length: 11 }, () => add(caller, new SecurityKey(server.issuer))));
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(9).fill(201), 409, 409]);
    expect(answers.find(({ status }) => status === 409)?.json.code).toBe('passkey_limit_reached');
  });

  it('takes the answer of a challenge once', async () => {
    const caller = await person();
    const options = await ask(caller);
    const body = (key: SecurityKey) => ({ credential: key.create(options) });
    const answers = await Promise.all(
      [new SecurityKey(server.issuer), new SecurityKey(server.issuer)].map((key) =>
        caller.request('post', '/mfa/passkeys', body(key)),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 400]);
  });

  it('wants who has a factor to have signed in with it before another one is added', async () => {
    const caller = await person();
    const { key, backupCodes } = await addFine(caller);
    const weak = await add(caller, new SecurityKey(server.issuer));
    expect([weak.status, weak.json.code]).toEqual([403, 'factor_proof_needed']);
    const credential = new SecurityKey(server.issuer).create(await ask(caller));
    const proven = await caller.request('post', '/mfa/passkeys', { credential, code: backupCodes[0] });
    expect(proven.status).toBe(201);
    expect((await add(await withKey(caller, key), new SecurityKey(server.issuer))).status).toBe(201);
  });

  it('wants a sign-in of the last ten minutes, or a factor', async () => {
    const caller = await person();
    const key = new SecurityKey(server.issuer);
    const old = Math.floor(Date.now() / 1000) - 3600;
    await db().raw(
      `update sessions set payload = jsonb_set(payload, '{loginTs}', to_jsonb(?::bigint)) where user_id = ?`,
      [old, caller.id],
    );
    const refused = await add(caller, key);
    expect([refused.status, refused.json.code]).toEqual([403, 'factor_proof_needed']);
    const wrong = await caller.request('post', '/mfa/passkeys', {
      credential: key.create(await ask(caller)),
      password: 'not the password',
    });
    expect([wrong.status, wrong.json.errors?.[0]?.field]).toEqual([400, 'password']);
    const proven = await caller.request('post', '/mfa/passkeys', {
      credential: key.create(await ask(caller)),
      password,
    });
    expect(proven.status).toBe(201);
  });

  const small = new Map<number, never>([
    [1, 3],
    [3, -257],
    [-1, randomBytes(128)],
    [-2, Buffer.from([1, 0, 1])],
  ] as never);
  const offCurve = new Map<number, never>([
    [1, 2],
    [3, -7],
    [-1, 1],
    [-2, randomBytes(32)],
    [-3, randomBytes(32)],
  ] as never);
  const refusals: { name: string; lies: Lies; asked?: object }[] = [
    { name: 'made at another origin', lies: { origin: 'https://phish.example' } },
    { name: 'made at the origin with another port', lies: { origin: 'http://localhost:1' } },
    { name: 'made for another relying party', lies: { rpId: 'phish.example' } },
    { name: 'of a challenge that is not ours', lies: { challenge: randomBytes(150).toString('base64url') } },
    { name: 'of an assertion', lies: { type: 'webauthn.get' } },
    { name: 'made in a frame of another site', lies: { crossOrigin: true } },
    { name: 'nobody was present at', lies: { userPresent: false } },
    { name: 'of no algorithm', lies: { alg: 0 } },
    { name: 'of ES512', lies: { alg: -36 } },
    { name: 'of an algorithm that is not the key’s', lies: { alg: -257 } },
    { name: 'with a small RSA key', lies: { publicKey: small } },
    { name: 'with a point that is on no curve', lies: { publicKey: offCurve } },
    {
      name: 'with certificates',
      lies: { attestation: { fmt: 'packed', statement: new Map([['x5c', [Buffer.from('x')]]]) } },
    },
    { name: 'attested by a TPM', lies: { attestation: { fmt: 'tpm', statement: new Map() } } },
    { name: 'that is copied and cannot be', lies: { backupEligible: false, backedUp: true } },
    {
      name: 'that did not verify its owner, where it is to be alone',
      lies: { userVerified: false },
      asked: { passwordless: true },
    },
    {
      name: 'that is not discoverable, where it is to be alone',
      lies: { discoverable: false },
      asked: { passwordless: true },
    },
  ];
  for (const { name, lies, asked = {} } of refusals) {
    it(`refuses one ${name}`, async () => {
      const caller = await person();
      const answer = await add(caller, new SecurityKey(server.issuer), { lies, asked });
      expect([answer.status, answer.json.code]).toEqual([400, 'invalid_passkey']);
      expect(await db()('passkeys').where({ userId: caller.id })).toEqual([]);
      expect(await audited(caller.id, 'factor.add')).toBe(0);
    });
  }

  it('refuses a challenge of somebody else, and of another session', async () => {
    const [caller, other] = [await person(), await person()];
    const key = new SecurityKey(server.issuer);
    const theirs = await caller.request('post', '/mfa/passkeys', { credential: key.create(await ask(other)) });
    const signedIn = (await anybody.request('post', '/auth/login', { email: caller.email, password })).json;
    const elsewhere = await fetch(`${server.address}/mfa/passkeys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${signedIn.access_token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ credential: key.create(await ask(caller)) }),
    });
    const forSignIn = await caller.request('post', '/mfa/passkeys', {
      credential: key.create({ ...(await ask(caller)), challenge: (await askSignIn()).challenge }),
    });
    expect([theirs.status, elsewhere.status, forSignIn.status]).toEqual([400, 400, 400]);
  });

  it('refuses an account whose address is not verified', async () => {
    const caller = await person();
    await db()('users').where({ id: caller.id }).update({ emailVerifiedAt: null });
    const answer = await add(caller, new SecurityKey(server.issuer));
    expect([answer.status, answer.json.code]).toEqual([403, 'email_not_verified']);
  });

  it('answers cut and broken CBOR with a 4xx', async () => {
    const caller = await person();
    const options = await ask(caller);
    const whole = new SecurityKey(server.issuer).create(options);
    const bytes = Buffer.from(whole.response.attestationObject, 'base64url');
    const nested = Buffer.concat([Buffer.alloc(8000, 0x81), Buffer.from([0])]);
    const endless = Buffer.from('bf6361', 'hex');
    const giant = Buffer.from('9bffffffffffffffff00', 'hex');
    const broken = Array.from({ length: 60 }, (_, index) => {
      const copy = Buffer.from(bytes);
      copy[(index * 7) % copy.length] = (index * 37) % 256;
      return copy;
    });
    const cut = Array.from({ length: 30 }, (_, index) => bytes.subarray(0, index * 6));
    const objects = [...cut, ...broken, nested, endless, giant, encodeCbor('text'), encodeCbor(new Map())];
    for (const object of objects) {
      const credential = {
        ...whole,
        response: { ...whole.response, attestationObject: object.toString('base64url') },
      };
      const { status } = await caller.request('post', '/mfa/passkeys', { credential });
      expect([400, 201]).toContain(status);
      if (status === 201) break;
    }
  });
});

describe('signing in with a passkey', () => {
  it('says nothing of any account to whoever has not said who they are', async () => {
    const options = await askSignIn();
    expect(options).toMatchObject({ rpId: 'localhost', userVerification: 'required' });
    expect(options.allowCredentials).toBeUndefined();
  });

  it('takes a passkey that does not count, and one that is synced', async () => {
    const caller = await person();
    const { key } = await addFine(caller, new SecurityKey(server.issuer, { synced: true, counts: false }));
    for (const _ of [1, 2]) expect((await signIn(key.get(await askSignIn()))).status).toBe(200);
    expect((await caller.request('get', '/mfa/passkeys')).json.data[0].synced).toBe(true);
  });

  const refusals: { name: string; lies: Lies }[] = [
    { name: 'a passkey from another origin', lies: { origin: 'https://phish.example' } },
    { name: 'a passkey for another relying party', lies: { rpId: 'phish.example' } },
    { name: 'a challenge that is not ours', lies: { challenge: randomBytes(150).toString('base64url') } },
    { name: 'an answer of registration', lies: { type: 'webauthn.create' } },
    { name: 'an answer from a frame of another site', lies: { crossOrigin: true } },
    { name: 'one that nobody was present at', lies: { userPresent: false } },
    { name: 'one that did not verify its owner', lies: { userVerified: false } },
    { name: 'a wrong signature', lies: { signature: randomBytes(70) } },
    { name: 'one that turned into one that is copied', lies: { backupEligible: true, backedUp: true } },
    { name: 'the user handle of somebody else', lies: { userHandle: randomBytes(32).toString('base64url') } },
    { name: 'no user handle', lies: { userHandle: null } },
    { name: 'a passkey that is not known', lies: { credentialId: randomBytes(32).toString('base64url') } },
  ];
  for (const { name, lies } of refusals) {
    it(`refuses ${name}`, async () => {
      const caller = await person();
      const { key } = await addFine(caller);
      const before = await db()('passkeys').where({ userId: caller.id }).first('counter', 'lastUsedAt');
      const answer = await signIn(key.get(await askSignIn(), lies));
      expect([answer.status, answer.json.code]).toEqual([401, 'invalid_passkey']);
      expect(await db()('passkeys').where({ userId: caller.id }).first('counter', 'lastUsedAt')).toEqual(before);
      // It is the lie alone that was refused.
      expect((await signIn(key.get(await askSignIn()))).status).toBe(200);
    });
  }

  it('refuses a replayed assertion, also when both come at a time, and of a passkey that does not count', async () => {
    for (const counts of [true, false]) {
      const caller = await person();
      const { key } = await addFine(caller, new SecurityKey(server.issuer, { counts }));
      const assertion = key.get(await askSignIn());
      const answers = await Promise.all([signIn(assertion), signIn(assertion), signIn(assertion)]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401]);
      expect((await signIn(assertion)).status).toBe(401);
      expect(await audited(caller.id, 'passkey.refuse')).toBe(0);
    }
  });

  it('refuses a counter that goes backwards, writes it down and tells the owner, once', async () => {
    const caller = await person();
    const { key } = await addFine(caller);
    expect((await signIn(key.get(await askSignIn(), { counter: 40 }))).status).toBe(200);
    const copy = key.get(await askSignIn(), { counter: 40 });
    expect([(await signIn(copy)).status, (await signIn(copy)).status]).toEqual([401, 401]);
    expect(await audited(caller.id, 'passkey.refuse')).toBe(1);
    expect((await server.mail(caller.email, /Two-step/)).text).toBeTruthy();
    const forged = key.get(await askSignIn(), { counter: 1, signature: randomBytes(70) });
    expect((await signIn(forged)).status).toBe(401);
    expect(await audited(caller.id, 'passkey.refuse')).toBe(1);
    expect((await signIn(key.get(await askSignIn(), { counter: 41 }))).status).toBe(200);
  });

  it('refuses a challenge that is older than five minutes', async () => {
    const caller = await person();
    const { key } = await addFine(caller);
    const options = await askSignIn();
    const now = Date.now;
    Date.now = () => now() + 301_000;
    try {
      expect((await signIn(key.get(options))).status).toBe(401);
    } finally {
      Date.now = now;
    }
  });

  for (const [name, change] of [
    ['is deactivated', { status: 'deactivated' }],
    ['waits for its address to be confirmed', { emailVerifiedAt: null }],
  ] as const) {
    it(`refuses an account that ${name} as it refuses a passkey that is not known`, async () => {
      const caller = await person();
      const { key } = await addFine(caller);
      await db()('users').where({ id: caller.id }).update(change);
      const answer = await signIn(key.get(await askSignIn()));
      const unknown = await signIn(
        new SecurityKey(server.issuer).get(await askSignIn(), { userHandle: key.userHandle }),
      );
      const comparable = ({ status, json: { requestId: _id, instance: _path, ...problem } }: typeof answer) => [
        status,
        problem,
      ];
      expect(comparable(answer)).toEqual(comparable(unknown));
      expect(answer.status).toBe(401);
    });
  }

  it('answers broken bytes with a 4xx', async () => {
    const caller = await person();
    const { key } = await addFine(caller);
    const whole = key.get(await askSignIn());
    const fields = ['clientDataJSON', 'authenticatorData', 'signature'] as const;
    for (const field of fields) {
      const bytes = Buffer.from(whole.response[field], 'base64url');
      for (let index = 0; index < 25; index++) {
        const broken = Buffer.from(bytes);
        broken[(index * 11) % broken.length] = ((broken[(index * 11) % broken.length] as number) + 1 + index) % 256;
        for (const value of [broken, bytes.subarray(0, index)]) {
          const response = { ...whole.response, [field]: value.toString('base64url') };
          expect([400, 401]).toContain((await signIn({ ...whole, response })).status);
        }
      }
    }
  });

  it('counts what an address shows in vain', async () => {
    const limited = await startServer({ RATE_LIMIT_FACTOR: '1', RATE_LIMITS: 'anonymous=500' });
    try {
      const stranger = nobody(limited);
      const key = new SecurityKey(limited.issuer);
      const { options } = (await stranger.request('post', '/auth/passkey/options', {})).json;
      const statuses: number[] = [];
      for (let index = 0; index < 52; index++) {
        const credential = key.get(options, { userHandle: null });
        statuses.push((await stranger.request('post', '/auth/passkey/verify', { credential })).status);
      }
      expect([statuses.slice(0, 50).every((status) => status === 401), statuses.at(-1)]).toEqual([true, 429]);
    } finally {
      await limited.stop();
    }
  });
});

describe('a passkey as the second factor', () => {
  const begin = async (email: string) => {
    const answer = await anybody.request('post', '/auth/login', { email, password });
    expect([answer.status, answer.json.code]).toEqual([401, 'mfa_required']);
    return answer.json as { mfaToken: string; methods: string[] };
  };
  const finish = (mfaToken: string, passkey: object) =>
    anybody.request('post', '/auth/mfa/verify', { mfaToken, passkey });

  it('finishes a sign-in that a password began', async () => {
    const caller = await person();
    const { key } = await addFine(caller);
    const { mfaToken, methods } = await begin(caller.email);
    expect(methods).toEqual(['passkey', 'backup-code']);
    const options = await askSignIn({ mfaToken });
    expect(options).toMatchObject({
      userVerification: 'preferred',
      allowCredentials: [{ id: key.credentialId.toString('base64url') }],
    });
    const answer = await finish(mfaToken, key.get(options, { userVerified: false, userHandle: null }));
    expect([answer.status, answer.json.user?.email]).toEqual([200, caller.email]);
    const [event] = await db()('auditLogs')
      .where({ targetId: caller.id, action: 'session.sign_in' })
      .orderBy('id', 'desc')
      .select('meta');
    expect([...event.meta.amr].sort()).toEqual(['mfa', 'pop', 'pwd']);
  });

  it('refuses the assertion of user A with the mfaToken of B', async () => {
    const [a, b] = [await person(), await person()];
    const { key } = await addFine(a);
    const { key: theirs } = await addFine(b);
    const [forA, forB] = [await begin(a.email), await begin(b.email)];
    const [optionsA, optionsB] = [
      await askSignIn({ mfaToken: forA.mfaToken }),
      await askSignIn({ mfaToken: forB.mfaToken }),
    ];
    const attempts = [
      await finish(forB.mfaToken, key.get(optionsA)),
      await finish(forB.mfaToken, key.get(optionsB)),
      await finish(forB.mfaToken, key.get(optionsB, { userHandle: theirs.userHandle })),
      // Nor one that was asked for to sign in alone, or for another sign-in of the same person.
      await finish(forB.mfaToken, theirs.get(await askSignIn())),
      await finish(forB.mfaToken, theirs.get(await askSignIn({ mfaToken: (await begin(b.email)).mfaToken }))),
      await signIn(theirs.get(optionsB)),
    ];
    expect(attempts.map(({ status }) => status)).toEqual(Array(6).fill(401));
    expect((await finish(forB.mfaToken, theirs.get(optionsB))).status).toBe(200);
  });

  it('finishes one sign-in with one assertion', async () => {
    const caller = await person();
    const { key } = await addFine(caller);
    const { mfaToken } = await begin(caller.email);
    const assertion = key.get(await askSignIn({ mfaToken }));
    const answers = await Promise.all([finish(mfaToken, assertion), finish(mfaToken, assertion)]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.every(({ status }) => status < 500)).toBe(true);
  });

  it('takes no token that is not one', async () => {
    const answer = await anybody.request('post', '/auth/passkey/options', { mfaToken: 'abc' });
    expect([answer.status, answer.json.code]).toEqual([401, 'invalid_mfa_token']);
  });
});

describe('keeping passkeys', () => {
  it('renames and removes one’s own, and nobody else’s, and no app by that door', async () => {
    const [caller, other] = [await person(), await person()];
    const { key, passkey } = await addFine(caller);
    const path = `/mfa/passkeys/${passkey.id}`;
    const renamed = await caller.request('patch', path, { name: 'Blue key' });
    expect([renamed.status, renamed.json.name]).toEqual([200, 'Blue key']);
    for (const [method, body] of [
      ['patch', { name: 'Mine' }],
      ['delete', undefined],
    ] as const)
      expect((await other.request(method, path, body)).json?.code ?? 'gone').toBe('factor_not_found');
    const app = (await caller.request('post', '/mfa/totp/enable', { name: 'App', code: undefined })).json;
    expect((await caller.request('patch', `/mfa/passkeys/${app?.id ?? passkey.id}`, { name: 'App' })).status).toBe(
      app?.id ? 404 : 200,
    );
    const signedIn = await signIn(key.get(await askSignIn()));
    expect(signedIn.status).toBe(200);
    const fresh = { authorization: `Bearer ${signedIn.json.access_token}` };
    expect((await anybody.request('delete', path, undefined, fresh)).status).toBe(204);
    expect((await signIn(key.get(await askSignIn()))).status).toBe(401);
    expect(Number((await db()('backupCodes').where({ userId: caller.id }).count('* as n').first())?.n)).toBe(0);
    expect(await audited(caller.id, 'factor.remove')).toBe(1);
  });

  it('is for whoever is signed in here: not for a machine, nor for an application of somebody else’s', async () => {
    const stranger = await callerOf(server, { thirdParty: true });
    const answer = await stranger.request('post', '/mfa/passkeys/options', {});
    expect([answer.status, answer.json.code]).toEqual([403, 'session_needed']);
    expect((await anybody.request('get', '/mfa/passkeys')).status).toBe(401);
  });
});

describe('where passkeys are told of', () => {
  it('names the page where they are kept', async () => {
    const answer = await anybody.request('get', '/.well-known/passkey-endpoints');
    const page = `${server.issuer}/account/passkeys`;
    expect([answer.status, answer.json]).toEqual([200, { enroll: page, manage: page }]);
    expect((await anybody.request('get', '/.well-known/webauthn')).status).toBe(404);
  });

  it('takes the passkeys at the operator’s other origins over REST, where they are set', async () => {
    const other = await startServer({ WEBAUTHN_ORIGINS: 'https://shop.example,https://www.shop.example/' });
    try {
      const stranger = nobody(other);
      const document = await stranger.request('get', '/.well-known/webauthn');
      expect(document.json).toEqual({ origins: ['https://shop.example', 'https://www.shop.example'] });
      const caller = await callerOf(other);
      const key = new SecurityKey(other.issuer);
      expect((await add(caller, key)).status).toBe(201);
      const attempt = async (origin: string) => {
        const { options } = (await stranger.request('post', '/auth/passkey/options', {})).json;
        return (await stranger.request('post', '/auth/passkey/verify', { credential: key.get(options, { origin }) }))
          .status;
      };
      expect([await attempt('https://shop.example'), await attempt('https://evil.example')]).toEqual([200, 401]);
    } finally {
      await other.stop();
    }
  });
});
