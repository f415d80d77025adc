/** A code may also show that somebody has the mailbox that their account is to be moved to. */

const check = (purposes: string) => [
  'alter table one_time_codes drop constraint one_time_codes_purpose_check',
  `alter table one_time_codes add constraint one_time_codes_purpose_check check (purpose in (${purposes}))`,
];

export const up = check(`'verify-email', 'verify-phone', 'mfa', 'sign-in', 'change-email'`);

export const down = [
  `delete from one_time_codes where purpose = 'change-email'`,
  ...check(`'verify-email', 'verify-phone', 'mfa', 'sign-in'`),
];
