/** Decides what becomes of a Keycloak user here, and says what does not come over. Nothing is read or written. */
import { isId } from '../roles/access.queries.ts';
import { type ImportedPasskey, type ImportedTotp, isHotp, toPasskey, toPasswordHash, toTotp } from './credentials.ts';
import { type ImportedProfile, toProfile } from './profiles.ts';
import type { KeycloakCredential, KeycloakUser } from './realm.ts';
import type { Reporter } from './report.ts';
import type { PlannedGroup, RolePlan } from './roles.ts';

export interface PlannedUser extends ImportedProfile {
  username: string;
  /** Keycloak's id, or what stands for it in an export without ids. */
  externalId: string;
  /** Keycloak's id if it can be the account's own too, so that `sub` stays what applications know. */
  id: string | undefined;
  emailVerified: boolean;
  enabled: boolean;
  /** Of the registry; `plain` is still to be hashed. */
  password: { hash: string } | { plain: string } | undefined;
  totp: ImportedTotp[];
  passkeys: ImportedPasskey[];
  /** Keys of roles that they were given themselves. */
  roles: string[];
  /** Keys of roles that their groups give them. */
  groupRoles: string[];
  /** Paths. */
  groups: string[];
  /** Accounts elsewhere, by the alias of the provider in Keycloak. */
  identities: { alias: string; subject: string }[];
}

export interface UserContext {
  roles: RolePlan;
  groups: ReadonlyMap<string, PlannedGroup>;
  /** Whether links with a provider come over. */
  linksWith(alias: string): boolean;
  /** Whether this service answers where Keycloak did. */
  passkeys: boolean;
  reporter: Reporter;
}

/** What this service sees to by itself. */
const handledActions = new Set(['UPDATE_PASSWORD', 'VERIFY_EMAIL']);

const readPassword = (user: KeycloakUser, reporter: Reporter): PlannedUser['password'] => {
  const { username, requiredActions, credentials } = user;
  const credential = credentials.find(({ type }) => type === 'password');
  if (!credential) return undefined;
  if (credential.temporary || requiredActions.includes('UPDATE_PASSWORD')) {
    reporter.note('password-temporary', username);
    return undefined;
  }
  if (credential.value !== undefined && credential.secretData === undefined && !credential.hashedSaltedValue)
    return { plain: credential.value };
  const hash = toPasswordHash(credential);
  if (hash) return { hash };
  reporter.note('password-unknown', username);
  return undefined;
};

const readFactors = (
  { username, credentials }: KeycloakUser,
  { passkeys: passkeysWork, reporter }: UserContext,
): Pick<PlannedUser, 'totp' | 'passkeys'> => {
  const totp: ImportedTotp[] = [];
  const passkeys: ImportedPasskey[] = [];
  const read: Record<string, (credential: KeycloakCredential) => void> = {
    otp: (credential) => {
      const app = toTotp(credential);
      if (app) totp.push(app);
      else reporter.note(isHotp(credential) ? 'hotp' : 'totp-unusable', username);
    },
    webauthn: (credential) => {
      const passkey = toPasskey(credential);
      if (!passkey) reporter.note('passkey-unusable', username);
      else if (!passkeysWork) reporter.note('passkey-elsewhere', username);
      else passkeys.push(passkey);
    },
    password: () => {},
    'password-history': () => {},
    'recovery-authn-codes': () => reporter.note('recovery-codes', username),
  };
  const kinds: Record<string, string> = { totp: 'otp', hotp: 'otp', 'webauthn-passwordless': 'webauthn' };
  for (const credential of credentials) {
    const { type = '' } = credential;
    const reader = read[kinds[type] ?? type];
    if (reader) reader(credential);
    else reporter.note('credential-unknown', `${username}: ${type}`);
  }
  return { totp, passkeys };
};

const noteState = (user: KeycloakUser, planned: PlannedUser, reporter: Reporter): void => {
  const { username, requiredActions, federationLink } = user;
  if (!planned.emailVerified) reporter.note('user-unverified', username);
  if (!planned.enabled) reporter.note('user-deactivated', username);
  const ignored = requiredActions.filter((action) => !handledActions.has(action));
  if (ignored.length) reporter.note('action-ignored', `${username}: ${ignored.join(' ')}`);
  const hadPassword = user.credentials.some(({ type }) => type === 'password');
  if (federationLink) reporter.note('password-federated', username);
  else if (!hadPassword && !planned.identities.length && !planned.passkeys.length)
    reporter.note('password-none', username);
};

/** @returns undefined for somebody who is left out; the report says why */
export const planUser = (user: KeycloakUser, context: UserContext): PlannedUser | undefined => {
  const { roles, groups, linksWith, reporter } = context;
  const { username } = user;
  const leaveOut = (code: Parameters<Reporter['note']>[0], item = username) => {
    reporter.count('users', 'left out');
    reporter.note(code, item);
    return undefined;
  };
  if (user.serviceAccountClientId !== undefined) {
    const keys = roles.expand(username, user.realmRoles, user.clientRoles);
    if (keys.length) reporter.note('client-service-roles', user.serviceAccountClientId);
    return undefined;
  }
  const profile = toProfile(user, reporter);
  if (typeof profile === 'string') return leaveOut(profile);

  const links = user.federatedIdentities.filter(({ identityProvider }) => linksWith(identityProvider));
  for (const { identityProvider } of user.federatedIdentities)
    if (!linksWith(identityProvider)) reporter.note('link-left-out', `${username}: ${identityProvider}`);
  const inGroups = user.groups.filter((path) => groups.has(path));
  const own = roles.expand(username, user.realmRoles, user.clientRoles);
  const planned: PlannedUser = {
    ...profile,
    username,
    externalId: user.id ?? `username:${username}`,
    id: isId(user.id ?? '') ? user.id : undefined,
    emailVerified: (user.emailVerified ?? false) && !user.requiredActions.includes('VERIFY_EMAIL'),
    enabled: user.enabled ?? true,
    password: readPassword(user, reporter),
    ...readFactors(user, context),
    roles: own,
    groupRoles: [...new Set(inGroups.flatMap((path) => groups.get(path)?.roles ?? []))],
    groups: inGroups,
    identities: links.map(({ identityProvider, userId }) => ({ alias: identityProvider, subject: userId })),
  };
  noteState(user, planned, reporter);
  return planned;
};
