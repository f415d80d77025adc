/**
 * Every code that a problem document can carry, and what it means with which status. Clients switch on codes, so one that
 * has been released is never given another meaning. `docs/errors.md` and the OpenAPI document are generated from this.
 */

/** By status what it means, for whoever writes a client: what happened, and what to do where that is not plain. */
type Meanings = Readonly<Record<number, string>>;

export const problemCodes = {
  // Of every route
  invalid_request: {
    400: 'Something in the path, the query or the body is not valid; `errors` lists every field that was refused.',
  },
  invalid_json: { 400: 'The body is not valid JSON.' },
  unauthenticated: { 401: 'A token is needed, and none was sent.' },
  invalid_token: {
    400: 'The token from a mail is not valid, has expired or was used before.',
    401: 'The access token or API key is malformed, expired or revoked, or its session, grant or account has ended.',
  },
  invalid_dpop_proof: {
    401: 'The DPoP proof that came with the token is malformed, for another request or token, too old, or was used before.',
  },
  use_dpop_nonce: { 401: 'Make the DPoP proof again, with the nonce that `DPoP-Nonce` has.' },
  missing_permission: {
    403: 'The caller, or the scope of the token, lacks the permission that `WWW-Authenticate` names.',
  },
  not_found: { 404: 'There is nothing at this address.' },
  method_not_allowed: { 405: 'The address does not take this method; `Allow` lists those it takes.' },
  request_too_large: { 413: 'The body is larger than the 100 kB that are taken.' },
  unsupported_media_type: { 415: 'The body is not of the content type that the route takes.' },
  too_many_requests: { 429: 'A limit was reached; try again after `Retry-After` seconds.' },
  internal_error: { 500: 'A mistake of ours. The log has it under the `requestId`.' },
  overloaded: { 503: 'More is being asked than can be done; try again after `Retry-After` seconds.' },
  database_unavailable: { 503: 'A database is out of reach; try again after `Retry-After` seconds.' },

  // Signing in and accounts
  invalid_credentials: {
    401: 'The address or the password is wrong, or the address is not confirmed yet; which of them is not said.',
  },
  mfa_required: {
    401: 'The password is right, and a second factor is due: have a code sent with the `mfaToken`, by one of the `methods`.',
  },
  enrolment_required: {
    401: 'All factors were right, but the account must have a better one: set up an authenticator app with the `mfaToken`, or a passkey, and finish with it.',
  },
  invalid_mfa_token: { 401: 'The sign-in that the token is of has expired, or is void. Sign in again.' },
  invalid_mfa_code: { 401: 'The second factor’s code is wrong, has expired, was used before or was tried too often.' },
  invalid_passkey: {
    400: 'What the passkey has signed is not what was asked for, was asked for too long ago, or was used before.',
    401: 'The passkey is not known here, is not of this account, or has not signed what was asked for; which of them is not said.',
  },
  passkey_exists: { 409: 'The passkey was added before, to this account or another.' },
  passkey_limit_reached: { 409: 'The account has as many passkeys as it may have. Remove one.' },
  sign_in_method_not_allowed: {
    403: 'The person has shown who they are, but one of their organizations allows other ways to sign in alone; `methods` lists them.',
  },
  invalid_refresh_token: {
    401: 'The refresh token is not valid, has expired or was used before. Sign in again.',
  },
  invalid_code: { 400: 'The code is wrong, has expired, was used before or was tried too often.' },
  factor_not_found: { 404: 'There is no such second factor of one’s own.' },
  factor_proof_needed: {
    403: 'A current code of an authenticator app, or a backup code, is needed in `code`. Who has neither gives the `password`.',
  },
  last_factor: {
    409: 'The account’s role, or an application that it uses, wants a second factor, and this is the last one: add another first.',
  },
  no_second_factor: { 409: 'There is no authenticator app or passkey that backup codes could stand in for.' },
  totp_limit_reached: { 409: 'There are five authenticator apps already; remove one first.' },
  email_unavailable: { 400: 'The account’s second factor is not a mailed code: it has set up a better one.' },
  sms_unavailable: { 400: 'This service sends no SMS.' },
  number_not_allowed: { 400: 'This service sends no SMS to numbers that begin so (`SMS_ALLOWED_PREFIXES`).' },
  email_not_verified: { 403: 'The account’s own address must be verified first.' },
  invalid_signature: { 403: 'The request is not signed by the service that it claims to come from.' },
  email_taken: { 409: 'Another account has this address.' },
  password_too_long: { 400: 'The password is longer than 1024 bytes.' },
  password_changed: { 409: 'The password was changed meanwhile, so this is void. Sign in again.' },
  session_needed: {
    403: 'This takes the token of a sign-in at an application of the service’s own. An API key does not do, nor what came of one, nor the token of anybody else’s application.',
  },
  invalid_social_code: {
    401: 'The code of a sign-in with an identity provider is wrong, has expired, was used before, or is not of this `codeVerifier`.',
  },
  social_profile_needed: {
    409: 'The provider gave no address or no name, as `missing` says: begin again, and send them along with the code.',
  },
  social_account_exists: {
    409: 'The address has an account, and the provider proves that the address is the person’s: they sign in to it and connect the provider on their account page.',
  },
  social_mail_sent: {
    403: 'A mail says how it goes on: the address is not confirmed yet. Whether it had an account already is not said.',
  },
  social_no_account: { 403: 'Nobody gets an account, or into this one, by way of this identity provider.' },
  social_unavailable: { 503: 'The identity provider cannot be reached. The other ways to sign in work.' },
  identity_not_found: { 404: 'One has no such account elsewhere connected, or not any more.' },
  identity_taken: { 409: 'The account elsewhere is connected with another account here.' },
  last_way_in: { 409: 'It is the only way to sign in: set a password or add a passkey first.' },
  issuer_unavailable: { 503: 'The issuer in AUTH_OIDC_ISSUER is out of reach, so its tokens cannot be judged.' },
  request_not_found: { 404: 'There is no such request of one’s own, or it was decided on or has expired.' },

  // Users and roles
  user_not_found: { 404: 'There is no such account, or not any more.' },
  rank_too_low: { 403: 'This concerns somebody, or a role, that ranks above the caller.' },
  exceeds_yours: {
    403: 'This gives more than the caller holds there, or for longer than the caller holds it. Nobody gives what they do not have.',
  },
  own_denial: { 403: 'Nobody lifts, changes or deletes what is denied to themselves.' },
  role_not_found: { 404: 'There is no such role, or not any more.' },
  role_exists: { 409: 'There is a role of that name already, perhaps in another case.' },
  role_built_in: {
    409: 'The role is part of the service: it keeps its name and rank and is not deleted, and `super_admin` stays as it is.',
  },
  role_in_use: {
    409: 'Somebody has the role: it is not deleted while it is a primary role, and keeps its rank while anybody holds it.',
  },
  role_cycle: { 409: 'The role would include itself.' },
  role_too_deep: { 409: 'Roles would include one another through more than ten of them.' },
  role_ranks: { 409: 'A role ranks at least as high as each one that it includes.' },
  permission_not_found: { 404: 'There is no such permission, or not any more.' },
  permission_built_in: { 409: 'The permission is one of this service’s own.' },
  permission_in_use: { 409: 'A role, a person, a group or an API key has the permission. Take it away first.' },
  not_a_member: { 409: 'The person is no member of the organization, or the group lies elsewhere.' },
  too_many_grants: { 409: 'As many roles or permissions were given as may be. Take some back first.' },
  last_super_admin: { 409: 'Nobody else would be left who may do everything.' },
  own_account: { 409: 'Nobody does this to their own account.' },

  // Organizations, groups and domains
  tree_cycle: { 409: 'What is moved would lie beneath itself.' },
  tree_too_deep: { 409: 'It would lie more than ten levels deep.' },
  has_children: { 409: 'Other things lie beneath it. Move or delete them first.' },
  organization_not_found: {
    404: 'There is no such organization, or not any more, or the caller may not see it. At `/companies` it must be a company.',
  },
  member_not_found: { 404: 'The person is no member, or not any more.' },
  group_not_found: {
    404: 'There is no such group, or not any more, or the caller may not see it. At `/teams` it must be a team.',
  },
  other_organization: { 409: 'A group lies in the organization of the one above it, and stays there.' },
  domain_not_found: { 404: 'There is no such business domain, or not any more.' },
  domain_key_taken: { 409: 'Another business domain has this key.' },
  already_member: { 409: 'The person is a member already.' },
  has_members: { 409: 'People other than the caller belong to it. Take them out first, or say `force`.' },
  owner_needed: {
    403: 'This is for owners of the organization or of one above it, and for who may change every organization.',
  },
  last_owner: {
    409: 'Nobody else owns the organization: make somebody else an owner first. `organizations` names them, where there may be several.',
  },

  invitation_not_found: { 404: 'There is no such invitation, or not any more.' },
  invitation_exists: { 409: 'The address is invited already. Send that invitation again, or revoke it.' },
  invitation_expired: { 410: 'The invitation has expired. Whoever sent it can send another.' },
  invitation_revoked: { 410: 'The invitation was revoked, or whoever sent it may not invite any more.' },
  invitation_used: { 410: 'The invitation was accepted or declined before.' },
  invitation_for_another: { 403: 'The invitation is for another address than that of the account.' },
  inviter_needed: { 403: 'An invitation names whoever sends it: it takes a person, and no application by itself.' },
  mail_domain_not_found: { 404: 'The organization has claimed no such mail domain, or not any more.' },
  mail_domain_exists: { 409: 'The organization has claimed the mail domain already.' },
  mail_domain_taken: { 409: 'Another organization has shown that the mail domain is its own.' },
  mail_domain_limit_reached: { 409: 'The organization has claimed as many mail domains as it may.' },
  mail_domain_not_verified: { 409: 'The record is not there, or not yet: DNS may take a while to show it.' },
  dns_unavailable: { 503: 'DNS did not answer; try again shortly.' },

  // Policies
  policy_not_found: { 404: 'There is no such policy, or not any more.' },
  policy_version_not_found: { 404: 'The policy has no such version, or not any more.' },
  policy_exists: { 409: 'There is a policy of that name already.' },
  policy_locks_out: {
    409: 'With this policy in force the caller could not change policies any more, this one included.',
  },
  too_many_policies: { 409: 'There are as many policies as there can be: delete some that are not needed.' },

  // Machines
  client_not_found: { 404: 'There is no such client, or not any more.' },
  client_not_blocked: { 409: 'The client is not blocked, so that there is nothing to unblock.' },
  client_built_in: { 409: 'The client is part of the service and follows its configuration.' },
  client_describes_itself: {
    409: 'The client is what the document at its `client_id` says, and changes with it; it can be deleted, and comes again when it is used.',
  },
  client_without_secret: { 409: 'The client authenticates without a secret.' },
  invalid_client_metadata: { 400: 'Something in the metadata is not valid, or does not fit the rest (RFC 7591).' },
  invalid_redirect_uri: { 400: 'A redirect URI is not valid (RFC 7591).' },
  scope_exceeds_yours: { 403: 'The scope has a permission that the caller does not hold.' },
  resource_server_not_found: { 404: 'There is no such resource server, or not any more.' },
  identifier_taken: {
    409: 'The identifier is that of another resource server or of a client, or the audience that a client has for its tokens.',
  },
  identity_provider_not_found: { 404: 'There is no such identity provider, or not any more.' },
  identity_provider_exists: {
    409: 'There is an identity provider of that id already, perhaps in the operator’s file.',
  },
  too_many_identity_providers: { 409: 'There are as many identity providers as there may be.' },
  software_policy_not_found: { 404: 'There is no software policy of that name, or not any more.' },
  software_policy_exists: { 409: 'There is a software policy of that name already.' },
  initial_access_token_not_found: { 404: 'There is no such initial access token, or not any more.' },
  api_key_not_found: { 404: 'There is no such API key, or not any more.' },
  api_key_limit_reached: { 409: 'The account has as many API keys as it may have. Revoke one.' },

  // Administration
  grant_not_found: { 404: 'There is no such grant, or not any more.' },
  too_many_keys: {
    409: 'As many signing keys are published as may be. Wait until what the oldest of them signed has expired.',
  },
  keys_in_file: { 409: 'The signing keys are in the file of JWKS_PRIVATE_KEY_PATH; change them there.' },

  // Pages, which show the code to developers
  request_expired: { 400: 'The posted authorization request waited too long. Begin again.' },
  session_not_found: {
    400: 'On a page: the sign-in has expired. Begin again at the application.',
    404: 'There is no such session, or not any more.',
  },
  page_not_found: { 404: 'There is no page at this address.' },
  cross_site: { 403: 'A form was sent from another site.' },
} as const satisfies Readonly<Record<string, Meanings>>;

/** A code that a caller can meet. */
export type ProblemCode = keyof typeof problemCodes;
