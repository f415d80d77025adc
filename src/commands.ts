/** What the command line can do besides serving. Each runs on an app: the command's own, or that of a running server. */
import { readFileSync } from 'node:fs';
import type { ParseArgsOptionsConfig } from 'node:util';
import { z } from 'zod';
import type { App } from './app.ts';
import { operator } from './audit/logs.commands.ts';
import { createAdministrator } from './auth/administrators.commands.ts';
import { Email, Password, PersonName } from './auth/credentials.ts';
import { clientMetadata } from './clients/client-metadata.ts';
import { createClient, deleteClient, operatorPowers, rotateClientSecret } from './clients/clients.commands.ts';
import { listClients } from './clients/clients.queries.ts';
import { createInitialToken } from './clients/software-policies.commands.ts';
import { NewInitialAccessToken } from './clients/software-policies.routes.ts';
import { fileRotation } from './keys/key-set.ts';
import { rotateKeys } from './keys/keys.commands.ts';
import { revokeGrantsOf } from './sessions/sessions.commands.ts';

export interface Command {
  usage: string;
  summary: string;
  options: ParseArgsOptionsConfig;
  /** What the command needs of this machine's files and terminal, read where it was typed. */
  read(values: Record<string, unknown>): unknown;
  /** @returns a text, or an object that is printed as JSON */
  run(app: App, input: unknown): Promise<unknown>;
}

const command = <Input extends z.ZodType>(
  declaration: Omit<Command, 'read' | 'run'> & {
    input: Input;
    read?(values: Record<string, unknown>): unknown;
    run(app: App, input: z.output<Input>): Promise<unknown>;
  },
): Command => ({
  read: (values) => values,
  ...declaration,
  run: (app, input) => declaration.run(app, declaration.input.parse(input)),
});

const withClientId = (values: Record<string, unknown>) => {
  if (values.id === undefined) throw new Error('--id is needed');
  return values;
};

export const commands: Record<string, Command> = {
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
