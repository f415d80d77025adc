/** The page on which somebody chooses the organization that they sign in for, in every state. */
import type { ViewProps } from '../../interactions/view-props.ts';
import type { Sample } from './gallery.ts';
import { acme, email, longApp, longEmail, longWord, name } from './gallery-values.ts';

const organization: ViewProps['organization'] = {
  action: '/interaction/1',
  cancelAction: '/interaction/1/abort',
  switchAccountAction: '/interaction/1/switch',
  account: { name, email },
  belongs: 'here',
  organizations: [
    { id: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f', name: 'Analytical Engines Ltd', kind: 'company' },
    { id: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e70', name: 'Royal Society', kind: 'organization' },
  ],
  problems: [],
};
const page = { client: acme, signedInAs: email };

export const organizationSamples: Sample[] = [
  { view: 'organization', state: 'choice', props: organization, page },
  {
    view: 'organization',
    state: 'error',
    props: { ...organization, problems: [{ code: 'organizationNotYours' }] },
    page,
  },
  { view: 'organization', state: 'nowhere', props: { ...organization, belongs: 'nowhere', organizations: [] }, page },
  {
    view: 'organization',
    state: 'elsewhere',
    props: { ...organization, belongs: 'elsewhere', organizations: [] },
    page: { ...page, locale: 'fr' },
  },
  {
    view: 'organization',
    state: 'long',
    props: {
      ...organization,
      account: { name: longWord, email: longEmail },
      organizations: Array.from({ length: 12 }, (_, index) => ({
        id: `0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e${index + 10}`,
        name: index % 2 ? longWord : `Organization number ${index} with a rather long name of many words`,
        kind: 'organization' as const,
      })),
    },
    page: { client: longApp, signedInAs: longEmail, locale: 'de' },
  },
  { view: 'organization', state: 'rtl', props: organization, page: { ...page, locale: 'ar' } },
  {
    view: 'organization',
    state: 'device',
    props: { ...organization, switchAccountAction: undefined },
    page: { client: { ...acme, name: 'Living Room TV' }, signedInAs: email, locale: 'es' },
  },
];
