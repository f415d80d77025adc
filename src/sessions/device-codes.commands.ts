/** Device codes (RFC 8628): what becomes of one, for the audit log. */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';

/**
 * Writes down that a person has connected a device, or that it was refused. Pass the transaction that saves that.
 * @param error why it was refused, as its client is told (RFC 8628 section 3.5)
 */
export const recordDeviceDecision = (
  db: Db,
  actor: Actor,
  { clientId, error }: { clientId: string; error?: string | undefined },
): Promise<void> =>
  recordEvent(db, actor, {
    action: error === undefined ? 'device.approve' : 'device.refuse',
    target: { type: 'client', id: clientId },
    ...(error === undefined ? {} : { meta: { error } }),
  });
