/** Identity providers: buttons, what a provider did not tell, and the accounts that are linked. */
import type { ViewProps } from '../../interactions/view-props.ts';
import type { Sample } from './gallery.ts';
import { menuOn } from './gallery-account.ts';
import { acme, at, earlier, email, longEmail, longWord, name, passwordMinLength } from './gallery-values.ts';

const social = {
  action: '/interaction/1',
  providers: [
    { id: 'google', name: 'Google', preset: 'google' },
    { id: 'github', name: 'GitHub', preset: 'github' },
    { id: 'acme', name: 'Acme staff', preset: 'oidc' },
  ],
};

const signIn: ViewProps['sign-in'] = {
  action: '/interaction/1',
  email: '',
  problems: [],
  registerHref: '/register',
  forgotHref: '/forgot',
  cancelAction: '/interaction/1/abort',
  social,
};
const allWays: ViewProps['sign-in'] = {
  ...signIn,
  passkey: { action: '/interaction/1', optionsHref: '/interaction/1/passkey', autofill: true },
  magicLink: true,
};

const profile: ViewProps['social-profile'] = {
  action: '/interaction/1',
  provider: 'GitHub',
  missing: ['name', 'email'],
  name: '',
  email: '',
  problems: [],
  cancelAction: '/interaction/1/abort',
};

const linked: ViewProps['linked'] = {
  identities: [
    { id: '1', provider: 'Google', email, linkedAt: earlier, usedAt: at, last: false },
    { id: '2', provider: 'GitHub', email: '', linkedAt: earlier, usedAt: null, last: false },
  ],
  providers: social.providers,
  linkAction: '/account/linked/link',
  unlinkAction: '/account/linked/unlink',
  problems: [],
  passwordHref: '/account/password',
};

const page = { signedInAs: email, account: menuOn('linked') };
const values = { provider: 'Acme staff' };
const longName = longWord.slice(0, 64);

export const socialSamples: Sample[] = [
  { view: 'sign-in', state: 'social', props: signIn, page: { client: acme } },
  { view: 'sign-in', state: 'all-ways', props: allWays, page: { client: acme } },
  { view: 'sign-in', state: 'all-ways-rtl', props: allWays, page: { client: acme, locale: 'ar' } },
  {
    view: 'sign-in',
    state: 'social-down',
    props: { ...signIn, problems: [{ code: 'socialUnavailable', values }] },
    page: { client: acme },
  },
  { view: 'sign-in', state: 'social-connect', props: { ...signIn, email, connects: 'Google' }, page: { client: acme } },
  {
    view: 'sign-in',
    state: 'social-long',
    props: { ...signIn, social: { ...social, providers: [{ id: 'long', name: longName, preset: 'oidc' }] } },
    page: { client: acme },
  },
  {
    view: 'register',
    state: 'social',
    props: {
      action: '/register',
      email: '',
      name: '',
      problems: [],
      signInHref: '/account',
      passwordMinLength,
      social: { ...social, action: '' },
    },
  },
  { view: 'social-profile', state: 'both', props: profile, page: { client: acme } },
  { view: 'social-profile', state: 'name', props: { ...profile, missing: ['name'] }, page: { client: acme } },
  {
    view: 'social-profile',
    state: 'refused',
    props: { ...profile, name, problems: [{ field: 'email', code: 'emailInvalid' }] },
    page: { client: acme },
  },
  { view: 'linked', state: 'two', props: linked, page },
  { view: 'linked', state: 'none', props: { ...linked, identities: [], notice: 'disconnected' }, page },
  {
    view: 'linked',
    state: 'last',
    props: {
      ...linked,
      identities: [{ id: '1', provider: longName, email: longEmail, linkedAt: earlier, usedAt: at, last: true }],
      problems: [{ code: 'lastWayIn' }],
    },
    page,
  },
  {
    view: 'linked',
    state: 'refused',
    props: { ...linked, problems: [{ code: 'socialTaken', values }] },
    page,
  },
];
