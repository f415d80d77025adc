/** What the command line can do besides serving. Each runs on an app: the command's own, or that of a running server. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { operator } from './audit/logs.commands.ts';
import { createAdministrator } from './auth/administrators.commands.ts';
import { Email, Password, PersonName } from './auth/credentials.ts';
import { clientMetadata } from './clients/client-metadata.ts';
import { createClient, deleteClient, operatorPowers, rotateClientSecret } from './clients/clients.commands.ts';
import { listClients } from './clients/clients.queries.ts';
import { createInitialToken } from './clients/software-policies.commands.ts';
import { NewInitialAccessToken } from './clients/software-policies.routes.ts';
import { type Command, command } from './command.ts';
import { doctorCommand } from './doctor/doctor-command.ts';
import { notFound } from './errors.ts';
import { Id, RoleName, Time } from './http/schemas.ts';
import { importKeycloak } from './keycloak/import.commands.ts';
import {
  type ProvisionReport,
  provisionExitCode,
  provisionKeycloak,
  provisionText,
} from './keycloak/provision.commands.ts';
import { exitCodeOf, type ImportReport, toText } from './keycloak/report.ts';
import { keycloakSyncDeps } from './keycloak-sync.ts';
import { fileRotation } from './keys/key-set.ts';
import { rotateKeys } from './keys/keys.commands.ts';
import { operationCommands } from './operation-commands.ts';
import { relyingPartyOf } from './passkey-settings.ts';
import { deactivatePolicy } from './policies/policies.commands.ts';
import { listPolicies } from './policies/policies.queries.ts';
import { restoreDefaults } from './roles/defaults.commands.ts';
import { type GrantDeps, grantRole } from './roles/grants.commands.ts';
import { operatorCaller } from './roles/passing-on.ts';
import { revokeGrantsOf } from './sessions/sessions.commands.ts';
import { findUserByEmail } from './users/users.queries.ts';

const withClientId = (values: Record<string, unknown>) => {
  if (values.id === undefined) throw new Error('--id is needed');
  return values;
};

export const commands: Record<string, Command> = {
  doctor: doctorCommand,

  'create-admin': command({
    usage: 'create-admin --email EMAIL --password PASSWORD (or - for standard input) [--name NAME]',
    summary: 'Create an administrator with a verified address',
    options: { email: { type: 'string' }, password: { type: 'string' }, name: { type: 'string' } },
    input: z.object({ email: Email, password: Password, name: PersonName.default('Administrator') }),
    read: ({ email, password, ...values }) => {
      if (email === undefined || password === undefined) throw new Error('--email and --password are needed');
      return {
        email,
        password: password === '-' ? readFileSync(0, 'utf8').replace(/\r?\n$/, '') : password,
        ...values,
      };
    },
    run: async ({ accounts }, { email, ...input }) => ({
      id: await createAdministrator(accounts, operator, { email, ...input }),
      email,
    }),
  }),

  seed: command({
    usage: 'seed',
    summary: 'Put back what is missing of the built-in roles with their permissions, teams and business domains',
    options: {},
    input: z.object({}),
    run: ({ accounts: { db } }) => restoreDefaults(db, operator),
  }),

  'grant-role': command({
    usage: 'grant-role --email EMAIL --role ROLE [--organization ID] [--expires TIME]',
    summary:
      'Give a person a role beside their primary one, everywhere or in an organization, for good or until a time',
    options: {
      email: { type: 'string' },
      role: { type: 'string' },
      organization: { type: 'string' },
      expires: { type: 'string' },
    },
    input: z.object({ email: Email, role: RoleName, organization: Id.optional(), expires: Time.optional() }),
    run: async ({ accounts, signIn }, { email, role, organization, expires }) => {
      const user = await findUserByEmail(accounts.db, email);
      if (!user) throw notFound('user');
      const deps: GrantDeps = {
        db: accounts.db,
        requiredRank: signIn.mfa.requiredRank,
        endSessions: (db, actor, id) => accounts.endSessions(db, actor, id, undefined, 'second_factor_needed'),
      };
      return grantRole(
        deps,
        operator,
        operatorCaller,
        { type: 'user', id: user.id },
        { role, organizationId: organization, expiresAt: expires === undefined ? undefined : new Date(expires) },
      );
    },
  }),

  'rotate-keys': command({
    usage: 'rotate-keys [--now | --revoke]',
    summary:
      'Publish new signing keys, which sign after ten minutes (--now: at once; --revoke: and the old ones, leaked, are gone with all that they signed)',
    options: { now: { type: 'boolean' }, revoke: { type: 'boolean' } },
    input: z.object({ now: z.boolean().default(false), revoke: z.boolean().default(false) }),
    run: async ({ config, accounts: { db }, secrets, provider }, input) => {
      if (config.JWKS_PRIVATE_KEY_PATH) return fileRotation;
      const rotation = await rotateKeys(db, secrets, operator, { ...input, signing: config.SIGNING_ALGS });
      await provider.reload();
      return rotation;
    },
  }),

  ...operationCommands,

  'import keycloak': command({
    usage: 'import keycloak FILE|FOLDER [--dry-run] [--first-party] [--passkeys] [--json]',
    summary:
      'Import a realm that Keycloak exported, and say what came over and what did not (--dry-run: and write nothing); exits with 2 if something was left out',
    options: {
      'dry-run': { type: 'boolean' },
      'first-party': { type: 'boolean' },
      passkeys: { type: 'boolean' },
      json: { type: 'boolean' },
    },
    positional: 'path',
    input: z.object({ path: z.string(), dryRun: z.boolean(), firstParty: z.boolean(), passkeys: z.boolean() }),
    read: (values) => {
      if (typeof values.path !== 'string') throw new Error('name the file or folder that Keycloak exported');
      return {
        // The process that has the database may run in another folder.
        path: resolve(values.path),
        dryRun: values['dry-run'] === true,
        firstParty: values['first-party'] === true,
        passkeys: values.passkeys === true,
      };
    },
    run: async ({ config, accounts, secrets, provider, jobs }, options) => {
      // Applications are told of sessions that end with an account.
      if (!options.dryRun) await jobs.start();
      return importKeycloak(
        {
          ...accounts,
          secrets,
          validateClient: provider.validateClient,
          relyingPartyId: relyingPartyOf(config).id,
          findFileProvider: (id) => config.identityProviders.find((provider) => provider.id === id),
        },
        operator,
        options,
      );
    },
    show: (report, { json }) => (json ? report : toText(report as ImportReport)),
    exitCode: (report) => exitCodeOf(report as ImportReport),
  }),

  'sync keycloak': command({
    usage: 'sync keycloak [--dry-run] [--json]',
    summary:
      'Create, change and disable users in Keycloak (KEYCLOAK_SYNC_URL) until they are as they are here (--dry-run: say what that would be); exits with 2 if somebody could not be',
    options: { 'dry-run': { type: 'boolean' }, json: { type: 'boolean' } },
    input: z.object({ dryRun: z.boolean() }),
    read: (values) => ({ dryRun: values['dry-run'] === true }),
    run: async ({ config, accounts: { db }, secrets }, options) => {
      const deps = keycloakSyncDeps(config, db, secrets);
      if (!deps) throw new Error('KEYCLOAK_SYNC_URL and what belongs to it are not set');
      return provisionKeycloak(deps, operator, options);
    },
    show: (report, { json }) => (json ? report : provisionText(report as ProvisionReport)),
    exitCode: (report) => provisionExitCode(report as ProvisionReport),
  }),

  'client create': command({
    usage: 'client create --file client.json (or - for standard input)',
    summary: 'Register a client (RFC 7591 metadata); its secret is shown this once',
    options: { file: { type: 'string' } },
    input: z.object({ metadata: z.unknown() }),
    read: ({ file }) => {
      if (typeof file !== 'string') throw new Error('--file is needed');
      return { metadata: JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8')) as unknown };
    },
    run: ({ accounts: { db }, provider }, { metadata }) =>
      createClient(db, operator, operatorPowers, metadata, provider.validateClient),
  }),

  'client list': command({
    usage: 'client list',
    summary: 'List the registered clients',
    options: {},
    input: z.object({}),
    run: async ({ accounts: { db } }) => (await listClients(db)).map(clientMetadata),
  }),

  'client rotate-secret': command({
    usage: 'client rotate-secret --id CLIENT_ID [--grace SECONDS]',
    summary: 'Give a client a new secret; the present one stays valid for a day, or as long as --grace says',
    options: { id: { type: 'string' }, grace: { type: 'string' } },
    input: z.object({
      id: z.string(),
      grace: z.coerce
        .number()
        .int()
        .min(0)
        .max(30 * 86_400)
        .default(86_400),
    }),
    read: withClientId,
    run: ({ accounts: { db } }, { id, grace }) => rotateClientSecret(db, operator, operatorPowers, id, grace),
  }),

  'create-initial-access-token': command({
    usage: 'create-initial-access-token --note NOTE [--policy NAME] [--uses NUMBER] [--expires SECONDS]',
    summary:
      'Make a token with which a client may register itself; it is shown this once, and works for a week unless told otherwise',
    options: {
      note: { type: 'string' },
      policy: { type: 'string' },
      uses: { type: 'string' },
      expires: { type: 'string' },
    },
    input: NewInitialAccessToken,
    read: ({ note, policy, uses, expires }) => ({
      note,
      ...(policy === undefined ? {} : { softwarePolicy: policy }),
      ...(uses === undefined ? {} : { uses: Number(uses) }),
      ...(expires === undefined ? {} : { expiresIn: Number(expires) }),
    }),
    run: ({ accounts: { db } }, input) => createInitialToken(db, operator, operatorPowers, input),
  }),

  'policies list': command({
    usage: 'policies list',
    summary: 'List the policies about who may do what, and which of them are in force',
    options: {},
    input: z.object({}),
    run: async ({ accounts: { db } }) =>
      (await listPolicies(db, { limit: 1000 })).map(({ id, name, description, activeVersion, activatedAt }) => ({
        ...{ id, name, description, activeVersion, activatedAt },
      })),
  }),

  'policies deactivate': command({
    usage: 'policies deactivate NAME',
    summary: 'Take a policy out of force, whoever activated it: the way back for those who are locked out',
    options: {},
    positional: 'name',
    input: z.object({ name: z.string() }),
    read: ({ name }) => {
      if (typeof name !== 'string') throw new Error('name the policy');
      return { name };
    },
    run: async ({ accounts: { db } }, { name }) => ({
      deactivated: await deactivatePolicy(db, operator, undefined, { name }),
    }),
  }),

  'client delete': command({
    usage: 'client delete --id CLIENT_ID',
    summary: 'Delete a client, or block one that is a metadata document, and end its grants, tokens and consents',
    options: { id: { type: 'string' } },
    input: z.object({ id: z.string() }),
    read: withClientId,
    run: async ({ accounts: { db } }, { id }) => {
      await deleteClient(db, operator, operatorPowers, id, revokeGrantsOf);
      return { deleted: id };
    },
  }),
};
