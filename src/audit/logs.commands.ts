/** The audit log: append-only, written in the transaction of the command that it records. */
import { v7 as uuid } from 'uuid';
import { type Bind, insertion } from '../../db/bindings.ts';
import type { Db } from '../../db/connect.ts';
import { auditEvents } from '../observing.ts';
import type { Action } from './actions.ts';

/** Who acts, and from where. Addresses are kept for investigations; names and mail addresses never are. */
export interface Actor {
  type: 'user' | 'client' | 'operator' | 'system' | 'anonymous';
  id?: string;
  requestId?: string;
  address?: string;
  userAgent?: string;
  /**
   * With what a person acts, unless it is with their own hands at this service: an application, an API key of theirs, or somebody
   * who acts for them.
   */
  via?: { clientId?: string; apiKeyId?: string; actors?: readonly { sub: string; clientId?: string }[] };
}

export interface AuditEvent {
  action: Action;
  target?: { type: string; id: string };
  /** Facts that are neither secret nor personal. `via` is the actor's. */
  meta?: Record<string, unknown>;
}

/** The account that an event is about. */
export const userTarget = (id: string) => ({ type: 'user', id });

/** Somebody at the command line of the machine itself. */
export const operator: Actor = { type: 'operator' };
/** The service, by itself. */
export const system: Actor = { type: 'system' };

/** How many rows a transaction of the retention deletes, and how many transactions one run of it may take. */
const expiryBatch = 5000;
const expiryBatchesMax = 200;

/**
 * Deletes events older than the retention, a batch at a time, and records each batch. The database lets nobody else
 * delete, and even this no row of the last 30 days.
 * @returns how many went
 */
export const expireEvents = async (db: Db, retentionSeconds: number): Promise<number> => {
  let total = 0;
  for (let batches = 0; batches < expiryBatchesMax; batches++) {
    const count = await db.transaction((db) => expireBatch(db, retentionSeconds));
    total += count;
    if (count < expiryBatch) break;
  }
  return total;
};

const expireBatch = async (db: Db, retentionSeconds: number): Promise<number> => {
  await db.raw(`set local countersign.retention = 'on'`);
  const { rows } = (await db.raw(
    `with gone as (
       delete from audit_logs where id in (
         select id from audit_logs where at < now() - ? * interval '1 second' order by at, id limit ${expiryBatch}
       ) returning 1
     )
     select count(*)::int as count, now() - ? * interval '1 second' as cutoff from gone`,
    [retentionSeconds, retentionSeconds],
  )) as { rows: [{ count: number; cutoff: Date }] };
  const [{ count, cutoff }] = rows;
  if (count) await recordEvent(db, system, { action: 'audit.expire', meta: { count, before: cutoff.toISOString() } });
  return count;
};

/** Appends an event. Pass the command's own transaction, so that neither exists without the other. */
export const recordEvent = (db: Db, actor: Actor, event: AuditEvent): Promise<void> => recordEvents(db, actor, [event]);

/** An event as it is stored. */
const toRow = (actor: Actor, { action, target, meta = {} }: AuditEvent) => ({
  id: uuid(),
  actor_type: actor.type,
  actor_id: actor.id ?? null,
  action,
  target_type: target?.type ?? null,
  target_id: target?.id ?? null,
  meta: JSON.stringify(actor.via ? { ...meta, via: actor.via } : meta),
  request_id: actor.requestId ?? null,
  address: actor.address ?? null,
  user_agent: actor.userAgent ?? null,
});

/** Likewise several, in their order and in one statement. */
export const recordEvents = async (db: Db, actor: Actor, events: readonly AuditEvent[]): Promise<void> => {
  if (!events.length) return;
  if (auditEvents.tell) for (const { action } of events) auditEvents.tell(action);
  await db('auditLogs').insert(events.map((event) => toRow(actor, event)));
};

/** SQL that appends an event, for a statement that writes more than that. */
export const eventInsertion = (actor: Actor, event: AuditEvent, bind: Bind): string => {
  auditEvents.tell?.(event.action);
  return insertion('audit_logs', toRow(actor, event), bind);
};
