/** A realm as Keycloak 26 exports it, made for tests: its credentials are computed here. */
import { pbkdf2Sync, randomUUID } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hash as argon2 } from '@node-rs/argon2';
import { decodeAttestationObject, parseAuthenticatorData } from '@simplewebauthn/server/helpers';
import { password } from './browser.ts';
import { SecurityKey } from './security-key.ts';

const credential = (type: string, credentialData: object, secretData: object, more: object = {}) => ({
  id: randomUUID(),
  type,
  createdDate: 1_700_000_000_000,
  credentialData: JSON.stringify(credentialData),
  secretData: JSON.stringify(secretData),
  ...more,
});

const salt = Buffer.from('sixteen bytes ok');

/** What Keycloak before 25 made, with fewer iterations: 64 bytes, whatever the hash. */
export const pbkdf2Credential = (algorithm: string, text = password) => {
  const hash = { pbkdf2: 'sha1', 'pbkdf2-sha256': 'sha256', 'pbkdf2-sha512': 'sha512' }[algorithm] as string;
  return credential(
    'password',
    { hashIterations: 1000, algorithm, additionalParameters: {} },
    {
      value: pbkdf2Sync(text, salt, 1000, 64, hash).toString('base64'),
      salt: salt.toString('base64'),
      additionalParameters: {},
    },
  );
};

/** The same before version 9. */
export const oldCredential = (text = password) => ({
  type: 'password',
  hashedSaltedValue: pbkdf2Sync(text, salt, 1000, 64, 'sha256').toString('base64'),
  salt: salt.toString('base64'),
  hashIterations: 1000,
  counter: 0,
  algorithm: 'pbkdf2-sha256',
  digits: 0,
  period: 0,
  createdDate: 1_500_000_000_000,
});

/** What Keycloak makes since version 25: argon2id, 7 MiB, five passes. */
export const argon2Credential = async (text = password) => {
  const encoded = await argon2(text, { memoryCost: 7168, timeCost: 5, parallelism: 1, outputLen: 32, salt });
  const padded = (part: string | undefined) => Buffer.from(part ?? '', 'base64').toString('base64');
  const [, , , , saltPart, digest] = encoded.split('$');
  return credential(
    'password',
    {
      hashIterations: 5,
      algorithm: 'argon2',
      additionalParameters: {
        hashLength: ['32'],
        memory: ['7168'],
        type: ['id'],
        version: ['1.3'],
        parallelism: ['1'],
      },
    },
    { value: padded(digest), salt: padded(saltPart), additionalParameters: {} },
  );
};

export const otpCredential = (value: string, data: object = {}) =>
  credential(
    'otp',
    { subType: 'totp', digits: 6, counter: 0, period: 30, algorithm: 'HmacSHA1', ...data },
    { value },
    { userLabel: 'My phone' },
  );

/** A security key that was registered at Keycloak for the host of `origin`, by somebody with this id there. */
export const passkeyCredential = (origin: string, userId: string, type = 'webauthn') => {
  const key = new SecurityKey(origin);
  const made = key.create({
    challenge: 'x',
    rp: { id: new URL(origin).hostname },
    user: { id: Buffer.from(userId).toString('base64url') },
  } as never);
  const attestation = decodeAttestationObject(
    new Uint8Array(Buffer.from(made.response.attestationObject, 'base64url')),
  );
  const { credentialPublicKey } = parseAuthenticatorData(attestation.get('authData'));
  return {
    key,
    credential: credential(
      type,
      {
        aaguid: '00000000-0000-0000-0000-000000000000',
        credentialId: key.credentialId.toString('base64'),
        counter: 1,
        attestationStatementFormat: 'none',
        credentialPublicKey: Buffer.from(credentialPublicKey as Uint8Array).toString('base64url'),
        transports: ['usb'],
      },
      {},
      { userLabel: 'Yellow key' },
    ),
  };
};

/** Somebody with that username, and an address at example.com. */
export const keycloakUser = (username: string, members: object = {}) => ({
  id: randomUUID(),
  username,
  email: `${username}@example.com`,
  emailVerified: true,
  enabled: true,
  firstName: username[0]?.toUpperCase() + username.slice(1),
  lastName: 'Lovelace',
  createdTimestamp: 1_700_000_000_000,
  totp: false,
  credentials: [] as object[],
  disableableCredentialTypes: [],
  requiredActions: [],
  realmRoles: ['default-roles-acme'],
  notBefore: 0,
  groups: [],
  ...members,
});

/** The realm around them. */
export const keycloakRealm = (members: object = {}) => ({
  id: randomUUID(),
  realm: 'acme',
  enabled: true,
  roles: {
    realm: [
      { id: randomUUID(), name: 'offline_access', description: 'role_offline-access', composite: false },
      { id: randomUUID(), name: 'uma_authorization', composite: false },
      {
        id: randomUUID(),
        name: 'default-roles-acme',
        composite: true,
        composites: { realm: ['offline_access', 'reader'], client: { account: ['view-profile', 'manage-account'] } },
      },
      { id: randomUUID(), name: 'admin', description: 'Administers the shop' },
      { id: randomUUID(), name: 'reader', description: 'Reads' },
      {
        id: randomUUID(),
        name: 'editor',
        composite: true,
        composites: { realm: ['reader'], client: { shop: ['orders'] } },
      },
    ],
    client: {
      shop: [{ id: randomUUID(), name: 'orders' }],
      'realm-management': [{ id: randomUUID(), name: 'realm-admin' }],
      account: [{ id: randomUUID(), name: 'view-profile' }],
    },
  },
  groups: [
    {
      id: randomUUID(),
      name: 'staff',
      path: '/staff',
      realmRoles: ['editor'],
      attributes: { floor: ['2'] },
      subGroups: [
        { id: randomUUID(), name: 'night/shift', path: '/staff/night~/shift', clientRoles: {}, subGroups: [] },
      ],
    },
  ],
  ...members,
});

/** Writes a file into a folder of its own, and says where. */
export const writeRealm = (realm: object, name = 'acme-realm.json'): string => {
  const path = join(mkdtempSync(join(tmpdir(), 'countersign-realm-')), name);
  writeFileSync(path, JSON.stringify(realm, null, 2));
  return path;
};
