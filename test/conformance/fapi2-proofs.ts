/** fapi2-security-profile-final-dpop-negative-tests: proofs that a resource must not take, and some that it must. */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, type JWTHeaderParameters, SignJWT } from 'jose';
import { expect } from 'vitest';
import type { Prover } from '../support/dpop.ts';
import { tampered } from '../support/relying-party.ts';
import { type Fapi2, seconds } from './fapi2-flow.ts';

const proverOf = async (privateKey: KeyObject, alg: string): Promise<Prover> => {
  const jwk = await exportJWK(createPublicKey(privateKey));
  return {
    jkt: await calculateJwkThumbprint(jwk),
    proof: ({ method = 'POST', url, token, claims = {}, header = {} }) => {
      const ath = token ? { ath: createHash('sha256').update(token).digest('base64url') } : {};
      return new SignJWT({ htm: method, htu: url, jti: randomUUID(), iat: seconds(0), ...ath, ...claims })
        .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk, ...header } as JWTHeaderParameters)
        .sign(privateKey);
    },
  };
};
const makeKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

/** The JWT with another header, the signature being that of the right one. */
const withHeader = (jwt: string, changes: object): string => {
  const [header = '', ...rest] = jwt.split('.');
  const json = { ...JSON.parse(Buffer.from(header, 'base64url').toString()), ...changes };
  return [Buffer.from(JSON.stringify(json)).toString('base64url'), ...rest].join('.');
};

type Prove = (claims?: object, header?: object) => Promise<string>;

const refused: [what: string, make: (prove: Prove) => Promise<string>][] = [
  ['two proofs', async (prove) => `${await prove()}, ${await prove()}`],
  ['no JWT', async (prove) => (await prove()).replace(/\.[^.]*$/, '')],
  ['no typ', (prove) => prove({}, { typ: undefined })],
  ['no alg', async (prove) => withHeader(await prove(), { alg: undefined })],
  ['no jwk', (prove) => prove({}, { jwk: undefined })],
  ['no jti', (prove) => prove({ jti: undefined })],
  ['no htm', (prove) => prove({ htm: undefined })],
  ['no htu', (prove) => prove({ htu: undefined })],
  ['no iat', (prove) => prove({ iat: undefined })],
  ['no ath', (prove) => prove({ ath: undefined })],
  ['another typ', (prove) => prove({}, { typ: 'dpop+jwt+wrongyousee' })],
  ['alg none', async (prove) => withHeader(await prove(), { alg: 'none' }).replace(/[^.]*$/, '')],
  ['a bad signature', async (prove) => tampered(await prove())],
  ['another method', (prove) => prove({ htm: 'PUT' })],
  ['another URL', (prove) => prove({ htu: 'https://other.example/resource' })],
  ['an hour ahead', (prove) => prove({ iat: seconds(3600) })],
  ['an hour ago', (prove) => prove({ iat: seconds(-3600) })],
  ['another ath', (prove) => prove({ ath: createHash('sha256').update('another').digest('base64url') })],
];

export const testProofs = async (op: Fapi2): Promise<void> => {
  const key = makeKey();
  const prover = await proverOf(key, 'ES256');
  const request = await op.begin({}, op.client1, prover);
  const tokens = await op.flow(request);
  const { access_token: token } = tokens;
  const url = `${op.server.issuer}${op.resourcePath}`;
  const prove: Prove = (claims = {}, header = {}) =>
    prover.proof({ method: 'GET', url, token, claims: { ...claims }, header: { ...header } });
  const expectOutcome = async (what: string, rawProof: string | undefined, statuses: number[], scheme = 'DPoP') => {
    const { status } = await op.resource(request, token, { rawProof, scheme });
    expect([what, statuses.includes(status), status]).toEqual([what, true, status]);
  };

  for (const [what, make] of refused) await expectOutcome(what, await make(prove), [400, 401]);
  await expectOutcome('the private key', await prove({}, { jwk: await exportJWK(key) }), [400, 401]);
  const other = await proverOf(makeKey(), 'ES256');
  await expectOutcome('another key', await other.proof({ method: 'GET', url, token }), [400, 401]);
  await expectOutcome('none', undefined, [400, 401]);
  await expectOutcome('none, as a bearer', undefined, [400, 401], 'Bearer');
  const jti = randomUUID();
  await expectOutcome('a jti', await prove({ jti }), [200]);
  await expectOutcome('the same jti', await prove({ jti }), [400, 401]);

  await expectOutcome('query and fragment in htu', await prove({ htu: `${url}?a=b#c` }), [200]);
  const capitals = url.replace(/^http:\/\/localhost/, (origin) => origin.toUpperCase());
  await expectOutcome('capitals in htu', await prove({ htu: capitals }), [200]);
  const unknown = await prove({ tx_id_key: seconds(60) }, { tx_id: seconds(60) });
  await expectOutcome('members that nobody knows', unknown, [200]);

  // A key that can sign with RS256 as well, which section 5.4.1 does not let it.
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const byRsa = await op.begin({}, op.client1, await proverOf(privateKey, 'PS256'));
  const { access_token: bound } = await op.flow(byRsa);
  const weak = { prover: await proverOf(privateKey, 'RS256') };
  expect([400, 401]).toContain((await op.resource(byRsa, bound, weak)).status);

  await op.expectResource(request, tokens);
};
