/** The mails and SMS, and what the template of each is given. */
import type { FactorChange } from '../src/mfa/factor-changes.ts';

/** Confirms that the address belongs to the person who registered with it. */
export interface VerifyEmailMail {
  name: string;
  link: string;
  minutes: number;
}

/** To the holder of an account when someone registers with its address. */
export interface AlreadyRegisteredMail {
  name: string;
  signInLink: string;
  resetLink: string;
}

/** The link that sets a new password, and who asked for it. */
export interface ResetPasswordMail {
  name: string;
  link: string;
  minutes: number;
  device: string;
  address: string;
  at: Date;
}

/** A link that signs in where it was asked for, and a code that is typed there. */
export interface SignInLinkMail extends ResetPasswordMail {
  code: string;
}

/** Somebody has made an account for the person: the link sets its first password. */
export interface InvitationMail {
  name: string;
  link: string;
  minutes: number;
}

/** An organization wants the person to join. Who that is nobody knows before they answer, so the name is empty. */
export interface OrganizationInvitationMail {
  name: '';
  organization: string;
  inviter: string;
  link: string;
  expiresAt: Date;
}

/** A security notice: when, where, and what to press if it was not you. */
export interface NoticeMail {
  name: string;
  at: Date;
  device: string;
  address: string;
  resetLink: string;
}

export interface PasswordChangedMail extends NoticeMail {
  /** What became of the account's API keys, where it has any. */
  apiKeys: 'none' | 'kept' | 'revoked';
}

export interface ApiKeyCreatedMail extends NoticeMail {
  /** The beginning of the key. */
  prefix: string;
}

/** Somebody signed in on a device that the account does not know; the link ends that session. */
export interface NewSignInMail extends Omit<NoticeMail, 'resetLink'> {
  place: { country?: string; city?: string };
  link: string;
}

export interface PhoneVerifiedMail extends NoticeMail {
  /** The number's last digits. */
  ending: string;
}

/** Second factors: set up, removed, used up or taken away. */
export interface FactorChangedMail extends NoticeMail {
  change: FactorChange;
}

/** An application asks the person to confirm something; the link leads to where they can. */
export interface BackchannelRequestMail {
  name: string;
  client: string;
  link: string;
  minutes: number;
  at: Date;
}

/** To the address that an account had before. It has no link: nothing that is sent there opens the account any more. */
export interface AddressChangedMail {
  name: string;
  at: Date;
}

/** Confirms the same by a code that the person types. */
export interface CodeMail {
  name: string;
  code: string;
  minutes: number;
}

/** A code by SMS; the same whatever it is for, since there is little room. */
export interface CodeSms {
  code: string;
  minutes: number;
  /** The host that alone may fill the code in by itself. */
  host: string;
}

/** An account at an identity provider was connected or disconnected. */
export interface IdentityMail extends NoticeMail {
  provider: string;
}

/** Every mail and its props. */
export interface MailProps {
  'verify-email': VerifyEmailMail;
  'verify-email-code': CodeMail;
  'sign-in-code': CodeMail;
  'change-email-code': CodeMail;
  'already-registered': AlreadyRegisteredMail;
  'reset-password': ResetPasswordMail;
  'sign-in-link': SignInLinkMail;
  invitation: InvitationMail;
  'organization-invitation': OrganizationInvitationMail;
  'password-changed': PasswordChangedMail;
  'api-key-created': ApiKeyCreatedMail;
  'new-sign-in': NewSignInMail;
  'session-refused': NoticeMail;
  'phone-verified': PhoneVerifiedMail;
  'factor-changed': FactorChangedMail;
  'identity-connected': IdentityMail;
  'identity-disconnected': IdentityMail;
  'address-changed': AddressChangedMail;
  'backchannel-request': BackchannelRequestMail;
}
