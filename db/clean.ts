/**
 * Deletes what has expired, a batch at a time, so that no table grows without end and no statement runs for long. What somebody
 * else has locked stays for the next time: the cleaner waits for nobody, and of two that run at once neither has to.
 */
import { cleanedRows } from '../src/observing.ts';
import type { Db } from './connect.ts';

const batch = 1000;

/** Table, key and condition of what can go. A grant goes when neither its session nor a refresh token needs it. */
const expired: readonly [table: string, key: string, where: string][] = [
  ['action_tokens', 'token_hash', 'expires_at < now()'],
  ['one_time_codes', 'id', 'expires_at < now()'],
  ['sessions', 'id_hash', 'expires_at < now()'],
  ['consumed_tokens', 'token_hash', 'expires_at < now()'],
  // Set up, and never confirmed.
  ['totp_devices', 'id', 'expires_at < now()'],
  ['known_devices', '(user_id, device_hash)', 'expires_at < now()'],
  ['refresh_tokens', 'token_hash', 'expires_at < now()'],
  ['backchannel_requests', 'id', 'expires_at < now()'],
  ['oidc_payloads', '(model, id_hash)', 'expires_at < now()'],
  ['initial_access_tokens', 'id', 'expires_at < now() or uses_left = 0'],
  ['revoked_tokens', 'jti_hash', 'expires_at < now()'],
  // Whoever sent one sees for a while what became of it.
  ['organization_invitations', 'id', `expires_at < now() - interval '30 days'`],
  [
    'organization_domains',
    'id',
    `verified_at is null and greatest(created_at, missing_since) < now() - interval '90 days'`,
  ],
  // Shown to their owner for a while after their end.
  ['api_keys', 'id', `least(revoked_at, expires_at) < now() - interval '30 days'`],
  // Shown for a while after their end, to those who ask who had what.
  ['role_grants', 'id', "expires_at < now() - interval '30 days'"],
  ['permission_grants', 'id', "expires_at < now() - interval '30 days'"],
  [
    'grants',
    'id',
    `expires_at < now() or (created_at < now() - interval '1 day'
       and not exists (select from sessions where sessions.uid = grants.session_uid and sessions.expires_at > now())
       and not exists (select from refresh_tokens where refresh_tokens.grant_id = grants.id and refresh_tokens.expires_at > now()))`,
  ],
];

/**
 * @param signInSeconds for how long sign-ins are kept
 * @param decisionSeconds for how long decisions are kept that policies are tried on
 * @returns how many rows went, by table
 */
export const cleanExpired = async (
  db: Db,
  signInSeconds = 90 * 86_400,
  decisionSeconds = 3 * 86_400,
): Promise<Record<string, number>> => {
  const deleted: Record<string, number> = {};
  const before = (seconds: number) => `now() - make_interval(secs => ${Number(seconds)})`;
  const retained: typeof expired = [
    ['sign_ins', 'id', `created_at < ${before(signInSeconds)}`],
    ['decisions', 'id', `at < ${before(decisionSeconds)}`],
  ];
  for (const [table, key, where] of [...expired, ...retained]) {
    const columns = key.replace(/[()]/g, '');
    let count: number;
    do {
      const { rows } = (await db.raw(
        `delete from ${table} where ${key} in (select ${columns} from ${table} where ${where} limit ${batch} for update skip locked) returning 1 as one`,
      )) as { rows: unknown[] };
      count = rows.length;
      deleted[table] = (deleted[table] ?? 0) + count;
      if (count) cleanedRows.tell?.(table, count);
    } while (count === batch);
  }
  await forgetSecrets(db);
  return deleted;
};

/** A client's secret that was rotated out is refused once its grace is over; nobody needs its hash any more. */
const forgetSecrets = (db: Db) =>
  db('clients')
    .where('previousSecretExpiresAt', '<', db.fn.now())
    .update({ previousSecretHash: null, previousSecretExpiresAt: null });
