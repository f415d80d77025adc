/**
 * Keys that request objects are encrypted to, and signing keys whose algorithm is no longer wanted. The former have a table
 * of their own: code that knows signing keys alone would sign with whatever it finds among them.
 */

export const up = [
  'alter table jwks_keys add column retired_at timestamptz',
  `create table jwks_decryption_keys (
    kid text constraint jwks_decryption_keys_pkey primary key,
    alg text not null,
    public_jwk jsonb not null,
    private_encrypted bytea not null,
    published_from timestamptz not null,
    created_at timestamptz not null default now(),
    constraint jwks_decryption_keys_alg_check check (alg in ('RSA-OAEP-256', 'ECDH-ES'))
  )`,
  'create index jwks_decryption_keys_alg_published_from_idx on jwks_decryption_keys (alg, published_from)',
];

export const down = ['drop table jwks_decryption_keys', 'alter table jwks_keys drop column retired_at'];
