/** How people come into organizations. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import { type Actor, system } from '../../src/audit/logs.commands.ts';
import { createJoining } from '../../src/joining.ts';
import * as invitations from '../../src/organizations/invitations.commands.ts';
import { findInvitation } from '../../src/organizations/invitations.queries.ts';
import * as domains from '../../src/organizations/mail-domains.commands.ts';
import { joinByAddress } from '../../src/roles/joining.commands.ts';
import { operatorCaller } from '../../src/roles/passing-on.ts';
import type { Arranged, World } from './audited-commands.ts';
import { makeOrganization } from './organizations.ts';
import { tokenOf } from './requests.ts';

const operator: Actor = { type: 'operator' };
const person = (id: string): Actor => ({ type: 'user', id, address: '192.0.2.1', requestId: 'request-1' });
const on = (action: string, id: string, actor: [string, string?], meta: object) => ({
  action,
  actor,
  target: ['organization', id] as [string, string],
  meta,
});

const depsOf = ({ server }: World) => {
  const { config, accounts } = server.app;
  const unlimited = { consume: async () => {}, take: async () => ({ exceeded: false }) };
  return createJoining(config, accounts, unlimited as never);
};
const callerOf = async (world: World, id: string) => {
  const caller = await depsOf(world).invitations.findPerson(world.db, id);
  if (!caller) throw new Error('nobody');
  return caller;
};

/** An organization with somebody who owns it, and somebody who is invited to it. */
const inviting = async (world: World) => {
  const [owner, guest] = [await world.registerVerified(), await world.registerVerified()];
  const { id: organizationId } = await makeOrganization(world.server, { owners: [owner.id] });
  return { owner: owner.id, guest, organizationId };
};
const invited = async (world: World) => {
  const place = await inviting(world);
  const { owner, organizationId, guest } = place;
  const input = { organizationId, email: guest.email, roles: ['manager'] };
  const { id } = await invitations.invite(
    depsOf(world).invitations,
    person(owner),
    await callerOf(world, owner),
    input,
  );
  const { links } = await world.server.mail(guest.email, /organization/);
  return { ...place, id, token: tokenOf(links, 'invitation') };
};

const claimed = async (world: World, verified = false) => {
  const { id: organizationId } = await makeOrganization(world.server);
  const domain = `d${uuid()}.example`;
  const { domains: deps } = depsOf(world);
  const input = { organizationId, domain, autoJoin: true, role: null };
  const { id } = await domains.claimMailDomain(deps, operator, operatorCaller, input);
  if (verified) await domains.verifyMailDomain(deps, operator, operatorCaller, { organizationId, id, byHand: true });
  return { deps, organizationId, domain, id };
};

export const joiningCommands: Record<string, (world: World) => Promise<Arranged>> = {
  invite: async (world) => {
    const { owner, organizationId, guest } = await inviting(world);
    const caller = await callerOf(world, owner);
    const input = { organizationId, email: guest.email, roles: ['manager'] };
    return {
      run: () => invitations.invite(depsOf(world).invitations, person(owner), caller, input),
      expected: ({ id }: { id: string }) => [
        on('organization.invite', organizationId, ['user', owner], { invitation: id, roles: ['manager'] }),
      ],
    };
  },
  resendInvitation: async (world) => {
    const { owner, organizationId, id } = await invited(world);
    const caller = await callerOf(world, owner);
    return {
      run: () => invitations.resendInvitation(depsOf(world).invitations, person(owner), caller, { organizationId, id }),
      expected: () => [on('organization.resend_invitation', organizationId, ['user', owner], { invitation: id })],
    };
  },
  revokeInvitation: async (world) => {
    const { owner, organizationId, id } = await invited(world);
    return {
      run: () => invitations.revokeInvitation(depsOf(world).invitations, person(owner), { organizationId, id }),
      expected: () => [on('organization.revoke_invitation', organizationId, ['user', owner], { invitation: id })],
    };
  },
  acceptInvitation: async (world) => {
    const { guest, organizationId, id, token } = await invited(world);
    return {
      run: () => invitations.acceptInvitation(depsOf(world).invitations, person(guest.id), guest.id, { token }),
      expected: () => [
        on('organization.accept_invitation', organizationId, ['user', guest.id], {
          ...{ invitation: id, roles: ['manager'] },
        }),
      ],
    };
  },
  declineInvitation: async (world) => {
    const { guest, organizationId, id } = await invited(world);
    if ((await findInvitation(world.db, id))?.state !== 'pending') throw new Error('not pending');
    return {
      run: () => invitations.declineInvitation(depsOf(world).invitations, person(guest.id), guest.id, { id }),
      expected: () => [on('organization.decline_invitation', organizationId, ['user', guest.id], { invitation: id })],
    };
  },
  claimMailDomain: async (world) => {
    const { id: organizationId } = await makeOrganization(world.server);
    const input = { organizationId, domain: `d${uuid()}.example`, autoJoin: true, role: 'manager' };
    return {
      run: () => domains.claimMailDomain(depsOf(world).domains, operator, operatorCaller, input),
      expected: ({ id }: { id: string }) => [
        on('organization.claim_domain', organizationId, ['operator'], { domain: id, autoJoin: true, role: 'manager' }),
      ],
    };
  },
  changeMailDomain: async (world) => {
    const { deps, organizationId, id } = await claimed(world);
    return {
      run: () => domains.changeMailDomain(deps, operator, operatorCaller, { organizationId, id, autoJoin: false }),
      expected: () => [
        on('organization.update_domain', organizationId, ['operator'], { domain: id, autoJoin: false, role: null }),
      ],
    };
  },
  'verifyMailDomain, with somebody who joins by it': async (world) => {
    const { deps, organizationId, id, domain } = await claimed(world);
    const { id: user } = await world.registerVerified();
    await world
      .db('users')
      .where({ id: user })
      .update({ email: `ada@${domain}` });
    return {
      run: () => domains.verifyMailDomain(deps, operator, operatorCaller, { organizationId, id, byHand: true }),
      expected: () => [
        on('organization.verify_domain', organizationId, ['operator'], { domain: id, byHand: true }),
        on('organization.join', organizationId, ['operator'], { domain: id, count: 1, user }),
      ],
    };
  },
  releaseMailDomain: async (world) => {
    const { deps, organizationId, id } = await claimed(world, true);
    return {
      run: () => domains.releaseMailDomain(deps, operator, { organizationId, id }),
      expected: () => [on('organization.release_domain', organizationId, ['operator'], { domain: id })],
    };
  },
  'recheckMailDomains, of one whose record is gone': async (world) => {
    const { deps, organizationId, id } = await claimed(world, true);
    const ago = (days: number) => new Date(Date.now() - days * 86_400_000);
    await world
      .db('organizationDomains')
      .where({ id })
      .update({ verifiedByHand: false, checkedAt: ago(2), missingSince: ago(4) });
    return {
      run: () => domains.recheckMailDomains({ ...deps, lookUpTxt: async () => [] }),
      expected: () => [on('organization.lose_domain', organizationId, ['system'], { domain: id })],
    };
  },
  joinByAddress: async (world) => {
    const { organizationId, id, domain } = await claimed(world, true);
    const { id: user } = await world.registerVerified();
    await world
      .db('users')
      .where({ id: user })
      .update({ email: `ada@${domain}` });
    return {
      run: () => world.db.transaction((db) => joinByAddress(db, system, [user])),
      expected: () => [on('organization.join', organizationId, ['system'], { domain: id, count: 1, user })],
    };
  },
};
