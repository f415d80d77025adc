/** The passkeys of an account, in every state. */
import type { ViewProps } from '../../interactions/view-props.ts';
import type { Sample } from './gallery.ts';
import { menuOn } from './gallery-account.ts';
import { at, earlier, email, longWord } from './gallery-values.ts';

const passkeys: ViewProps['passkeys'] = {
  passkeys: [
    {
      id: 'p1',
      name: 'Chrome on Windows',
      synced: true,
      secondOnly: false,
      madeAt: earlier,
      lastUsedAt: at,
      removeHref: '/account/passkeys/p1/remove',
    },
    {
      id: 'p2',
      name: 'Blue security key',
      synced: false,
      secondOnly: true,
      madeAt: earlier,
      removeHref: '/account/passkeys/p2/remove',
    },
  ],
  addAction: '/account/passkeys',
  optionsHref: '/account/passkeys/options',
  renameAction: '/account/passkeys/rename',
  suggestedName: 'Firefox on Linux',
  full: false,
  verified: true,
  problems: [],
};

const page = { signedInAs: email, account: menuOn('passkeys') };
const [first] = passkeys.passkeys;

export const passkeySamples: Sample[] = [
  { view: 'passkeys', state: 'two', props: passkeys, page },
  { view: 'passkeys', state: 'none', props: { ...passkeys, passkeys: [], notice: 'passkeyRemoved' }, page },
  {
    view: 'passkeys',
    state: 'refused',
    props: { ...passkeys, problems: [{ code: 'passkeyExists' }] },
    page,
  },
  {
    view: 'passkeys',
    state: 'long',
    props: { ...passkeys, full: true, passkeys: [{ ...first, name: longWord } as (typeof passkeys.passkeys)[number]] },
    page,
  },
  { view: 'passkeys', state: 'unverified', props: { ...passkeys, passkeys: [], verified: false }, page },
  { view: 'passkeys', state: 'confirm', props: { ...passkeys, confirmHref: '/account/passkeys' }, page },
  { view: 'passkeys', state: 'rtl', props: passkeys, page: { ...page, locale: 'ar' } },
  {
    view: 'passkey-remove',
    state: 'one',
    props: {
      id: 'p1',
      name: 'Chrome on Windows',
      last: false,
      action: '/account/passkeys/remove',
      keepHref: '/account/passkeys',
      problems: [],
    },
    page,
  },
  {
    view: 'passkey-remove',
    state: 'last',
    props: {
      id: 'p1',
      name: longWord,
      last: true,
      action: '/account/passkeys/remove',
      keepHref: '/account/passkeys',
      problems: [],
    },
    page,
  },
];
