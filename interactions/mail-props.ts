/** The mails and SMS, and what the template of each is given. */

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

/** Somebody has made an account for the person: the link sets its first password. */
export interface InvitationMail {
  name: string;
  link: string;
  minutes: number;
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

export interface PhoneVerifiedMail extends NoticeMail {
  /** The number's last digits. */
  ending: string;
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

/** Every mail and its props. */
export interface MailProps {
  'verify-email': VerifyEmailMail;
  'verify-email-code': CodeMail;
  'sign-in-code': CodeMail;
  'already-registered': AlreadyRegisteredMail;
  'reset-password': ResetPasswordMail;
  invitation: InvitationMail;
  'password-changed': PasswordChangedMail;
  'api-key-created': ApiKeyCreatedMail;
  'phone-verified': PhoneVerifiedMail;
  'address-changed': AddressChangedMail;
  'backchannel-request': BackchannelRequestMail;
}
