/**
 * What an operator does after a database was restored, or the master key was lost. Both end what people and applications hold,
 * so both are asked to name the issuer. docs/operations/ has a runbook for each.
 */
import { randomBytes } from 'node:crypto';
import type { Db } from '../db/connect.ts';
import { type Actor, recordEvent } from './audit/logs.commands.ts';
import type { Config } from './config.ts';
import { openSecrets, storeLasting } from './lasting-keys.ts';
import { createSecrets, lastingPurposes } from './secrets.ts';

/** Statements by what they end, in an order in which nothing that is left refers to what has gone. */
const holdings: Readonly<Record<string, string>> = {
  sessions: 'delete from sessions',
  refreshTokens: 'delete from refresh_tokens',
  grants: 'delete from grants',
  tokensAndCodes: `delete from oidc_payloads where grant_id is not null
    or model in ('AccessToken', 'ClientCredentials', 'Interaction', 'PushedAuthorizationRequest', 'PostedRequest')`,
  backchannelRequests: 'delete from backchannel_requests',
  oneTimeCodes: 'delete from one_time_codes',
  mailedLinks: 'delete from action_tokens',
  // They show no second factor, and may have been forgotten since the dump.
  rememberedBrowsers: 'update known_devices set mfa_until = null where mfa_until is not null',
  // What clients got for themselves, by client: further than anybody has counted since the dump that was restored.
  ownTokensOfClients: 'update clients set token_generation = token_generation + 1000',
};

/** What nobody can open any more, and what was derived from it. */
const sealed: Readonly<Record<string, string>> = {
  ...holdings,
  sealedPayloads: `delete from oidc_payloads where jsonb_exists(payload, 'sealed')`,
  signingKeys: 'delete from jwks_keys',
  decryptionKeys: 'delete from jwks_decryption_keys',
  // The mailbox stands in for the factor that is lost: else a stolen password would be enough from now on.
  passwords: `update users set password_hash = null, password_changed_at = now()
    where password_hash is not null and (
      exists (select from totp_devices where totp_devices.user_id = users.id and confirmed_at is not null)
      or exists (select from passkeys where passkeys.user_id = users.id and user_handle is null))`,
  authenticatorApps: 'delete from totp_devices',
  backupCodes: 'delete from backup_codes',
  // The name under which an authenticator finds them comes from a key that is gone; imported ones have brought their own.
  passkeys: 'delete from passkeys where user_handle is null',
  knownDevices: 'delete from known_devices',
  personalData: `update users set pii_key = null, pii_encrypted = null, phone_index = null
    where pii_key is not null or phone_index is not null`,
  identityProviderSecrets: 'update identity_providers set secrets_encrypted = null where secrets_encrypted is not null',
  lastingKeys: 'delete from lasting_keys',
};

/** @returns how many rows each statement took */
const runAll = async (db: Db, statements: Readonly<Record<string, string>>): Promise<Record<string, number>> => {
  const gone: Record<string, number> = {};
  // As long as it takes: nobody is served who would wait for it.
  await db.raw('set local statement_timeout = 0');
  for (const [name, statement] of Object.entries(statements)) {
    const { rows } = (await db.raw(
      `with gone as (${statement} returning 1) select count(*)::int as rows from gone`,
    )) as {
      rows: [{ rows: number }];
    };
    gone[name] = rows[0].rows;
  }
  return gone;
};

/**
 * Ends every session, grant, refresh token, code and mailed link, and what clients got for themselves; every browser is asked for a
 * second factor again. A JWT that is verified
 * offline lives on until it expires, unless the keys are revoked as well.
 * @returns how many ended
 */
export const endEverything = (db: Db, actor: Actor): Promise<Record<string, number>> =>
  db.transaction(async (db) => {
    const ended = await runAll(db, holdings);
    await recordEvent(db, actor, { action: 'session.end_all', meta: ended });
    return ended;
  });

/** Whether a master key opens the database, or why not. */
const opens = async (db: Db, config: Config): Promise<boolean> => {
  try {
    await openSecrets(db, config);
    return true;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('ENCRYPTION_MASTER_KEY does not open')) return false;
    throw error;
  }
};

/**
 * Forgets what is sealed under a master key that is lost, so that the service starts under another.
 * @throws Error when the master key that is set opens the database: nothing is lost then
 */
export const forgetSealed = async (db: Db, config: Config, actor: Actor): Promise<Record<string, number>> => {
  if (await opens(db, config))
    throw new Error('The master key that is set opens this database: there is nothing to recover from');
  return db.transaction(async (db) => {
    const forgotten = await runAll(db, sealed);
    await storeLasting(db, createSecrets(config.ENCRYPTION_MASTER_KEY), lastingPurposes, () => randomBytes(32));
    const { rows } = (await db.raw(`select to_regclass('pgboss.job') is not null as there`)) as {
      rows: [{ there: boolean }];
    };
    if (rows[0].there)
      Object.assign(forgotten, await runAll(db, { jobs: `delete from pgboss.job where jsonb_exists(data, 'sealed')` }));
    await recordEvent(db, actor, { action: 'master_key.lose', meta: forgotten });
    return forgotten;
  });
};
