/** What the pages are given on which people come into organizations. */
import type { Problem } from './view-props.ts';

/** What the link of an invitation leads to. Opening it changes nothing: mail scanners follow links. */
export interface InvitationView {
  organization: string;
  inviter: string;
  /** Whom it is for. */
  email: string;
  expiresAt: Date;
  /**
   * `nobody` is signed in; `another` account is; so is the one that is `mine`, whose address is the one that was invited, perhaps
   * `unverified`.
   */
  visitor: 'nobody' | 'another' | 'mine' | 'unverified';
  /** Posts `token`, and `go`: `sign-in` or `register`. */
  action: string;
  token: string;
  /** Posted with `id`. */
  answer?: { id: string; acceptAction: string; declineAction: string };
  /** Where the address is confirmed. */
  profileHref: string;
}

/** An invitation that can be accepted no more. */
export interface InvitationClosedView {
  reason: 'unknown' | 'expired' | 'revoked' | 'accepted' | 'declined';
  organization?: string;
  accountHref: string;
}

/** The invitations that wait for whoever is signed in. `acceptAction` and `declineAction` are posted with `id`. */
export interface InvitationsView {
  invitations: { id: string; organization: string; inviter: string; at: Date; expiresAt: Date }[];
  acceptAction: string;
  declineAction: string;
  /** Where the address is confirmed, for somebody who has yet to: until then nothing is shown. */
  verifyHref?: string;
  /** A key under `notices`. */
  notice?: string;
  problems: Problem[];
}
