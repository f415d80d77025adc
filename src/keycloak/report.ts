/** What an import did and could not do, as data (`--json`) and as text. It names things, so it is for the operator's eyes alone. */

export const kinds = ['users', 'roles', 'groups', 'clients', 'identity providers'] as const;
export type Kind = (typeof kinds)[number];

/** `left out`: it is not here after the import, whatever the reason; a note says which. */
export const outcomes = ['created', 'updated', 'unchanged', 'left out'] as const;
export type Outcome = (typeof outcomes)[number];

/** What there is to say of single things: the reason, and what to do about it. */
const notes = {
  // Left out
  'user-unreadable': 'not a user as Keycloak exports them',
  'user-without-email': 'no email address: people sign in by it here, so give them one in Keycloak',
  'user-bad-email': 'not an email address that mail can be sent to',
  'user-email-taken':
    'the address belongs to another account, here or earlier in the export; accounts are never merged',
  'user-refused': 'the database refuses it',
  'user-closed': 'the account was closed here since it was imported',
  'role-unusable-name': 'a name longer than 64 characters, or with characters that cannot be seen',
  'group-unusable-name': 'a name with characters that cannot be seen',
  'group-too-deep': 'more than ten levels deep, with all that is within it',
  'client-unreadable': 'not a client as Keycloak exports them',
  'client-not-openid': 'no OpenID Connect client (SAML)',
  'client-bearer-only': 'an API that only takes tokens: register it as a resource server (POST /resource-servers)',
  'client-disabled': 'disabled in Keycloak; here a client that must not be used is not registered',
  'client-taken': 'a client of this id exists here that did not come from this realm',
  'client-unusable-id': 'an id that a client cannot have here: an https URL names a metadata document',
  'client-refused': 'it cannot be registered',
  'provider-unsupported': 'a kind of identity provider that there is no counterpart of',
  'provider-unreadable': 'not an identity provider as Keycloak exports them, or without an issuer',
  'provider-taken': 'another provider of this id exists here; links to it are left out',
  // Came over otherwise
  'user-changed-here': 'changed here since it was imported, or given a higher role: left as it is',
  'user-new-id': 'its id is not a free UUID, so it has a new one here, and applications see another `sub`',
  'user-unverified': 'the address is not verified: it must be, by the mailed link, before the first sign-in',
  'user-deactivated': 'disabled in Keycloak, so deactivated here',
  'user-username': 'signs in by the address here; the username is kept as `preferred_username`',
  'user-name-changed':
    'the name cannot be shown as it is, or there is none: it was cut, cleaned, or the address stands for it',
  'password-temporary':
    'had to choose another password (UPDATE_PASSWORD): the old one was not brought along, they set one by the link “Forgot password?”',
  'password-unknown':
    'a password hash of a kind that cannot be verified here, or a dear one: they set a password by the link “Forgot password?”',
  'password-none': 'no password, and no other way in that came over: they set one by the link “Forgot password?”',
  'password-federated':
    'of an LDAP directory or another user store, which keeps the password: they set one by the link “Forgot password?”',
  'action-ignored': 'required actions of Keycloak are not asked for here',
  'attribute-kept': 'attributes without a claim here: kept sealed with the account, and shown to no application',
  'attribute-dropped': 'attributes too large to keep (16 KiB for an account)',
  'totp-unusable':
    'an authenticator app whose codes have other than 6 or 8 digits, a period outside 15 to 120 seconds, or a secret that cannot be read',
  hotp: 'a counter-based token (HOTP): the device must be enrolled anew, as one based on time',
  'passkey-elsewhere':
    'a passkey of Keycloak’s host: it works here only if this service answers under the same host (say so with --passkeys)',
  'passkey-unusable': 'a passkey whose public key cannot be read',
  'recovery-codes': 'recovery codes: they are made anew on the account page',
  'credential-unknown': 'a credential of a kind that is not known here',
  'link-left-out':
    'linked with an account at an identity provider that did not come over, or whose ids differ here: they link it again',
  'keycloak-roles':
    'roles of Keycloak’s own clients and service (administration, account console): whoever administers this service is given a role here by hand',
  'role-unknown': 'a role that the export does not define',
  'role-renamed':
    'a role of this name exists here already, with permissions of this service: the imported one has another name and none of them',
  'role-missing': 'the role was deleted here since it was imported: nobody is given it again',
  'group-roles-direct':
    'an earlier version gave them the roles of their groups one by one, and as the account was changed here since, they still are theirs: take them away by hand where they should go with the group',
  'group-attributes': 'attributes of groups do not come over',
  'client-redirect-wildcard':
    'redirect URIs with a wildcard, or relative ones without a root URL: each must be named in full here (PUT /clients/:clientId)',
  'client-redirect-refused': 'redirect URIs that are refused here',
  'client-without-redirect': 'no redirect URI is left: sign-in by the code flow waits until one is registered',
  'client-new-secret':
    'a secret that is masked, too short or not random: `countersign client rotate-secret --id …` makes one',
  'client-authentication':
    'authenticates in a way that cannot come over: it was given a secret, see `countersign client rotate-secret --id …`',
  'client-implicit': 'the implicit flow does not come over (RFC 9700 section 2.1.2)',
  'client-pkce': 'public clients must use PKCE here, which Keycloak did not ask of it',
  'client-consent':
    'people are asked for consent once; for the operator’s own clients say --first-party, or set `first_party`',
  'client-scopes': 'scopes other than those of OpenID Connect: of APIs that are to be registered as resource servers',
  'client-mappers': 'protocol mappers: claims are those of OpenID Connect here, and `roles`',
  'client-origins': 'web origins that no redirect URI has: scripts may call from the origins of redirect URIs alone',
  'client-service-roles': 'roles of its service account: give it `scope` instead',
  'client-policies': 'authorization services (resources and policies of a client)',
  'provider-disabled':
    'without a secret (masked in the export) or disabled in Keycloak: disabled until it is given one (PUT /identity-providers/:id)',
  'provider-callback': 'register the new redirect URI at the provider',
  // Of the realm
  'realm-flows': 'authentication flows of one’s own',
  'realm-storage': 'user federation (LDAP, Kerberos and the like)',
  'realm-scopes': 'client scopes of one’s own',
  'realm-organizations': 'organizations',
  'realm-mail': 'the mail server: set SMTP_URL',
  'realm-password-policy': 'the password policy: see PASSWORD_MIN_LENGTH and PASSWORD_BREACH_URL',
  'realm-keys': 'signing keys, sessions and tokens: applications fetch new keys by discovery, and people sign in again',
} as const;
export type NoteCode = keyof typeof notes;

/** A note names so many things; it counts them all. */
const namedMax = 100;

export interface Note {
  code: NoteCode;
  text: string;
  count: number;
  items: string[];
}

export interface ImportReport {
  realm: string;
  dryRun: boolean;
  counts: Record<Kind, Record<Outcome, number>>;
  /** What came along with the users. */
  also: Record<string, number>;
  notes: Note[];
}

export interface Reporter {
  count(kind: Kind, outcome: Outcome): void;
  also(what: string, count?: number): void;
  /** @param item whom or what it is about, with a detail where that helps */
  note(code: NoteCode, item: string): void;
  report(): ImportReport;
}

export const createReporter = (realm: string, dryRun: boolean): Reporter => {
  const counts = Object.fromEntries(
    kinds.map((kind) => [kind, Object.fromEntries(outcomes.map((outcome) => [outcome, 0]))]),
  ) as ImportReport['counts'];
  const also: Record<string, number> = {};
  const said = new Map<NoteCode, Note>();
  return {
    count: (kind, outcome) => {
      counts[kind][outcome]++;
    },
    also: (what, count = 1) => {
      if (count) also[what] = (also[what] ?? 0) + count;
    },
    note: (code, item) => {
      const note = said.get(code) ?? { code, text: notes[code], count: 0, items: [] };
      note.count++;
      if (note.items.length < namedMax) note.items.push(item.slice(0, 200));
      said.set(code, note);
    },
    report: () => ({
      realm,
      dryRun,
      counts,
      also,
      notes: (Object.keys(notes) as NoteCode[]).flatMap((code) => said.get(code) ?? []),
    }),
  };
};

/** Whether all that could be asked for came over: 2 tells a script that something was left out. */
export const exitCodeOf = ({ counts }: ImportReport): number =>
  kinds.some((kind) => counts[kind]['left out'] > 0) ? 2 : 0;

/** Names come from a file: nothing in them is for the terminal to obey. */
const printable = (text: string) => text.replace(/\p{C}/gu, '?');

const pad = (cells: readonly string[]) => cells.map((cell, at) => (at ? cell.padStart(11) : cell.padEnd(20))).join('');

/** For a terminal. */
export const toText = ({ realm, dryRun, counts, also, notes }: ImportReport): string => {
  const heading = dryRun ? 'what an import would do (nothing was written)' : 'imported';
  const lines = [`Realm ${printable(realm)}: ${heading}`, '', pad(['', ...outcomes])];
  for (const kind of kinds) lines.push(pad([kind, ...outcomes.map((outcome) => String(counts[kind][outcome]))]));
  for (const [what, count] of Object.entries(also)) lines.push(`  with ${count} ${what}`);
  for (const { text, count, items } of notes) {
    const more = count > items.length ? `, and ${count - items.length} more` : '';
    lines.push('', `${count} × ${text}`, `    ${printable(items.join(', '))}${more}`);
  }
  return `${lines.join('\n')}\n`;
};
