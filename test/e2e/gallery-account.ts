/** The pages of an account in every state, with the menu that the service shows beside them. */
import { navigation } from '../../interactions/account/navigation.ts';
import type { AccountMenu, ProfileView } from '../../interactions/account-props.ts';
import type { PageContext, ViewProps } from '../../interactions/view-props.ts';
import type { Sample } from './gallery.ts';
import { at, earlier, email, longApp, longEmail, longWord, name, passwordMinLength } from './gallery-values.ts';

/** The menu as it is on one of its pages. */
export const menuOn = (key: string): AccountMenu => ({
  entries: navigation.map((entry) => ({ ...entry, current: entry.key === key })),
  signOutHref: '/oauth/logout',
});

/** What the page of a menu's entry is shown with. */
const on = (key: string, page: Partial<PageContext> = {}): Partial<PageContext> => ({
  signedInAs: email,
  account: menuOn(key),
  ...page,
});

const overview: ViewProps['account'] = {
  profile: { name, email, emailVerified: true },
  attention: [],
  facts: [
    { key: 'password', href: '/account/password', text: 'passwordSet', at: earlier },
    { key: 'two-step', href: '/account/two-step', text: 'on' },
    { key: 'passkeys', href: '/account/passkeys', text: 'count', values: { count: 2 } },
    { key: 'sessions', href: '/account/sessions', text: 'count', values: { count: 3 } },
    { key: 'applications', href: '/account/applications', text: 'count', values: { count: 12 } },
  ],
  problems: [],
};

const everythingToSeeTo: ViewProps['account']['attention'] = [
  { key: 'requests', href: '/account/requests', values: { count: 2 } },
  { key: 'unverified', href: '/resend' },
  { key: 'noSecondFactor', href: '/account/two-step' },
  { key: 'fewBackupCodes', href: '/account/two-step', values: { count: 2 } },
  { key: 'noBackupCodes', href: '/account/two-step', values: { count: 0 } },
];

const sessions: ViewProps['sessions'] = {
  sessions: [
    {
      id: 's1',
      device: 'Chrome · Windows',
      address: '192.0.2.17',
      place: 'Berlin, Germany',
      startedAt: earlier,
      lastSeenAt: at,
      current: true,
      apps: ['Acme', 'Payroll'],
    },
    {
      id: 's2',
      device: 'Safari · iOS',
      address: '2001:db8:85a3::8a2e:370:7334',
      place: '',
      startedAt: earlier,
      lastSeenAt: earlier,
      current: false,
      apps: [],
    },
    {
      id: 's3',
      device: '',
      address: '198.51.100.200',
      place: 'Linköping, Sweden',
      startedAt: earlier,
      lastSeenAt: earlier,
      current: false,
      apps: [longApp.name, longWord],
    },
  ],
  endAction: '/account/sessions/end',
  endOthersAction: '/account/sessions/end-others',
  signOutHref: '/oauth/logout',
  problems: [],
};

const applications: ViewProps['applications'] = {
  consents: [
    {
      clientId: 'acme',
      name: 'Acme',
      host: 'acme.example',
      scopes: ['openid', 'profile', 'email'],
      claims: ['birthdate'],
      resources: [],
      grantedAt: earlier,
    },
    {
      clientId: 'reports',
      name: 'Reports',
      scopes: ['openid', 'offline_access'],
      claims: [],
      resources: [
        {
          indicator: 'https://orders.example/',
          name: 'Orders',
          scopes: ['orders.read'],
          texts: { 'orders.read': 'See your orders' },
        },
        { indicator: 'https://mcp.example/mcp', scopes: ['access'] },
      ],
      grantedAt: at,
    },
  ],
  withdrawAction: '/account/applications/withdraw',
  problems: [],
};

const requests: ViewProps['requests'] = {
  requests: [
    {
      id: '01960000-7c0e-7000-8000-5a0c9b1e2f3d',
      clientName: 'The Bank Counter',
      verified: true,
      bindingMessage: 'Till 4, W4SCT',
      scopes: ['openid', 'email', 'urn:example:everything'],
      claims: ['birthdate'],
      resources: [{ indicator: 'https://api.acme.example/v1', scopes: ['transfers:write'] }],
      address: '192.0.2.17',
      at,
      expiresAt: new Date(at.getTime() + 600_000),
    },
    {
      id: '01960000-7c0e-7000-8000-5a0c9b1e2f3e',
      clientName: longApp.name,
      verified: false,
      comesFrom: 'app.example',
      bindingMessage: longWord,
      scopes: ['openid'],
      claims: [],
      resources: [],
      address: '2001:db8:85a3::8a2e:370:7334',
      at,
      expiresAt: new Date(at.getTime() + 600_000),
    },
  ],
  approveAction: '/account/requests/approve',
  denyAction: '/account/requests/deny',
  reloadHref: '/account/requests',
  problems: [],
};

const emptyProfile: ProfileView['values'] = {
  name: '',
  given_name: '',
  family_name: '',
  middle_name: '',
  nickname: '',
  preferred_username: '',
  profile: '',
  picture: '',
  website: '',
  gender: '',
  birthdate: '',
  zoneinfo: '',
  locale: '',
  phone_number: '',
  formatted: '',
  street_address: '',
  locality: '',
  region: '',
  postal_code: '',
  country: '',
};

const changePassword: ViewProps['change-password'] = {
  action: '/account/password',
  email,
  passwordMinLength,
  isFirst: false,
  problems: [],
};

const profile: ViewProps['profile'] = {
  action: '/account/profile',
  email,
  emailVerified: true,
  emailHref: '/account/profile/email',
  verifyAction: '/account/profile/email/verify',
  values: emptyProfile,
  problems: [],
};

const event = { by: 'you', onOthers: false, device: '', address: '', place: '', clientName: '', signals: [] };
const activity: ViewProps['activity'] = {
  events: [
    {
      ...event,
      at,
      action: 'session.sign_in',
      device: 'Chrome · Windows',
      address: '192.0.2.17',
      place: 'Linköping, Sweden',
      clientName: 'Acme',
      signals: ['new-device', 'new-country', 'impossible-travel'],
      outcome: 'step-up',
    },
    { ...event, at, action: 'session.sign_in_failed', by: 'unknown', outcome: 'refuse', signals: ['bad-passwords'] },
    { ...event, at: earlier, action: 'user.deactivate', onOthers: true, device: 'Chrome · Windows' },
    { ...event, at: earlier, action: 'consent.grant', clientName: longApp.name },
    { ...event, at: earlier, action: 'user.assign_role', by: 'administrator' },
    { ...event, at: earlier, action: 'something.new', by: 'service', clientName: longWord },
    ...['api_key', 'application'].map((by) => ({ ...event, at: earlier, action: 'user.update_profile', by })),
  ],
  newestHref: '/account/activity',
  olderHref: '/account/activity?before=1',
  problems: [],
};

const changeEmail: ViewProps['change-email'] = {
  action: '/account/profile/email',
  codeAction: '/account/profile/email/code',
  profileHref: '/account/profile',
  email,
  newEmail: '',
  asksCode: false,
  problems: [],
};

const data: ViewProps['data'] = {
  downloadAction: '/account/data/download',
  closeHref: '/account/data/close',
  problems: [],
};

const closeAccount: ViewProps['close-account'] = {
  action: '/account/data/close',
  dataHref: '/account/data',
  email,
  asksPassword: true,
  problems: [],
};

export const accountSamples: Sample[] = [
  { view: 'account', state: 'calm', props: overview, page: on('overview') },
  {
    view: 'account',
    state: 'attention',
    props: { ...overview, attention: everythingToSeeTo, notice: 'accountCreated' },
    page: on('overview'),
  },
  {
    view: 'account',
    state: 'long',
    props: {
      ...overview,
      profile: { name: longWord, email: longEmail, emailVerified: false },
      attention: everythingToSeeTo,
    },
    page: on('overview', { signedInAs: longEmail, locale: 'de' }),
  },
  {
    view: 'account',
    state: 'rtl',
    props: { ...overview, attention: everythingToSeeTo },
    page: on('overview', { locale: 'ar' }),
  },
  { view: 'sessions', state: 'several', props: sessions, page: on('sessions') },
  {
    view: 'sessions',
    state: 'one',
    props: { ...sessions, sessions: sessions.sessions.slice(0, 1), notice: 'othersEnded' },
    page: on('sessions', { locale: 'fr' }),
  },
  {
    view: 'sessions',
    state: 'error-rtl',
    props: { ...sessions, problems: [{ code: 'notFound' }] },
    page: on('sessions', { locale: 'ar' }),
  },
  { view: 'applications', state: 'some', props: applications, page: on('applications') },
  {
    view: 'applications',
    state: 'empty',
    props: { ...applications, consents: [], notice: 'consentWithdrawn' },
    page: on('applications', { locale: 'es' }),
  },
  {
    view: 'applications',
    state: 'long-error',
    props: {
      ...applications,
      consents: [
        { clientId: 'x', name: longApp.name, scopes: [longWord], claims: [longWord], resources: [], grantedAt: at },
      ],
      problems: [{ code: 'notFound' }],
    },
    page: on('applications', { signedInAs: longEmail, locale: 'de' }),
  },
  { view: 'applications', state: 'rtl', props: applications, page: on('applications', { locale: 'ar' }) },
  { view: 'requests', state: 'waiting', props: requests, page: on('requests') },
  {
    view: 'requests',
    state: 'none',
    props: { ...requests, requests: [], notice: 'requestApproved' },
    page: on('requests'),
  },
  {
    view: 'requests',
    state: 'gone',
    props: { ...requests, problems: [{ code: 'requestGone' }] },
    page: on('requests', { locale: 'de' }),
  },
  { view: 'requests', state: 'rtl', props: requests, page: on('requests', { locale: 'ar' }) },
  { view: 'change-password', state: 'empty', props: changePassword, page: on('password') },
  {
    view: 'change-password',
    state: 'error',
    props: {
      ...changePassword,
      problems: [
        { field: 'currentPassword', code: 'currentPasswordWrong' },
        { field: 'newPassword', code: 'passwordCommon' },
      ],
    },
    page: on('password'),
  },
  {
    view: 'profile',
    state: 'empty',
    props: profile,
    page: on('profile'),
  },
  {
    view: 'profile',
    state: 'error',
    props: {
      ...profile,
      email: longEmail,
      emailVerified: false,
      values: {
        ...emptyProfile,
        name,
        birthdate: '10.12.1815',
        website: 'ada.example',
        street_address: 'St James’s Square 12',
      },
      problems: [
        { field: 'birthdate', code: 'dateInvalid' },
        { field: 'website', code: 'urlInvalid' },
      ],
    },
    page: on('profile', { locale: 'es' }),
  },
  {
    view: 'sign-in-again',
    state: 'page',
    props: { signInHref: '/oauth/authorize', accountHref: '/account', lost: false },
    page: on('two-step'),
  },
  {
    view: 'sign-in-again',
    state: 'lost-rtl',
    props: { signInHref: '/oauth/authorize', accountHref: '/account', lost: true },
    page: on('data', { locale: 'ar' }),
  },
  {
    view: 'change-password',
    state: 'first',
    props: { ...changePassword, isFirst: true },
    page: on('password', { locale: 'fr' }),
  },
  {
    view: 'change-password',
    state: 'first-confirm-rtl',
    props: { ...changePassword, isFirst: true, confirmHref: '/oauth/authorize' },
    page: on('password', { locale: 'ar' }),
  },
  { view: 'activity', state: 'some', props: activity, page: on('activity') },
  { view: 'activity', state: 'long', props: activity, page: on('activity', { locale: 'de', signedInAs: longEmail }) },
  { view: 'activity', state: 'rtl', props: activity, page: on('activity', { locale: 'ar' }) },
  { view: 'activity', state: 'empty', props: { events: [], problems: [] }, page: on('activity') },
  { view: 'change-email', state: 'ask', props: changeEmail, page: on('profile') },
  {
    view: 'change-email',
    state: 'error',
    props: { ...changeEmail, newEmail: email, problems: [{ field: 'email', code: 'emailSame' }] },
    page: on('profile', { locale: 'de' }),
  },
  {
    view: 'change-email',
    state: 'code',
    props: { ...changeEmail, newEmail: longEmail, asksCode: true, notice: 'mailSent' },
    page: on('profile'),
  },
  {
    view: 'change-email',
    state: 'code-error-rtl',
    props: { ...changeEmail, newEmail: email, asksCode: true, problems: [{ field: 'code', code: 'wrongCode' }] },
    page: on('profile', { locale: 'ar' }),
  },
  { view: 'data', state: 'page', props: data, page: on('data') },
  {
    view: 'data',
    state: 'confirm-rtl',
    props: { ...data, confirmHref: '/oauth/authorize' },
    page: on('data', { locale: 'ar' }),
  },
  { view: 'close-account', state: 'page', props: closeAccount, page: on('data') },
  {
    view: 'close-account',
    state: 'error',
    props: { ...closeAccount, problems: [{ field: 'password', code: 'currentPasswordWrong' }] },
    page: on('data', { locale: 'fr' }),
  },
  {
    view: 'close-account',
    state: 'last-owner',
    props: { ...closeAccount, problems: [{ code: 'lastOwner', values: { names: 'Acme, Royal Society' } }] },
    page: on('data', { locale: 'de' }),
  },
  {
    view: 'close-account',
    state: 'no-password-rtl',
    props: { ...closeAccount, asksPassword: false, problems: [{ code: 'lastSuperAdmin' }] },
    page: on('data', { locale: 'ar' }),
  },
  { view: 'account-closed', state: 'page', props: { homeHref: '/' } },
];
