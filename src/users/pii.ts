/**
 * Personal data beyond email and name: one JSON document per user, under a data key of that user's own which the
 * master key wraps. Destroying the data key erases the document from every copy and backup.
 */
import { randomBytes } from 'node:crypto';
import { openWith, type Secrets, sealWith } from '../secrets.ts';

/** Members are those of OpenID Connect Core 5.1 (standard claims). */
export interface Pii {
  given_name?: string;
  family_name?: string;
  middle_name?: string;
  nickname?: string;
  preferred_username?: string;
  profile?: string;
  picture?: string;
  website?: string;
  gender?: string;
  birthdate?: string;
  zoneinfo?: string;
  phone_number?: string;
  phone_number_verified?: boolean;
  address?: {
    formatted?: string;
    street_address?: string;
    locality?: string;
    region?: string;
    postal_code?: string;
    country?: string;
  };
  /** No claim: what an import brought along and this service has no member for. It is shown to no application. */
  attributes?: Record<string, string[]>;
}

export interface SealedPii {
  piiKey: Buffer;
  piiEncrypted: Buffer;
  phoneIndex: string | null;
}

const row = (userId: string) => `users:${userId}`;

/** Seals the document under the user's present data key; under a new one where there is none or another master key wrapped it. */
export const sealPii = (secrets: Secrets, userId: string, pii: Pii, present?: Uint8Array | null): SealedPii => {
  const wrapped = present && secrets.isCurrent(present) ? present : undefined;
  const key = wrapped ? secrets.open('user-data-key', row(userId), wrapped) : randomBytes(32);
  return {
    piiKey: wrapped ? Buffer.from(wrapped) : secrets.seal('user-data-key', row(userId), key),
    piiEncrypted: sealWith(key, row(userId), JSON.stringify(pii)),
    phoneIndex: pii.phone_number ? phoneIndex(secrets, pii.phone_number) : null,
  };
};

/** Opens a user's document; empty when there is none. */
export const openPii = (
  secrets: Secrets,
  user: { id: string; piiKey?: Uint8Array | null; piiEncrypted?: Uint8Array | null },
): Pii => {
  if (!user.piiKey || !user.piiEncrypted) return {};
  const key = secrets.open('user-data-key', row(user.id), user.piiKey);
  return JSON.parse(openWith(key, row(user.id), user.piiEncrypted).toString()) as Pii;
};

/** The blind index under which a user is found by phone number (E.164). */
export const phoneIndex = (secrets: Secrets, phoneNumber: string): string => secrets.mac('phone-index', phoneNumber);
