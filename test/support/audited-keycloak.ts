/** The commands that import from Keycloak, and provision to it. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import { operator } from '../../src/audit/logs.commands.ts';
import { importKeycloak } from '../../src/keycloak/import.commands.ts';
import { provisionKeycloak } from '../../src/keycloak/provision.commands.ts';
import type { KeycloakAdmin } from '../../src/keycloak/provisioning.ts';
import type { Arranged, World } from './audited-commands.ts';
import { keycloakUser, otpCredential, pbkdf2Credential, writeRealm } from './keycloak-realm.ts';

/** Imports a realm that has these members alone. */
const importOf = ({ server }: World, realm: string, members: object) => {
  const { accounts, secrets, provider } = server.app;
  const deps = {
    ...accounts,
    secrets,
    validateClient: provider.validateClient,
    relyingPartyId: 'localhost',
    findFileProvider: () => undefined,
  };
  const path = writeRealm({ id: uuid(), realm, ...members });
  return () => importKeycloak(deps, operator, { path, dryRun: false, firstParty: false, passkeys: false });
};

const imports =
  (members: () => object, meta: object) =>
  async (world: World): Promise<Arranged> => {
    const realm = `realm-${uuid()}`;
    return {
      run: importOf(world, realm, members()),
      expected: () => [{ action: 'keycloak.import', actor: ['operator'], target: ['realm', realm], meta }],
    };
  };

export const keycloakCommands: Record<string, (world: World) => Promise<Arranged>> = {
  'importKeycloak, of roles': imports(() => ({ roles: { realm: [{ name: uuid() }] } }), { kind: 'roles', created: 1 }),
  'importKeycloak, of groups': imports(() => ({ groups: [{ name: 'staff' }] }), { kind: 'groups', created: 1 }),
  'importKeycloak, of identity providers': imports(
    () => ({
      identityProviders: [
        {
          alias: `p${uuid().slice(-12)}`,
          providerId: 'github',
          config: { clientId: 'x', clientSecret: 'a secret of GitHub’s' },
        },
      ],
    }),
    { kind: 'identity providers', created: 1 },
  ),
  'importKeycloak, of users': imports(
    () => ({
      users: [
        keycloakUser(uuid(), {
          attributes: { birthdate: ['1815-12-10'] },
          credentials: [pbkdf2Credential('pbkdf2-sha256'), otpCredential('kC0m2V1b3qHq7W3S5r9w')],
        }),
        keycloakUser(uuid()),
      ],
    }),
    { kind: 'users', created: 2, updated: 0 },
  ),
  'importKeycloak, of clients': async (world) => {
    const clientId = uuid();
    return {
      run: importOf(world, 'acme', { clients: [{ clientId, redirectUris: ['https://app.example.com/cb'] }] }),
      expected: () => [
        { action: 'client.create', actor: ['operator'], target: ['client', clientId], meta: { from: 'keycloak' } },
      ],
    };
  },
  provisionKeycloak: async (world) => {
    const { id } = await world.registerVerified();
    const { secrets } = world.server.app;
    // Everybody else is there already.
    const system = `keycloak-sync:${uuid()}`;
    const others: { id: string }[] = await world.db('users').whereNot({ id }).select('id');
    await world.db('externalReferences').insert(
      others.map((other) => ({
        system,
        kind: 'user',
        externalId: other.id,
        localId: other.id,
        fingerprint: '',
        localVersion: 'infinity',
      })),
    );
    const keycloak: KeycloakAdmin = {
      findByEmail: () => Promise.resolve(undefined),
      get: () => Promise.resolve(undefined),
      create: () => Promise.resolve(uuid()),
      update: () => Promise.resolve('updated'),
    };
    return {
      run: () => provisionKeycloak({ db: world.db, secrets, keycloak, system }, operator, { dryRun: false }),
      expected: () => [
        { action: 'keycloak.provision', actor: ['operator'], target: ['user', id], meta: { outcome: 'created' } },
      ],
    };
  },
};
