/** All that is kept about a person, in parts: what a copy of one's data (GDPR articles 15 and 20) is made of. */
import type { Db } from '../../db/connect.ts';
import { listActivity } from '../auth/activity.queries.ts';
import { tellActivity } from '../auth/activity.ts';
import { findPerson } from '../auth/me.queries.ts';
import { findFactors } from '../mfa/factors.queries.ts';
import { listOwnMemberships } from '../organizations/members.queries.ts';
import type { Secrets } from '../secrets.ts';
import { listConsents } from '../sessions/sessions.queries.ts';
import { openPii } from '../users/pii.ts';
import { findUser } from '../users/users.queries.ts';

/** A part that is one value. Secrets, and what would help to guess them, are left out; so is what is about somebody else. */
export interface Part {
  name: string;
  read(db: Db, userId: string): Promise<unknown>;
}

/** A part that grows with the years: it is read a batch at a time. */
export interface LongPart {
  name: string;
  /** @param after the last row of the batch before */
  batch(db: Db, userId: string, limit: number, after: unknown): Promise<readonly unknown[]>;
}

const account = async (db: Db, userId: string) => {
  const user = await findUser(db, userId);
  const person = await findPerson(db, userId);
  return {
    ...person,
    status: user?.status,
    emailVerifiedAt: user?.emailVerifiedAt,
    hasPassword: user?.passwordHash !== null,
    passwordChangedAt: user?.passwordChangedAt,
    updatedAt: user?.updatedAt,
  };
};

const sessions = (db: Db, userId: string) =>
  db('sessions')
    .where({ userId })
    .orderBy('startedAt', 'desc')
    .select('uid', 'userAgent', 'address', 'startedAt', 'lastSeenAt', 'expiresAt');

/** A role or permission that somebody was given beside their primary role. */
const given = (db: Db, table: 'roleGrants' | 'permissionGrants', userId: string) => {
  const of = table === 'roleGrants' ? 'roles' : 'permissions';
  const column = table === 'roleGrants' ? 'roleId' : 'permissionId';
  return db(table)
    .join(of, `${of}.id`, `${table}.${column}`)
    .where({ userId })
    .select(`${of}.name`, `${table}.organizationId`, `${table}.createdAt`, `${table}.expiresAt`);
};

export const parts = (secrets: Secrets): Part[] => [
  { name: 'account', read: account },
  {
    name: 'profile',
    read: async (db, userId) => {
      const user = await findUser(db, userId);
      return user ? openPii(secrets, user) : {};
    },
  },
  {
    name: 'organizations',
    read: async (db, userId) =>
      (await listOwnMemberships(db, userId)).map(({ isOnlyOwner, ...membership }) => membership),
  },
  {
    name: 'invitations',
    read: (db, userId) =>
      db('organizationInvitations')
        .join('organizations', 'organizations.id', 'organizationId')
        .where('email', db('users').where({ id: userId }).whereNotNull('emailVerifiedAt').select('email'))
        .orderBy('organizationInvitations.id')
        .select(...['name', 'organizationInvitations.createdAt', 'expiresAt', 'acceptedAt', 'declinedAt', 'revokedAt']),
  },
  { name: 'roles', read: (db, userId) => given(db, 'roleGrants', userId) },
  { name: 'permissions', read: (db, userId) => given(db, 'permissionGrants', userId) },
  {
    name: 'groups',
    read: (db, userId) =>
      db('groupMembers')
        .join('groups', 'groups.id', 'groupMembers.groupId')
        .where({ userId })
        .orderBy('groups.id')
        .select('groups.name', 'groups.kind', 'groups.organizationId', 'groups.isActive', 'groupMembers.createdAt'),
  },
  {
    name: 'businessDomains',
    read: (db, userId) =>
      db('domainMembers')
        .join('domains', 'domains.id', 'domainMembers.domainId')
        .where({ userId })
        .orderBy('domains.key')
        .select('domains.key', 'domains.name', 'domains.isActive', 'domainMembers.createdAt'),
  },
  {
    name: 'authenticatorApps',
    read: (db, userId) =>
      db('totpDevices')
        .where({ userId })
        .whereNotNull('confirmedAt')
        .orderBy('createdAt')
        .select('name', 'confirmedAt', 'lastUsedAt', 'createdAt'),
  },
  {
    name: 'passkeys',
    read: (db, userId) =>
      db('passkeys')
        .where({ userId })
        .orderBy('createdAt')
        .select('name', 'transports', 'backedUp', 'lastUsedAt', 'createdAt'),
  },
  { name: 'backupCodesLeft', read: async (db, userId) => (await findFactors(db, userId)).backupCodes },
  {
    name: 'linkedAccounts',
    read: (db, userId) =>
      db('identities')
        .where({ userId })
        .orderBy('createdAt')
        .select('providerId as provider', 'issuer', 'subject', 'email', 'lastUsedAt', 'createdAt'),
  },
  { name: 'sessions', read: sessions },
  {
    name: 'knownDevices',
    read: (db, userId) =>
      db('knownDevices').where({ userId }).orderBy('lastSeenAt', 'desc').select('lastSeenAt', 'expiresAt', 'mfaUntil'),
  },
  {
    name: 'applications',
    read: async (db, userId) =>
      (await listConsents(db, userId)).map(({ createdAt, ...consent }) => ({ ...consent, allowedAt: createdAt })),
  },
  {
    name: 'apiKeys',
    read: (db, userId) =>
      db('apiKeys')
        .where({ userId })
        .orderBy('id')
        .select('name', 'prefix', 'scopes', 'createdAt', 'lastUsedAt', 'expiresAt', 'revokedAt'),
  },
  {
    name: 'confirmationRequests',
    read: (db, userId) =>
      db('backchannelRequests')
        .where({ userId })
        .orderBy('id')
        .select('clientId', 'address', 'decision', 'decidedAt', 'createdAt', 'expiresAt'),
  },
];

/** Whoever was refused was perhaps somebody else: where they sit is for administrators, as in `GET /auth/me/sign-ins`. */
const ofNobodyElse = <Row extends { outcome: string }>(row: Row) =>
  row.outcome === 'refuse'
    ? { ...row, address: null, country: null, city: null, latitude: null, longitude: null, network: null }
    : row;

const signIns: LongPart = {
  name: 'signIns',
  batch: async (db, userId, limit, after) => {
    const rows = await db('signIns')
      .where({ userId })
      .modify((query) => {
        // Ids are in the order of time.
        if (after) query.where('id', '<', (after as { id: string }).id);
      })
      .orderBy('id', 'desc')
      .limit(limit)
      .select('id', 'createdAt as at', 'clientId', 'amr', 'address', 'userAgent', 'country', 'city', 'latitude')
      .select('longitude', 'network', 'outcome', 'score', 'factors', 'disownedAt');
    return rows.map(ofNobodyElse);
  },
};

const activity: LongPart = {
  name: 'activity',
  batch: async (db, userId, limit, after) => {
    const before = (after as { key: string } | undefined)?.key;
    const rows = await listActivity(db, userId, { limit, before });
    return rows.map((row) => ({ ...tellActivity(row), key: row.key }));
  },
};

export const longParts: readonly LongPart[] = [signIns, activity];
