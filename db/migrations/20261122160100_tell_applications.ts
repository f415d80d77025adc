/**
 * What a token for an application rests on is told on the channel `access` as well, by the transaction that changes it:
 * `application:ID` is the application as the protocol sees it, `meeting:*` what applications may ask for at resource servers,
 * `resource:*` which resource servers there are.
 */

/** Beyond so many applications, or so many characters, all are told of: a notification takes less than 8,000 bytes. */
const most = 60;
const charactersMost = 6000;

const tell = (names: string) => `perform pg_notify('access', '${names}');`;

/** Names have blanks between them, so who has one in its own is told of with all. URLs are read anew by every request. */
const tellApplications = (query: string) => `select coalesce(array_agg(client_id), '{}') into ids
        from (${query}) as told where client_id !~ '^https?:' limit ${most + 1};
      if cardinality(ids) > ${most} or length(array_to_string(ids, '')) > ${charactersMost} or array_to_string(ids, '') like '% %' then
        ${tell('application:*')}
      elsif cardinality(ids) > 0 then
        perform pg_notify('access', (select string_agg('application:' || id, ' ' order by id) from unnest(ids) as id));
      end if;`;

/** A row without what nobody's token rests on. */
const told = (row: string) => `(to_jsonb(${row}) - 'last_used_at' - 'metadata_expires_at')`;

const functions: Readonly<Record<string, string>> = {
  tell_applications: `${tellApplications(
    `select was.client_id from was left join changed on changed.client_id = was.client_id
        where ${told('was')} is distinct from ${told('changed')}`,
  )}
      if exists (select from was left join changed on changed.client_id = was.client_id
          where (was.kind, was.scope, was.audience, was.software_policy)
            is distinct from (changed.kind, changed.scope, changed.audience, changed.software_policy))
        then ${tell('meeting:*')} end if;`,
  tell_deleted_applications: `${tellApplications('select client_id from changed')} ${tell('meeting:*')}`,
  tell_resources: tell('meeting:* resource:*'),
  tell_meetings: tell('meeting:*'),
};

/** Table, event, function. What is new is nobody's yet, but for what something was looked for in vain. */
const triggers: readonly (readonly [table: string, event: 'insert' | 'update' | 'delete', name: string])[] = [
  ['clients', 'update', 'tell_applications'],
  ['clients', 'delete', 'tell_deleted_applications'],
  ...(['insert', 'update', 'delete'] as const).flatMap(
    (event) =>
      [
        ['resource_servers', event, 'tell_resources'],
        ['resource_server_clients', event, 'tell_meetings'],
        ['software_policies', event, 'tell_meetings'],
      ] as const,
  ),
];
const truncated = ['resource_servers', 'resource_server_clients', 'software_policies'];

const rowsOf = {
  insert: 'new table as changed',
  update: 'old table as was new table as changed',
  delete: 'old table as changed',
} as const;

export const up = [
  ...Object.entries(functions).map(
    ([name, body]) => `create function ${name}() returns trigger language plpgsql set search_path from current as $$
    declare
      ids text[];
    begin
      ${body}
      return null;
    end
  $$`,
  ),
  ...triggers.map(
    ([table, event, name]) => `create trigger ${table}_tell_protocol_${event} after ${event} on ${table}
      referencing ${rowsOf[event]} for each statement execute function ${name}()`,
  ),
  ...truncated.map(
    (table) =>
      `create trigger ${table}_tell_truncate after truncate on ${table} for each statement execute function tell_everything()`,
  ),
];

export const down = [
  ...truncated.map((table) => `drop trigger ${table}_tell_truncate on ${table}`),
  ...triggers.map(([table, event]) => `drop trigger ${table}_tell_protocol_${event} on ${table}`),
  ...Object.keys(functions).map((name) => `drop function ${name}()`),
];
