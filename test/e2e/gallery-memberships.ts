/** The organizations of an account, and leaving one, in every state. */
import type { PageContext, ViewProps } from '../../interactions/view-props.ts';
import type { Sample } from './gallery.ts';
import { menuOn } from './gallery-account.ts';
import { earlier, email, longEmail, longWord } from './gallery-values.ts';

const leaveHref = '/account/organizations/0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f/leave';
const one: ViewProps['organizations']['organizations'][number] = {
  ...{ name: 'Royal Society', kind: 'organization', isActive: true, isOwner: false, isOnlyOwner: false },
  ...{ roles: ['partner', 'user'], since: earlier, leaveHref },
};
const { leaveHref: _none, ...owned } = { ...one, isOwner: true, isOnlyOwner: true };
const organizations: ViewProps['organizations'] = {
  organizations: [
    { ...owned, name: 'Analytical Engines Ltd', kind: 'company', roles: ['manager'] },
    one,
    { ...one, name: 'Weavers’ Guild', isOwner: true, isActive: false, roles: [] },
  ],
  groups: [
    { name: 'Engineering', kind: 'team' },
    { name: 'Night shift', kind: 'group' },
  ],
  domains: ['Marketing', 'Sales'],
  problems: [],
};
const leave: ViewProps['organization-leave'] = {
  ...{ id: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f', name: 'Royal Society' },
  ...{ action: '/account/organizations/leave', stayHref: '/account/organizations', problems: [] },
};
const on = (page: Partial<PageContext> = {}): Partial<PageContext> => ({
  signedInAs: email,
  account: menuOn('organizations'),
  ...page,
});

export const membershipSamples: Sample[] = [
  { view: 'organizations', state: 'several', props: organizations, page: on() },
  {
    view: 'organizations',
    state: 'none',
    props: { organizations: [], groups: [], domains: [], notice: 'organizationLeft', problems: [] },
    page: on({ locale: 'fr' }),
  },
  {
    view: 'organizations',
    state: 'long-error',
    props: {
      organizations: [{ ...one, name: longWord, roles: [longWord, 'user'] }],
      groups: [{ name: longWord, kind: 'team' }],
      domains: [longWord],
      problems: [{ code: 'lastOwner', values: { names: longWord } }],
    },
    page: on({ signedInAs: longEmail, locale: 'de' }),
  },
  { view: 'organizations', state: 'rtl', props: organizations, page: on({ locale: 'ar' }) },
  { view: 'organization-leave', state: 'ask', props: leave, page: on() },
  { view: 'organization-leave', state: 'long', props: { ...leave, name: longWord }, page: on({ locale: 'es' }) },
  { view: 'organization-leave', state: 'rtl', props: leave, page: on({ locale: 'ar' }) },
];
