/**
 * Invitations to organizations. A link by mail points to one and lets nobody in by itself: whoever accepts is signed in to an
 * account whose verified address is the one that was invited, so that a link which was forwarded or found is worth nothing.
 * What it gives is judged when it is sent and again when it is accepted: nobody gives then what they could not give now.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { AppError, conflict, forbidden, invalid, notFound } from '../errors.ts';
import { type Caller, decideFor } from '../http/caller.ts';
import { randomToken } from '../secrets.ts';
import { findUser, lockUser, normalizeEmail } from '../users/users.queries.ts';
import {
  closeInvitation,
  findInvitation,
  findInvitationByToken,
  findInvitee,
  type Invitation,
  insertInvitation,
  renewInvitation,
} from './invitations.queries.ts';
import { insertMember } from './members.queries.ts';
import { findOrganization } from './organizations.queries.ts';
import { findPaths } from './paths.queries.ts';

/** A role, with all that it permits. */
export interface GivenRole {
  id: string;
  name: string;
  rank: number;
  permissions: readonly string[];
}

export interface InvitationMail {
  mail: 'organization-invitation';
  props: { name: ''; organization: string; inviter: string; link: string; expiresAt: Date };
}

/** Giving roles is another domain’s, whose functions these are. */
export interface RoleDeps {
  /** @returns those that are there */
  findRoles(db: Db, by: { names: readonly string[] } | { ids: readonly string[] }): Promise<GivenRole[]>;
  /** @throws AppError 403, unless the caller may give all that in the organization */
  assertMayGive(
    db: Db,
    caller: Caller,
    gift: { permissions: readonly string[]; rank: number; organizationId: string },
  ): Promise<void>;
  /** Gives people roles in an organization. */
  giveRoles(
    db: Db,
    given: { organizationId: string; userIds: readonly string[]; roleIds: readonly string[]; grantedBy: string },
  ): Promise<void>;
}

export interface InvitationDeps extends RoleDeps {
  db: Db;
  issuer: string;
  /** INVITATION_TTL */
  ttlSeconds: number;
  queueMail(db: Db, to: { email: string; locale: string | null }, mail: InvitationMail): Promise<void>;
  /**
   * Counts an invitation for whoever sends it, the organization and both together with the address.
   * @returns whether the address may get one more mail: if not, nothing is sent and the answer is as ever
   * @throws AppError 429
   */
  limitInvitations(sent: { userId: string; organizationId: string; email: string }): Promise<boolean>;
  /** Somebody with all that they may do now; undefined for nobody and for those who are not active. */
  findPerson(db: Db, userId: string): Promise<Caller | undefined>;
}

/** The page that links in mails lead to. */
export const invitationPath = '/invitation';

const target = (organizationId: string) => ({ type: 'organization', id: organizationId });

/** An invitation may wait for this long. */
const secondsMax = 90 * 86_400;

const expiryOf = ({ ttlSeconds }: InvitationDeps, wanted: Date | undefined): Date => {
  if (!wanted) return new Date(Date.now() + ttlSeconds * 1000);
  const seconds = (wanted.getTime() - Date.now()) / 1000;
  if (seconds > 0 && seconds <= secondsMax) return wanted;
  throw invalid('invalid_request', 'The request is not valid', {
    fields: [{ field: 'expiresAt', code: 'out_of_range', message: 'must be within the next 90 days' }],
  });
};

/** What roles give together. */
export const giftOf = (roles: readonly GivenRole[], organizationId: string) => ({
  permissions: [...new Set(roles.flatMap(({ permissions }) => permissions))],
  rank: Math.max(-1, ...roles.map(({ rank }) => rank)),
  organizationId,
});

/** @throws AppError 403 inviter_needed */
const personOf = ({ kind, id }: Caller): string => {
  if (kind === 'user') return id;
  throw forbidden('inviter_needed', 'An invitation names whoever sends it, so it takes a person');
};

const mail = async (
  { issuer, queueMail }: InvitationDeps,
  db: Db,
  to: { email: string; locale: string | null },
  {
    token,
    expiresAt,
    organization,
    inviter,
  }: { token: string; expiresAt: Date; organization: string; inviter: string },
): Promise<void> => {
  const link = `${issuer}${invitationPath}?token=${token}`;
  await queueMail(db, to, {
    mail: 'organization-invitation',
    props: { name: '', organization, inviter, link, expiresAt },
  });
};

export interface InvitationInput {
  organizationId: string;
  email: string;
  /** Names of roles that are given in the organization. */
  roles: readonly string[];
  expiresAt?: Date | undefined;
}

/**
 * Invites somebody by their address. Whether it has an account is not told; that it is a member’s is, to those who see members.
 * @throws AppError 400 for a role that is not there or a time, 403 as `assertMayGive`, 404 organization_not_found,
 * 409 already_member or invitation_exists, 429
 */
export const invite = async (
  deps: InvitationDeps,
  actor: Actor,
  caller: Caller,
  { organizationId, email: typed, roles: names, expiresAt: wanted }: InvitationInput,
): Promise<Invitation> => {
  const email = normalizeEmail(typed);
  const invitedBy = personOf(caller);
  const expiresAt = expiryOf(deps, wanted);
  const mayMail = await deps.limitInvitations({ userId: invitedBy, organizationId, email });
  return deps.db.transaction(async (db) => {
    const organization = await findOrganization(db, organizationId);
    if (!organization) throw notFound('organization');
    const roles = await deps.findRoles(db, { names });
    const unknown = names.flatMap((name, at) => (roles.some((role) => role.name === name) ? [] : [at]));
    if (unknown.length)
      throw invalid('invalid_request', 'The request is not valid', {
        fields: unknown.map((at) => ({ field: `roles.${at}`, code: 'role_not_found', message: 'is no role' })),
      });
    await deps.assertMayGive(db, caller, giftOf(roles, organizationId));
    const { isMember, locale } = await findInvitee(db, organizationId, email);
    if (isMember) throw conflict('already_member', 'The person is a member already');
    const [id, token, roleIds] = [uuid(), randomToken(), roles.map((role) => role.id)];
    if (!(await insertInvitation(db, { id, organizationId, email, token, roleIds, invitedBy, expiresAt })))
      throw conflict('invitation_exists', 'The address is invited already: send that again, or revoke it');
    const inviter = (await findUser(db, invitedBy))?.name ?? '';
    if (mayMail)
      await mail(deps, db, { email, locale }, { token, expiresAt, organization: organization.name, inviter });
    const meta = { invitation: id, roles: roles.map(({ name }) => name) };
    await recordEvent(db, actor, { action: 'organization.invite', target: target(organizationId), meta });
    return (await findInvitation(db, id)) as Invitation;
  });
};

/** The organization’s own. @throws AppError 404 invitation_not_found */
const requireOwn = async (db: Db, organizationId: string, id: string): Promise<Invitation> => {
  const invitation = await findInvitation(db, id);
  if (invitation?.organizationId !== organizationId.toLowerCase()) throw notFound('invitation');
  return invitation;
};

/**
 * Sends it again, with another link and from now on: the earlier link is void. It is the caller’s then, who must be able to give it.
 * @throws AppError 403 as `assertMayGive`, 404, 410 once it was answered or revoked, 429
 */
export const resendInvitation = async (
  deps: InvitationDeps,
  actor: Actor,
  caller: Caller,
  { organizationId, id }: { organizationId: string; id: string },
): Promise<Invitation> => {
  const invitedBy = personOf(caller);
  const { email } = await requireOwn(deps.db, organizationId, id);
  const mayMail = await deps.limitInvitations({ userId: invitedBy, organizationId, email });
  const expiresAt = expiryOf(deps, undefined);
  return deps.db.transaction(async (db) => {
    const { roleIds, organizationName: organization } = await requireOwn(db, organizationId, id);
    await deps.assertMayGive(db, caller, giftOf(await deps.findRoles(db, { ids: roleIds }), organizationId));
    const { isMember, locale } = await findInvitee(db, organizationId, email);
    if (isMember) throw conflict('already_member', 'The person is a member already');
    const token = randomToken();
    if (!(await renewInvitation(db, { id, token, invitedBy, expiresAt })))
      throw closed(await requireOwn(db, organizationId, id));
    const inviter = (await findUser(db, invitedBy))?.name ?? '';
    if (mayMail) await mail(deps, db, { email, locale }, { token, expiresAt, organization, inviter });
    const meta = { invitation: id };
    await recordEvent(db, actor, { action: 'organization.resend_invitation', target: target(organizationId), meta });
    return (await findInvitation(db, id)) as Invitation;
  });
};

/** Withdraws it. One that was answered or withdrawn is left. @throws AppError 404 invitation_not_found */
export const revokeInvitation = (
  { db }: Pick<InvitationDeps, 'db'>,
  actor: Actor,
  { organizationId, id }: { organizationId: string; id: string },
): Promise<void> =>
  db.transaction(async (db) => {
    await requireOwn(db, organizationId, id);
    if (!(await closeInvitation(db, id, 'revokedAt'))) return;
    const meta = { invitation: id };
    await recordEvent(db, actor, { action: 'organization.revoke_invitation', target: target(organizationId), meta });
  });

/** What to say of one that can be accepted no more. */
const closed = ({ state }: Pick<Invitation, 'state'>): AppError => {
  if (state === 'expired') return new AppError(410, 'invitation_expired', 'The invitation has expired');
  if (state === 'accepted' || state === 'declined')
    return new AppError(410, 'invitation_used', 'The invitation was answered before');
  return new AppError(410, 'invitation_revoked', 'The invitation was withdrawn');
};

/** What names an invitation: the token of its link, or its id for somebody to whom it is shown on their account page. */
export type InvitationName = { token: string } | { id: string };

/**
 * The invitation, for whoever has shown that the address is theirs.
 * @throws AppError 403 email_not_verified or invitation_for_another, 404, 410
 */
const requireMine = async (db: Db, userId: string, name: InvitationName): Promise<Invitation> => {
  // Nobody moves the account to another address meanwhile.
  await lockUser(db, userId);
  const user = await findUser(db, userId);
  const found = await ('token' in name ? findInvitationByToken(db, name.token) : findInvitation(db, name.id));
  const isMine = found !== undefined && found.email === user?.email && user.status === 'active';
  if (!found || !user || ('id' in name && !isMine)) throw notFound('invitation');
  if (!isMine) throw forbidden('invitation_for_another', 'The invitation is for another address');
  if (!user.emailVerifiedAt) throw forbidden('email_not_verified', 'Verify the address of the account first');
  if (found.state !== 'pending') throw closed(found);
  return found;
};

/** Whether whoever sent it could send it now, and the roles that it gives. @throws AppError 410 invitation_revoked */
const rolesStillGiven = async (deps: InvitationDeps, db: Db, invitation: Invitation): Promise<GivenRole[]> => {
  const { organizationId, invitedBy, roleIds } = invitation;
  const inviter = await deps.findPerson(db, invitedBy);
  const organizations = await findPaths(db, 'organization', organizationId);
  if (!inviter || !decideFor(inviter, 'organizations:write:organization', { organizations, every: true }).allowed)
    throw closed({ state: 'void' });
  const roles = await deps.findRoles(db, { ids: roleIds });
  await deps.assertMayGive(db, inviter, giftOf(roles, organizationId)).catch((error: unknown) => {
    throw error instanceof AppError && error.status === 403 ? closed({ state: 'void' }) : error;
  });
  return roles;
};

/**
 * Makes somebody a member, with the roles that they were invited with. Of two at the same time one does.
 * @returns the organization
 * @throws AppError 403 email_not_verified or invitation_for_another, 404 invitation_not_found, 410 invitation_expired, _revoked or _used
 */
export const acceptInvitation = (
  deps: InvitationDeps,
  actor: Actor,
  userId: string,
  name: InvitationName,
): Promise<{ id: string; name: string }> =>
  transact(deps.db, async (db) => {
    const invitation = await requireMine(db, userId, name);
    const { id, organizationId, organizationName, invitedBy } = invitation;
    const roles = await rolesStillGiven(deps, db, invitation);
    if (!(await closeInvitation(db, id, 'acceptedAt'))) throw closed({ state: 'accepted' });
    await insertMember(db, { organizationId, userId, isOwner: false });
    const roleIds = roles.map((role) => role.id);
    if (roleIds.length) await deps.giveRoles(db, { organizationId, userIds: [userId], roleIds, grantedBy: invitedBy });
    const meta = { invitation: id, roles: roles.map((role) => role.name) };
    await recordEvent(db, actor, { action: 'organization.accept_invitation', target: target(organizationId), meta });
    return { id: organizationId, name: organizationName };
  });

/** @throws AppError as `acceptInvitation` */
export const declineInvitation = (
  { db }: Pick<InvitationDeps, 'db'>,
  actor: Actor,
  userId: string,
  name: InvitationName,
): Promise<void> =>
  transact(db, async (db) => {
    const { id, organizationId } = await requireMine(db, userId, name);
    if (!(await closeInvitation(db, id, 'declinedAt'))) throw closed({ state: 'declined' });
    const meta = { invitation: id };
    await recordEvent(db, actor, { action: 'organization.decline_invitation', target: target(organizationId), meta });
  });
