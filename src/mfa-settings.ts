/** The settings of second factors, which `config.ts` takes in with all others, and what they are where nobody sets them. */
import { z } from 'zod';

/** The highest roles, which may do everything and to everybody. */
const productionRoles = ['admin'];

const unitSeconds = { m: 60, h: 3600, d: 86_400 } as const;
const rememberDaysMax = 180;
const days = `expected a whole number of days from 0 to ${rememberDaysMax}`;

export const mfaSettings = {
  MFA_REQUIRED_ROLES: z
    .string()
    .transform((text) =>
      text
        .split(',')
        .map((role) => role.trim())
        .filter((role) => role && role !== 'none'),
    )
    .optional()
    .meta({
      description:
        'Roles, separated by commas, whose sign-ins need a second factor, as do those of every role above them; `none` for no role. `admin` in production and none in development unless set',
    }),
  MFA_REMEMBER_DAYS: z.coerce.number(days).int(days).min(0, days).max(rememberDaysMax, days).default(30).meta({
    description:
      'For how many days a browser is not asked for a second factor that its owner has shown on it and ticked so; applications, `acr_values` and risk ask all the same. 0: it is asked each time',
  }),
  MFA_ENROLMENT_GRACE: z
    .string()
    .regex(/^(0|\d{1,5}[mhd])$/, 'expected a duration such as 12h or 7d, or 0')
    .transform((text) =>
      text === '0' ? 0 : Number.parseInt(text, 10) * unitSeconds[text.slice(-1) as keyof typeof unitSeconds],
    )
    .default(7 * 86_400)
    .meta({
      description:
        'How long people who must have a second factor may put off setting one up, from the first time that they are asked; until then a mailed code does. 0: not at all',
    }),
};

/** The roles that need a second factor. */
export const mfaRoles = ({
  NODE_ENV,
  MFA_REQUIRED_ROLES,
}: {
  NODE_ENV?: string | undefined;
  MFA_REQUIRED_ROLES?: readonly string[] | undefined;
}): readonly string[] => MFA_REQUIRED_ROLES ?? (NODE_ENV === 'production' ? productionRoles : []);
