/** Who a token speaks for: for the person's own applications, and for services that were handed a token. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { forbidden } from '../errors.ts';
import { type Caller, may } from '../http/caller.ts';
import { type Route, route } from '../http/route.ts';
import { permissionsOf, permits } from '../roles/permissions.ts';
import { findPerson, type Person } from './me.queries.ts';

const named = { id: z.uuid(), name: z.string().meta({ example: 'Engineering' }) };

const inGroup = z.object({
  ...named,
  externalRef: z.string().nullable(),
  organizationId: z.uuid().nullable().meta({ description: 'The organization that it is of; null for one of nobody’s' }),
});

/** Members beyond `id` and `kind` depend on what the token may show. */
const Me = z
  .object({
    id: z.string().meta({
      description:
        'The user’s id, the `client_id`, or the external `sub`. A client with pairwise subjects is told the `sub` that it knows, unless its token may read the account',
      example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f',
    }),
    kind: z.enum(['user', 'client', 'external']).meta({ description: 'Whom the token speaks for' }),
    email: z.string().optional().meta({ example: 'ada@example.com' }),
    emailVerified: z.boolean().optional(),
    name: z.string().optional().meta({ example: 'Ada Lovelace' }),
    locale: z.string().nullable().optional().meta({ example: 'en' }),
    role: z.string().optional().meta({ description: 'The primary role', example: 'user' }),
    roles: z
      .array(z.string())
      .optional()
      .meta({ description: 'All roles, the highest first', example: ['user'] }),
    permissions: z.array(z.string()).meta({
      description: 'What this token may do here; `!` stands before what is denied',
      example: ['users:read:own'],
    }),
    organizations: z
      .array(
        z.object({
          ...named,
          kind: z.enum(['organization', 'company']),
          isOwner: z.boolean(),
          roles: z.array(z.string()).meta({ description: 'Held in it alone, the highest first', example: ['manager'] }),
          permissions: z.array(z.string()).meta({
            description: 'What this token may do in it, and in those beneath it, beside what it may do everywhere',
            example: ['organizations:read:organization'],
          }),
        }),
      )
      .optional()
      .meta({ description: 'Those that one is a member of; of a token for one organization, that one' }),
    teams: z.array(inGroup).optional(),
    groups: z.array(inGroup).optional().meta({ description: 'Groups that are no teams' }),
    domains: z.array(z.object({ ...named, key: z.string().meta({ example: 'engineering' }) })).optional(),
    createdAt: z.iso.datetime().optional(),
    lastSignInAt: z.iso.datetime().nullable().optional(),
    issuer: z.string().optional().meta({ description: 'Of an external token', example: 'https://issuer.example.com' }),
  })
  .meta({ id: 'Me' });

const Validation = z
  .object({
    valid: z.boolean(),
    user: Me.nullable().meta({ description: 'Whom the token speaks for; null when it is not valid' }),
    clientId: z
      .string()
      .optional()
      .meta({ description: 'The application that the token was given to', example: 'k3Jx9vQmPz4TnR7sWb2c' }),
    actors: z
      .array(z.object({ sub: z.string(), clientId: z.string().optional() }))
      .optional()
      .meta({
        description:
          'Who acts for the person by token exchange, the present actor first (`act` of RFC 8693 section 4.1)',
        example: [{ sub: 'k3Jx9vQmPz4TnR7sWb2c', clientId: 'k3Jx9vQmPz4TnR7sWb2c' }],
      }),
    error: z.string().nullable().meta({ description: '`invalid_token`, or null', example: null }),
    tokenType: z
      .enum(['Bearer', 'DPoP'])
      .optional()
      .meta({ description: 'How the token must be sent', example: 'Bearer' }),
    cnf: z
      .object({ jkt: z.string().optional(), 'x5t#S256': z.string().optional() })
      .optional()
      .meta({
        description:
          'The key or certificate that whoever sends the token must prove to hold; whoever asks here checks it',
        example: { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' },
      }),
  })
  .meta({ id: 'Validation' });

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);

/** Where the person belongs, as far as it counts for the token: one for an organization knows of no other. */
const placesOf = (
  { organizations: held = [], groups: counting, organizationId }: Caller,
  { organizations, groups }: Pick<Person, 'organizations' | 'groups'>,
) => {
  const known = groups.filter(
    (group) =>
      (counting?.some(({ id }) => id === group.id) ?? true) &&
      (organizationId === undefined || group.organizationId === null || group.organizationId === organizationId),
  );
  return {
    organizations: organizations.flatMap((one) => {
      const { roles, permissions } = held.find(({ id }) => id === one.id) ?? {};
      return roles && permissions ? [{ ...one, roles: [...roles], permissions: [...permissions] }] : [];
    }),
    teams: known.filter(({ kind }) => kind === 'team'),
    groups: known.filter(({ kind }) => kind === 'group'),
  };
};

/**
 * What the token shows of whom it speaks for. An application of somebody else's learns an address with the scope `email`
 * and a name with `profile`, as at userinfo; the rest is for tokens that may read the account.
 */
export const describeCaller = async (
  { db, subjectOf }: Pick<MeDeps, 'db' | 'subjectOf'>,
  caller: Caller,
): Promise<z.input<typeof Me>> => {
  const { id, kind, permissions, claims = {} } = caller;
  if (kind === 'client') return { id, kind, permissions: [...permissions] };
  if (kind === 'external') {
    return {
      id,
      kind,
      permissions: [],
      issuer: text(claims.iss),
      email: text(claims.email),
      ...(typeof claims.email_verified === 'boolean' ? { emailVerified: claims.email_verified } : {}),
      name: text(claims.name),
    };
  }
  const person = (caller.person as Person | undefined) ?? (await findPerson(db, id));
  const common = { id, kind, permissions: [...permissions] };
  if (!person) return common;
  const { createdAt, lastSignInAt, organizations, groups, ...rest } = person;
  if (may(caller, 'users:read:own')) {
    return {
      ...common,
      ...rest,
      ...placesOf(caller, { organizations, groups }),
      roles: [...caller.roles],
      createdAt: createdAt.toISOString(),
      lastSignInAt: lastSignInAt?.toISOString() ?? null,
    };
  }
  const scope = new Set(caller.scope);
  return {
    ...common,
    id: await subjectOf(caller),
    ...(scope.has('email') ? { email: rest.email, emailVerified: rest.emailVerified } : {}),
    ...(scope.has('profile') ? { name: rest.name, locale: rest.locale } : {}),
  };
};

/** What a valid token is answered with. */
const describeToken = async (
  deps: Pick<MeDeps, 'db' | 'subjectOf'>,
  caller: Caller,
): Promise<z.input<typeof Validation>> => ({
  valid: true,
  user: await describeCaller(deps, caller),
  clientId: caller.clientId,
  ...(caller.actors ? { actors: [...caller.actors] } : {}),
  error: null,
  ...(caller.kind === 'external' ? {} : { tokenType: caller.confirmation?.jkt ? 'DPoP' : 'Bearer' }),
  ...(caller.confirmation ? { cnf: caller.confirmation } : {}),
});

/** A permission counts as far as whoever the token speaks for holds it now; any other name is for the token alone to have. */
const hasScope = ({ permissions, scope = [] }: Caller, name: string): boolean =>
  permissionsOf([name]).length ? permits(permissions, name) : scope.includes(name);

export interface MeDeps {
  db: Db;
  /** Whom a token speaks for; undefined when it is not valid. @param told whether that is what is answered */
  identify(token: string, told: boolean): Promise<Caller | undefined>;
  /** The person as the application knows them, whose token may not read the account (OpenID Connect Core section 8). */
  subjectOf(caller: Caller): Promise<string>;
  /** Counts a token that was not valid, by address. @throws AppError 429 */
  limitInvalid(address: string): Promise<void>;
}

export const meRoutes = ({ identify, limitInvalid, ...deps }: MeDeps): Route[] => [
  route({
    id: 'getMe',
    method: 'get',
    path: '/auth/me',
    tag: 'Sign-in',
    summary: 'Who the token speaks for',
    description: 'How much is shown follows the token’s scope.',
    access: 'signed-in',
    external: true,
    returns: Me,
    status: 200,
    handle: ({ caller }) => describeCaller(deps, caller),
  }),
  route({
    id: 'validateToken',
    method: 'post',
    path: '/auth/validate',
    tag: 'Sign-in',
    summary: 'Ask whether a token is valid and whom it speaks for',
    description:
      'Tells the truth about revoked tokens, ended sessions and deactivated users, which a signature alone cannot. Failures are limited by address.',
    access: 'public',
    limited: 'failures',
    body: z
      .object({ token: z.string().min(1).max(8192).meta({ example: 'eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9…' }) })
      .meta({ id: 'ValidateToken' }),
    returns: Validation,
    status: 200,
    handle: async ({ body: { token }, actor }) => {
      const caller = await identify(token, true);
      if (caller) return describeToken(deps, caller);
      // A gateway asks for all its users: what one of them makes up must not have the others refused, so valid tokens
      // are answered however much has failed.
      await limitInvalid(actor.address ?? '');
      return { valid: false, user: null, error: 'invalid_token' };
    },
  }),
  route({
    id: 'validateBearer',
    method: 'get',
    path: '/auth/validate',
    tag: 'Sign-in',
    summary: 'Validate the bearer token that is sent along',
    description:
      '401 when it is not valid, so that a reverse proxy can ask (`auth_request`). Name the `scope` that the API behind it needs: a valid token alone says only that somebody signed in somewhere.',
    access: 'signed-in',
    external: true,
    limited: 'failures',
    query: z.object({
      scope: z
        .string()
        .regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/, 'expected one scope')
        .optional()
        .meta({
          description: '403 unless the token has this scope, or passes on this permission',
          example: 'users:read:any',
        }),
    }),
    returns: Validation,
    status: 200,
    problems: { 403: ['missing_permission'] },
    handle: async ({ caller, query: { scope } }) => {
      if (scope !== undefined && !hasScope(caller, scope))
        throw forbidden('missing_permission', `This needs the scope ${scope}`, { permission: scope });
      return describeToken(deps, caller);
    },
  }),
];
