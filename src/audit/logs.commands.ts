/** The audit log: append-only, written in the transaction of the command that it records. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';

/** Who acts, and from where. Addresses are kept for investigations; names and mail addresses never are. */
export interface Actor {
  type: 'user' | 'client' | 'operator' | 'system' | 'anonymous';
  id?: string;
  requestId?: string;
  address?: string;
  userAgent?: string;
}

export interface AuditEvent {
  /** `<thing>.<verb>`, such as `session.sign_in` or `consent.withdraw`. */
  action: string;
  target?: { type: string; id: string };
  /** Facts that are neither secret nor personal. */
  meta?: Record<string, unknown>;
}

/** Somebody at the command line of the machine itself. */
export const operator: Actor = { type: 'operator' };
/** The service, by itself. */
export const system: Actor = { type: 'system' };

/** Appends an event. Pass the command's own transaction, so that neither exists without the other. */
export const recordEvent = async (db: Db, actor: Actor, { action, target, meta = {} }: AuditEvent): Promise<void> => {
  await db('auditLogs').insert({
    id: uuid(),
    actorType: actor.type,
    actorId: actor.id ?? null,
    action,
    targetType: target?.type ?? null,
    targetId: target?.id ?? null,
    meta: JSON.stringify(meta),
    requestId: actor.requestId ?? null,
    address: actor.address ?? null,
  });
};
