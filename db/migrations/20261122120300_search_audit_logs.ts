/** The audit log can be searched by each of its members, is kept for as long as the operator says, and knows devices. */

/** What a search can ask for alone. Each index ends in the order in which rows are listed. */
const searched = ['actor_type', 'actor_id', 'target_type', 'target_id', 'request_id', 'address'];

/**
 * Rows younger than this cannot be deleted by whatever the application does. The shortest AUDIT_RETENTION is the same,
 * so that retention never meets a refusal.
 */
const floor = '30 days';

const appendOnly = (body: string) =>
  `create or replace function audit_logs_append_only() returns trigger language plpgsql as $$
    begin${body}
      raise exception 'audit_logs is append-only';
    end
  $$`;

export const up = [
  'drop index audit_logs_at_idx',
  'drop index audit_logs_actor_id_idx',
  'drop index audit_logs_target_idx',
  'drop index audit_logs_action_idx',
  'create index audit_logs_at_idx on audit_logs (at, id)',
  // Serves equality and prefixes, whatever the collation of the database.
  'create index audit_logs_action_idx on audit_logs (action text_pattern_ops, at, id)',
  ...searched.map(
    (column) =>
      `create index audit_logs_${column}_idx on audit_logs (${column}, at, id)${column === 'actor_type' ? '' : ` where ${column} is not null`}`,
  ),
  'alter table audit_logs add column user_agent text',
  appendOnly(`
      if tg_op = 'DELETE' then
        if current_setting('countersign.retention', true) = 'on' and old.at < now() - interval '${floor}' then
          return old;
        end if;
      end if;`),
];

export const down = [
  appendOnly(''),
  'alter table audit_logs drop column user_agent',
  ...searched.map((column) => `drop index audit_logs_${column}_idx`),
  'drop index audit_logs_action_idx',
  'drop index audit_logs_at_idx',
  'create index audit_logs_at_idx on audit_logs (at)',
  'create index audit_logs_actor_id_idx on audit_logs (actor_id, at)',
  'create index audit_logs_target_idx on audit_logs (target_type, target_id, at)',
  'create index audit_logs_action_idx on audit_logs (action, at)',
];
