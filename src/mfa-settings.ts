/** The settings of second factors, which `config.ts` takes in with all others, and what they are where nobody sets them. */
import { duration, integer, list } from './setting-kinds.ts';

/** The highest roles, which may do everything and to everybody. */
const productionRoles = ['admin'];

export const mfaSettings = {
  MFA_REQUIRED_ROLES: list
    .transform((roles) => roles.filter((role) => role !== 'none'))
    .optional()
    .meta({
      description:
        'Roles, separated by commas, whose sign-ins need a second factor, as do those of every role above them; `none` for no role. `admin` in production and none in development unless set',
    }),
  MFA_REMEMBER_DAYS: integer(0, 180).default(30).meta({
    description:
      'For how many days a browser is not asked for a second factor that its owner has shown on it and ticked so; applications, `acr_values` and risk ask all the same. 0: it is asked each time',
  }),
  MFA_ENROLMENT_GRACE: duration
    .refine((seconds) => seconds <= 3650 * 86_400, 'expected at most 3650d')
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
