create table schema_migrations (name text constraint schema_migrations_pkey primary key, applied_at timestamptz not null default now());
-- 20261122000000_create_identity
create table roles (
    id uuid constraint roles_pkey primary key default gen_random_uuid(),
    name text not null constraint roles_name_key unique,
    description text not null default '',
    rank integer not null,
    built_in boolean not null default false,
    created_at timestamptz not null default now()
  );
insert into roles (name, rank, description, built_in) values
    ('super_admin', 100, 'Everything, including other administrators', true), ('admin', 80, 'Users, clients and settings', true), ('moderator', 60, 'Looks after users and content', true), ('manager', 50, 'Looks after an organization or team', true), ('partner', 40, 'A person of a partner organization', true), ('operator', 30, 'Runs the service', true), ('user', 10, 'Signs in', true);
create table permissions (
    id uuid constraint permissions_pkey primary key default gen_random_uuid(),
    name text not null constraint permissions_name_key unique,
    description text not null default '',
    constraint permissions_name_check check (name ~ '^[a-z_*]+:[a-z_*]+:[a-z_*]+$')
  );
create table role_permissions (
    role_id uuid not null constraint role_permissions_role_id_fkey references roles on delete cascade,
    permission_id uuid not null constraint role_permissions_permission_id_fkey references permissions on delete cascade,
    constraint role_permissions_pkey primary key (role_id, permission_id)
  );
create index role_permissions_permission_id_idx on role_permissions (permission_id);
create table users (
    id uuid constraint users_pkey primary key,
    email text not null,
    email_verified_at timestamptz,
    name text not null,
    password_hash text,
    password_changed_at timestamptz,
    role_id uuid not null constraint users_role_id_fkey references roles,
    status text not null default 'active',
    locale text,
    pii_key bytea,
    pii_encrypted bytea,
    phone_index text,
    last_sign_in_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_status_check check (status in ('active', 'deactivated', 'closed')),
    constraint users_email_check check (email = lower(email)),
    constraint users_pii_check check ((pii_key is null) = (pii_encrypted is null))
  );
create unique index users_email_key on users (email) where status <> 'closed';
create index users_role_id_idx on users (role_id);
create index users_phone_index_idx on users (phone_index) where phone_index is not null;
create table action_tokens (
    token_hash text constraint action_tokens_pkey primary key,
    purpose text not null,
    user_id uuid constraint action_tokens_user_id_fkey references users on delete cascade,
    browser_hash text,
    expires_at timestamptz not null,
    consumed_at timestamptz,
    created_at timestamptz not null default now(),
    constraint action_tokens_purpose_check check (purpose in ('verify-email', 'reset-password', 'setup'))
  );
create index action_tokens_user_id_idx on action_tokens (user_id);
create index action_tokens_expires_at_idx on action_tokens (expires_at);
create table audit_logs (
    id uuid constraint audit_logs_pkey primary key,
    at timestamptz not null default now(),
    actor_type text not null,
    actor_id text,
    action text not null,
    target_type text,
    target_id text,
    meta jsonb not null default '{}',
    request_id text,
    address text,
    constraint audit_logs_actor_type_check check (actor_type in ('user', 'client', 'operator', 'system', 'anonymous'))
  );
create index audit_logs_at_idx on audit_logs (at);
create index audit_logs_actor_id_idx on audit_logs (actor_id, at);
create index audit_logs_target_idx on audit_logs (target_type, target_id, at);
create index audit_logs_action_idx on audit_logs (action, at);
create function audit_logs_append_only() returns trigger language plpgsql as $$
    begin
      raise exception 'audit_logs is append-only';
    end
  $$;
create trigger audit_logs_append_only before update or delete on audit_logs for each row execute function audit_logs_append_only();
create trigger audit_logs_no_truncate before truncate on audit_logs for each statement execute function audit_logs_append_only();
insert into schema_migrations (name) values ('20261122000000_create_identity');
-- 20261122000100_create_provider
create table jwks_keys (
    kid text constraint jwks_keys_pkey primary key,
    alg text not null,
    public_jwk jsonb not null,
    private_encrypted bytea not null,
    signs_from timestamptz not null,
    created_at timestamptz not null default now()
  );
create index jwks_keys_alg_signs_from_idx on jwks_keys (alg, signs_from);
create table clients (
    client_id text constraint clients_pkey primary key,
    client_secret_hash text,
    client_secret_expires_at timestamptz,
    client_name text,
    client_uri text,
    logo_uri text,
    policy_uri text,
    tos_uri text,
    contacts text[] not null default '{}',
    application_type text not null default 'web',
    redirect_uris text[] not null default '{}',
    post_logout_redirect_uris text[] not null default '{}',
    grant_types text[] not null default '{authorization_code}',
    response_types text[] not null default '{code}',
    scope text,
    token_endpoint_auth_method text not null default 'client_secret_basic',
    token_endpoint_auth_signing_alg text,
    jwks jsonb,
    jwks_uri text,
    id_token_signed_response_alg text,
    userinfo_signed_response_alg text,
    subject_type text not null default 'public',
    sector_identifier_uri text,
    initiate_login_uri text,
    default_max_age integer,
    require_auth_time boolean not null default false,
    default_acr_values text[] not null default '{}',
    backchannel_logout_uri text,
    backchannel_logout_session_required boolean not null default false,
    first_party boolean not null default false,
    require_pkce boolean not null default true,
    theme jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint clients_application_type_check check (application_type in ('web', 'native')),
    constraint clients_subject_type_check check (subject_type in ('public', 'pairwise')),
    constraint clients_require_pkce_check check (require_pkce or token_endpoint_auth_method <> 'none')
  );
create table sessions (
    id_hash text constraint sessions_pkey primary key,
    uid text not null,
    user_id uuid constraint sessions_user_id_fkey references users on delete cascade,
    payload jsonb not null,
    user_agent text,
    address text,
    started_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null
  );
create index sessions_uid_idx on sessions (uid);
create index sessions_user_id_idx on sessions (user_id);
create index sessions_expires_at_idx on sessions (expires_at);
create table grants (
    id text constraint grants_pkey primary key,
    user_id uuid not null constraint grants_user_id_fkey references users on delete cascade,
    client_id text not null constraint grants_client_id_fkey references clients on delete cascade,
    session_uid text,
    payload jsonb not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  );
create index grants_user_id_client_id_idx on grants (user_id, client_id);
create index grants_client_id_idx on grants (client_id);
create index grants_session_uid_idx on grants (session_uid);
create index grants_expires_at_idx on grants (expires_at);
create table consents (
    user_id uuid not null constraint consents_user_id_fkey references users on delete cascade,
    client_id text not null constraint consents_client_id_fkey references clients on delete cascade,
    scopes text[] not null default '{}',
    claims text[] not null default '{}',
    resources jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint consents_pkey primary key (user_id, client_id)
  );
create index consents_client_id_idx on consents (client_id);
create table refresh_tokens (
    token_hash text constraint refresh_tokens_pkey primary key,
    user_id uuid not null constraint refresh_tokens_user_id_fkey references users on delete cascade,
    client_id text not null constraint refresh_tokens_client_id_fkey references clients on delete cascade,
    grant_id text not null,
    parent_hash text,
    payload jsonb not null,
    consumed_at timestamptz,
    revoked boolean not null default false,
    superseded boolean not null default false,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  );
create index refresh_tokens_grant_id_idx on refresh_tokens (grant_id);
create index refresh_tokens_parent_hash_idx on refresh_tokens (parent_hash);
create index refresh_tokens_user_id_idx on refresh_tokens (user_id);
create index refresh_tokens_client_id_idx on refresh_tokens (client_id);
create index refresh_tokens_expires_at_idx on refresh_tokens (expires_at);
create table oidc_payloads (
    model text not null,
    id_hash text not null,
    payload jsonb not null,
    grant_id text,
    user_code_hash text,
    consumed_at timestamptz,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    constraint oidc_payloads_pkey primary key (model, id_hash)
  );
create index oidc_payloads_grant_id_idx on oidc_payloads (grant_id) where grant_id is not null;
create index oidc_payloads_user_code_hash_idx on oidc_payloads (user_code_hash) where user_code_hash is not null;
create index oidc_payloads_expires_at_idx on oidc_payloads (expires_at);
create table revoked_tokens (
    jti_hash text constraint revoked_tokens_pkey primary key,
    expires_at timestamptz not null,
    created_at timestamptz not null default now()
  );
create index revoked_tokens_expires_at_idx on revoked_tokens (expires_at);
insert into schema_migrations (name) values ('20261122000100_create_provider');
-- 20261122120000_add_authorization
alter table permissions drop constraint permissions_name_check;
alter table permissions add constraint permissions_name_check
     check (name ~ '^([*]|[a-z][a-z_]{0,39}):([*]|[a-z][a-z_]{0,39}):([*]|own|organization|any)$');
insert into permissions (name) values ('*:*:*'), ('users:*:any'), ('roles:*:any'), ('sessions:*:any'), ('api_keys:*:any'), ('clients:*:any'), ('keys:*:any'), ('tokens:*:any'), ('audit:*:any'), ('users:read:own'), ('users:write:own'), ('users:close:own'), ('sessions:read:own'), ('sessions:end:own'), ('api_keys:read:own'), ('api_keys:write:own'), ('audit:read:own'), ('users:read:any'), ('users:deactivate:any'), ('sessions:read:any'), ('sessions:end:any'), ('audit:read:any'), ('users:read:organization'), ('users:write:organization'), ('roles:assign:organization'), ('clients:read:any'), ('keys:read:any'), ('keys:rotate:any'), ('tokens:revoke:any');
insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from (values ('super_admin', '*:*:*'), ('admin', 'users:*:any'), ('admin', 'roles:*:any'), ('admin', 'sessions:*:any'), ('admin', 'api_keys:*:any'), ('admin', 'clients:*:any'), ('admin', 'keys:*:any'), ('admin', 'tokens:*:any'), ('admin', 'audit:*:any'), ('moderator', 'users:read:own'), ('moderator', 'users:write:own'), ('moderator', 'users:close:own'), ('moderator', 'sessions:read:own'), ('moderator', 'sessions:end:own'), ('moderator', 'api_keys:read:own'), ('moderator', 'api_keys:write:own'), ('moderator', 'audit:read:own'), ('moderator', 'users:read:any'), ('moderator', 'users:deactivate:any'), ('moderator', 'sessions:read:any'), ('moderator', 'sessions:end:any'), ('moderator', 'audit:read:any'), ('manager', 'users:read:own'), ('manager', 'users:write:own'), ('manager', 'users:close:own'), ('manager', 'sessions:read:own'), ('manager', 'sessions:end:own'), ('manager', 'api_keys:read:own'), ('manager', 'api_keys:write:own'), ('manager', 'audit:read:own'), ('manager', 'users:read:organization'), ('manager', 'users:write:organization'), ('manager', 'roles:assign:organization'), ('partner', 'users:read:own'), ('partner', 'users:write:own'), ('partner', 'users:close:own'), ('partner', 'sessions:read:own'), ('partner', 'sessions:end:own'), ('partner', 'api_keys:read:own'), ('partner', 'api_keys:write:own'), ('partner', 'audit:read:own'), ('operator', 'users:read:own'), ('operator', 'users:write:own'), ('operator', 'users:close:own'), ('operator', 'sessions:read:own'), ('operator', 'sessions:end:own'), ('operator', 'api_keys:read:own'), ('operator', 'api_keys:write:own'), ('operator', 'audit:read:own'), ('operator', 'clients:read:any'), ('operator', 'keys:read:any'), ('operator', 'keys:rotate:any'), ('operator', 'tokens:revoke:any'), ('operator', 'audit:read:any'), ('user', 'users:read:own'), ('user', 'users:write:own'), ('user', 'users:close:own'), ('user', 'sessions:read:own'), ('user', 'sessions:end:own'), ('user', 'api_keys:read:own'), ('user', 'api_keys:write:own'), ('user', 'audit:read:own')) as assigned (role, permission)
     join roles on roles.name = assigned.role join permissions on permissions.name = assigned.permission;
create table organizations (
    id uuid constraint organizations_pkey primary key default gen_random_uuid(),
    parent_id uuid constraint organizations_parent_id_fkey references organizations,
    kind text not null default 'organization',
    name text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint organizations_kind_check check (kind in ('organization', 'company')),
    constraint organizations_parent_id_check check (parent_id <> id)
  );
create index organizations_parent_id_idx on organizations (parent_id);
create table organization_members (
    organization_id uuid constraint organization_members_organization_id_fkey references organizations on delete cascade,
    user_id uuid constraint organization_members_user_id_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint organization_members_pkey primary key (organization_id, user_id)
  );
create index organization_members_user_id_idx on organization_members (user_id);
create table groups (
    id uuid constraint groups_pkey primary key default gen_random_uuid(),
    parent_id uuid constraint groups_parent_id_fkey references groups,
    organization_id uuid constraint groups_organization_id_fkey references organizations on delete cascade,
    kind text not null default 'group',
    name text not null,
    external_ref text,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint groups_kind_check check (kind in ('group', 'team')),
    constraint groups_parent_id_check check (parent_id <> id)
  );
create index groups_parent_id_idx on groups (parent_id);
create index groups_organization_id_idx on groups (organization_id);
create table group_members (
    group_id uuid constraint group_members_group_id_fkey references groups on delete cascade,
    user_id uuid constraint group_members_user_id_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint group_members_pkey primary key (group_id, user_id)
  );
create index group_members_user_id_idx on group_members (user_id);
create table domains (
    id uuid constraint domains_pkey primary key default gen_random_uuid(),
    parent_id uuid constraint domains_parent_id_fkey references domains,
    key text not null constraint domains_key_key unique,
    name text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint domains_parent_id_check check (parent_id <> id)
  );
create index domains_parent_id_idx on domains (parent_id);
create table domain_members (
    domain_id uuid constraint domain_members_domain_id_fkey references domains on delete cascade,
    user_id uuid constraint domain_members_user_id_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint domain_members_pkey primary key (domain_id, user_id)
  );
create index domain_members_user_id_idx on domain_members (user_id);
create table role_grants (
    id uuid constraint role_grants_pkey primary key default gen_random_uuid(),
    user_id uuid constraint role_grants_user_id_fkey references users on delete cascade,
    group_id uuid constraint role_grants_group_id_fkey references groups on delete cascade,
    organization_id uuid constraint role_grants_organization_id_fkey references organizations on delete cascade,
    starts_at timestamptz not null default now(),
    expires_at timestamptz,
    granted_by text,
    created_at timestamptz not null default now(),
    constraint role_grants_subject_check check (num_nonnulls(user_id, group_id) = 1),
    constraint role_grants_period_check check (expires_at is null or expires_at > starts_at),
    role_id uuid not null constraint role_grants_role_id_fkey references roles on delete cascade
  );
create index role_grants_user_id_idx on role_grants (user_id);
create index role_grants_group_id_idx on role_grants (group_id);
create index role_grants_organization_id_idx on role_grants (organization_id);
create index role_grants_expires_at_idx on role_grants (expires_at) where expires_at is not null;
create index role_grants_role_id_idx on role_grants (role_id);
create table permission_grants (
    id uuid constraint permission_grants_pkey primary key default gen_random_uuid(),
    user_id uuid constraint permission_grants_user_id_fkey references users on delete cascade,
    group_id uuid constraint permission_grants_group_id_fkey references groups on delete cascade,
    organization_id uuid constraint permission_grants_organization_id_fkey references organizations on delete cascade,
    starts_at timestamptz not null default now(),
    expires_at timestamptz,
    granted_by text,
    created_at timestamptz not null default now(),
    constraint permission_grants_subject_check check (num_nonnulls(user_id, group_id) = 1),
    constraint permission_grants_period_check check (expires_at is null or expires_at > starts_at),
    permission_id uuid not null constraint permission_grants_permission_id_fkey references permissions on delete cascade,
    effect text not null default 'allow',
    constraint permission_grants_effect_check check (effect in ('allow', 'deny'))
  );
create index permission_grants_user_id_idx on permission_grants (user_id);
create index permission_grants_group_id_idx on permission_grants (group_id);
create index permission_grants_organization_id_idx on permission_grants (organization_id);
create index permission_grants_expires_at_idx on permission_grants (expires_at) where expires_at is not null;
create index permission_grants_permission_id_idx on permission_grants (permission_id);
alter table clients add column rank integer not null default 0;
insert into schema_migrations (name) values ('20261122120000_add_authorization');
-- 20261122120200_add_one_time_codes
create table one_time_codes (
    id uuid constraint one_time_codes_pkey primary key,
    purpose text not null,
    subject text not null,
    user_id uuid constraint one_time_codes_user_id_fkey references users on delete cascade,
    channel text not null,
    code_hash text not null,
    destination_encrypted bytea,
    tries integer not null default 0,
    expires_at timestamptz not null,
    consumed_at timestamptz,
    created_at timestamptz not null default now(),
    constraint one_time_codes_subject_key unique (purpose, subject),
    constraint one_time_codes_purpose_check check (purpose in ('verify-email', 'verify-phone', 'mfa')),
    constraint one_time_codes_channel_check check (channel in ('email', 'sms'))
  );
create index one_time_codes_user_id_idx on one_time_codes (user_id);
create index one_time_codes_expires_at_idx on one_time_codes (expires_at);
insert into schema_migrations (name) values ('20261122120200_add_one_time_codes');
-- 20261122120300_search_audit_logs
drop index audit_logs_at_idx;
drop index audit_logs_actor_id_idx;
drop index audit_logs_target_idx;
drop index audit_logs_action_idx;
create index audit_logs_at_idx on audit_logs (at, id);
create index audit_logs_action_idx on audit_logs (action text_pattern_ops, at, id);
create index audit_logs_actor_type_idx on audit_logs (actor_type, at, id);
create index audit_logs_actor_id_idx on audit_logs (actor_id, at, id) where actor_id is not null;
create index audit_logs_target_type_idx on audit_logs (target_type, at, id) where target_type is not null;
create index audit_logs_target_id_idx on audit_logs (target_id, at, id) where target_id is not null;
create index audit_logs_request_id_idx on audit_logs (request_id, at, id) where request_id is not null;
create index audit_logs_address_idx on audit_logs (address, at, id) where address is not null;
alter table audit_logs add column user_agent text;
create or replace function audit_logs_append_only() returns trigger language plpgsql as $$
    begin
      if tg_op = 'DELETE' then
        if current_setting('countersign.retention', true) = 'on' and old.at < now() - interval '30 days' then
          return old;
        end if;
      end if;
      raise exception 'audit_logs is append-only';
    end
  $$;
insert into schema_migrations (name) values ('20261122120300_search_audit_logs');
-- 20261122120400_add_machines
alter table clients add column built_in boolean not null default false;
update clients set rank = 100;
alter table clients add column audience text;
alter table clients add column access_token_format text not null default 'jwt'
     constraint clients_access_token_format_check check (access_token_format in ('jwt', 'opaque'));
alter table clients add column previous_secret_hash text;
alter table clients add column previous_secret_expires_at timestamptz;
alter table clients add constraint clients_previous_secret_check
     check ((previous_secret_hash is null) = (previous_secret_expires_at is null));
create table api_keys (
    id uuid constraint api_keys_pkey primary key,
    user_id uuid not null constraint api_keys_user_id_fkey references users on delete cascade,
    name text not null,
    prefix text not null,
    key_hash text not null constraint api_keys_key_hash_key unique,
    scopes text[] not null default '{}',
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now()
  );
create index api_keys_user_id_id_idx on api_keys (user_id, id);
create index api_keys_ended_idx on api_keys (least(revoked_at, expires_at));
alter table grants add column api_key_id uuid
     constraint grants_api_key_id_fkey references api_keys on delete cascade;
create index grants_api_key_id_idx on grants (api_key_id);
insert into schema_migrations (name) values ('20261122120400_add_machines');
-- 20261122120500_add_known_devices
create table known_devices (
    user_id uuid not null constraint known_devices_user_id_fkey references users on delete cascade,
    device_hash text not null,
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint known_devices_pkey primary key (user_id, device_hash)
  );
create index known_devices_expires_at_idx on known_devices (expires_at);
insert into schema_migrations (name) values ('20261122120500_add_known_devices');
-- 20261122120600_add_administration
create index users_email_prefix_idx on users (email text_pattern_ops);
create index users_name_prefix_idx on users (lower(name) text_pattern_ops);
create index users_status_idx on users (status, id) where status <> 'active';
create index users_created_at_idx on users (created_at);
alter table clients add column token_generation integer not null default 0;
insert into schema_migrations (name) values ('20261122120600_add_administration');
-- 20261122120700_add_client_registrars
alter table clients add column created_by uuid constraint clients_created_by_fkey references users on delete set null;
create index clients_created_by_idx on clients (created_by);
alter table clients alter column rank set default 100;
update clients set rank = 100 where rank = 0;
insert into schema_migrations (name) values ('20261122120700_add_client_registrars');
-- 20261122130000_add_client_metadata
alter table clients
    add column profile text,
    add column request_object_signing_alg text,
    add column request_object_encryption_alg text,
    add column request_object_encryption_enc text,
    add column authorization_signed_response_alg text,
    add column authorization_encrypted_response_alg text,
    add column authorization_encrypted_response_enc text,
    add column id_token_encrypted_response_alg text,
    add column id_token_encrypted_response_enc text,
    add column userinfo_encrypted_response_alg text,
    add column userinfo_encrypted_response_enc text,
    add column introspection_signed_response_alg text,
    add column introspection_encrypted_response_alg text,
    add column introspection_encrypted_response_enc text,
    add column tls_client_auth_subject_dn text,
    add column tls_client_auth_san_dns text,
    add column tls_client_auth_san_uri text,
    add column tls_client_auth_san_ip text,
    add column tls_client_auth_san_email text,
    add column backchannel_token_delivery_mode text,
    add column backchannel_client_notification_endpoint text,
    add column backchannel_authentication_request_signing_alg text,
    add column software_id text,
    add column software_version text,
    add column require_pushed_authorization_requests boolean not null default false,
    add column require_signed_request_object boolean not null default false,
    add column dpop_bound_access_tokens boolean not null default false,
    add column tls_client_certificate_bound_access_tokens boolean not null default false,
    add column use_mtls_endpoint_aliases boolean not null default false,
    add column response_modes text[],
    add column authorization_details_types text[] not null default '{}',
    add constraint clients_profile_check check (profile in ('oauth2.1', 'fapi2-security', 'fapi2-message-signing'));
insert into schema_migrations (name) values ('20261122130000_add_client_metadata');
-- 20261122130200_add_polling
alter table oidc_payloads
     add column stage integer not null default 0 constraint oidc_payloads_stage_check check (stage between 0 and 2),
     add column poll_seconds integer not null default 5,
     add column polled_at timestamptz,
     add column polled_too_soon boolean not null default false;
insert into schema_migrations (name) values ('20261122130200_add_polling');
-- 20261122130300_add_backchannel_requests
create table backchannel_requests (
    id uuid constraint backchannel_requests_pkey primary key,
    user_id uuid not null constraint backchannel_requests_user_id_fkey references users on delete cascade,
    client_id text not null constraint backchannel_requests_client_id_fkey references clients on delete cascade,
    sealed bytea not null,
    address text,
    decision text constraint backchannel_requests_decision_check check (decision in ('approved', 'denied')),
    decided_at timestamptz,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint backchannel_requests_decided_check check ((decision is null) = (decided_at is null))
  );
create index backchannel_requests_user_id_idx on backchannel_requests (user_id, id);
create index backchannel_requests_client_id_idx on backchannel_requests (client_id);
create index backchannel_requests_expires_at_idx on backchannel_requests (expires_at);
insert into permissions (name) select name from unnest(array['requests:read:own', 'requests:decide:own']) as name
     on conflict do nothing;
insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from roles cross join permissions
     where roles.name in ('admin', 'moderator', 'manager', 'partner', 'operator', 'user') and permissions.name in ('requests:read:own', 'requests:decide:own')
     on conflict do nothing;
insert into schema_migrations (name) values ('20261122130300_add_backchannel_requests');
-- 20261122130400_add_key_kinds
alter table jwks_keys add column retired_at timestamptz;
create table jwks_decryption_keys (
    kid text constraint jwks_decryption_keys_pkey primary key,
    alg text not null,
    public_jwk jsonb not null,
    private_encrypted bytea not null,
    published_from timestamptz not null,
    created_at timestamptz not null default now(),
    constraint jwks_decryption_keys_alg_check check (alg in ('RSA-OAEP-256', 'ECDH-ES'))
  );
create index jwks_decryption_keys_alg_published_from_idx on jwks_decryption_keys (alg, published_from);
insert into schema_migrations (name) values ('20261122130400_add_key_kinds');
-- 20261122130500_create_resource_servers
create table resource_servers (
    id uuid constraint resource_servers_pkey primary key,
    identifier text not null constraint resource_servers_identifier_key unique,
    name text not null,
    description text,
    scopes jsonb not null default '[]',
    access_token_format text not null default 'jwt',
    access_token_ttl integer,
    signing_alg text,
    allow text not null default 'any',
    rank integer not null,
    created_by uuid constraint resource_servers_created_by_fkey references users on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint resource_servers_access_token_format_check check (access_token_format in ('jwt', 'opaque')),
    constraint resource_servers_access_token_ttl_check check (access_token_ttl between 60 and 86400),
    constraint resource_servers_allow_check check (allow in ('any', 'listed'))
  );
create index resource_servers_created_by_idx on resource_servers (created_by);
create table resource_server_clients (
    resource_server_id uuid not null
      constraint resource_server_clients_resource_server_id_fkey references resource_servers on delete cascade,
    client_id text not null constraint resource_server_clients_client_id_fkey references clients on delete cascade,
    scopes text[],
    introspects boolean not null default false,
    constraint resource_server_clients_pkey primary key (resource_server_id, client_id)
  );
create index resource_server_clients_client_id_idx on resource_server_clients (client_id);
insert into permissions (name) values ('resource_servers:*:any'), ('resource_servers:read:any')
     on conflict (name) do nothing;
insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from (values ('admin', 'resource_servers:*:any'), ('operator', 'resource_servers:read:any'))
       as assigned (role, permission)
     join roles on roles.name = assigned.role join permissions on permissions.name = assigned.permission
     on conflict do nothing;
insert into schema_migrations (name) values ('20261122130500_create_resource_servers');
-- 20261122130600_add_token_exchange
alter table clients add column token_exchange jsonb;
alter table grants add column source_grant_id text
     constraint grants_source_grant_id_fkey references grants on delete cascade;
create index grants_source_grant_id_idx on grants (source_grant_id);
insert into schema_migrations (name) values ('20261122130600_add_token_exchange');
-- 20261122130800_add_self_registration
create table software_policies (
    name text constraint software_policies_pkey primary key,
    description text,
    grant_types text[] not null,
    redirect_hosts text[],
    scope text,
    profile text constraint software_policies_profile_check check (profile in ('oauth2.1', 'fapi2-security', 'fapi2-message-signing')),
    require_pkce boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  );
create table initial_access_tokens (
    id uuid constraint initial_access_tokens_pkey primary key,
    token_hash text not null constraint initial_access_tokens_token_hash_key unique,
    note text not null,
    software_policy text constraint initial_access_tokens_software_policy_fkey references software_policies on delete cascade,
    uses_left integer constraint initial_access_tokens_uses_left_check check (uses_left >= 0),
    created_by uuid constraint initial_access_tokens_created_by_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  );
create index initial_access_tokens_software_policy_idx on initial_access_tokens (software_policy);
create index initial_access_tokens_created_by_idx on initial_access_tokens (created_by);
create index initial_access_tokens_expires_at_idx on initial_access_tokens (expires_at);
alter table clients
    add column kind text not null default 'registered',
    add column software_policy text constraint clients_software_policy_fkey references software_policies on delete set null,
    add column registration_token_hash text,
    add column metadata_expires_at timestamptz,
    add column last_used_at timestamptz,
    add constraint clients_kind_check check (kind in ('registered', 'dynamic', 'metadata-document'));
create index clients_software_policy_idx on clients (software_policy);
create index clients_kind_created_at_idx on clients (kind, created_at) where kind <> 'registered';
insert into schema_migrations (name) values ('20261122130800_add_self_registration');
-- 20261122131100_block_clients
alter table clients
    add column blocked_at timestamptz,
    add column vouched_for boolean not null default true,
    add constraint clients_blocked_at_check check (blocked_at is null or kind = 'metadata-document');
update clients set vouched_for = false
    where kind = 'metadata-document' or (kind = 'dynamic' and created_by is null and software_policy is null);
insert into schema_migrations (name) values ('20261122131100_block_clients');
-- 20261122131200_index_audiences
create index clients_audience_idx on clients (audience) where audience is not null;
create index clients_token_exchange_idx on clients (client_id) where token_exchange is not null;
insert into schema_migrations (name) values ('20261122131200_index_audiences');
-- 20261122140000_add_second_factors
create table totp_devices (
    id uuid constraint totp_devices_pkey primary key,
    user_id uuid not null constraint totp_devices_user_id_fkey references users on delete cascade,
    name text not null,
    secret_encrypted bytea not null,
    algorithm text not null default 'SHA1' constraint totp_devices_algorithm_check check (algorithm in ('SHA1', 'SHA256', 'SHA512')),
    digits integer not null default 6 constraint totp_devices_digits_check check (digits in (6, 8)),
    period_seconds integer not null default 30 constraint totp_devices_period_seconds_check check (period_seconds between 15 and 120),
    last_step integer,
    confirmed_at timestamptz,
    last_used_at timestamptz,
    expires_at timestamptz,
    created_at timestamptz not null default now()
  );
create index totp_devices_user_id_idx on totp_devices (user_id);
create index totp_devices_expires_at_idx on totp_devices (expires_at) where expires_at is not null;
create table backup_codes (
    id uuid constraint backup_codes_pkey primary key,
    user_id uuid not null constraint backup_codes_user_id_fkey references users on delete cascade,
    code_hash text not null,
    consumed_at timestamptz,
    created_at timestamptz not null default now(),
    constraint backup_codes_user_id_code_hash_key unique (user_id, code_hash)
  );
create table passkeys (
    id uuid constraint passkeys_pkey primary key,
    user_id uuid not null constraint passkeys_user_id_fkey references users on delete cascade,
    credential_id text not null constraint passkeys_credential_id_key unique,
    public_key bytea not null,
    counter bigint not null,
    transports jsonb not null default '[]',
    aaguid text not null,
    discoverable boolean not null,
    backup_eligible boolean not null,
    backed_up boolean not null,
    name text not null,
    last_used_at timestamptz,
    created_at timestamptz not null default now()
  );
create index passkeys_user_id_idx on passkeys (user_id);
create table consumed_tokens (
    token_hash text constraint consumed_tokens_pkey primary key,
    expires_at timestamptz not null
  );
create index consumed_tokens_expires_at_idx on consumed_tokens (expires_at);
alter table users add column mfa_grace_until timestamptz;
alter table known_devices add column mfa_until timestamptz;
insert into schema_migrations (name) values ('20261122140000_add_second_factors');
-- 20261122140100_permit_second_factors
insert into permissions (name) select name from unnest(array['mfa:read:own', 'mfa:write:own', 'mfa:*:any']) as name
     on conflict (name) do nothing;
insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from roles cross join permissions
     where (roles.name in ('moderator', 'manager', 'partner', 'operator', 'user') and permissions.name in ('mfa:read:own', 'mfa:write:own'))
       or (roles.name = 'admin' and permissions.name = 'mfa:*:any')
     on conflict do nothing;
alter table clients add column require_mfa boolean not null default false;
insert into schema_migrations (name) values ('20261122140100_permit_second_factors');
-- 20261122140200_add_sign_in_links
alter table action_tokens drop constraint action_tokens_purpose_check;
alter table action_tokens add constraint action_tokens_purpose_check check (purpose in ('verify-email', 'reset-password', 'setup', 'sign-in-link'));
alter table one_time_codes drop constraint one_time_codes_purpose_check;
alter table one_time_codes add constraint one_time_codes_purpose_check check (purpose in ('verify-email', 'verify-phone', 'mfa', 'sign-in'));
insert into schema_migrations (name) values ('20261122140200_add_sign_in_links');
-- 20261122140300_record_sign_ins
create table sign_ins (
    id uuid constraint sign_ins_pkey primary key,
    user_id uuid not null constraint sign_ins_user_id_fkey references users on delete cascade,
    session_uid text,
    client_id text,
    outcome text not null constraint sign_ins_outcome_check check (outcome in ('allow', 'step-up', 'refuse')),
    score integer not null constraint sign_ins_score_check check (score between 0 and 100),
    factors jsonb not null,
    amr text[] not null default '{}',
    address text,
    network text,
    country text,
    city text,
    latitude double precision,
    longitude double precision,
    user_agent text,
    device_hash text,
    token_hash text constraint sign_ins_token_hash_key unique,
    disowned_at timestamptz,
    voided_at timestamptz,
    created_at timestamptz not null default now()
  );
create index sign_ins_user_id_created_at_idx on sign_ins (user_id, created_at, id);
create index sign_ins_created_at_idx on sign_ins (created_at);
insert into schema_migrations (name) values ('20261122140300_record_sign_ins');
-- 20261122140400_create_identity_providers
create table identity_providers (
    id text constraint identity_providers_pkey primary key,
    metadata jsonb not null,
    secrets_encrypted bytea,
    rank integer not null,
    created_by uuid constraint identity_providers_created_by_fkey references users on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  );
create index identity_providers_created_by_idx on identity_providers (created_by);
create table identities (
    id uuid constraint identities_pkey primary key default gen_random_uuid(),
    user_id uuid not null constraint identities_user_id_fkey references users on delete cascade,
    provider_id text not null,
    issuer text not null default '',
    subject text not null,
    email text,
    email_proven boolean not null default false,
    last_used_at timestamptz,
    created_at timestamptz not null default now(),
    constraint identities_provider_id_issuer_subject_key unique (provider_id, issuer, subject)
  );
create index identities_user_id_idx on identities (user_id);
alter table role_grants add column identity_provider_id text;
create unique index role_grants_identity_provider_id_idx on role_grants (identity_provider_id, user_id, role_id)
     where identity_provider_id is not null;
insert into permissions (name) values ('identities:read:own'), ('identities:write:own'), ('identities:*:any'), ('identity_providers:*:any'), ('identity_providers:read:any') on conflict (name) do nothing;
insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from (values ('moderator', 'identities:read:own'), ('moderator', 'identities:write:own'), ('manager', 'identities:read:own'), ('manager', 'identities:write:own'), ('partner', 'identities:read:own'), ('partner', 'identities:write:own'), ('operator', 'identities:read:own'), ('operator', 'identities:write:own'), ('user', 'identities:read:own'), ('user', 'identities:write:own'), ('admin', 'identities:*:any'), ('admin', 'identity_providers:*:any'), ('operator', 'identity_providers:read:any'))
       as assigned (role, permission)
     join roles on roles.name = assigned.role join permissions on permissions.name = assigned.permission
     on conflict do nothing;
insert into schema_migrations (name) values ('20261122140400_create_identity_providers');
-- 20261122140500_add_external_references
create table external_references (
    system text,
    kind text,
    external_id text,
    local_id text not null,
    fingerprint text not null,
    local_version timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint external_references_pkey primary key (system, kind, external_id),
    constraint external_references_kind_check check (kind in ('user', 'role', 'group', 'client', 'identity-provider')),
    constraint external_references_local_id_key unique (system, kind, local_id)
  );
alter table passkeys alter column backup_eligible drop not null;
alter table passkeys add column user_handle text;
insert into schema_migrations (name) values ('20261122140500_add_external_references');
-- 20261122140600_bind_sessions
alter table sessions
    add column country text,
    add column city text,
    add column device_hash text,
    add column device_user_agent text;
insert into schema_migrations (name) values ('20261122140600_bind_sessions');
-- 20261122140700_let_codes_change_addresses
alter table one_time_codes drop constraint one_time_codes_purpose_check;
alter table one_time_codes add constraint one_time_codes_purpose_check check (purpose in ('verify-email', 'verify-phone', 'mfa', 'sign-in', 'change-email'));
insert into schema_migrations (name) values ('20261122140700_let_codes_change_addresses');
-- 20261122150000_extend_authorization
create table role_inheritance (
    role_id uuid constraint role_inheritance_role_id_fkey references roles on delete cascade,
    parent_id uuid constraint role_inheritance_parent_id_fkey references roles on delete cascade,
    constraint role_inheritance_pkey primary key (role_id, parent_id),
    constraint role_inheritance_parent_id_check check (role_id <> parent_id)
  );
create index role_inheritance_parent_id_idx on role_inheritance (parent_id);
alter table roles add column updated_at timestamptz not null default now();
alter table role_grants add column api_key_id uuid constraint role_grants_api_key_id_fkey references api_keys on delete cascade;
alter table role_grants drop constraint role_grants_subject_check;
alter table role_grants add constraint role_grants_subject_check check (num_nonnulls(user_id, group_id, api_key_id) = 1);
create index role_grants_api_key_id_idx on role_grants (api_key_id);
alter table permission_grants add column api_key_id uuid constraint permission_grants_api_key_id_fkey references api_keys on delete cascade;
alter table permission_grants drop constraint permission_grants_subject_check;
alter table permission_grants add constraint permission_grants_subject_check check (num_nonnulls(user_id, group_id, api_key_id) = 1);
create index permission_grants_api_key_id_idx on permission_grants (api_key_id);
delete from role_grants where id in (select id from (
     select id, row_number() over (partition by user_id, group_id, role_id, organization_id, identity_provider_id
       order by expires_at desc nulls first, starts_at, id) as place from role_grants) numbered where place > 1);
delete from permission_grants where id in (select id from (
     select id, row_number() over (partition by user_id, group_id, permission_id, organization_id
       order by effect desc, expires_at desc nulls first, starts_at, id) as place from permission_grants) numbered where place > 1);
create unique index role_grants_key on role_grants (user_id, group_id, api_key_id, role_id, organization_id, identity_provider_id) nulls not distinct;
create unique index permission_grants_key on permission_grants (user_id, group_id, api_key_id, permission_id, organization_id) nulls not distinct;
alter table organizations
    add column description text not null default '',
    add column require_mfa boolean not null default false,
    add column sign_in_methods text[];
alter table organization_members add column is_owner boolean not null default false;
alter table groups add column description text not null default '';
alter table domains add column description text not null default '';
alter table clients add column require_organization boolean not null default false;
insert into permissions (name) values ('organizations:read:own'), ('groups:read:own'), ('domains:read:own'), ('authz:check:own'), ('organizations:read:any'), ('groups:read:any'), ('domains:read:any'), ('organizations:read:organization'), ('organizations:write:organization'), ('groups:read:organization'), ('groups:write:organization'), ('roles:read:organization'), ('organizations:*:any'), ('groups:*:any'), ('domains:*:any'), ('policies:*:any'), ('authz:*:any') on conflict (name) do nothing;
insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from (values ('moderator', 'organizations:read:own'), ('moderator', 'groups:read:own'), ('moderator', 'domains:read:own'), ('moderator', 'authz:check:own'), ('moderator', 'organizations:read:any'), ('moderator', 'groups:read:any'), ('moderator', 'domains:read:any'), ('manager', 'organizations:read:own'), ('manager', 'groups:read:own'), ('manager', 'domains:read:own'), ('manager', 'authz:check:own'), ('manager', 'organizations:read:organization'), ('manager', 'organizations:write:organization'), ('manager', 'groups:read:organization'), ('manager', 'groups:write:organization'), ('manager', 'roles:read:organization'), ('partner', 'organizations:read:own'), ('partner', 'groups:read:own'), ('partner', 'domains:read:own'), ('partner', 'authz:check:own'), ('operator', 'organizations:read:own'), ('operator', 'groups:read:own'), ('operator', 'domains:read:own'), ('operator', 'authz:check:own'), ('user', 'organizations:read:own'), ('user', 'groups:read:own'), ('user', 'domains:read:own'), ('user', 'authz:check:own'), ('admin', 'organizations:*:any'), ('admin', 'groups:*:any'), ('admin', 'domains:*:any'), ('admin', 'policies:*:any'), ('admin', 'authz:*:any')) as assigned (role, permission)
     join roles on roles.name = assigned.role join permissions on permissions.name = assigned.permission
     on conflict do nothing;
insert into groups (kind, name) select 'team', name from unnest(array['General', 'Engineering', 'Product', 'Design']) as name
     where not exists (select from groups where groups.name = name.name and kind = 'team' and organization_id is null and parent_id is null);
insert into domains (key, name) select lower(name), name from unnest(array['Engineering', 'Product', 'Design', 'Marketing', 'Sales']) as name
     on conflict (key) do nothing;
insert into schema_migrations (name) values ('20261122150000_extend_authorization');
-- 20261122150100_tell_access_changes
create function tell_people(people uuid[]) returns void language plpgsql set search_path from current as $$
    begin
      if cardinality(people) > 150 then
        perform pg_notify('access', 'user:*');
      elsif cardinality(people) > 0 then
        perform pg_notify('access', (select string_agg('user:' || person, ' ' order by person) from unnest(people) as person));
      end if;
    end
  $$;
create function tell_everything() returns trigger language plpgsql set search_path from current as $$
    begin
      perform pg_notify('access', '*');
      return null;
    end
  $$;
create function tell_all_people() returns trigger language plpgsql set search_path from current as $$
    begin
      perform pg_notify('access', 'user:*');
      return null;
    end
  $$;
create function tell_all_paths() returns trigger language plpgsql set search_path from current as $$
    begin
      perform pg_notify('access', 'path:*');
      return null;
    end
  $$;
create function tell_all_clients() returns trigger language plpgsql set search_path from current as $$
    begin
      perform pg_notify('access', 'client:*');
      return null;
    end
  $$;
create function tell_users() returns trigger language plpgsql set search_path from current as $$
    begin
      perform tell_people(array(select id from changed limit 151));
      return null;
    end
  $$;
create function tell_changed_users() returns trigger language plpgsql set search_path from current as $$
    begin
      perform tell_people(array(select changed.id from changed join was on was.id = changed.id where (was.status, was.role_id) is distinct from (changed.status, changed.role_id) limit 151));
      return null;
    end
  $$;
create function tell_grantees() returns trigger language plpgsql set search_path from current as $$
    begin
      perform tell_people(array(select user_id from changed where user_id is not null
      union (with recursive beneath (id) as (
        select group_id from changed where group_id is not null
        union select groups.id from groups join beneath on groups.parent_id = beneath.id
      ) select distinct user_id from group_members where group_id in (select id from beneath)) limit 151)); if tg_op = 'UPDATE' then perform tell_people(array(select user_id from was where user_id is not null
      union (with recursive beneath (id) as (
        select group_id from was where group_id is not null
        union select groups.id from groups join beneath on groups.parent_id = beneath.id
      ) select distinct user_id from group_members where group_id in (select id from beneath)) limit 151)); end if;
      return null;
    end
  $$;
create function tell_members() returns trigger language plpgsql set search_path from current as $$
    begin
      perform tell_people(array(select distinct user_id from changed limit 151)); if tg_op = 'UPDATE' then perform tell_people(array(select distinct user_id from was limit 151)); end if;
      return null;
    end
  $$;
create function tell_organization_members() returns trigger language plpgsql set search_path from current as $$
    begin
      perform tell_people(array(select distinct user_id from changed limit 151)); if (select count(distinct user_id) from changed) > 150 then
        perform pg_notify('access', 'path:*');
      else
        perform pg_notify('access', (select string_agg(distinct 'path:user/' || user_id, ' ') from changed))
          where exists (select from changed);
      end if; if tg_op = 'UPDATE' then perform tell_people(array(select distinct user_id from was limit 151)); if (select count(distinct user_id) from was) > 150 then
        perform pg_notify('access', 'path:*');
      else
        perform pg_notify('access', (select string_agg(distinct 'path:user/' || user_id, ' ') from was))
          where exists (select from was);
      end if; end if;
      return null;
    end
  $$;
create function tell_changed_organizations() returns trigger language plpgsql set search_path from current as $$
    begin
      perform tell_people(array(select distinct user_id from organization_members where organization_id in (
        select changed.id from changed join was on was.id = changed.id where (was.name, was.kind, was.is_active) is distinct from (changed.name, changed.kind, changed.is_active)) limit 151));
      if exists (select from changed join was on was.id = changed.id where (was.parent_id) is distinct from (changed.parent_id)) then perform pg_notify('access', 'path:*'); end if;
      return null;
    end
  $$;
create function tell_changed_groups() returns trigger language plpgsql set search_path from current as $$
    begin
      perform tell_people(array(with recursive beneath (id) as (
        select changed.id from changed join was on was.id = changed.id where (was.name, was.kind, was.is_active, was.parent_id, was.organization_id) is distinct from (changed.name, changed.kind, changed.is_active, changed.parent_id, changed.organization_id)
        union select groups.id from groups join beneath on groups.parent_id = beneath.id
      ) select distinct user_id from group_members where group_id in (select id from beneath) limit 151));
      if exists (select from changed join was on was.id = changed.id where (was.organization_id) is distinct from (changed.organization_id)) then perform pg_notify('access', 'path:*'); end if;
      return null;
    end
  $$;
create function tell_changed_domains() returns trigger language plpgsql set search_path from current as $$
    begin
      perform tell_people(array(select distinct user_id from domain_members where domain_id in (
        select changed.id from changed join was on was.id = changed.id where (was.key, was.is_active) is distinct from (changed.key, changed.is_active)) limit 151));
      return null;
    end
  $$;
create function tell_changed_clients() returns trigger language plpgsql set search_path from current as $$
    begin
      if exists (select from changed join was on was.client_id = changed.client_id
        where (was.kind, was.rank, was.scope, was.first_party, was.created_by)
          is distinct from (changed.kind, changed.rank, changed.scope, changed.first_party, changed.created_by))
      then perform pg_notify('access', 'client:*'); end if;
      return null;
    end
  $$;
create trigger role_permissions_tell_insert after insert on role_permissions
        referencing new table as changed for each statement execute function tell_all_people();
create trigger role_permissions_tell_update after update on role_permissions
        referencing old table as was new table as changed for each statement execute function tell_all_people();
create trigger role_permissions_tell_delete after delete on role_permissions
        referencing old table as changed for each statement execute function tell_all_people();
create trigger role_permissions_tell_truncate after truncate on role_permissions for each statement execute function tell_everything();
create trigger role_inheritance_tell_insert after insert on role_inheritance
        referencing new table as changed for each statement execute function tell_all_people();
create trigger role_inheritance_tell_update after update on role_inheritance
        referencing old table as was new table as changed for each statement execute function tell_all_people();
create trigger role_inheritance_tell_delete after delete on role_inheritance
        referencing old table as changed for each statement execute function tell_all_people();
create trigger role_inheritance_tell_truncate after truncate on role_inheritance for each statement execute function tell_everything();
create trigger permissions_tell_insert after insert on permissions
        referencing new table as changed for each statement execute function tell_all_people();
create trigger permissions_tell_update after update on permissions
        referencing old table as was new table as changed for each statement execute function tell_all_people();
create trigger permissions_tell_delete after delete on permissions
        referencing old table as changed for each statement execute function tell_all_people();
create trigger permissions_tell_truncate after truncate on permissions for each statement execute function tell_everything();
create trigger roles_tell_insert after insert on roles
        referencing new table as changed for each statement execute function tell_everything();
create trigger roles_tell_update after update on roles
        referencing old table as was new table as changed for each statement execute function tell_everything();
create trigger roles_tell_delete after delete on roles
        referencing old table as changed for each statement execute function tell_everything();
create trigger roles_tell_truncate after truncate on roles for each statement execute function tell_everything();
create trigger users_tell_update after update on users
        referencing old table as was new table as changed for each statement execute function tell_changed_users();
create trigger users_tell_delete after delete on users
        referencing old table as changed for each statement execute function tell_users();
create trigger users_tell_truncate after truncate on users for each statement execute function tell_everything();
create trigger role_grants_tell_insert after insert on role_grants
        referencing new table as changed for each statement execute function tell_grantees();
create trigger role_grants_tell_update after update on role_grants
        referencing old table as was new table as changed for each statement execute function tell_grantees();
create trigger role_grants_tell_delete after delete on role_grants
        referencing old table as changed for each statement execute function tell_grantees();
create trigger role_grants_tell_truncate after truncate on role_grants for each statement execute function tell_everything();
create trigger permission_grants_tell_insert after insert on permission_grants
        referencing new table as changed for each statement execute function tell_grantees();
create trigger permission_grants_tell_update after update on permission_grants
        referencing old table as was new table as changed for each statement execute function tell_grantees();
create trigger permission_grants_tell_delete after delete on permission_grants
        referencing old table as changed for each statement execute function tell_grantees();
create trigger permission_grants_tell_truncate after truncate on permission_grants for each statement execute function tell_everything();
create trigger group_members_tell_insert after insert on group_members
        referencing new table as changed for each statement execute function tell_members();
create trigger group_members_tell_update after update on group_members
        referencing old table as was new table as changed for each statement execute function tell_members();
create trigger group_members_tell_delete after delete on group_members
        referencing old table as changed for each statement execute function tell_members();
create trigger group_members_tell_truncate after truncate on group_members for each statement execute function tell_everything();
create trigger domain_members_tell_insert after insert on domain_members
        referencing new table as changed for each statement execute function tell_members();
create trigger domain_members_tell_update after update on domain_members
        referencing old table as was new table as changed for each statement execute function tell_members();
create trigger domain_members_tell_delete after delete on domain_members
        referencing old table as changed for each statement execute function tell_members();
create trigger domain_members_tell_truncate after truncate on domain_members for each statement execute function tell_everything();
create trigger organization_members_tell_insert after insert on organization_members
        referencing new table as changed for each statement execute function tell_organization_members();
create trigger organization_members_tell_update after update on organization_members
        referencing old table as was new table as changed for each statement execute function tell_organization_members();
create trigger organization_members_tell_delete after delete on organization_members
        referencing old table as changed for each statement execute function tell_organization_members();
create trigger organization_members_tell_truncate after truncate on organization_members for each statement execute function tell_everything();
create trigger organizations_tell_update after update on organizations
        referencing old table as was new table as changed for each statement execute function tell_changed_organizations();
create trigger organizations_tell_delete after delete on organizations
        referencing old table as changed for each statement execute function tell_all_paths();
create trigger organizations_tell_truncate after truncate on organizations for each statement execute function tell_everything();
create trigger groups_tell_update after update on groups
        referencing old table as was new table as changed for each statement execute function tell_changed_groups();
create trigger groups_tell_delete after delete on groups
        referencing old table as changed for each statement execute function tell_all_paths();
create trigger groups_tell_truncate after truncate on groups for each statement execute function tell_everything();
create trigger domains_tell_update after update on domains
        referencing old table as was new table as changed for each statement execute function tell_changed_domains();
create trigger domains_tell_truncate after truncate on domains for each statement execute function tell_everything();
create trigger clients_tell_update after update on clients
        referencing old table as was new table as changed for each statement execute function tell_changed_clients();
create trigger clients_tell_delete after delete on clients
        referencing old table as changed for each statement execute function tell_all_clients();
create trigger clients_tell_truncate after truncate on clients for each statement execute function tell_everything();
insert into schema_migrations (name) values ('20261122150100_tell_access_changes');
-- 20261122150200_create_policies
create table policies (
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
  );
create table policy_versions (
    policy_id uuid constraint policy_versions_policy_id_fkey references policies on delete cascade,
    version integer,
    effect text not null constraint policy_versions_effect_check check (effect in ('allow', 'deny')),
    resources text[] not null,
    actions text[] not null,
    condition jsonb not null,
    created_by text,
    created_at timestamptz not null default now(),
    constraint policy_versions_pkey primary key (policy_id, version)
  );
alter table policies add constraint policies_active_version_fkey
     foreign key (id, active_version) references policy_versions (policy_id, version);
create index policies_id_active_version_idx on policies (id, active_version);
create function notify_policies() returns trigger language plpgsql as $$
   begin
     perform pg_notify('access', 'policies');
     return null;
   end $$;
create trigger policies_notify after insert or update or delete on policies
     for each statement execute function notify_policies();
create table decisions (
    id uuid constraint decisions_pkey primary key default gen_random_uuid(),
    at timestamptz not null default now(),
    question jsonb not null,
    allowed boolean not null,
    because jsonb not null
  );
create index decisions_at_idx on decisions (at, id);
insert into schema_migrations (name) values ('20261122150200_create_policies');
-- 20261122150300_order_roles
create index roles_rank_idx on roles ((-rank), name);
create unique index permissions_name_c_idx on permissions (name collate "C");
insert into schema_migrations (name) values ('20261122150300_order_roles');
-- 20261122150400_index_organizations
create index organizations_name_idx on organizations (lower(name) collate "C", id);
create index organizations_parent_id_name_idx on organizations (parent_id, lower(name) collate "C", id);
drop index organizations_parent_id_idx;
create index organizations_inactive_idx on organizations (lower(name) collate "C", id) where not is_active;
create index organization_members_owner_idx on organization_members (organization_id, user_id) where is_owner;
insert into permissions (name) values ('organizations:leave:own') on conflict (name) do nothing;
insert into role_permissions (role_id, permission_id)
     select role_id, (select id from permissions where name = 'organizations:leave:own')
     from role_permissions join permissions on permissions.id = permission_id where name = 'organizations:read:own'
     on conflict do nothing;
insert into schema_migrations (name) values ('20261122150400_index_organizations');
-- 20261122150500_let_people_join
create table organization_invitations (
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
  );
create unique index organization_invitations_email_key on organization_invitations (email, organization_id)
     where accepted_at is null and declined_at is null and revoked_at is null;
create index organization_invitations_organization_id_idx on organization_invitations (organization_id, id);
create index organization_invitations_invited_by_idx on organization_invitations (invited_by);
create index organization_invitations_expires_at_idx on organization_invitations (expires_at);
create table organization_domains (
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
  );
create unique index organization_domains_domain_key on organization_domains (domain) where verified_at is not null;
create index organization_domains_role_id_idx on organization_domains (role_id);
create index organization_domains_checked_at_idx on organization_domains (checked_at)
     where verified_at is not null and not verified_by_hand;
create index users_email_domain_idx on users (split_part(email, '@', 2)) where email_verified_at is not null;
create table organization_departures (
    organization_id uuid constraint organization_departures_organization_id_fkey references organizations on delete cascade,
    user_id uuid constraint organization_departures_user_id_fkey references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint organization_departures_pkey primary key (organization_id, user_id)
  );
create index organization_departures_user_id_idx on organization_departures (user_id);
create function remember_departure() returns trigger language plpgsql as $$
   begin
     insert into organization_departures (organization_id, user_id)
       select organizations.id, users.id from organizations, users
       where organizations.id = old.organization_id and users.id = old.user_id and users.status <> 'closed'
       on conflict do nothing;
     return null;
   end $$;
create trigger organization_members_departure after delete on organization_members
     for each row execute function remember_departure();
insert into schema_migrations (name) values ('20261122150500_let_people_join');
-- 20261122150600_index_groups
drop index groups_parent_id_idx;
create index groups_parent_id_id_idx on groups (parent_id, id);
drop index groups_organization_id_idx;
create index groups_organization_id_id_idx on groups (organization_id, id);
create index groups_kind_id_idx on groups (kind, id);
create index groups_open_id_idx on groups (id) where organization_id is null and kind = 'team' and is_active;
create index groups_name_idx on groups (lower(name) text_pattern_ops);
create index groups_external_ref_idx on groups (external_ref) where external_ref is not null;
insert into schema_migrations (name) values ('20261122150600_index_groups');
-- 20261122150800_index_lists
create index users_role_id_id_idx on users (role_id, id);
drop index users_role_id_idx;
create index users_status_role_id_idx on users (status, role_id, id) where status <> 'active';
create index users_unverified_idx on users (id) where email_verified_at is null;
create index organization_members_user_id_organization_id_idx on organization_members (user_id, organization_id);
drop index organization_members_user_id_idx;
create index groups_inactive_idx on groups (id) where not is_active;
insert into schema_migrations (name) values ('20261122150800_index_lists');
-- 20261122150900_index_account_times
create index users_created_at_id_idx on users (created_at, id);
drop index users_created_at_idx;
insert into schema_migrations (name) values ('20261122150900_index_account_times');
-- 20261122151000_limit_identity_providers
alter table identity_providers add column permissions jsonb;
insert into schema_migrations (name) values ('20261122151000_limit_identity_providers');
-- 20261122160100_tell_applications
create function tell_applications() returns trigger language plpgsql set search_path from current as $$
    declare
      ids text[];
    begin
      select coalesce(array_agg(client_id), '{}') into ids
        from (select was.client_id from was left join changed on changed.client_id = was.client_id
        where (to_jsonb(was) - 'last_used_at' - 'metadata_expires_at') is distinct from (to_jsonb(changed) - 'last_used_at' - 'metadata_expires_at')) as told where client_id !~ '^https?:' limit 61;
      if cardinality(ids) > 60 or length(array_to_string(ids, '')) > 6000 or array_to_string(ids, '') like '% %' then
        perform pg_notify('access', 'application:*');
      elsif cardinality(ids) > 0 then
        perform pg_notify('access', (select string_agg('application:' || id, ' ' order by id) from unnest(ids) as id));
      end if;
      if exists (select from was left join changed on changed.client_id = was.client_id
          where (was.kind, was.scope, was.audience, was.software_policy)
            is distinct from (changed.kind, changed.scope, changed.audience, changed.software_policy))
        then perform pg_notify('access', 'meeting:*'); end if;
      return null;
    end
  $$;
create function tell_deleted_applications() returns trigger language plpgsql set search_path from current as $$
    declare
      ids text[];
    begin
      select coalesce(array_agg(client_id), '{}') into ids
        from (select client_id from changed) as told where client_id !~ '^https?:' limit 61;
      if cardinality(ids) > 60 or length(array_to_string(ids, '')) > 6000 or array_to_string(ids, '') like '% %' then
        perform pg_notify('access', 'application:*');
      elsif cardinality(ids) > 0 then
        perform pg_notify('access', (select string_agg('application:' || id, ' ' order by id) from unnest(ids) as id));
      end if; perform pg_notify('access', 'meeting:*');
      return null;
    end
  $$;
create function tell_resources() returns trigger language plpgsql set search_path from current as $$
    declare
      ids text[];
    begin
      perform pg_notify('access', 'meeting:* resource:*');
      return null;
    end
  $$;
create function tell_meetings() returns trigger language plpgsql set search_path from current as $$
    declare
      ids text[];
    begin
      perform pg_notify('access', 'meeting:*');
      return null;
    end
  $$;
create trigger clients_tell_protocol_update after update on clients
      referencing old table as was new table as changed for each statement execute function tell_applications();
create trigger clients_tell_protocol_delete after delete on clients
      referencing old table as changed for each statement execute function tell_deleted_applications();
create trigger resource_servers_tell_protocol_insert after insert on resource_servers
      referencing new table as changed for each statement execute function tell_resources();
create trigger resource_server_clients_tell_protocol_insert after insert on resource_server_clients
      referencing new table as changed for each statement execute function tell_meetings();
create trigger software_policies_tell_protocol_insert after insert on software_policies
      referencing new table as changed for each statement execute function tell_meetings();
create trigger resource_servers_tell_protocol_update after update on resource_servers
      referencing old table as was new table as changed for each statement execute function tell_resources();
create trigger resource_server_clients_tell_protocol_update after update on resource_server_clients
      referencing old table as was new table as changed for each statement execute function tell_meetings();
create trigger software_policies_tell_protocol_update after update on software_policies
      referencing old table as was new table as changed for each statement execute function tell_meetings();
create trigger resource_servers_tell_protocol_delete after delete on resource_servers
      referencing old table as changed for each statement execute function tell_resources();
create trigger resource_server_clients_tell_protocol_delete after delete on resource_server_clients
      referencing old table as changed for each statement execute function tell_meetings();
create trigger software_policies_tell_protocol_delete after delete on software_policies
      referencing old table as changed for each statement execute function tell_meetings();
create trigger resource_servers_tell_truncate after truncate on resource_servers for each statement execute function tell_everything();
create trigger resource_server_clients_tell_truncate after truncate on resource_server_clients for each statement execute function tell_everything();
create trigger software_policies_tell_truncate after truncate on software_policies for each statement execute function tell_everything();
insert into schema_migrations (name) values ('20261122160100_tell_applications');
-- 20261122160200_keep_tokens_fast
alter table refresh_tokens set (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table sessions set (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table oidc_payloads set (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table grants set (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table users set (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
create function tell_changed_rules() returns trigger language plpgsql set search_path from current as $$
    begin
      if exists (select from changed join was on was.id = changed.id
          where (was.parent_id, was.is_active, was.require_mfa, was.sign_in_methods)
            is distinct from (changed.parent_id, changed.is_active, changed.require_mfa, changed.sign_in_methods))
      then perform pg_notify('access', 'rules:*'); end if;
      return null;
    end
  $$;
create trigger organizations_tell_rules after update on organizations
    referencing old table as was new table as changed for each statement execute function tell_changed_rules();
insert into schema_migrations (name) values ('20261122160200_keep_tokens_fast');
-- 20261122160500_keep_samples
create table samples (
     name text constraint samples_pkey primary key,
     value jsonb not null,
     at timestamptz not null
   );
insert into schema_migrations (name) values ('20261122160500_keep_samples');
-- 20261122160600_store_lasting_keys
create table lasting_keys (
    purpose text constraint lasting_keys_pkey primary key,
    key_encrypted bytea not null,
    created_at timestamptz not null default now()
  );
insert into schema_migrations (name) values ('20261122160600_store_lasting_keys');
