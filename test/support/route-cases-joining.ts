/** Rows for invitations and mail domains of organizations. See `route-cases.ts`. */
import { v7 as uuid } from 'uuid';
import { insertInvitation } from '../../src/organizations/invitations.queries.ts';
import { insertMailDomain } from '../../src/organizations/mail-domains.queries.ts';
import { makeOrganization } from './organizations.ts';
import type { Attempt, RouteCase } from './route-cases.ts';
import type { World } from './route-world.ts';

const some = async ({ server }: World): Promise<Attempt> => ({ params: { id: (await makeOrganization(server)).id } });

/** An invitation to an address, and the token of its link. */
const invited = async (world: World, email = `${uuid()}@example.com`) => {
  const inviter = await world.account();
  const { id: organizationId } = await makeOrganization(world.server, { owners: [inviter.id] });
  const [id, token, expiresAt] = [uuid(), uuid() + uuid(), new Date(Date.now() + 3_600_000)];
  const row = { id, organizationId, email, token, roleIds: [], invitedBy: inviter.id, expiresAt };
  await insertInvitation(world.server.database.db, row);
  return { params: { id: organizationId, invitationId: id }, token };
};
const managed: RouteCase = { attempt: async (world) => ({ params: (await invited(world)).params }) };

/** Of somebody who is invited by the address of their account. */
const answered: RouteCase = {
  attempt: async (world) => {
    const caller = await world.person();
    return { caller, body: { token: (await invited(world, caller.email)).token } };
  },
  opaque: ['token'],
};

const claimed = async (world: World): Promise<Attempt> => {
  const { id: organizationId } = await makeOrganization(world.server);
  const id = uuid();
  const row = { id, organizationId, domain: `d${id}.example`, token: uuid(), autoJoin: false, roleId: null };
  await insertMailDomain(world.server.database.db, row);
  return { params: { id: organizationId, domainId: id } };
};

export const joiningCases: Record<string, RouteCase> = {
  findInvitation: {
    attempt: async (world) => ({ body: { token: (await invited(world)).token } }),
    opaque: ['token'],
  },
  listOwnInvitations: { attempt: () => ({}) },
  acceptInvitation: answered,
  declineInvitation: answered,
  listInvitations: { attempt: async (world) => ({ ...(await some(world)), query: { limit: '3' } }) },
  invite: {
    byPerson: true,
    attempt: async (world) => ({ ...(await some(world)), body: { email: `${uuid()}@example.com` } }),
  },
  resendInvitation: { ...managed, byPerson: true },
  revokeInvitation: managed,
  listMailDomains: { attempt: async (world) => ({ ...(await some(world)), query: { limit: '3' } }) },
  claimMailDomain: {
    attempt: async (world) => ({ ...(await some(world)), body: { domain: `d${uuid()}.example`, autoJoin: false } }),
  },
  changeMailDomain: { attempt: async (world) => ({ ...(await claimed(world)), body: { autoJoin: true } }) },
  verifyMailDomain: { attempt: async (world) => ({ ...(await claimed(world)), body: { byHand: true } }) },
  releaseMailDomain: { attempt: claimed },
};
