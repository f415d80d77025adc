/** Types and actions of permissions may have digits and dashes: what services name theirs, such as `purchase-orders`. */

const rename = (part: string) => [
  'alter table permissions drop constraint permissions_name_check',
  `alter table permissions add constraint permissions_name_check
     check (name ~ '^([*]|${part}):([*]|${part}):([*]|own|organization|any)$') not valid`,
];

export const up = rename('[a-z][a-z0-9_-]{0,39}');

export const down = rename('[a-z][a-z_]{0,39}');
