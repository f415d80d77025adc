/** The commands about identity providers and accounts there. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import type { Actor } from '../../src/audit/logs.commands.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import * as identities from '../../src/federation/identities.commands.ts';
import { findIdentity, insertIdentity } from '../../src/federation/identities.queries.ts';
import * as registered from '../../src/federation/identity-providers.commands.ts';
import { type IdentityProvider, providerMetadata } from '../../src/federation/identity-providers.ts';
import { recognize } from '../../src/federation/people.commands.ts';
import { resolveProvider } from '../../src/federation/presets.ts';
import type { UpstreamPerson } from '../../src/federation/profiles.ts';
import type { Caller } from '../../src/http/caller.ts';
import type { Arranged, World } from './audited-commands.ts';

const anybody: Actor = { type: 'anonymous', address: '192.0.2.1', requestId: 'request-1', userAgent: 'a browser' };

const metadata = providerMetadata.parse({
  preset: 'oidc',
  name: 'Acme',
  issuer: 'https://id.acme.example',
  client_id: 'countersign',
  trust_email: true,
  roles: [{ claim: 'groups', value: 'staff', role: 'moderator' }],
});
const secrets = { client_secret: 'a secret of acme' };
const provider: IdentityProvider = resolveProvider('acme', metadata, secrets, { rank: 99, source: 'file' });

const newPerson = (): UpstreamPerson => ({
  providerId: provider.id,
  issuer: 'https://id.acme.example',
  subject: uuid(),
  email: `${uuid()}@example.com`,
  emailProven: true,
  name: 'Ada Lovelace',
  profile: {},
  firstProfile: {},
  roles: ['moderator'],
  amr: ['fed'],
});

const depsOf = ({ server }: World) => ({
  ...server.app.accounts,
  requiredRank: undefined,
  requireVerifiedEmail: false,
  countFederation: () => {},
});
const providerDeps = ({ server, db }: World) => ({
  db,
  secrets: server.app.secrets,
  providers: { isReserved: () => false },
  refusalOf: () => undefined,
});

/** Somebody with every right who has signed in here. */
const administrator = async ({ db, registerVerified }: World): Promise<Caller> => {
  const { id } = await registerVerified();
  await db('users')
    .where({ id })
    .update({ roleId: db('roles').where({ name: 'super_admin' }).select('id') });
  const session = { sessionUid: uuid(), firstParty: true };
  return { kind: 'user', id, ...session, roles: ['super_admin'], rank: 100, permissions: ['*:*:*'] };
};

const newRow = async (world: World) => {
  const caller = await administrator(world);
  const id = `p-${uuid()}`;
  await registered.createIdentityProvider(providerDeps(world), operator, caller, id, { metadata, secrets });
  return { caller, id };
};

const linked = async (world: World, more: object = {}) => {
  const user = await world.registerVerified();
  const person = { ...newPerson(), ...more };
  const { providerId, issuer, subject, email = null, emailProven } = person;
  const identity = await insertIdentity(world.db, { userId: user.id, providerId, issuer, subject, email, emailProven });
  return { user, person, identityId: identity?.id as string };
};

export const federationCommands: Record<string, (world: World) => Promise<Arranged>> = {
  createIdentityProvider: async (world) => {
    const caller = await administrator(world);
    return {
      run: () =>
        registered.createIdentityProvider(providerDeps(world), operator, caller, 'fresh', { metadata, secrets }),
      expected: () => [
        {
          action: 'identity_provider.create',
          actor: ['operator'],
          target: ['identity_provider', 'fresh'],
          meta: { preset: 'oidc' },
        },
      ],
    };
  },
  updateIdentityProvider: async (world) => {
    const { caller, id } = await newRow(world);
    return {
      run: () =>
        registered.updateIdentityProvider(providerDeps(world), operator, caller, id, {
          metadata: { ...metadata, name: 'Other' },
          secrets: { client_secret: 'another secret' },
        }),
      expected: () => [
        {
          action: 'identity_provider.update',
          actor: ['operator'],
          target: ['identity_provider', id],
          meta: { members: ['client_secret', 'name'] },
        },
      ],
    };
  },
  deleteIdentityProvider: async (world) => {
    const { caller, id } = await newRow(world);
    return {
      run: () => registered.deleteIdentityProvider(providerDeps(world), operator, caller, id),
      expected: () => [
        {
          action: 'identity_provider.delete',
          actor: ['operator'],
          target: ['identity_provider', id],
          meta: { identities: 0 },
        },
      ],
    };
  },
  linkIdentity: async (world) => {
    const { id: userId } = await world.registerVerified();
    return {
      run: () => identities.linkIdentity(depsOf(world), anybody, provider, { userId, person: newPerson() }),
      expected: () => [
        { action: 'identity.link', actor: ['user', userId], target: ['user', userId], meta: { provider: 'acme' } },
      ],
    };
  },
  unlinkIdentity: async (world) => {
    const { user, identityId } = await linked(world);
    const actor: Actor = { ...anybody, type: 'user', id: user.id };
    const input = { userId: user.id, sessionUid: 'of-this-one', id: identityId, offered: new Map([['acme', 'Acme']]) };
    return {
      run: () => identities.unlinkIdentity(depsOf(world), actor, input),
      expected: () => [
        { action: 'identity.unlink', actor: ['user', user.id], target: ['user', user.id], meta: { provider: 'acme' } },
      ],
    };
  },
  dropUnprovenIdentities: async (world) => {
    const { user } = await linked(world, { emailProven: false });
    return {
      run: () =>
        world.db.transaction((db) => identities.dropUnprovenIdentities(db, operator, user.id, 'password_reset')),
      expected: () => [
        {
          action: 'identity.unlink',
          actor: ['operator'],
          target: ['user', user.id],
          meta: { provider: 'acme', reason: 'password_reset' },
        },
      ],
    };
  },
  takeOverRoles: async (world) => {
    const { user, person } = await linked(world);
    return {
      run: async () => {
        const identity = await findIdentity(world.db, person);
        if (!identity) throw new Error('no identity');
        await world.db.transaction((db) =>
          identities.takeOver(depsOf(world), db, anybody, { provider, identity, person }),
        );
      },
      expected: () => [
        {
          action: 'identity.assign_roles',
          actor: ['anonymous'],
          target: ['user', user.id],
          meta: { provider: 'acme', given: ['moderator'], taken: [] },
        },
      ],
    };
  },
  registerBySocialSignIn: async (world) => {
    const person = { ...newPerson(), roles: [] };
    return {
      run: () => recognize(depsOf(world), anybody, { provider, person, typed: { locale: 'en' } }),
      expected: ({ user }: { user: { id: string } }) => [
        {
          action: 'user.register',
          actor: ['anonymous'],
          target: ['user', user.id],
          meta: { provider: 'acme' },
        },
      ],
    };
  },
};
