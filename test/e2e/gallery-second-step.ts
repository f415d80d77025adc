/** The second step of a sign-in, and setting one up on the way, in every state. */
import type { ViewProps } from '../../interactions/view-props.ts';
import { qrCode } from '../../src/mfa/qr.ts';
import type { Sample } from './gallery.ts';
import { acme, email, longEmail } from './gallery-values.ts';

const passkeyWay = { action: '/interaction/x', optionsHref: '/interaction/x/passkey' };
const secondFactor: ViewProps['second-factor'] = {
  action: '/interaction/x',
  cancelAction: '/interaction/x/abort',
  method: 'totp',
  others: ['passkey', 'backup-code'],
  email,
  stepUp: false,
  rememberDays: 30,
  passkey: passkeyWay,
  problems: [],
};
const { rememberDays: _days, passkey: _passkey, ...withoutApp } = secondFactor;
const mailedFactor: ViewProps['second-factor'] = { ...withoutApp, method: 'sms', others: ['email'] };
const enrolment: ViewProps['enrolment'] = {
  action: '/interaction/x',
  cancelAction: '/interaction/x/abort',
  until: new Date('2027-02-07T09:26:00Z'),
  passkey: { optionsHref: '/interaction/x/passkey', suggestedName: 'Firefox on Linux' },
  problems: [],
};
const enrolmentApp = {
  key: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP',
  otpauthUrl: 'otpauth://totp/Countersign:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Countersign',
  qr: await qrCode('otpauth://totp/Countersign:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'),
};
const enrolmentCodes = Array.from({ length: 10 }, (_, index) => `0f3k-9wq2-m7h${index}`);
const enrolmentDone = { action: '/interaction/x', account: email, downloadAction: '/account/two-step/codes.txt' };

export const secondStepSamples: Sample[] = [
  { view: 'second-factor', state: 'app', props: secondFactor, page: { client: acme } },
  {
    view: 'second-factor',
    state: 'passkey',
    props: {
      ...secondFactor,
      method: 'passkey',
      others: ['totp', 'backup-code'],
      passkey: { ...passkeyWay, main: true },
    },
  },
  {
    view: 'second-factor',
    state: 'backup',
    props: { ...secondFactor, method: 'backup-code', others: ['totp'] },
    page: { locale: 'fr' },
  },
  {
    view: 'second-factor',
    state: 'email',
    props: { ...mailedFactor, method: 'email', others: [] },
    page: { client: acme },
  },
  {
    view: 'second-factor',
    state: 'wrong',
    props: { ...mailedFactor, email: longEmail, problems: [{ field: 'code', code: 'wrongCode' }] },
    page: { locale: 'de' },
  },
  {
    view: 'second-factor',
    state: 'pause',
    props: { ...secondFactor, problems: [{ code: 'tooManyAttempts', values: { minutes: 15 } }] },
  },
  {
    view: 'second-factor',
    state: 'step-up',
    props: { ...secondFactor, stepUp: true },
    page: { client: acme, signedInAs: email },
  },
  { view: 'second-factor', state: 'rtl', props: secondFactor, page: { client: acme, locale: 'ar' } },
  { view: 'enrolment', state: 'choose', props: enrolment, page: { client: acme, signedInAs: email } },
  {
    view: 'enrolment',
    state: 'due',
    props: { ...enrolment, until: undefined, problems: [{ code: 'passkeyNotAdded' }] },
  },
  { view: 'enrolment', state: 'app', props: { ...enrolment, app: enrolmentApp }, page: { signedInAs: email } },
  { view: 'enrolment', state: 'rtl', props: { ...enrolment, app: enrolmentApp }, page: { client: acme, locale: 'ar' } },
  { view: 'enrolment-codes', state: 'shown', props: { ...enrolmentDone, codes: enrolmentCodes } },
  { view: 'enrolment-codes', state: 'none', props: { ...enrolmentDone, codes: [] }, page: { client: acme } },
];
