/** Accounts that are made for an organization, and profiles that others look after. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import { operator } from '../../src/audit/logs.commands.ts';
import { createUser } from '../../src/auth/invitations.commands.ts';
import { assertMayChangeAccount, assertMayTakeOver } from '../../src/roles/accounts-of-others.ts';
import { changeProfile } from '../../src/users/profiles.commands.ts';
import type { Arranged, World } from './audited-commands.ts';
import { makeOrganization } from './organizations.ts';

const machine = { kind: 'client', id: 'acme', rank: 100, roles: [], permissions: ['*:*:*'] } as const;
const name = 'Ada Lovelace';

export const userCommands: Record<string, (world: World) => Promise<Arranged>> = {
  'createUser in an organization': async ({ server }) => {
    const { id: organizationId } = await makeOrganization(server);
    const account = { email: `${uuid()}@example.com`, name, role: 'user', emailVerified: false, locale: null };
    return {
      run: () =>
        createUser(server.app.accounts, operator, machine, { ...account, sendInvitation: true, organizationId }),
      expected: ({ id }: { id: string }) => [
        {
          action: 'user.create',
          actor: ['operator'],
          target: ['user', id],
          meta: { role: 'user', invited: true, organizationId },
        },
        {
          action: 'organization.add_member',
          actor: ['operator'],
          target: ['user', id],
          meta: { organizationId, isOwner: false, roles: [] },
        },
      ],
    };
  },
  changeProfile: async ({ server, db, registerVerified }) => {
    const { id } = await registerVerified();
    const deps = {
      ...{ db, secrets: server.app.secrets },
      ...{ assertMayChange: assertMayChangeAccount, assertMayTakeOver },
    };
    const profile = { name: 'Ada King', locale: 'en', pii: { phone_number: '+4930901820' } };
    return {
      run: () => changeProfile(deps, operator, machine, id, profile),
      expected: () => [
        {
          action: 'user.update_profile',
          actor: ['operator'],
          target: ['user', id],
          meta: { members: ['phone_number'] },
        },
      ],
    };
  },
};
