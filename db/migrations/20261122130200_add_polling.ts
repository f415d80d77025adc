/** How often a device code or a backchannel request is polled, and how far the decision on it has got. */

export const up = [
  // 0: nobody has looked at it; 1: somebody is deciding; 2: decided. It only grows, so of two decisions one counts.
  `alter table oidc_payloads
     add column stage integer not null default 0 constraint oidc_payloads_stage_check check (stage between 0 and 2),
     add column poll_seconds integer not null default 5,
     add column polled_at timestamptz,
     add column polled_too_soon boolean not null default false`,
];

export const down = [
  `alter table oidc_payloads
     drop column polled_too_soon, drop column polled_at, drop column poll_seconds, drop column stage`,
];
