/** Who makes a request, as the audit log and the commands want to know it. */
import type { Actor } from '../audit/logs.commands.ts';

interface RequestContext {
  ip: string;
  get(header: string): string;
  state: { requestId?: string };
}

/** The caller as far as the connection shows; whoever authenticates it sets `type` and `id`. */
export const actorOf = (ctx: RequestContext): Actor => ({
  type: 'anonymous',
  ...(ctx.state.requestId ? { requestId: ctx.state.requestId } : {}),
  address: ctx.ip,
  userAgent: ctx.get('user-agent').slice(0, 500),
});
