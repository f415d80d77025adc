/** How people come into organizations by themselves: invitations by mail, and mail domains that an organization has shown to be its own. */

export const up = [
  `create table organization_invitations (
    id uuid constraint organization_invitations_pkey primary key default gen_random_uuid(),
    organization_id uuid not null constraint organization_invitations_organization_id_fkey references organizations on delete cascade,
    email text not null,
    token_hash text not null constraint organization_invitations_token_hash_key unique,
    role_ids uuid[] not null default '{}',
    invited_by uuid not null constraint organization_invitations_invited_by_fkey references users on delete cascade,
    expires_at timestamptz not null,
    accepted_at timestamptz,
    declined_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    constraint organization_invitations_state_check check (num_nonnulls(accepted_at, declined_at, revoked_at) <= 1)
  )`,
  // One that waits for an answer per organization and address.
  `create unique index organization_invitations_email_key on organization_invitations (email, organization_id)
     where accepted_at is null and declined_at is null and revoked_at is null`,
  'create index organization_invitations_organization_id_idx on organization_invitations (organization_id, id)',
  'create index organization_invitations_invited_by_idx on organization_invitations (invited_by)',
  'create index organization_invitations_expires_at_idx on organization_invitations (expires_at)',

  `create table organization_domains (
    id uuid constraint organization_domains_pkey primary key default gen_random_uuid(),
    organization_id uuid not null constraint organization_domains_organization_id_fkey references organizations on delete cascade,
    domain text not null,
    token text not null,
    auto_join boolean not null default false,
    role_id uuid constraint organization_domains_role_id_fkey references roles on delete set null,
    verified_at timestamptz,
    verified_by_hand boolean not null default false,
    checked_at timestamptz,
    missing_since timestamptz,
    created_at timestamptz not null default now(),
    constraint organization_domains_domain_check check (domain = lower(domain)),
    constraint organization_domains_organization_id_domain_key unique (organization_id, domain)
  )`,
  // Anybody may claim a domain; it is one organization's that has shown it.
  'create unique index organization_domains_domain_key on organization_domains (domain) where verified_at is not null',
  'create index organization_domains_role_id_idx on organization_domains (role_id)',
  `create index organization_domains_checked_at_idx on organization_domains (checked_at)
     where verified_at is not null and not verified_by_hand`,
  // Whose verified address is at a domain.
  `create index users_email_domain_idx on users (split_part(email, '@', 2)) where email_verified_at is not null`,

  // Whoever was a member once does not become one again by their address alone, however they went.
  `create table organization_departures (
    organization_id uuid constraint organization_departures_organization_id_fkey references organizations on delete cascade,
    user_id uuid constraint organization_departures_user_id_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint organization_departures_pkey primary key (organization_id, user_id)
  )`,
  'create index organization_departures_user_id_idx on organization_departures (user_id)',
  // A trigger, so that no way out can forget it. What is deleted with its organization or its person is not remembered.
  `create function remember_departure() returns trigger language plpgsql as $$
   begin
     insert into organization_departures (organization_id, user_id)
       select organizations.id, users.id from organizations, users
       where organizations.id = old.organization_id and users.id = old.user_id and users.status <> 'closed'
       on conflict do nothing;
     return null;
   end $$`,
  `create trigger organization_members_departure after delete on organization_members
     for each row execute function remember_departure()`,
];

export const down = [
  'drop trigger organization_members_departure on organization_members',
  'drop function remember_departure()',
  'drop table organization_departures',
  'drop index users_email_domain_idx',
  'drop table organization_domains',
  'drop table organization_invitations',
];
