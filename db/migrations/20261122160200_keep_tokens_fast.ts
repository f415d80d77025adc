/**
 * What requests touch all the time stays fast however much there is of it, and what organizations ask of sign-ins is told of on the
 * channel `access`, so that it can be remembered: `rules:*`.
 */

/**
 * Rows that are updated a while after they were made find room in their page, so that their indexes stay as they are. Of large tables
 * the default lets a fifth die before anybody tidies up, which with millions of rows takes long and comes late.
 */
const storage: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  refresh_tokens: { fillfactor: 85, autovacuum_vacuum_scale_factor: 0.02, autovacuum_analyze_scale_factor: 0.02 },
  sessions: { fillfactor: 85, autovacuum_vacuum_scale_factor: 0.02, autovacuum_analyze_scale_factor: 0.02 },
  oidc_payloads: { fillfactor: 90, autovacuum_vacuum_scale_factor: 0.02, autovacuum_analyze_scale_factor: 0.02 },
  grants: { fillfactor: 90, autovacuum_vacuum_scale_factor: 0.02, autovacuum_analyze_scale_factor: 0.02 },
  users: { fillfactor: 90, autovacuum_vacuum_scale_factor: 0.02, autovacuum_analyze_scale_factor: 0.02 },
};

export const up = [
  ...Object.entries(storage).map(
    ([table, parameters]) =>
      `alter table ${table} set (${Object.entries(parameters)
        .map(([name, value]) => `${name} = ${value}`)
        .join(', ')})`,
  ),
  `create function tell_changed_rules() returns trigger language plpgsql set search_path from current as $$
    begin
      if exists (select from changed join was on was.id = changed.id
          where (was.parent_id, was.is_active, was.require_mfa, was.sign_in_methods)
            is distinct from (changed.parent_id, changed.is_active, changed.require_mfa, changed.sign_in_methods))
      then perform pg_notify('access', 'rules:*'); end if;
      return null;
    end
  $$`,
  `create trigger organizations_tell_rules after update on organizations
    referencing old table as was new table as changed for each statement execute function tell_changed_rules()`,
];

export const down = [
  'drop trigger organizations_tell_rules on organizations',
  'drop function tell_changed_rules()',
  ...Object.entries(storage).map(
    ([table, parameters]) => `alter table ${table} reset (${Object.keys(parameters).join(', ')})`,
  ),
];
