/** The conditions of oidcc-discovery-endpoint-verification, on the document that the server publishes. */
import { importJWK, type JWK } from 'jose';
import { expect } from 'vitest';
import { z } from 'zod';
import { expectPublic, jwksOf } from '../support/jwks.ts';
import { send } from '../support/relying-party.ts';
import type { TestServer } from '../support/server.ts';

const words = z
  .array(z.string().min(1))
  .min(1)
  .refine((values) => new Set(values).size === values.length);
/** RFC 6749 section 3.3. */
const scopes = z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/)).min(1);
/** RFC 5646, in the letters' usual case (section 2.1.1). */
const locales = z.array(z.string().refine((tag) => Intl.getCanonicalLocales(tag)[0] === tag));

/** By registered name (IANA, OAuth Authorization Server Metadata), or by its ending: what a member must be. */
const memberTypes: readonly [RegExp, z.ZodType][] = [
  [/^(scopes_supported)$/, scopes],
  [/^(ui|claims)_locales_supported$/, locales],
  [/^(client_id_metadata_document|authorization_response_iss_parameter)_supported$/, z.boolean()],
  [/^(claims|request|request_uri|backchannel_user_code)_parameter_supported$/, z.boolean()],
  [/^backchannel_logout_(session_)?supported$/, z.boolean()],
  [/^(tls_client_certificate_bound_access_tokens|require_[a-z_]+)$/, z.boolean()],
  [/^(issuer|jwks_uri|[a-z_]+_endpoint)$/, z.url()],
  [/^protected_resources$/, z.array(z.url())],
  [/^(mtls_endpoint_aliases)$/, z.record(z.string(), z.url())],
  [/^[a-z_]+_(alg|enc)_values_supported$/, words],
  [/^[a-z_]+_auth_methods_supported$/, words],
  [/^(acr|prompt)_values_supported$/, words],
  [/^(response|grant|subject|claim)_types_supported$/, words],
  [/^authorization_details_types_supported$/, words],
  [/^(response_modes|claims|code_challenge_methods|backchannel_token_delivery_modes)_supported$/, words],
];

/**
 * Checks everything but what a server for dynamic clients must list among its response types.
 * @returns the document
 */
export const verifyDiscovery = async (
  { address, issuer }: TestServer,
  { dynamic }: { dynamic: boolean },
): Promise<Record<string, string[]>> => {
  const { status, headers, body } = await send(`${address}/.well-known/openid-configuration`);
  expect([status, headers.get('content-type')]).toEqual([200, expect.stringMatching(/^application\/json/)]);
  // OpenID Connect Discovery section 4.3; RFC 8414 section 2: no query, no fragment.
  expect(body.issuer).toBe(issuer);
  expect([new URL(issuer).search, new URL(issuer).hash]).toEqual(['', '']);

  const unknown: string[] = [];
  for (const [name, value] of Object.entries(body)) {
    const [, type] = memberTypes.find(([pattern]) => pattern.test(name)) ?? [];
    if (!type) unknown.push(name);
    else expect({ name, error: type.safeParse(value).error?.message }).toEqual({ name, error: undefined });
  }
  expect(unknown).toEqual([]);

  const required = ['authorization_endpoint', 'token_endpoint', 'userinfo_endpoint', 'jwks_uri'];
  for (const name of dynamic ? [...required, 'registration_endpoint'] : required) expect(body).toHaveProperty(name);
  for (const [name, value] of Object.entries(body))
    if (/_(endpoint|uri)$/.test(name)) expect(new URL(value as string).origin).toBe(new URL(issuer).origin);

  const connect = ['code', 'id_token', 'code id_token', 'id_token token', 'code token', 'code id_token token'];
  expect(body.response_types_supported.filter((type: string) => connect.includes(type))).not.toEqual([]);
  expect(['public', 'pairwise']).toEqual(expect.arrayContaining(body.subject_types_supported));
  expect(body.id_token_signing_alg_values_supported).toContain('RS256');
  expect(body.request_object_signing_alg_values_supported).toContain('RS256');
  expect(body.claims_parameter_supported).toBe(true);
  expect(body.scopes_supported).toContain('openid');
  expect(body.claims_supported).toEqual(expect.arrayContaining(['sub', 'name', 'email', 'phone_number', 'address']));
  expect(body.code_challenge_methods_supported).toContain('S256');
  if (dynamic) expect(body.grant_types_supported).toEqual(expect.arrayContaining(['authorization_code', 'implicit']));

  await verifyKeys(address);
  return body;
};

/** RFC 7517: keys that can be used, told apart by their ids, and nothing private among them. @returns the keys */
export const verifyKeys = async (address: string): Promise<JWK[]> => {
  const set = await jwksOf(address);
  expectPublic(set);
  const { keys } = set;
  for (const { kid } of keys) expect(kid).toMatch(/./);
  expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length);
  // Keys of algorithms that WebCrypto does not have are for those who do.
  const encryption = { RSA: 'RSA-OAEP-256', EC: 'ECDH-ES', OKP: 'ECDH-ES' } as Record<string, string | undefined>;
  for (const key of keys)
    if (key.kty !== 'AKP') await importJWK(key, key.alg ?? encryption[key.kty as string] ?? 'ES256');
  expect(keys.some(({ alg, kty, use }) => kty === 'RSA' && alg === 'RS256' && use === 'sig')).toBe(true);
  return keys;
};
