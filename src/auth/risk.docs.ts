/** `docs/risk.md`: what makes a sign-in risky, and what becomes of it; from the declarations in `risk.ts`. */
import { settings } from '../settings.ts';
import { historyMax, riskFactors, scoreMax } from './risk.ts';

const setting = (name: 'RISK_STEP_UP' | 'RISK_REFUSE') => settings.shape[name].parse(undefined);

const intro = `# Risk

Every sign-in is compared with those of the same person before it, up to ${historyMax} of the last SIGN_IN_RETENTION. Each factor that
holds adds its weight; the sum, ${scoreMax} at most, is the score. From \`RISK_STEP_UP\` (${setting('RISK_STEP_UP')}) on a second factor is needed, on a remembered
browser too; from \`RISK_REFUSE\` (${setting('RISK_REFUSE') || '0: off'}) on nobody gets in, and the answer is that of a wrong password. A threshold of 0 is off; \`RISK_STEP_UP\` must not be above \`RISK_REFUSE\`.

A factor that cannot be judged says \`unknown\` and weighs nothing. So a first sign-in weighs nothing, nor does anything that
needs a place without \`GEOIP_DB\`. A sign-in that an application relayed (the password grant) shows neither a person's device
nor their address. What was refused, and what its owner has said was not theirs, makes nothing known.

The factors and the score are kept with the sign-in: \`GET /auth/me/sign-ins\`, and for administrators \`GET /users/:id/sign-ins\`.
When the device is new, but not at the very first sign-in, its owner gets a mail with a link that ends that session.

This file is generated from \`src/auth/risk.ts\` by \`npm run docs\`.
`;

/** People, and what the weights make of them. */
const examples: readonly [who: string, factors: readonly (keyof typeof riskFactors)[]][] = [
  ['A new phone at home', ['new-device']],
  ['A new phone, over a mobile network, late at night', ['new-device', 'new-network', 'unusual-hour']],
  ['Abroad with one’s own laptop', ['new-country', 'new-network']],
  ['A new device in a new country', ['new-device', 'new-country']],
  ['One’s own browser, an hour later on another continent', ['new-country', 'new-network', 'impossible-travel']],
  ['A new device after a burst of wrong passwords', ['new-device', 'bad-passwords']],
  ['A new device on a new network after such a burst', ['new-device', 'new-network', 'bad-passwords']],
];

/** The text of the file. */
export const riskMarkdown = (): string => {
  const scoreOf = (names: (typeof examples)[number][1]) =>
    Math.min(
      scoreMax,
      names.reduce((sum, name) => sum + riskFactors[name].weight, 0),
    );
  return [
    intro,
    '| Factor | Weight | Holds when | Needs |',
    '|---|---|---|---|',
    ...Object.entries(riskFactors).map(
      ([name, { weight, when, needs }]) => `| \`${name}\` | ${weight} | ${when} | ${needs} |`,
    ),
    '',
    '## Examples',
    '',
    'At the default settings:',
    '',
    '| Who | Score | Outcome |',
    '|---|---|---|',
    ...examples.map(([who, names]) => {
      const score = scoreOf(names);
      return `| ${who} | ${score} | ${score >= setting('RISK_STEP_UP') ? 'a second factor' : 'allowed'} |`;
    }),
    '',
  ].join('\n');
};
