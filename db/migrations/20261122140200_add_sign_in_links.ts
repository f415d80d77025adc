/** Links and codes by mail that sign in. */

const allow = (table: string, purposes: readonly string[]) => [
  `alter table ${table} drop constraint ${table}_purpose_check`,
  `alter table ${table} add constraint ${table}_purpose_check check (purpose in (${purposes.map((name) => `'${name}'`).join(', ')}))`,
];

const links = ['verify-email', 'reset-password', 'setup'];
const codes = ['verify-email', 'verify-phone', 'mfa'];

export const up = [
  ...allow('action_tokens', [...links, 'sign-in-link']),
  ...allow('one_time_codes', [...codes, 'sign-in']),
];

export const down = [
  `delete from action_tokens where purpose = 'sign-in-link'`,
  `delete from one_time_codes where purpose = 'sign-in'`,
  ...allow('action_tokens', links),
  ...allow('one_time_codes', codes),
];
