/** The words of the OpenAPI document that belong to no single route. */

/** Groups of operations, in the order in which they are shown. */
export const tags = {
  Accounts: 'Registering, addresses and passwords: what people do with their own account.',
  'Sign-in': 'Signing in and out over REST, and asking whom a token speaks for.',
  'Second factors': 'Authenticator apps, passkeys and backup codes.',
  'Identity providers': 'Signing in with an account elsewhere, and the providers that there are.',
  Sessions: 'Where somebody is signed in.',
  Users: 'Accounts and their primary roles.',
  Roles: 'Roles, permissions, and who was given which of them, where and for how long.',
  Groups: 'Groups of people, as a tree that passes roles down.',
  Teams: 'Groups that are teams.',
  Domains: 'Areas of a business, and who works in them. They permit nothing by themselves.',
  Organizations: 'Organizations and companies as a tree, who belongs to them and who owns them.',
  Policies: 'Rules about who may do what beyond permissions: versions, trying them out, templates.',
  Authorization: 'Asking what somebody may do, by the decision that guards this API; also as OpenID AuthZEN.',
  'API keys': 'Keys for programs that act for a person.',
  Clients: 'Applications that are registered, in the names of RFC 7591.',
  Administration: 'Every account, signing keys, and tokens that must end.',
  Audit: 'Who did what.',
  'OAuth and OpenID Connect':
    'The protocol’s endpoints, by their standards. Errors are as RFC 6749 section 5.2 has them.',
  Callbacks: 'For the services that we use, to tell us what became of what we asked.',
  Operation: 'For whoever runs the service.',
} as const;

export const introduction = (brand: string): string =>
  `
The REST API of ${brand}, and the endpoints of OAuth 2 and OpenID Connect beside it.

**Who calls.** Send an access token or an API key as \`Authorization: Bearer …\`. Each operation says which permission it
needs (\`x-permission\`); permissions read \`resource:action:scope\`, and are the scopes of OAuth 2.

**What went wrong.** Problems are \`application/problem+json\` (RFC 9457). Switch on \`code\`, which is stable; \`title\` may
change. A 400 lists every field that was refused. Besides what an operation lists, anything may answer 404 \`not_found\`,
405 \`method_not_allowed\` and 500 \`internal_error\`.

**Lists** come in pages: send \`nextCursor\` as \`cursor\` for the next one, or follow \`Link: rel="next"\`.

**Limits.** \`RateLimit\` says how much is left; after a 429 wait for \`Retry-After\` seconds.

**Names and times.** JSON is camelCase, and what an RFC names keeps its name. Times are RFC 3339 in UTC.

**What is described here** is everything that programs call: each REST route, the protocol’s endpoints, discovery, health
and metrics. The pages that people see (\`/\`, \`/account\`, \`/register\`, \`/interaction/…\`, \`/docs\` and their like) have no
place in an API’s description. Every REST route answers under \`/api/v1\` too, and some under the names that older services
had (\`x-aliases\`).
`.trim();

/** Headers of responses. */
export const headers = {
  'X-Request-Id': {
    description:
      'Names the request in the log and in the audit log, and is not the sender’s, except under `/access/v1/`, where OpenID AuthZEN wants the one that was sent. One that was sent as `X-Correlation-Id` or `X-Request-Id` (8 to 64 characters of `A–Z a–z 0–9 . _ -`) comes back as `X-Correlation-Id` and stands in the log beside it.',
    schema: { type: 'string', example: '0199f0c1-7d2e-7c3a-9b55-3f6f0d1c2b4a' },
  },
  RateLimit: {
    description: 'What is left of the limit (draft-ietf-httpapi-ratelimit-headers)',
    schema: { type: 'string', example: '"default";r=299;t=60' },
  },
  'RateLimit-Policy': {
    description: 'The limit itself',
    schema: { type: 'string', example: '"default";q=300;w=60' },
  },
  'Retry-After': { description: 'Seconds to wait', schema: { type: 'integer', minimum: 0, example: 5 } },
  'WWW-Authenticate': {
    description: 'What is missing (RFC 6750 section 3)',
    schema: { type: 'string', example: 'Bearer error="invalid_token"' },
  },
  Link: {
    description: 'The next page (RFC 8288)',
    schema: { type: 'string', example: '</users?cursor=MDE5OWYwYzE>; rel="next"' },
  },
} as const;
