/** Invitations over REST: sending them, for those who look after an organization, and answering them, for those who were invited. */
import { z } from 'zod';
import { notFound } from '../errors.ts';
import { assertSignedInHere } from '../http/caller.ts';
import { idKeyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Email, Id, RoleName, Time } from '../http/schemas.ts';
import {
  acceptInvitation,
  declineInvitation,
  type InvitationDeps,
  invite,
  resendInvitation,
  revokeInvitation,
} from './invitations.commands.ts';
import {
  type Invitation as Found,
  findInvitationByToken,
  listInvitations,
  listInvitationsTo,
} from './invitations.queries.ts';
import { findOrganization } from './organizations.queries.ts';

const tag = 'Organizations';

const State = z.enum(['pending', 'accepted', 'declined', 'revoked', 'expired', 'void']).meta({
  description: '`void`: whoever sent it is gone, or the organization is not active',
  example: 'pending',
});
const OrganizationName = z.string().meta({ example: 'Analytical Engines' });

const Invitation = z
  .object({
    id: Id,
    organizationId: Id,
    email: z.string().meta({ example: 'ada@example.com' }),
    roles: z.array(z.string()).meta({ description: 'What they are given in the organization', example: ['manager'] }),
    invitedBy: Id.meta({ description: 'Who sent it last' }),
    state: State,
    expiresAt: Time,
    createdAt: Time,
  })
  .meta({ id: 'Invitation' });

const Invite = z
  .object({
    email: Email,
    roles: z
      .array(RoleName)
      .max(20)
      .default([])
      .meta({
        description: 'Roles that they are given in the organization: none that the caller could not give',
        example: ['manager'],
      }),
    expiresAt: Time.optional().meta({ description: 'Within 90 days; INVITATION_TTL from now unless given' }),
  })
  .meta({ id: 'Invite' });

const Token = z.object({
  token: z.string().min(1).max(200).meta({ description: 'From the link in the mail', example: 'Zk3n…' }),
});

/** An invitation that is answered: by its link, or as it is listed for whoever was invited. */
const Answered = z.union([Token, z.object({ id: Id.meta({ description: 'From GET /organizations/invitations' }) })], {
  error: '`token` or `id` is needed',
});

/** What whoever has the link may know. */
const Offer = z
  .object({
    organization: z.object({ name: OrganizationName }),
    invitedBy: z.object({ name: z.string().meta({ example: 'Charles Babbage' }) }),
    email: z.string().meta({ description: 'Whom it is for', example: 'ada@example.com' }),
    state: State,
    expiresAt: Time,
  })
  .meta({ id: 'InvitationOffer' });

const OwnInvitation = z
  .object({
    id: Id,
    organization: z.object({ id: Id, name: OrganizationName }),
    invitedBy: z.object({ name: z.string().meta({ example: 'Charles Babbage' }) }),
    roles: z.array(z.string()).meta({ example: ['manager'] }),
    expiresAt: Time,
  })
  .meta({ id: 'OwnInvitation' });

const times = ({ expiresAt, createdAt }: Found) => ({
  expiresAt: expiresAt.toISOString(),
  createdAt: createdAt.toISOString(),
});
const shown = (found: Found) => ({ ...found, ...times(found) });

const params = z.object({ id: Id });
const one = params.extend({ invitationId: Id });
const within = ({ id }: { id: string }) => ({ type: 'organization', id }) as const;
const access = 'organizations:write:any';
const hidden = ['organization_not_found', 'invitation_not_found'] as const;
const giving = ['rank_too_low', 'exceeds_yours', 'session_needed', 'inviter_needed'] as const;
const gone = ['invitation_expired', 'invitation_revoked', 'invitation_used'] as const;

/** As many as somebody can have waiting for them at once. */
const ownMax = 100;

const managing = (deps: InvitationDeps): Route[] => [
  route({
    id: 'listInvitations',
    method: 'get',
    path: '/organizations/:id/invitations',
    tag,
    summary: 'Who is invited to an organization',
    description: 'In the order in which they were sent. What has ended stays for 30 days after it would have expired.',
    access,
    within,
    params,
    query: ListQuery,
    returns: listOf(Invitation),
    status: 200,
    problems: { 404: ['organization_not_found'] },
    handle: async ({ params: { id }, query: { limit, cursor } }) => {
      if (!(await findOrganization(deps.db, id))) throw notFound('organization');
      const rows = await listInvitations(deps.db, id, { limit: limit + 1, after: idKeyOf(cursor) });
      const { data, nextCursor } = pageOf(rows, limit, (row) => row.id);
      return { data: data.map(shown), nextCursor };
    },
  }),
  route({
    id: 'invite',
    method: 'post',
    path: '/organizations/:id/invitations',
    tag,
    summary: 'Invite somebody by mail',
    description:
      'Mails a link. It works for people with an account and for those without: whoever accepts is signed in to an account whose verified address is the one that was invited. The answer does not tell whether the address has an account.',
    access,
    within,
    params,
    body: Invite,
    returns: Invitation,
    status: 201,
    problems: { 403: giving, 404: ['organization_not_found'], 409: ['already_member', 'invitation_exists'] },
    handle: async ({ params: { id }, body: { expiresAt, ...body }, caller, actor }) =>
      shown(
        await invite(deps, actor, caller, {
          ...body,
          organizationId: id,
          expiresAt: expiresAt === undefined ? undefined : new Date(expiresAt),
        }),
      ),
  }),
  route({
    id: 'resendInvitation',
    method: 'post',
    path: '/organizations/:id/invitations/:invitationId/resend',
    tag,
    summary: 'Send an invitation again',
    description: 'With a new link and INVITATION_TTL from now; the earlier link no longer works.',
    access,
    within,
    params: one,
    returns: Invitation,
    status: 200,
    problems: { 403: giving, 404: hidden, 409: ['already_member'], 410: gone },
    handle: async ({ params: { id, invitationId }, caller, actor }) =>
      shown(await resendInvitation(deps, actor, caller, { organizationId: id, id: invitationId })),
  }),
  route({
    id: 'revokeInvitation',
    method: 'delete',
    path: '/organizations/:id/invitations/:invitationId',
    tag,
    summary: 'Withdraw an invitation',
    description: 'One that was answered already is left as it is.',
    access,
    within,
    params: one,
    status: 204,
    problems: { 404: hidden },
    handle: ({ params: { id, invitationId }, actor }) =>
      revokeInvitation(deps, actor, { organizationId: id, id: invitationId }),
  }),
];

const answering = (deps: InvitationDeps): Route[] => [
  route({
    id: 'findInvitation',
    method: 'post',
    path: '/organizations/invitations/lookup',
    tag,
    summary: 'What an invitation’s link is about',
    description: 'Changes nothing: mail scanners follow links.',
    access: 'public',
    body: Token.meta({ id: 'LookUpInvitation' }),
    returns: Offer,
    status: 200,
    problems: { 404: ['invitation_not_found'] },
    handle: async ({ body: { token } }) => {
      const found = await findInvitationByToken(deps.db, token);
      if (!found) throw notFound('invitation');
      const { organizationName, inviterName, email, state } = found;
      return {
        organization: { name: organizationName },
        invitedBy: { name: inviterName },
        ...{ email, state, expiresAt: found.expiresAt.toISOString() },
      };
    },
  }),
  route({
    id: 'listOwnInvitations',
    method: 'get',
    path: '/organizations/invitations',
    tag,
    summary: 'The invitations that wait for one’s answer',
    description: 'Those to the verified address of one’s account, at most a hundred of them.',
    access: 'organizations:read:own',
    returns: z.object({ data: z.array(OwnInvitation) }).meta({ id: 'OwnInvitations' }),
    status: 200,
    handle: async ({ caller }) => ({
      data: (await listInvitationsTo(deps.db, caller.id, ownMax)).map((found) => ({
        id: found.id,
        organization: { id: found.organizationId, name: found.organizationName },
        invitedBy: { name: found.inviterName },
        roles: found.roles,
        expiresAt: found.expiresAt.toISOString(),
      })),
    }),
  }),
  route({
    id: 'acceptInvitation',
    method: 'post',
    path: '/organizations/invitations/accept',
    tag,
    summary: 'Accept an invitation',
    description:
      'One is a member then, with the roles that the invitation gives. The account’s verified address must be the one that was invited, and whoever sent it must still be able to.',
    access: 'signed-in',
    body: Answered.meta({ id: 'AcceptInvitation', example: { token: 'Zk3n…' } }),
    returns: z
      .object({ organization: z.object({ id: Id, name: OrganizationName }) })
      .meta({ id: 'AcceptedInvitation' }),
    status: 200,
    problems: {
      403: ['session_needed', 'email_not_verified', 'invitation_for_another'],
      404: ['invitation_not_found'],
      410: gone,
    },
    handle: async ({ body, caller, actor }) => {
      assertSignedInHere(caller);
      return { organization: await acceptInvitation(deps, actor, caller.id, body) };
    },
  }),
  route({
    id: 'declineInvitation',
    method: 'post',
    path: '/organizations/invitations/decline',
    tag,
    summary: 'Decline an invitation',
    access: 'signed-in',
    body: Answered.meta({ id: 'DeclineInvitation', example: { token: 'Zk3n…' } }),
    status: 204,
    problems: {
      403: ['session_needed', 'email_not_verified', 'invitation_for_another'],
      404: ['invitation_not_found'],
      410: gone,
    },
    handle: ({ body, caller, actor }) => {
      assertSignedInHere(caller);
      return declineInvitation(deps, actor, caller.id, body);
    },
  }),
];

export const invitationRoutes = (deps: InvitationDeps): Route[] => [...answering(deps), ...managing(deps)];
