/** The settings of how people come into organizations, which `config.ts` takes in with all others. */
import { isIP } from 'node:net';
import { duration, list } from './setting-kinds.ts';

/** `192.0.2.1`, `192.0.2.1:5353` or `[2001:db8::1]:5353`, as `node:dns` takes them. */
const isServer = (text: string): boolean => {
  const [, six, four] = /^(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?$/.exec(text) ?? [];
  return isIP(six ?? four ?? text) > 0;
};

export const joiningSettings = {
  INVITATION_TTL: duration
    .refine((seconds) => seconds >= 3600 && seconds <= 90 * 86_400, 'must be between 1h and 90d')
    .default(7 * 86_400)
    .meta({ description: 'How long an invitation to an organization can be accepted, unless whoever invites says' }),
  DNS_SERVERS: list
    .refine((servers) => servers.every(isServer), 'expected addresses such as 192.0.2.53 or [2001:db8::53]:5353')
    .default([])
    .meta({
      description:
        'DNS servers, separated by commas, that are asked whether a mail domain is an organization’s; those of the machine unless set',
    }),
};
