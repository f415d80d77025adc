/**
 * How the plans of modules.ts are run against this server: in which variants, by which file, and what becomes of the modules
 * that are not simply passed. docs/conformance.md is this table for readers (report.ts).
 */
import { type Module, modules, type Plan } from './modules.ts';

/**
 * - `skipped`: the suite leaves the module out, as discovery says that the server does not have what it is about. The test
 *   asserts the suite's condition, and that the server refuses it.
 * - `not passed`: the suite would say that it failed. The test, if there is one, asserts what the server does instead.
 * - `not applicable`: the plan does not have it in this variant. There is no test.
 */
export type Exception = readonly ['skipped' | 'not passed' | 'not applicable', because: string];

interface RunOf<P extends Plan> {
  plan: P;
  /** What the suite would have one choose: response type, response mode, registration, client authentication. */
  variant: string;
  file: string;
  exceptions: { [M in Module<P>]?: Exception };
}
export type Run = { [P in Plan]: RunOf<P> }[Plan];

const noUnsignedIdTokens: Exception = ['skipped', '`none` is not among `id_token_signing_alg_values_supported`'];
const noUnsignedRequests: Exception = ['skipped', '`none` is not among `request_object_signing_alg_values_supported`'];
const notByReference =
  'request objects come by value or are pushed (RFC 9126): none is fetched from a URL that anybody’s link could name';

const unsignedRequests = {
  'oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported': noUnsignedRequests,
  'oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported': noUnsignedRequests,
  'oidcc-ensure-request-object-with-redirect-uri': noUnsignedRequests,
} as const;
const basic = { 'oidcc-idtoken-unsigned': noUnsignedIdTokens, ...unsignedRequests } as const;
const hybrid = {
  'oidcc-ensure-request-without-nonce-succeeds-for-code-flow': [
    'not applicable',
    'it is for `code token`: an id_token of the front channel wants a nonce',
  ],
  ...unsignedRequests,
} as const;
const noAccessToken: Exception = ['not applicable', 'it is for `id_token token`: userinfo wants an access token'];
const implicit = {
  'oidcc-userinfo-get': noAccessToken,
  'oidcc-userinfo-post-header': noAccessToken,
  'oidcc-userinfo-post-body': noAccessToken,
  ...unsignedRequests,
} as const;

const notPlainFapi: Exception = ['not applicable', 'it is for the ecosystems of countries, not for plain FAPI'];
const fapi2 = {
  'fapi2-security-profile-final-ensure-registered-redirect-uri': notPlainFapi,
  'fapi2-security-profile-final-ensure-server-handles-non-matching-intent-id': notPlainFapi,
  'fapi2-security-profile-final-test-essential-acr-sca-claim': notPlainFapi,
} as const;
const noIdentity: Exception = ['not applicable', 'it is about OpenID Connect'];
const plainOAuth = {
  'fapi2-security-profile-final-ensure-authorization-request-without-nonce-success': noIdentity,
  'fapi2-security-profile-final-ensure-authorization-request-with-64-char-nonce-success': noIdentity,
  'fapi2-security-profile-final-ensure-other-scope-order-succeeds': noIdentity,
  'fapi2-security-profile-final-test-claims-parameter-identity-claims': noIdentity,
  'fapi2-security-profile-final-ensure-different-nonce-inside-and-outside-request-object': noIdentity,
  'fapi2-security-profile-final-ensure-authorization-request-with-long-nonce': noIdentity,
} as const;
const noPerson: Exception = ['not applicable', 'it is about authorization requests'];
const machineModules = new Set<string>([
  'fapi2-security-profile-final-discovery-end-point-verification',
  'fapi2-security-profile-final-happy-flow',
  'fapi2-security-profile-final-access-token-type-header-case-sensitivity',
  'fapi2-security-profile-final-check-dpop-proof-nbf-exp',
  'fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-before-succeeds',
  'fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-after-succeeds',
  'fapi2-security-profile-final-ensure-client-id-in-token-endpoint',
  'fapi2-security-profile-final-ensure-holder-of-key-required',
  'fapi2-security-profile-final-ensure-signed-client-assertion-with-RS256-fails',
  'fapi2-security-profile-final-ensure-client-assertion-in-token-endpoint',
  'fapi2-security-profile-final-ensure-client-assertion-with-exp-is-5-minutes-in-past-fails',
  'fapi2-security-profile-final-ensure-client-assertion-with-wrong-aud-fails',
  'fapi2-security-profile-final-ensure-client-assertion-with-no-sub-fails',
  'fapi2-security-profile-final-dpop-negative-tests',
]);
const machine = Object.fromEntries(
  modules['fapi2-security-profile-final-test-plan']
    .filter((module) => !machineModules.has(module))
    .map((module) => [module, noPerson]),
);
const noProofs: Exception = ['not applicable', 'it is about DPoP proofs'];
const withoutDpop = {
  'fapi2-security-profile-final-check-dpop-proof-nbf-exp': noProofs,
  'fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-before-succeeds': noProofs,
  'fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-after-succeeds': noProofs,
  'fapi2-security-profile-final-ensure-mismatched-dpop-jkt-fails': noProofs,
  'fapi2-security-profile-final-ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt': noProofs,
  'fapi2-security-profile-final-ensure-token-endpoint-fails-with-mismatched-dpop-jkt': noProofs,
  'fapi2-security-profile-final-ensure-dpopproof-at-par-endpoint-binding-success': noProofs,
  'fapi2-security-profile-final-ensure-dpop-auth-code-binding-success': noProofs,
  'fapi2-security-profile-final-dpop-negative-tests': noProofs,
} as const;
const noAssertions: Exception = ['not applicable', 'it is about client assertions'];
const withoutAssertions = {
  'fapi2-security-profile-final-ensure-signed-client-assertion-with-RS256-fails': noAssertions,
  'fapi2-security-profile-final-ensure-client-assertion-in-token-endpoint': noAssertions,
  'fapi2-security-profile-final-ensure-client-assertion-with-exp-is-5-minutes-in-past-fails': noAssertions,
  'fapi2-security-profile-final-ensure-client-assertion-with-wrong-aud-fails': noAssertions,
  'fapi2-security-profile-final-ensure-client-assertion-with-no-sub-fails': noAssertions,
  'fapi2-security-profile-final-par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted': noAssertions,
  'fapi2-security-profile-final-par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails': noAssertions,
  'fapi2-security-profile-final-par-test-array-as-audience-fails': noAssertions,
  'fapi2-security-profile-final-par-test-par-endpoint-url-as-audience-fails': noAssertions,
  'fapi2-security-profile-final-par-test-token-endpoint-url-as-audience-fails': noAssertions,
} as const;

const noCertificates: Exception = ['not applicable', 'it is about clients that authenticate by certificate'];
const noNotifications: Exception = ['not applicable', 'it is about notifications'];
const cibaWithAssertions = {
  'fapi-ciba-id1-ensure-different-client-id-and-issuer-in-backchannel-authorization-request': noCertificates,
  'fapi-ciba-id1-ensure-wrong-client-id-in-token-endpoint-request': noCertificates,
  'fapi-ciba-id1-ensure-wrong-client-id-in-backchannel-authorization-request': noCertificates,
} as const;
const cibaWithCertificates = {
  'fapi-ciba-id1-ensure-without-client-assertion-in-token-endpoint-request': noAssertions,
  'fapi-ciba-id1-ensure-without-client-assertion-in-backchannel-authorization-request': noAssertions,
  'fapi-ciba-id1-ensure-client-assertion-signature-algorithm-in-backchannel-authorization-request-is-RS256-fails':
    noAssertions,
  'fapi-ciba-id1-ensure-client-assertion-signature-algorithm-in-token-endpoint-request-is-RS256-fails': noAssertions,
  'fapi-ciba-id1-ensure-client-assertion-with-iss-aud-to-token-endpoint-succeeds': noAssertions,
} as const;
const cibaPoll = {
  'fapi-ciba-id1-ping-backchannel-notification-endpoint-response-has-body': noNotifications,
  'fapi-ciba-id1-ping-backchannel-notification-endpoint-response-401': noNotifications,
  'fapi-ciba-id1-ping-backchannel-notification-endpoint-response-403': noNotifications,
  'fapi-ciba-id1-ping-with-mtls-ciba-notification-endpoint-response-401-and-require-server-does-not-retry':
    noNotifications,
  'fapi-ciba-id1-ping-backchannel-notification-endpoint-return-redirect-request': noNotifications,
} as const;

export const runs: readonly Run[] = [
  {
    plan: 'oidcc-config-certification-test-plan',
    variant: 'static clients',
    file: 'oidcc-config.test.ts',
    exceptions: {},
  },
  {
    plan: 'oidcc-basic-certification-test-plan',
    variant: 'static clients',
    file: 'oidcc-basic.test.ts',
    exceptions: basic,
  },
  {
    plan: 'oidcc-basic-certification-test-plan',
    variant: 'dynamic clients',
    file: 'oidcc-basic.test.ts',
    exceptions: basic,
  },
  {
    plan: 'oidcc-formpost-basic-certification-test-plan',
    variant: 'static clients',
    file: 'oidcc-formpost.test.ts',
    exceptions: basic,
  },
  {
    plan: 'oidcc-formpost-hybrid-certification-test-plan',
    variant: 'code id_token, static clients',
    file: 'oidcc-formpost.test.ts',
    exceptions: hybrid,
  },
  {
    plan: 'oidcc-formpost-implicit-certification-test-plan',
    variant: 'id_token, static clients',
    file: 'oidcc-formpost.test.ts',
    exceptions: implicit,
  },
  {
    plan: 'oidcc-hybrid-certification-test-plan',
    variant: 'code id_token, static clients',
    file: 'oidcc-hybrid.test.ts',
    exceptions: hybrid,
  },
  {
    plan: 'oidcc-implicit-certification-test-plan',
    variant: 'id_token, static clients',
    file: 'oidcc-implicit.test.ts',
    exceptions: implicit,
  },
  {
    plan: 'oidcc-dynamic-certification-test-plan',
    variant: 'code, private_key_jwt, SIGNING_ALGS=RS256,PS256,ES256',
    file: 'oidcc-dynamic.test.ts',
    exceptions: {
      'oidcc-idtoken-unsigned': noUnsignedIdTokens,
      'oidcc-ensure-request-object-with-redirect-uri': noUnsignedRequests,
      'oidcc-discovery-endpoint-verification': [
        'not passed',
        'it wants `id_token token` among `response_types_supported`: no access token goes through a browser’s address (RFC 9700 section 2.1.2)',
      ],
      'oidcc-registration-logo-uri': [
        'not passed',
        'a picture that a stranger names is not shown: it could be a copy of anybody’s (RFC 7591 section 5), and fetching it would tell a third party who signs in. What operators register themselves has its logo in `theme`',
      ],
      'oidcc-request-uri-unsigned': ['not passed', notByReference],
      'oidcc-request-uri-signed-rs256': ['not passed', notByReference],
    },
  },
  {
    plan: 'oidcc-rp-initiated-logout-certification-test-plan',
    variant: 'code, static clients',
    file: 'oidcc-rp-initiated-logout.test.ts',
    exceptions: {},
  },
  {
    plan: 'oidcc-backchannel-rp-initiated-logout-certification-test-plan',
    variant: 'code, static clients',
    file: 'oidcc-backchannel-logout.test.ts',
    exceptions: {},
  },
  {
    plan: 'fapi2-security-profile-final-test-plan',
    variant: 'private_key_jwt, DPoP',
    file: 'fapi2-security-profile.test.ts',
    exceptions: fapi2,
  },
  {
    plan: 'fapi2-security-profile-final-test-plan',
    variant: 'private_key_jwt, DPoP, plain OAuth',
    file: 'fapi2-security-profile.test.ts',
    exceptions: { ...fapi2, ...plainOAuth },
  },
  {
    plan: 'fapi2-security-profile-final-test-plan',
    variant: 'private_key_jwt, DPoP, client credentials',
    file: 'fapi2-security-profile.test.ts',
    exceptions: { ...fapi2, ...machine },
  },
  {
    plan: 'fapi2-security-profile-final-test-plan',
    variant: 'private_key_jwt, mutual TLS',
    file: 'fapi2-security-profile.test.ts',
    exceptions: { ...fapi2, ...withoutDpop },
  },
  {
    plan: 'fapi2-security-profile-final-test-plan',
    variant: 'mutual TLS, DPoP',
    file: 'fapi2-security-profile.test.ts',
    exceptions: { ...fapi2, ...withoutAssertions },
  },
  {
    plan: 'fapi2-security-profile-final-test-plan',
    variant: 'mutual TLS, mutual TLS',
    file: 'fapi2-security-profile.test.ts',
    exceptions: { ...fapi2, ...withoutDpop, ...withoutAssertions },
  },
  {
    plan: 'fapi2-message-signing-final-test-plan',
    variant: 'private_key_jwt, DPoP',
    file: 'fapi2-message-signing.test.ts',
    exceptions: fapi2,
  },
  {
    plan: 'fapi2-message-signing-final-test-plan',
    variant: 'private_key_jwt, DPoP, plain OAuth',
    file: 'fapi2-message-signing.test.ts',
    exceptions: { ...fapi2, ...plainOAuth },
  },
  {
    plan: 'fapi2-message-signing-final-test-plan',
    variant: 'private_key_jwt, mutual TLS',
    file: 'fapi2-message-signing.test.ts',
    exceptions: { ...fapi2, ...withoutDpop },
  },
  {
    plan: 'fapi2-message-signing-final-test-plan',
    variant: 'mutual TLS, DPoP',
    file: 'fapi2-message-signing.test.ts',
    exceptions: { ...fapi2, ...withoutAssertions },
  },
  {
    plan: 'fapi2-message-signing-final-test-plan',
    variant: 'mutual TLS, mutual TLS',
    file: 'fapi2-message-signing.test.ts',
    exceptions: { ...fapi2, ...withoutDpop, ...withoutAssertions },
  },
  {
    plan: 'fapi-ciba-id1-test-plan',
    variant: 'private_key_jwt, poll',
    file: 'fapi-ciba.test.ts',
    exceptions: { ...cibaWithAssertions, ...cibaPoll },
  },
  {
    plan: 'fapi-ciba-id1-test-plan',
    variant: 'private_key_jwt, ping',
    file: 'fapi-ciba.test.ts',
    exceptions: cibaWithAssertions,
  },
  {
    plan: 'fapi-ciba-id1-test-plan',
    variant: 'mutual TLS, poll',
    file: 'fapi-ciba.test.ts',
    exceptions: { ...cibaWithCertificates, ...cibaPoll },
  },
  {
    plan: 'fapi-ciba-id1-test-plan',
    variant: 'mutual TLS, ping',
    file: 'fapi-ciba.test.ts',
    exceptions: cibaWithCertificates,
  },
];

const noFrontChannelToken = 'no access token goes through a browser’s address (RFC 9700 section 2.1.2)';

/** What a plan can be run with, and is not. */
export const notRun: readonly { plan: Plan; variant: string; because: string }[] = [
  {
    plan: 'oidcc-hybrid-certification-test-plan',
    variant: 'code token; code id_token token',
    because: noFrontChannelToken,
  },
  {
    plan: 'oidcc-formpost-hybrid-certification-test-plan',
    variant: 'code token; code id_token token',
    because: noFrontChannelToken,
  },
  { plan: 'oidcc-implicit-certification-test-plan', variant: 'id_token token', because: noFrontChannelToken },
  { plan: 'oidcc-formpost-implicit-certification-test-plan', variant: 'id_token token', because: noFrontChannelToken },
  {
    plan: 'fapi2-security-profile-final-test-plan',
    variant: 'rar',
    because: 'the types of authorization_details are the operator’s; their tests are in authorization-details.test.ts',
  },
  {
    plan: 'fapi2-message-signing-final-test-plan',
    variant: 'unsigned; plain_response',
    because: 'the profile `fapi2-message-signing` of a client wants both signed',
  },
];

/** The run of a plan in a variant. @throws Error when the table has none */
export const runOf = (plan: Plan, variant: string): Run => {
  const run = runs.find((run) => run.plan === plan && run.variant === variant);
  if (!run) throw new Error(`runs.ts knows no run of ${plan} with "${variant}"`);
  return run;
};
