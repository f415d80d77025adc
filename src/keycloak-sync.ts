/** Provisioning to Keycloak, from the settings: for the command line, and as a job. */
import type { Jobs } from '../adapters/jobs.ts';
import { createKeycloakAdmin } from '../adapters/keycloak-admin.ts';
import { createOperatorFetch } from '../adapters/outbound.ts';
import type { Db } from '../db/connect.ts';
import { system } from './audit/logs.commands.ts';
import type { Config } from './config.ts';
import { type ProvisionDeps, provisionKeycloak } from './keycloak/provision.commands.ts';
import type { Log } from './log.ts';
import type { Secrets } from './secrets.ts';

/** What a run needs; undefined unless KEYCLOAK_SYNC_URL and what belongs to it are set. */
export const keycloakSyncDeps = (config: Config, db: Db, secrets: Secrets): ProvisionDeps | undefined => {
  const { KEYCLOAK_SYNC_URL: url, KEYCLOAK_SYNC_REALM: realm } = config;
  const { KEYCLOAK_SYNC_CLIENT_ID: clientId, KEYCLOAK_SYNC_CLIENT_SECRET: clientSecret } = config;
  if (!url || !realm || !clientId || !clientSecret) return undefined;
  return {
    db,
    secrets,
    system: `keycloak-sync:${url.replace(/\/+$/, '')}/realms/${realm}`,
    keycloak: createKeycloakAdmin({ url, realm, clientId, clientSecret, fetch: createOperatorFetch(url, 'keycloak') }),
  };
};

/** Has one of all replicas do it every KEYCLOAK_SYNC_EVERY. */
export const scheduleKeycloakSync = async (
  config: Config,
  db: Db,
  secrets: Secrets,
  jobs: Pick<Jobs, 'every'>,
  log: Log,
): Promise<void> => {
  const deps = keycloakSyncDeps(config, db, secrets);
  const every = config.KEYCLOAK_SYNC_EVERY;
  if (!deps || !every) return;
  await jobs.every('keycloak-sync', every, async () => {
    // Before the job counts as hanging; the next one goes on.
    const until = Date.now() + (Math.max(300, every) - 90) * 1000;
    const { counts, complete } = await provisionKeycloak(deps, system, { dryRun: false, until });
    const { unchanged: _, ...changes } = counts;
    if (Object.values(changes).some(Boolean)) log.info({ counts, complete }, 'provisioned accounts to Keycloak');
  });
};
