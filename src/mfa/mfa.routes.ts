/** REST of second factors: one's own, and an administrator's reset of somebody's who has lost theirs. */
import { z } from 'zod';
import type { Actor } from '../audit/logs.commands.ts';
import type { Caller } from '../http/caller.ts';
import { listOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { regenerateBackupCodes } from './backup-codes.commands.ts';
import { BackupCodes, FactorName, FactorProof, type MfaRouteDeps, own, tag } from './factor-fields.ts';
import { removeFactor, renameFactor, resetFactors, withProof } from './factors.commands.ts';
import { findFactors, hasStrongFactor, listFactors } from './factors.queries.ts';
import { totpRoutes } from './totp.routes.ts';

/** What every change needs. */
const changing = { 401: ['invalid_token'], 403: ['session_needed', 'factor_proof_needed'] } as const;
const needsProof =
  'Needs a current code of an authenticator app or a backup code, which is used up; of an account that has neither, the password. Five wrong codes make all of them wait, at sign-in too.';

const BackupCodesLeft = z.object({ left: z.int().meta({ example: 10 }) }).meta({ id: 'BackupCodesLeft' });
const Device = z
  .object({
    id: z
      .string()
      .meta({ description: 'A UUID; `email` or `sms` of a fallback', example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f' }),
    kind: z.enum(['totp', 'passkey', 'email', 'sms']).meta({ example: 'totp' }),
    name: z.string().meta({ description: 'Of a fallback, part of the address or number', example: 'My phone' }),
    used: z.boolean().meta({
      description: 'Whether sign-ins accept it: a code that is sent serves only who has set up nothing better',
      example: true,
    }),
    createdAt: Time.nullable(),
    lastUsedAt: Time.nullable(),
  })
  .meta({ id: 'FactorDevice' });
const RenameDevice = z.object({ name: FactorName }).meta({ id: 'RenameFactorDevice' });

const params = z.object({ id: Id });

const backupCodes = (deps: MfaRouteDeps): Route[] => [
  route({
    id: 'createBackupCodes',
    method: 'post',
    path: '/mfa/backup-codes',
    tag,
    summary: 'Make new backup codes, which void the earlier ones',
    description: `${needsProof} The owner is told by mail.`,
    access: 'mfa:write:own',
    body: FactorProof,
    returns: BackupCodes,
    status: 201,
    problems: { 400: ['invalid_code'], ...changing, 409: ['no_second_factor'] },
    handle: async ({ body, caller, actor }) => {
      const { userId, sessionUid, standing } = own(caller);
      const codes = await withProof(deps, actor, { userId, sessionUid, ...body }, (db) =>
        regenerateBackupCodes(deps, db, actor, { userId, standing }),
      );
      return { backupCodes: codes };
    },
  }),
  route({
    id: 'countBackupCodes',
    method: 'get',
    path: '/mfa/backup-codes',
    tag,
    summary: 'See how many backup codes are left',
    access: 'mfa:read:own',
    returns: BackupCodesLeft,
    status: 200,
    handle: async ({ caller }) => ({ left: (await findFactors(deps.db, caller.id)).backupCodes }),
  }),
];

/** Everything that a sign-in can ask this person for, and what it would ask for if there were nothing else. */
const listDevices = async (deps: MfaRouteDeps, userId: string) => {
  const factors = await listFactors(deps.db, userId);
  const strong = hasStrongFactor(await findFactors(deps.db, userId));
  return [
    ...factors.map(({ createdAt, lastUsedAt, ...factor }) => ({
      ...factor,
      used: true,
      createdAt: createdAt.toISOString(),
      lastUsedAt: lastUsedAt?.toISOString() ?? null,
    })),
    ...(await deps.listFallbacks(userId)).map(({ kind, hint }) => ({
      id: kind,
      kind,
      name: hint,
      used: !strong,
      createdAt: null,
      lastUsedAt: null,
    })),
  ];
};

const devices = (deps: MfaRouteDeps): Route[] => [
  route({
    id: 'listFactorDevices',
    method: 'get',
    path: '/mfa/devices',
    tag,
    summary: 'List one’s second factors: authenticator apps, passkeys, and where codes are sent without them',
    access: 'mfa:read:own',
    returns: listOf(Device),
    status: 200,
    handle: async ({ caller }) => ({ data: await listDevices(deps, caller.id), nextCursor: null }),
  }),
  route({
    id: 'renameFactorDevice',
    method: 'patch',
    path: '/mfa/devices/:id',
    tag,
    summary: 'Give an authenticator app or a passkey another name',
    access: 'mfa:write:own',
    params,
    body: RenameDevice,
    returns: Device,
    status: 200,
    problems: { 401: ['invalid_token'], 403: ['session_needed'], 404: ['factor_not_found'] },
    handle: async ({ params, body, caller, actor }) => {
      const { userId, standing } = own(caller);
      await renameFactor(deps.db, actor, { userId, standing, id: params.id, name: body.name });
      const renamed = (await listDevices(deps, userId)).find(({ id }) => id === params.id.toLowerCase());
      return renamed as NonNullable<typeof renamed>;
    },
  }),
  route({
    id: 'removeFactorDevice',
    method: 'delete',
    path: '/mfa/devices/:id',
    tag,
    summary: 'Remove an authenticator app or a passkey',
    description: `${needsProof} Backup codes go with the last factor. The owner is told by mail.`,
    access: 'mfa:write:own',
    params,
    body: FactorProof.optional(),
    status: 204,
    problems: { 400: ['invalid_code'], ...changing, 404: ['factor_not_found'], 409: ['last_factor'] },
    handle: async ({ params, body, caller, actor }) => {
      const { userId, sessionUid, standing } = own(caller);
      await withProof(deps, actor, { userId, sessionUid, ...body }, (db) =>
        removeFactor(deps, db, actor, { userId, standing, id: params.id }),
      );
    },
  }),
];

const resetting = (deps: MfaRouteDeps): Route =>
  route({
    id: 'resetFactors',
    method: 'delete',
    path: '/users/:id/mfa',
    tag,
    summary: 'Take away all second factors of somebody who has lost them',
    description:
      'Authenticator apps, passkeys and backup codes go, the person’s sessions end, every browser is asked again, and they are told by mail. From then on a sign-in takes the password and a code that is sent: make sure who asks for it.',
    access: 'mfa:reset:any',
    params,
    status: 204,
    problems: {
      403: ['rank_too_low', 'exceeds_yours', 'session_needed'],
      404: ['user_not_found'],
      409: ['own_account'],
    },
    handle: ({ params, caller, actor }: { params: { id: string }; caller: Caller; actor: Actor }) =>
      resetFactors(deps, actor, caller, params.id),
  });

export const mfaRoutes = (deps: MfaRouteDeps): Route[] => [
  ...totpRoutes(deps),
  ...backupCodes(deps),
  ...devices(deps),
  resetting(deps),
];
