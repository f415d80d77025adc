/** What the pages about identity providers are given. */
import type { Problem } from './view-props.ts';

/** A button for each provider: posts `social` to `action`, or leads to `/auth/social/<id>` where that is empty. */
export interface SocialButtons {
  action: string;
  providers: { id: string; name: string; preset: string }[];
}

/** Posts `socialProfile` with `name` and `email`, those that are missing. */
export interface SocialProfileView {
  action: string;
  /** The provider's name. */
  provider: string;
  missing: ('name' | 'email')[];
  name: string;
  email: string;
  problems: Problem[];
  cancelAction: string;
}

/** Accounts elsewhere. `linkAction` is posted with `provider`; `unlinkAction` with `id`. */
export interface LinkedView {
  identities: {
    id: string;
    provider: string;
    email: string;
    linkedAt: Date;
    usedAt: Date | null;
    /** It is the only way in, so it stays. */
    last: boolean;
  }[];
  providers: { id: string; name: string }[];
  linkAction: string;
  unlinkAction: string;
  notice?: string;
  problems: Problem[];
  /** Where somebody without a password sets one. */
  passwordHref: string;
}
