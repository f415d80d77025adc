/** What each page and mail is given: one interface per template in `views/`. */

import type { QrCode } from '../src/mfa/qr.ts';
import type { AccountMenu, AccountViews } from './account-props.ts';
import type { DemoViews } from './demo-props.ts';
import type { DeviceCodeView, DeviceConfirmView, DeviceDoneView, RequestsView } from './elsewhere-props.ts';
import type { InvitationClosedView, InvitationsView, InvitationView } from './joining-props.ts';
import type { OrganizationViews } from './organization-props.ts';
import type { LinkedView, SocialButtons, SocialProfileView } from './social-props.ts';

/**
 * A refused field or form. Its text is the translation `problems.<code>`; `field` is the input's name and links the
 * summary to it. A `minutes` value is also offered to the text as a written-out `{{duration}}`.
 */
export interface Problem {
  field?: string;
  code: string;
  values?: Record<string, string | number>;
}

/** What every page needs, whichever it is. */
export interface PageContext {
  locale: string;
  /** Path and query of this page, for the language links (`lang=de` is set in it). Empty hides the links. */
  path: string;
  /** The app that sent the person here. `logo` is a data: or same-origin URL; any other is not shown. */
  client?: { id: string; name: string; logo?: string; themed?: boolean };
  signedInAs?: string;
  /** On the pages of an account, the way to the others. */
  account?: AccountMenu;
  requestId: string;
  development?: boolean;
}

/** Posts `passkey`, by a script alone, which reads at `optionsHref` what to ask the browser for. */
export interface PasskeyButton {
  action: string;
  optionsHref: string;
  /** Passkeys are offered among the names that the browser fills in. */
  autofill?: boolean;
  /** It is the page's main button. */
  main?: boolean;
}

/** Posts `email`, `password`. With `switchAccount` the page asks a person who is known to sign in again. */
export interface SignInView {
  action: string;
  email: string;
  problems: Problem[];
  /** A key under `notices`, e.g. `passwordChanged`. */
  notice?: string;
  registerHref?: string;
  forgotHref: string;
  /** Where the confirmation mail is sent again, for somebody who could not sign in. */
  resendHref?: string;
  /** POST that goes back to the app with `access_denied`. */
  cancelAction?: string;
  /** POST that forgets the known account and shows an empty form. */
  switchAccount?: { action: string; email: string };
  /** Signing in with a passkey. */
  passkey?: PasskeyButton;
  social?: SocialButtons;
  /** The provider that the account is connected with once the person has signed in. */
  connects?: string;
  /** The form may post `way=link` with the `email` alone: a link that signs in is mailed. */
  magicLink?: boolean;
}

/** Posts `name`, `email`, `password`. */
export interface RegisterView {
  social?: SocialButtons;
  action: string;
  email: string;
  name: string;
  problems: Problem[];
  signInHref: string;
  passwordMinLength: number;
}

/** A link and a code were mailed, if there is an account. Posts `code`; or `way=link` for another mail; or `restart`. */
export interface MagicLinkView {
  action: string;
  email: string;
  minutes: number;
  problems: Problem[];
}

/** A link from a mail. Posts `link` where it was asked for; anywhere else it only says where to type the code. */
export interface MagicLinkOpenView {
  action?: string;
  token?: string;
  email?: string;
}

/** Posts `email`: the confirmation mail is sent again. */
export interface ResendView {
  action: string;
  email: string;
  problems: Problem[];
  signInHref: string;
}

/** The same whether or not the account exists. `resendAction` is posted with `email`. */
export interface CheckMailView {
  email: string;
  purpose: 'verify' | 'reset';
  resendAction?: string;
  returnHref?: string;
}

/** Posts `token`. Opening the page changes nothing: mail scanners follow links. */
export interface VerifyView {
  action: string;
  token: string;
  /** In a browser other than the one that registered, the account's password is asked. */
  asksPassword: boolean;
  /** Instead of a form, where there is no password to be asked for: one is set by a mail to `email`, or one signs in again. */
  withoutPassword?: { email: string; action: string; signInHref: string };
  problems: Problem[];
}

export type FactorMethod = 'totp' | 'passkey' | 'backup-code' | 'email' | 'sms';

/** Posts `code`, and `remember`; `send` or `use` (a method) for another way, or `restart`. */
export interface SecondFactorView {
  action: string;
  /** POST that gives the sign-in up. */
  cancelAction: string;
  /** What is asked for now. */
  method: FactorMethod;
  others: FactorMethod[];
  email: string;
  /** Somebody who is signed in already. */
  stepUp: boolean;
  /** For how many days the browser can be remembered. */
  rememberDays?: number;
  passkey?: PasskeyButton;
  problems: Problem[];
}

/** Posts `begin` for an app, `code` of the app, `choose` for something else, `name` and `passkey`, or `later`. */
export interface EnrolmentView {
  action: string;
  cancelAction: string;
  /** Until when it may be put off. */
  until?: Date;
  /** An app is being set up. */
  app?: { key: string; otpauthUrl: string; qr: QrCode };
  passkey: { optionsHref: string; suggestedName: string };
  problems: Problem[];
}

/** Shown once. Posts `done`; `downloadAction` is posted with `codes`, and answers a text file. */
export interface EnrolmentCodesView {
  action: string;
  downloadAction: string;
  /** The account's address. */
  account: string;
  /** None for somebody who has some already. */
  codes: string[];
}

/** The address is confirmed. */
export interface VerifyDoneView {
  continueHref?: string;
}

/** A link from a mail that is used up or too old. `action` posts `email` and sends a new one. */
export interface LinkExpiredView {
  purpose: 'verify' | 'reset' | 'setup' | 'disown' | 'signIn';
  action?: string;
  signInHref?: string;
}

/** A sign-in that was mailed to its owner. Posts `token`: it was not theirs. Opening the page changes nothing. */
export interface NotMeView {
  action: string;
  token: string;
  at: Date;
  /** Empty when nothing is known. */
  device: string;
  place: { country?: string; city?: string };
  address?: string;
}

/** Its session has ended. */
export interface NotMeDoneView {
  changeHref: string;
}

/** Posts `email`. */
export interface ForgotView {
  action: string;
  email: string;
  problems: Problem[];
  signInHref: string;
}

/** Posts `token`, `password`. `email`, if known, helps a password manager to save the right account. */
export interface ResetView {
  action: string;
  token: string;
  email?: string;
  problems: Problem[];
  passwordMinLength: number;
}

/** An API, and what may be done there. `name` and `texts` are its administrator's words. */
export interface ResourceWords {
  indicator: string;
  name?: string;
  scopes: string[];
  texts?: Record<string, string>;
}

/** Two forms without fields: POST `action` allows, POST `cancelAction` refuses. */
export interface ConsentView {
  action: string;
  cancelAction: string;
  account: { name: string; email: string };
  clientUri?: string;
  policyUri?: string;
  tosUri?: string;
  /** False: the page says plainly that the operator has not checked this app. */
  verified: boolean;
  /** The host of the document that describes the app, where nobody registered it. */
  comesFrom?: string;
  firstParty: boolean;
  /** The name of the organization that the person signs in for. */
  organization?: string;
  /** Newly asked identity scopes: openid, profile, email, address, phone, offline_access, … */
  scopes: string[];
  /** Claims asked one by one. */
  claims: string[];
  resources: ResourceWords[];
  /** Authorization details (RFC 9396) in words, and every member of them. */
  details: { title: string; text?: string; members: { name: string; value: string }[] }[];
  /** Scopes and claims allowed before, told for completeness. */
  alreadyGranted: string[];
  /** Where the browser goes on to; absent when the application is on another device. */
  redirectHost?: string;
  switchAccountAction?: string;
}

/** The engine's own logout form. Posts `xsrf`, and `logout=yes` if the person chose to sign out. */
export interface SignOutView {
  action: string;
  xsrf: string;
  account?: { email: string };
}

/** The session is over. */
export interface SignedOutView {
  signInHref?: string;
}

/** Something went wrong. The reference for support is the page's request id. */
export interface ErrorView {
  status: number;
  /** A key under `errors`, whose `.title` and `.text` are shown. */
  title: string;
  code: string;
  /** Plain English protocol detail, shown under "Details for developers". */
  detail?: string;
  retry?: 'again' | 'restart';
  /** Where an application that nobody has checked would have the person sent: its host, and perhaps a link. */
  goOn?: { host: string; href?: string };
  homeHref?: string;
}

/** The first administrator. Posts `token`, `name`, `email`, `password`. */
export interface SetupView {
  action: string;
  token: string;
  email: string;
  name: string;
  problems: Problem[];
  passwordMinLength: number;
}

/** The development mailbox, newest first as given. */
export interface DevMailView {
  messages: { id: string; to: string; subject: string; text: string; html: string; links: string[]; at: Date }[];
}

/** The page at `/`. */
export interface HomeView {
  signedIn: boolean;
  accountHref: string;
  demoHref?: string;
  mailHref?: string;
  docs: { api: string; discovery: string };
}

/** Carries an answer on by POST: by itself with a script, by its button without. */
export interface ContinueView {
  action: string;
  fields: Record<string, string>;
}

/** Every page and its props. */
export interface ViewProps extends AccountViews, DemoViews, OrganizationViews {
  'sign-in': SignInView;
  register: RegisterView;
  'social-profile': SocialProfileView;
  linked: LinkedView;
  'magic-link': MagicLinkView;
  'magic-link-open': MagicLinkOpenView;
  resend: ResendView;
  'check-mail': CheckMailView;
  'second-factor': SecondFactorView;
  enrolment: EnrolmentView;
  'enrolment-codes': EnrolmentCodesView;
  verify: VerifyView;
  'verify-done': VerifyDoneView;
  'link-expired': LinkExpiredView;
  'not-me': NotMeView;
  'not-me-done': NotMeDoneView;
  forgot: ForgotView;
  reset: ResetView;
  consent: ConsentView;
  'device-code': DeviceCodeView;
  'device-confirm': DeviceConfirmView;
  'device-done': DeviceDoneView;
  requests: RequestsView;
  invitation: InvitationView;
  'invitation-closed': InvitationClosedView;
  invitations: InvitationsView;
  'sign-out': SignOutView;
  'signed-out': SignedOutView;
  continue: ContinueView;
  error: ErrorView;
  setup: SetupView;
  'dev-mail': DevMailView;
  home: HomeView;
}
