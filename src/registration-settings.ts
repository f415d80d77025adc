/** The settings of clients that nobody registered, and of what they may get tokens for; `config.ts` takes them in with all others. */
import { z } from 'zod';
import { flag, list } from './setting-kinds.ts';

/** `any`, `off`, or the hosts that documents are read from. */
const documentHosts = list
  .transform((hosts) => hosts.map((host) => host.toLowerCase()))
  .refine(
    (hosts) =>
      hosts.length === 1 && (hosts[0] === 'any' || hosts[0] === 'off')
        ? true
        : hosts.length > 0 && hosts.every((host) => /^[a-z0-9.-]+\.[a-z0-9.-]+(:\d+)?$/.test(host)),
    'expected any, off, or hosts such as claude.ai,vscode.dev',
  );

export const registrationSettings = {
  DYNAMIC_REGISTRATION: z.enum(['off', 'token', 'open']).optional().meta({
    description:
      'Who may register a client at `/oauth/register` (RFC 7591): `off` nobody, `token` whoever has an initial access token, `open` anybody. `token` in production and `open` in development unless set',
  }),
  CLIENT_ID_METADATA_DOCUMENTS: documentHosts.default(['any']).meta({
    description:
      'Whether an https URL can be a `client_id`, whose document then describes the client: `any`, `off`, or the hosts that it may be on, separated by commas',
  }),
  OPEN_RESOURCES: flag.default(true).meta({
    description:
      'Whether a person may give a client a token for an API that is not known here (RFC 8707), such as an MCP server: its `aud` is that API and no other. `false`: only for resource servers that are registered',
  }),
};

/** DYNAMIC_REGISTRATION, which follows NODE_ENV unless it is set. */
export const registrationMode = ({
  DYNAMIC_REGISTRATION: mode,
  NODE_ENV,
}: {
  DYNAMIC_REGISTRATION?: 'off' | 'token' | 'open' | undefined;
  NODE_ENV: string;
}): 'off' | 'token' | 'open' => mode ?? (NODE_ENV === 'production' ? 'token' : 'open');
