/** What the pages of an account are given: one interface per template. */
import type { QrCode } from '../src/mfa/qr.ts';
import type { Problem, ResourceWords } from './view-props.ts';

/** The menu beside every page of an account. */
export interface AccountMenu {
  entries: { key: string; href: string; group: string; current: boolean }[];
  signOutHref: string;
}

/** What every page of an account may be told. */
interface AccountPageView {
  /** A key under `notices`. */
  notice?: string;
  problems: Problem[];
}

/** Something that the person may want to see to, each with the page where they do. Texts: `account.attention.<key>`. */
export interface Attention {
  key: string;
  href: string;
  values?: Record<string, string | number>;
}

/** The overview. */
export interface AccountView extends AccountPageView {
  profile: { name: string; email: string; emailVerified: boolean };
  attention: Attention[];
  /** What there is on a page of the menu, in a few words: the text is `account.facts.<text>`, a time may follow it. */
  facts: { key: string; href: string; text: string; values?: Record<string, string | number>; at?: Date }[];
}

/** One place where the account is signed in. */
export interface AccountSession {
  id: string;
  /** For people, e.g. "Chrome on Windows". */
  device: string;
  address: string;
  /** "Berlin, Germany"; empty when it is not known. */
  place: string;
  startedAt: Date;
  lastSeenAt: Date;
  current: boolean;
  apps: string[];
}

/** `endAction` is posted with `id`; `endOthersAction` bare. */
export interface SessionsView extends AccountPageView {
  sessions: AccountSession[];
  endAction: string;
  endOthersAction: string;
  signOutHref: string;
}

/** One app the person has allowed something. */
export interface AccountConsent {
  clientId: string;
  name: string;
  /** Where the application says that it lives: what tells two of one name apart. */
  host?: string | undefined;
  scopes: string[];
  /** Claims allowed one by one. */
  claims: string[];
  resources: ResourceWords[];
  grantedAt: Date;
}

/** `withdrawAction` is posted with `id`, the client's. */
export interface ApplicationsView extends AccountPageView {
  consents: AccountConsent[];
  withdrawAction: string;
}

/** The organizations that one belongs to. */
export interface OrganizationsView extends AccountPageView {
  organizations: {
    name: string;
    kind: 'organization' | 'company';
    /** One that is not gives nothing. */
    isActive: boolean;
    isOwner: boolean;
    /** Nobody else owns it, so that one cannot leave. */
    isOnlyOwner: boolean;
    /** Names of the roles that one holds there. */
    roles: string[];
    since: Date;
    /** Absent where one may not leave. */
    leaveHref?: string;
  }[];
  /** That one is in oneself, by name. */
  groups: { name: string; kind: 'group' | 'team' }[];
  /** Names of business domains. */
  domains: string[];
}

/** Posts `id`. */
export interface OrganizationLeaveView extends AccountPageView {
  id: string;
  name: string;
  action: string;
  stayHref: string;
}

/** An event: `activity.actions.<action>` says what happened, `activity.by.<by>` who did it. Texts are empty where unknown. */
export interface AccountEvent {
  at: Date;
  /** As the audit log names it. */
  action: string;
  by: string;
  /** Done by the person to somebody else's account. */
  onOthers: boolean;
  /** That nobody was signed in goes without saying. */
  unsaid?: boolean;
  device: string;
  address: string;
  place: string;
  clientName: string;
  /** What was unusual about a sign-in: `activity.signals.<name>`. */
  signals: string[];
  /** What came of that: `activity.outcomes.<outcome>`. */
  outcome?: string;
}

export interface ActivityView extends AccountPageView {
  /** The newest first. */
  events: AccountEvent[];
  newestHref?: string;
  olderHref?: string;
}

/**
 * `renameAction` is posted with `id` and `name`. A script asks at `optionsHref` what to ask the browser for, and posts `name`
 * and `passkey` to `addAction`.
 */
export interface PasskeysView extends AccountPageView {
  passkeys: {
    id: string;
    name: string;
    /** The owner's other devices have it too. */
    synced: boolean;
    /** It cannot sign in alone. */
    secondOnly: boolean;
    madeAt: Date;
    lastUsedAt?: Date;
    removeHref: string;
  }[];
  addAction: string;
  optionsHref: string;
  renameAction: string;
  suggestedName: string;
  /** There can be no more. */
  full: boolean;
  /** Whether the account's address is; before that nothing can be added. */
  verified: boolean;
  /** Where the person shows once more that it is they, which changes take; absent when they just have. */
  confirmHref?: string;
}

/** Posts `id`. `last`: no other second factor is left then. */
export interface PasskeyRemoveView extends AccountPageView {
  id: string;
  name: string;
  last: boolean;
  action: string;
  keepHref: string;
}

/** Posts `email` to `action`; then, where `asksCode`, `code` to `codeAction`. */
export interface ChangeEmailView extends AccountPageView {
  action: string;
  codeAction: string;
  profileHref: string;
  /** The present address. */
  email: string;
  /** What was typed, or where the code went. */
  newEmail: string;
  asksCode: boolean;
}

/** `downloadAction` is posted without fields. */
export interface DataView extends AccountPageView {
  downloadAction: string;
  /** Where somebody signs in again before they may download. */
  confirmHref?: string;
  /** Absent where people may not close their accounts. */
  closeHref?: string;
}

/** Posts `password` where there is one. */
export interface CloseAccountView extends AccountPageView {
  action: string;
  dataHref: string;
  email: string;
  asksPassword: boolean;
}

/** The account is gone. */
export interface AccountClosedView {
  homeHref: string;
}

/** The sign-in is too old, or was not strong enough, for what the person wants to do. */
export interface SignInAgainView {
  signInHref: string;
  accountHref: string;
  /** Something was sent, and nothing of it kept. */
  lost: boolean;
}

/** The fields of the profile page; each is an input of the same name. */
export type ProfileField =
  | 'name'
  | 'given_name'
  | 'family_name'
  | 'middle_name'
  | 'nickname'
  | 'preferred_username'
  | 'profile'
  | 'picture'
  | 'website'
  | 'gender'
  | 'birthdate'
  | 'zoneinfo'
  | 'locale'
  | 'phone_number'
  | 'formatted'
  | 'street_address'
  | 'locality'
  | 'region'
  | 'postal_code'
  | 'country';

/** Posts every `ProfileField` by its name. */
export interface ProfileView extends AccountPageView {
  action: string;
  email: string;
  emailVerified: boolean;
  /** Where the address is changed. */
  emailHref: string;
  /** POST that mails the confirmation of the address again. */
  verifyAction: string;
  values: Record<ProfileField, string>;
  problems: Problem[];
}

/** Posts `currentPassword` (unless it is the first one), `newPassword`. */
export interface ChangePasswordView extends AccountPageView {
  action: string;
  email: string;
  passwordMinLength: number;
  /** The account has none so far. */
  isFirst: boolean;
  /** Where somebody signs in again before they may set the first one. */
  confirmHref?: string;
}

/** Second factors. Forms below `action`: `app` bare, `rename` with `id` and `name`, `remove` with `id`, `codes` and `browsers` bare. */
export interface TwoStepView extends AccountPageView {
  /** There is an authenticator app or a passkey. */
  on: boolean;
  apps: { id: string; name: string; addedAt: Date; lastUsedAt?: Date }[];
  /** There may be no more apps. */
  full: boolean;
  /** How many are left. */
  backupCodes: number;
  passkeys: number;
  passkeysHref: string;
  /** How many browsers are not asked for a second factor. */
  browsers: number;
  action: string;
}

/** Posts `code` and `name`. */
export interface TwoStepSetupView {
  action: string;
  cancelHref: string;
  /** Base 32 in groups of four. */
  key: string;
  otpauthUrl: string;
  qr: QrCode;
  minutes: number;
  name?: string;
  problems: Problem[];
}

/** Shown once. `downloadAction` is posted with `codes`, and answers a text file. */
export interface BackupCodesView {
  /** Empty when there were some already. */
  codes: string[];
  account: string;
  /** An authenticator app was just set up. */
  added: boolean;
  downloadAction: string;
  doneHref: string;
}

/** The pages of an account and their props. */
export interface AccountViews {
  account: AccountView;
  profile: ProfileView;
  'change-password': ChangePasswordView;
  sessions: SessionsView;
  applications: ApplicationsView;
  organizations: OrganizationsView;
  'organization-leave': OrganizationLeaveView;
  activity: ActivityView;
  'change-email': ChangeEmailView;
  data: DataView;
  'close-account': CloseAccountView;
  'account-closed': AccountClosedView;
  passkeys: PasskeysView;
  'passkey-remove': PasskeyRemoveView;
  'two-step': TwoStepView;
  'two-step-setup': TwoStepSetupView;
  'backup-codes': BackupCodesView;
  'sign-in-again': SignInAgainView;
}
