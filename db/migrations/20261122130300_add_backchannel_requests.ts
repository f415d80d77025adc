/** What applications ask people to confirm on a device of their own (CIBA), and the permissions to see and decide it. */

const roles = ['admin', 'moderator', 'manager', 'partner', 'operator', 'user'];
const permissions = ['requests:read:own', 'requests:decide:own'];

const list = (names: readonly string[]) => names.map((name) => `'${name}'`).join(', ');

export const up = [
  // `sealed`: the request's identifier, which lets its client fetch tokens, and what is asked for.
  `create table backchannel_requests (
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
  )`,
  'create index backchannel_requests_user_id_idx on backchannel_requests (user_id, id)',
  'create index backchannel_requests_client_id_idx on backchannel_requests (client_id)',
  'create index backchannel_requests_expires_at_idx on backchannel_requests (expires_at)',
  `insert into permissions (name) select name from unnest(array[${list(permissions)}]) as name
     on conflict do nothing`,
  `insert into role_permissions (role_id, permission_id)
     select roles.id, permissions.id from roles cross join permissions
     where roles.name in (${list(roles)}) and permissions.name in (${list(permissions)})
     on conflict do nothing`,
];

export const down = [
  `delete from role_permissions where permission_id in (select id from permissions where name in (${list(permissions)}))`,
  `delete from permissions where name in (${list(permissions)})`,
  'drop table backchannel_requests',
];
