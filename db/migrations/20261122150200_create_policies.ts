/** Policies with their versions, and decisions that were made, which new policies are tried on. */

export const up = [
  `create table policies (
    id uuid constraint policies_pkey primary key default gen_random_uuid(),
    name text not null constraint policies_name_key unique,
    description text not null default '',
    active_version integer,
    activated_rank integer,
    activated_by text,
    activated_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint policies_active_check check (num_nonnulls(active_version, activated_rank, activated_at) in (0, 3))
  )`,
  `create table policy_versions (
    policy_id uuid constraint policy_versions_policy_id_fkey references policies on delete cascade,
    version integer,
    effect text not null constraint policy_versions_effect_check check (effect in ('allow', 'deny')),
    resources text[] not null,
    actions text[] not null,
    condition jsonb not null,
    created_by text,
    created_at timestamptz not null default now(),
    constraint policy_versions_pkey primary key (policy_id, version)
  )`,
  `alter table policies add constraint policies_active_version_fkey
     foreign key (id, active_version) references policy_versions (policy_id, version)`,
  'create index policies_id_active_version_idx on policies (id, active_version)',

  // Every replica drops its compiled set when a policy begins, changes or ends to be active.
  `create function notify_policies() returns trigger language plpgsql as $$
   begin
     perform pg_notify('access', 'policies');
     return null;
   end $$`,
  `create trigger policies_notify after insert or update or delete on policies
     for each statement execute function notify_policies()`,

  // No names, addresses or properties: what is kept of a question is who asked for what, in ids.
  `create table decisions (
    id uuid constraint decisions_pkey primary key default gen_random_uuid(),
    at timestamptz not null default now(),
    question jsonb not null,
    allowed boolean not null,
    because jsonb not null
  )`,
  'create index decisions_at_idx on decisions (at, id)',
];

export const down = [
  'drop table decisions',
  'drop table policies cascade',
  'drop table policy_versions',
  'drop function notify_policies',
];
