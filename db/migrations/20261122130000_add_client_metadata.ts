/** What a client may register for the wider protocol: FAPI 2.0, JAR, JARM, DPoP, mutual TLS, CIBA, encryption. */

/** Names and meanings are those of the IANA registry of OAuth dynamic client registration metadata, except `profile`. */
const texts = [
  'profile',
  'request_object_signing_alg',
  'request_object_encryption_alg',
  'request_object_encryption_enc',
  'authorization_signed_response_alg',
  'authorization_encrypted_response_alg',
  'authorization_encrypted_response_enc',
  'id_token_encrypted_response_alg',
  'id_token_encrypted_response_enc',
  'userinfo_encrypted_response_alg',
  'userinfo_encrypted_response_enc',
  'introspection_signed_response_alg',
  'introspection_encrypted_response_alg',
  'introspection_encrypted_response_enc',
  'tls_client_auth_subject_dn',
  'tls_client_auth_san_dns',
  'tls_client_auth_san_uri',
  'tls_client_auth_san_ip',
  'tls_client_auth_san_email',
  'backchannel_token_delivery_mode',
  'backchannel_client_notification_endpoint',
  'backchannel_authentication_request_signing_alg',
  'software_id',
  'software_version',
];

const flags = [
  'require_pushed_authorization_requests',
  'require_signed_request_object',
  'dpop_bound_access_tokens',
  'tls_client_certificate_bound_access_tokens',
  'use_mtls_endpoint_aliases',
];

export const up = [
  `alter table clients
    ${texts.map((name) => `add column ${name} text`).join(',\n    ')},
    ${flags.map((name) => `add column ${name} boolean not null default false`).join(',\n    ')},
    add column response_modes text[],
    add column authorization_details_types text[] not null default '{}',
    add constraint clients_profile_check check (profile in ('oauth2.1', 'fapi2-security', 'fapi2-message-signing'))`,
];

export const down = [
  `alter table clients
    ${[...texts, ...flags, 'response_modes', 'authorization_details_types'].map((name) => `drop column ${name}`).join(',\n    ')}`,
];
