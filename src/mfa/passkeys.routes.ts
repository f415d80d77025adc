/** REST of one's own passkeys. What a browser is asked, and what it answers, are as `PublicKeyCredential` has them in JSON. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import { listOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { findUser } from '../users/users.queries.ts';
import { FactorName, FactorProof, own, proof, tag } from './factor-fields.ts';
import { isFreshSession, type ProofDeps, removeFactor, renameFactor, withProof } from './factors.commands.ts';
import { RegistrationResponse } from './passkey-responses.ts';
import { type PasskeyDeps, passkeyRegistrationOptions, passkeysMax, registerPasskey } from './passkeys.commands.ts';
import { findPasskey, listPasskeys, type Passkey } from './passkeys.queries.ts';

export interface PasskeyRouteDeps extends PasskeyDeps, ProofDeps {}

/** As the libraries of browsers take and give it; a member that is new tomorrow passes through. */
export const WebAuthnOptions = z.record(z.string(), z.unknown());

export const PasskeyOptions = z
  .object({
    options: WebAuthnOptions.meta({
      description:
        'For `navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })`. Its challenge says what it is for, works once, and for five minutes',
      example: { rp: { id: 'id.example.com', name: 'Countersign' }, challenge: 'AXp3…', attestation: 'none' },
    }),
  })
  .meta({ id: 'PasskeyOptions' });

const AskPasskey = z
  .object({
    passwordless: z
      .boolean()
      .default(false)
      .meta({ description: 'Refuse what could not sign in alone: it must be discoverable and know its owner' }),
  })
  .meta({ id: 'AskPasskey' });

const AddPasskey = z
  .object({
    ...proof,
    name: FactorName.default('Passkey').meta({ description: 'To tell passkeys apart' }),
    credential: RegistrationResponse,
  })
  .meta({ id: 'AddPasskey' });

const PasskeyOut = z
  .object({
    id: Id,
    name: z.string().meta({ example: 'My phone' }),
    discoverable: z.boolean().meta({ description: 'Whether it can sign in without an address or a password' }),
    synced: z.boolean().meta({ description: 'Whether the owner’s other devices have it too' }),
    aaguid: z.string().meta({
      description: 'The kind of authenticator that made it; zeros where it does not say',
      example: '00000000-0000-0000-0000-000000000000',
    }),
    createdAt: Time,
    lastUsedAt: Time.nullable(),
  })
  .meta({ id: 'Passkey' });

const PasskeyAdded = z
  .object({
    passkey: PasskeyOut,
    backupCodes: z.array(z.string()).meta({
      description: 'Shown this once; none for who has some already',
      example: ['0f3k-9wq2-m7hd'],
    }),
  })
  .meta({ id: 'PasskeyAdded' });

const RenamePasskey = z.object({ name: FactorName }).meta({ id: 'RenamePasskey' });

const params = z.object({ id: Id });

const shown = ({ userId: _userId, backedUp, createdAt, lastUsedAt, ...passkey }: Passkey) => ({
  ...passkey,
  synced: backedUp,
  createdAt: createdAt.toISOString(),
  lastUsedAt: lastUsedAt?.toISOString() ?? null,
});

const proofText =
  'A sign-in that is older than ten minutes, or was made without the second factor that the account has, gives a `code` of an authenticator app or a backup code, which is used up; of an account without either, the `password`.';

/** Runs a change for whoever has signed in lately as strongly as they can, or shows a factor now. */
const proven = async <T>(
  deps: PasskeyRouteDeps,
  actor: Parameters<typeof withProof>[1],
  who: Parameters<typeof withProof>[2],
  change: (db: Db) => Promise<T>,
): Promise<T> => {
  const shownNow = who.code !== undefined || who.password !== undefined;
  if (!shownNow && (await isFreshSession(deps.db, who.userId, who.sessionUid))) return change(deps.db);
  return withProof(deps, actor, who, change);
};

const adding = (deps: PasskeyRouteDeps): Route[] => [
  route({
    id: 'askPasskey',
    method: 'post',
    path: '/mfa/passkeys/options',
    tag,
    summary: 'Begin to add a passkey: what to ask the browser for',
    description: 'Nothing is kept. The browser’s answer goes to `POST /mfa/passkeys`, from the same session.',
    access: 'mfa:write:own',
    body: AskPasskey.optional(),
    returns: PasskeyOptions,
    status: 200,
    problems: { 403: ['session_needed'], 404: ['user_not_found'] },
    handle: async ({ body, caller }) => {
      const { userId, standing } = own(caller);
      const user = await findUser(deps.db, userId);
      if (!user) throw notFound('user');
      const { email, name } = user;
      const { passwordless = false } = body ?? {};
      const options = await passkeyRegistrationOptions(deps, { userId, standing, passwordless, email, name });
      return { options: { ...options } };
    },
  }),
  route({
    id: 'addPasskey',
    method: 'post',
    path: '/mfa/passkeys',
    tag,
    summary: 'Add the passkey that the browser has made',
    description: `${proofText} Up to ${passkeysMax} per account, whose address must be verified. Answers the backup codes that come with the first factor; the owner is told by mail.`,
    access: 'mfa:write:own',
    body: AddPasskey,
    returns: PasskeyAdded,
    status: 201,
    problems: {
      400: ['invalid_passkey', 'invalid_code'],
      401: ['invalid_token'],
      403: ['session_needed', 'factor_proof_needed', 'email_not_verified'],
      409: ['passkey_exists', 'passkey_limit_reached'],
    },
    handle: async ({ body: { name, credential, ...given }, caller, actor }) => {
      const { userId, sessionUid, standing } = own(caller);
      const added = await proven(deps, actor, { userId, sessionUid, ...given }, (db) =>
        registerPasskey(deps, db, actor, { userId, standing, name, response: credential }),
      );
      return { passkey: shown(added.passkey), backupCodes: added.backupCodes };
    },
  }),
];

const kind = 'passkey';

const keeping = (deps: PasskeyRouteDeps): Route[] => [
  route({
    id: 'listPasskeys',
    method: 'get',
    path: '/mfa/passkeys',
    tag,
    summary: 'List one’s passkeys',
    access: 'mfa:read:own',
    returns: listOf(PasskeyOut),
    status: 200,
    handle: async ({ caller }) => ({ data: (await listPasskeys(deps.db, caller.id)).map(shown), nextCursor: null }),
  }),
  route({
    id: 'renamePasskey',
    method: 'patch',
    path: '/mfa/passkeys/:id',
    tag,
    summary: 'Give a passkey another name',
    access: 'mfa:write:own',
    params,
    body: RenamePasskey,
    returns: PasskeyOut,
    status: 200,
    problems: { 401: ['invalid_token'], 403: ['session_needed'], 404: ['factor_not_found'] },
    handle: async ({ params: { id }, body: { name }, caller, actor }) => {
      const { userId, standing } = own(caller);
      await renameFactor(deps.db, actor, { userId, standing, id, kind, name });
      const renamed = await findPasskey(deps.db, userId, id);
      if (!renamed) throw notFound('factor');
      return shown(renamed);
    },
  }),
  route({
    id: 'removePasskey',
    method: 'delete',
    path: '/mfa/passkeys/:id',
    tag,
    summary: 'Remove a passkey',
    description: `${proofText} Backup codes go with the last factor. The owner is told by mail.`,
    access: 'mfa:write:own',
    params,
    body: FactorProof.optional(),
    status: 204,
    problems: {
      400: ['invalid_code'],
      401: ['invalid_token'],
      403: ['session_needed', 'factor_proof_needed'],
      404: ['factor_not_found'],
      409: ['last_factor'],
    },
    handle: async ({ params: { id }, body, caller, actor }) => {
      const { userId, sessionUid, standing } = own(caller);
      await proven(deps, actor, { userId, sessionUid, ...body }, (db) =>
        removeFactor(deps, db, actor, { userId, standing, id, kind }),
      );
    },
  }),
];

export const passkeyRoutes = (deps: PasskeyRouteDeps): Route[] => [...adding(deps), ...keeping(deps)];
