/** The commands by which clients register themselves, and what administrators say about that. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import type { Actor } from '../../src/audit/logs.commands.ts';
import { operator, system } from '../../src/audit/logs.commands.ts';
import { operatorPowers } from '../../src/clients/clients.commands.ts';
import { saveDocument } from '../../src/clients/metadata-documents.commands.ts';
import * as self from '../../src/clients/self-registration.commands.ts';
import * as policies from '../../src/clients/software-policies.commands.ts';
import { revokeGrantsOf } from '../../src/sessions/sessions.commands.ts';
import type { Arranged, World } from './audited-commands.ts';

const policy = {
  description: null,
  grantTypes: ['authorization_code'],
  redirectHosts: null,
  scope: null,
  profile: null,
  requirePkce: true,
};
const newName = () => `policy-${uuid()}`;
const somebody: Actor = { type: 'anonymous', address: '192.0.2.1', requestId: 'request-1', userAgent: 'a browser' };
const itself = (id: string): Actor => ({ ...somebody, type: 'client', id });

const depsOf = ({ server }: World) => ({
  validate: server.app.provider.validateClient,
  revokeGrants: revokeGrantsOf,
  listOpenScopes: () => Promise.resolve([]),
});
const metadata = { client_name: 'Acme', redirect_uris: ['https://app.example.com/cb'] };
const register = async (world: World) => {
  const client = await self.registerClient(world.db, somebody, { token: undefined, input: metadata }, depsOf(world));
  return { clientId: client.client_id, token: client.registration_access_token };
};

export const registrationCommands: Record<string, (world: World) => Promise<Arranged>> = {
  createPolicy: ({ db }) => {
    const name = newName();
    return Promise.resolve({
      run: () => policies.createPolicy(db, operator, operatorPowers, name, policy),
      expected: () => [{ action: 'software_policy.create', actor: ['operator'], target: ['software_policy', name] }],
    });
  },
  replacePolicy: async ({ db }) => {
    const name = newName();
    await policies.createPolicy(db, operator, operatorPowers, name, policy);
    return {
      run: () => policies.replacePolicy(db, operator, operatorPowers, name, { ...policy, requirePkce: false }),
      expected: () => [{ action: 'software_policy.update', actor: ['operator'], target: ['software_policy', name] }],
    };
  },
  deletePolicy: async ({ db }) => {
    const name = newName();
    await policies.createPolicy(db, operator, operatorPowers, name, policy);
    return {
      run: () => policies.deletePolicy(db, operator, operatorPowers, name),
      expected: () => [{ action: 'software_policy.delete', actor: ['operator'], target: ['software_policy', name] }],
    };
  },
  createInitialToken: async ({ db }) => {
    const softwarePolicy = newName();
    await policies.createPolicy(db, operator, operatorPowers, softwarePolicy, policy);
    const input = { note: 'For Acme', softwarePolicy, uses: 3, expiresIn: 60 };
    return {
      run: () => policies.createInitialToken(db, operator, operatorPowers, input),
      expected: ({ id }: { id: string }) => [
        {
          action: 'initial_access_token.create',
          actor: ['operator'],
          target: ['initial_access_token', id],
          meta: { softwarePolicy, uses: 3, expiresIn: 60 },
        },
      ],
    };
  },
  deleteInitialToken: async ({ db }) => {
    const { id } = await policies.createInitialToken(db, operator, operatorPowers, { note: 'x', expiresIn: 60 });
    return {
      run: () => policies.deleteInitialToken(db, operator, id),
      expected: () => [
        { action: 'initial_access_token.delete', actor: ['operator'], target: ['initial_access_token', id] },
      ],
    };
  },
  registerClient: async (world) => {
    const { id, token } = await policies.createInitialToken(world.db, operator, operatorPowers, {
      note: 'x',
      uses: 1,
      expiresIn: 60,
    });
    return {
      run: () => self.registerClient(world.db, somebody, { token, input: metadata }, depsOf(world)),
      expected: ({ client_id }: { client_id: string }) => [
        {
          action: 'client.register',
          actor: ['anonymous'],
          target: ['client', client_id],
          meta: { initialAccessToken: id },
        },
      ],
    };
  },
  replaceSelf: async (world) => {
    const { clientId, token } = await register(world);
    const input = { ...metadata, client_id: clientId, client_name: 'Acme Two' };
    return {
      run: () => self.replaceSelf(world.db, itself(clientId), { clientId, token, input }, depsOf(world)),
      expected: () => [
        {
          action: 'client.update',
          actor: ['client', clientId],
          target: ['client', clientId],
          meta: { members: ['client_name'], grantsEnded: true },
        },
      ],
    };
  },
  deleteSelf: async (world) => {
    const { clientId, token } = await register(world);
    return {
      run: () => self.deleteSelf(world.db, itself(clientId), { clientId, token }, revokeGrantsOf),
      expected: () => [{ action: 'client.delete', actor: ['client', clientId], target: ['client', clientId] }],
    };
  },
  expireClients: async (world) => {
    const { clientId } = await register(world);
    await world
      .db('clients')
      .where({ clientId })
      .update({ createdAt: new Date(Date.now() - 40 * 86_400_000) });
    return {
      run: () => self.expireClients(world.db),
      expected: () => [{ action: 'client.expire', actor: ['system'], target: ['client', clientId] }],
    };
  },
  'saveDocument, of a new client': (world) => {
    const clientId = `https://app.example.com/${uuid()}.json`;
    const document = { ...metadata, client_id: clientId };
    return Promise.resolve({
      run: () => saveDocument(world.db, system, { clientId, document, until: new Date() }, depsOf(world)),
      expected: () => [
        { action: 'client.register', actor: ['system'], target: ['client', clientId], meta: { document: true } },
      ],
    });
  },
  'saveDocument, of one that has changed': async (world) => {
    const clientId = `https://app.example.com/${uuid()}.json`;
    const document = { ...metadata, client_id: clientId };
    const until = new Date();
    await saveDocument(world.db, system, { clientId, document, until }, depsOf(world));
    const changed = { ...document, client_uri: 'https://app.example.com/' };
    return {
      run: () => saveDocument(world.db, system, { clientId, document: changed, until }, depsOf(world)),
      expected: () => [
        {
          action: 'client.update',
          actor: ['system'],
          target: ['client', clientId],
          meta: { members: ['client_uri'], grantsEnded: false },
        },
      ],
    };
  },
};
