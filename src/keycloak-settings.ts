/** The settings of provisioning to Keycloak, which `config.ts` takes in with all others. */
import { z } from 'zod';
import { duration } from './setting-kinds.ts';

const interval = duration.refine(
  (seconds) => seconds === 0 || (seconds >= 60 && seconds <= 7 * 86_400),
  'expected 0, or from 1m to 7d',
);

export const keycloakSettings = {
  KEYCLOAK_SYNC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .meta({
      description:
        'Keycloak whose users `countersign sync keycloak` creates, changes and disables: its URL up to, and without, `/realms` and `/admin`; https in production',
    }),
  KEYCLOAK_SYNC_REALM: z.string().min(1).max(255).optional().meta({ description: 'The realm there' }),
  KEYCLOAK_SYNC_CLIENT_ID: z.string().min(1).max(255).optional().meta({
    description:
      'A confidential client of that realm with a service account that has the role `manage-users` of `realm-management`',
  }),
  KEYCLOAK_SYNC_CLIENT_SECRET: z.string().min(1).optional().meta({ description: 'Its secret' }),
  KEYCLOAK_SYNC_EVERY: interval.default(0).meta({
    description: 'How often that is done by itself, on one of all replicas; `0`: when the command is run',
  }),
};

type KeycloakValues = {
  [Name in keyof typeof keycloakSettings]?: z.output<(typeof keycloakSettings)[Name]> | undefined;
};

/** What of them does not go together. */
export const keycloakMistakes = (values: KeycloakValues, isProduction: boolean): string[] => {
  const { KEYCLOAK_SYNC_URL: url, KEYCLOAK_SYNC_EVERY: every } = values;
  const needed = ['KEYCLOAK_SYNC_REALM', 'KEYCLOAK_SYNC_CLIENT_ID', 'KEYCLOAK_SYNC_CLIENT_SECRET'] as const;
  const given = needed.filter((name) => values[name] !== undefined);
  const mistakes: string[] = [];
  if (url)
    for (const name of needed) if (!given.includes(name)) mistakes.push(`${name}: is needed with KEYCLOAK_SYNC_URL`);
  if (!url && (given.length || every)) mistakes.push('KEYCLOAK_SYNC_URL: is needed with KEYCLOAK_SYNC_*');
  // The secret would go over the wire as it is.
  if (isProduction && url?.startsWith('http:')) mistakes.push('KEYCLOAK_SYNC_URL: must be https in production');
  return mistakes;
};
