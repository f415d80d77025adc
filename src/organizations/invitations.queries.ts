/** Reads and single-statement writes of `organization_invitations`. */
import type { Db } from '../../db/connect.ts';
import { hashToken } from '../secrets.ts';

/** `void`: whoever sent it is gone, or the organization is shut. */
export type InvitationState = 'pending' | 'accepted' | 'declined' | 'revoked' | 'expired' | 'void';

export interface Invitation {
  id: string;
  organizationId: string;
  organizationName: string;
  email: string;
  /** Ids of the roles that are still there. */
  roleIds: string[];
  /** Their names. */
  roles: string[];
  invitedBy: string;
  inviterName: string;
  state: InvitationState;
  expiresAt: Date;
  createdAt: Date;
}

/** What waits for an answer, expired or not. One per organization and address. */
const open = 'accepted_at is null and declined_at is null and revoked_at is null';

const state = `case when accepted_at is not null then 'accepted' when declined_at is not null then 'declined'
    when revoked_at is not null then 'revoked'
    when invitations.expires_at <= now() then 'expired'
    when inviters.status <> 'active' or not organizations.is_active then 'void' else 'pending' end as state`;

const named = (column: string) =>
  `coalesce((select array_agg(roles.${column} order by rank desc, roles.name) from roles where roles.id = any(role_ids)), '{}')`;

const invitations = (db: Db) =>
  db('organizationInvitations as invitations')
    .join('organizations', 'organizations.id', 'invitations.organizationId')
    .join('users as inviters', 'inviters.id', 'invitations.invitedBy')
    .select(
      'invitations.id',
      'organizationId',
      'organizations.name as organizationName',
      'invitations.email',
      'invitedBy',
      'inviters.name as inviterName',
      'invitations.expiresAt',
      'invitations.createdAt',
      db.raw(state),
      db.raw(`${named('id')} as role_ids`),
      db.raw(`${named('name')} as roles`),
    );

/** Whom a link’s token is of, in whatever state it is. */
export const findInvitationByToken = (db: Db, token: string): Promise<Invitation | undefined> =>
  invitations(db)
    .where({ tokenHash: hashToken(token) })
    .first();

export const findInvitation = (db: Db, id: string): Promise<Invitation | undefined> =>
  invitations(db).where('invitations.id', id).first();

/** In the order in which they were sent. */
export const listInvitations = (
  db: Db,
  organizationId: string,
  { limit, after }: { limit: number; after: string | undefined },
): Promise<Invitation[]> =>
  invitations(db)
    .where({ organizationId })
    .modify((query) => {
      if (after) query.where('invitations.id', '>', after);
    })
    .orderBy('invitations.id')
    .limit(limit);

/** Those that wait for whoever has proven that the address is theirs; found by the index that has one per organization. */
export const listInvitationsTo = (db: Db, userId: string, limit: number): Promise<Invitation[]> =>
  invitations(db)
    .where(
      'invitations.email',
      db('users').where({ id: userId, status: 'active' }).whereNotNull('emailVerifiedAt').select('email'),
    )
    .whereRaw(open)
    .whereRaw(`invitations.expires_at > now() and inviters.status = 'active' and organizations.is_active`)
    .orderBy('invitations.id')
    .limit(limit);

export interface NewInvitation {
  id: string;
  organizationId: string;
  email: string;
  token: string;
  roleIds: readonly string[];
  invitedBy: string;
  expiresAt: Date;
}

/** @returns false when one waits there already for whoever has the address */
export const insertInvitation = async (db: Db, { token, roleIds, ...row }: NewInvitation): Promise<boolean> => {
  // One that has expired makes way.
  await db('organizationInvitations')
    .where({ email: row.email, organizationId: row.organizationId })
    .whereRaw(open)
    .where('expiresAt', '<=', db.fn.now())
    .update({ revokedAt: db.fn.now() });
  const rows = await db('organizationInvitations')
    .insert({ ...row, roleIds: [...roleIds], tokenHash: hashToken(token) })
    .onConflict(db.raw(`(email, organization_id) where ${open}`))
    .ignore()
    .returning('id');
  return rows.length === 1;
};

/** Gives one that waits, or has expired, another token and more time. @returns whether it did */
export const renewInvitation = async (
  db: Db,
  { id, token, invitedBy, expiresAt }: Pick<NewInvitation, 'id' | 'token' | 'invitedBy' | 'expiresAt'>,
): Promise<boolean> =>
  (await db('organizationInvitations')
    .where({ id })
    .whereRaw(open)
    .update({ tokenHash: hashToken(token), invitedBy, expiresAt })) === 1;

/** Answers or withdraws one that waits: of several at the same time one does. @returns whether this was it */
export const closeInvitation = async (
  db: Db,
  id: string,
  how: 'acceptedAt' | 'declinedAt' | 'revokedAt',
): Promise<boolean> =>
  (await db('organizationInvitations')
    .where({ id })
    .whereRaw(open)
    .modify((query) => {
      if (how !== 'revokedAt') query.where('expiresAt', '>', db.fn.now());
    })
    .update({ [how]: db.fn.now() })) === 1;

/** Whoever is to be invited, as far as it matters: whether they are in already, and the language of their mail. */
export const findInvitee = async (
  db: Db,
  organizationId: string,
  email: string,
): Promise<{ isMember: boolean; locale: string | null }> => {
  const { rows } = (await db.raw(
    `select locale, email_verified_at is not null and exists (select from organization_members
       where organization_id = :organizationId and user_id = users.id) as is_member
     from users where email = :email and status <> 'closed'`,
    { organizationId, email },
  )) as { rows: { isMember: boolean; locale: string | null }[] };
  return rows[0] ?? { isMember: false, locale: null };
};
