/** Two-step verification and signing in by mail, in every state. */
import type { ViewProps } from '../../interactions/view-props.ts';
import { qrCode } from '../../src/mfa/qr.ts';
import type { Sample } from './gallery.ts';
import { menuOn } from './gallery-account.ts';
import { acme, at, earlier, email, longEmail, longWord, token } from './gallery-values.ts';

const twoStep: ViewProps['two-step'] = {
  on: true,
  apps: [
    { id: 'a1', name: 'Blue phone', addedAt: earlier, lastUsedAt: at },
    { id: 'a2', name: longWord, addedAt: earlier },
  ],
  full: false,
  backupCodes: 8,
  passkeys: 1,
  passkeysHref: '/account/passkeys',
  browsers: 2,
  action: '/account/two-step',
  problems: [],
};

const otpauthUrl =
  'otpauth://totp/Countersign:ada%40example.org?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Countersign&algorithm=SHA1&digits=6&period=30';
const setUp: ViewProps['two-step-setup'] = {
  action: '/account/two-step/app/confirm',
  cancelHref: '/account/two-step',
  key: 'JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP',
  otpauthUrl,
  qr: await qrCode(otpauthUrl),
  minutes: 15,
  problems: [],
};

const codes: ViewProps['backup-codes'] = {
  codes: [
    '0f3k-9wq2-m7hd',
    '8rzt-1xvc-4k2p',
    'jq5n-0ymb-7s3g',
    'c9dw-ke6h-t1v8',
    '2b7x-pz4r-9qfn',
    'm3gs-5ht0-w8cy',
    'v1k6-d2jx-e4zb',
    '7nqp-r9f3-0hms',
    'x8cw-4y1t-k5gd',
    'z6bv-s7e2-q3jn',
  ],
  account: email,
  added: true,
  downloadAction: '/account/two-step/codes.txt',
  doneHref: '/account/two-step',
};

const magicLink: ViewProps['magic-link'] = { action: '/interaction/1', email, minutes: 10, problems: [] };

const page = { signedInAs: email, account: menuOn('two-step') };

export const factorSamples: Sample[] = [
  { view: 'two-step', state: 'on', props: { ...twoStep, notice: 'browsersForgotten' }, page },
  {
    view: 'two-step',
    state: 'off',
    props: { ...twoStep, on: false, apps: [], backupCodes: 0, passkeys: 0, browsers: 0 },
    page,
  },
  {
    view: 'two-step',
    state: 'last-factor',
    props: { ...twoStep, full: true, backupCodes: 1, browsers: 0, problems: [{ code: 'lastFactor' }] },
    page,
  },
  { view: 'two-step-setup', state: 'fresh', props: setUp, page },
  {
    view: 'two-step-setup',
    state: 'wrong-code',
    props: { ...setUp, name: 'Blue phone', problems: [{ field: 'code', code: 'totpWrong' }] },
    page,
  },
  { view: 'backup-codes', state: 'first', props: codes, page },
  { view: 'backup-codes', state: 'kept', props: { ...codes, codes: [] }, page },
  { view: 'magic-link', state: 'waiting', props: magicLink, page: { client: acme } },
  {
    view: 'magic-link',
    state: 'wrong-code',
    props: { ...magicLink, email: longEmail, problems: [{ field: 'code', code: 'wrongCode' }] },
  },
  { view: 'magic-link', state: 'link-used', props: { ...magicLink, problems: [{ code: 'linkExpired' }] } },
  { view: 'magic-link-open', state: 'here', props: { action: '/interaction/1', token, email }, page: { client: acme } },
  { view: 'magic-link-open', state: 'elsewhere', props: {} },
];
