/** Invitations to organizations. */
import type { ViewProps } from '../../interactions/view-props.ts';
import type { Sample } from './gallery.ts';
import { menuOn } from './gallery-account.ts';
import { at, earlier, email, longEmail, longWord, name, token } from './gallery-values.ts';

const organization = 'Analytical Engines';
const answers = { acceptAction: '/account/invitations/accept', declineAction: '/account/invitations/decline' };

const invitation: ViewProps['invitation'] = {
  ...{ organization, inviter: name, email, expiresAt: at, visitor: 'nobody', token },
  action: '/invitation',
  profileHref: '/account/profile',
};
const mine: ViewProps['invitation'] = { ...invitation, visitor: 'mine', answer: { id: '1', ...answers } };
const closed: ViewProps['invitation-closed'] = { reason: 'expired', organization, accountHref: '/account' };
const invitations: ViewProps['invitations'] = {
  invitations: [
    { id: '1', organization, inviter: name, at: earlier, expiresAt: at },
    { id: '2', organization: longWord, inviter: longWord, at: earlier, expiresAt: at },
  ],
  ...answers,
  problems: [],
};

const page = { signedInAs: email, account: menuOn('invitations') };
const signIn: ViewProps['sign-in'] = {
  action: '/interaction/1',
  email,
  forgotHref: '/forgot',
  problems: ['methodNotAllowed', 'instead-passkey', 'instead-magic-link', 'instead-social'].map((code) => ({ code })),
};

export const joiningSamples: Sample[] = [
  { view: 'invitation', state: 'nobody', props: invitation },
  { view: 'invitation', state: 'nobody-rtl', props: invitation, page: { locale: 'ar' } },
  { view: 'invitation', state: 'another', props: { ...invitation, visitor: 'another' } },
  { view: 'invitation', state: 'unverified', props: { ...invitation, visitor: 'unverified' } },
  { view: 'invitation', state: 'mine', props: mine },
  {
    view: 'invitation',
    state: 'long-de',
    props: { ...mine, organization: longWord, inviter: longWord, email: longEmail },
    page: { locale: 'de' },
  },
  { view: 'invitation-closed', state: 'expired', props: closed },
  { view: 'invitation-closed', state: 'revoked', props: { ...closed, reason: 'revoked' } },
  { view: 'invitation-closed', state: 'accepted', props: { ...closed, reason: 'accepted' } },
  { view: 'invitation-closed', state: 'declined', props: { ...closed, reason: 'declined' } },
  { view: 'invitation-closed', state: 'unknown', props: { reason: 'unknown', accountHref: '/account' } },
  { view: 'invitations', state: 'some', props: invitations, page },
  { view: 'invitations', state: 'none', props: { ...invitations, invitations: [] }, page },
  {
    view: 'invitations',
    state: 'unverified',
    props: { ...invitations, invitations: [], verifyHref: '/account/profile' },
    page,
  },
  {
    view: 'invitations',
    state: 'gone',
    props: { ...invitations, problems: [{ code: 'invitationGone' }] },
    page,
  },
  { view: 'sign-in', state: 'other-ways', props: signIn },
];
