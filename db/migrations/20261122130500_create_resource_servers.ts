/** APIs that tokens are made for (RFC 8707): what they are called, what may be asked for there, and by which clients. */

const permissions = [
  ['admin', 'resource_servers:*:any'],
  ['operator', 'resource_servers:read:any'],
] as const;
const names = permissions.map(([, name]) => `'${name}'`).join(', ');

export const up = [
  `create table resource_servers (
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
  )`,
  'create index resource_servers_created_by_idx on resource_servers (created_by)',
  // No scopes: all of them. An empty list: none.
  `create table resource_server_clients (
    resource_server_id uuid not null
      constraint resource_server_clients_resource_server_id_fkey references resource_servers on delete cascade,
    client_id text not null constraint resource_server_clients_client_id_fkey references clients on delete cascade,
    scopes text[],
    introspects boolean not null default false,
    constraint resource_server_clients_pkey primary key (resource_server_id, client_id)
  )`,
  'create index resource_server_clients_client_id_idx on resource_server_clients (client_id)',
  `insert into permissions (name) values ${permissions.map(([, name]) => `('${name}')`).join(', ')}
     on conflict (name) do nothing`,
  `insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from (values ${permissions.map(([role, name]) => `('${role}', '${name}')`).join(', ')})
       as assigned (role, permission)
     join roles on roles.name = assigned.role join permissions on permissions.name = assigned.permission
     on conflict do nothing`,
];

export const down = [
  `delete from permissions where name in (${names})`,
  'drop table resource_server_clients',
  'drop table resource_servers',
];
