/**
 * The rotation of the master key, while the service runs: whatever is sealed under another key than ENCRYPTION_MASTER_KEY is
 * opened and sealed anew, a batch at a time. It can be stopped anywhere and begun again: a ciphertext names its key, so what
 * is done already is passed over. `docs/operations/master-key-rotation.md` has the whole of it.
 */
import type { Db } from '../db/connect.ts';
import { type Actor, recordEvent } from './audit/logs.commands.ts';
import { backchannelRow } from './auth/backchannel.commands.ts';
import { providerRow } from './federation/identity-providers.queries.ts';
import { decryptionKeyRow, keyRow } from './keys/keys.commands.ts';
import { lastingKeyRow } from './lasting-keys.ts';
import type { Purpose, Secrets } from './secrets.ts';
import { openPii, sealPii } from './users/pii.ts';

type Row = Record<string, unknown>;

interface SealedColumn {
  table: string;
  /** The table's primary key. */
  key: readonly string[];
  /** What names the master key: bytes, or a member `sealed` of an object, in base64. */
  column: string;
  inObject?: true;
  /** Another column that is read and written with it. */
  beside?: string;
  /** @param row with the names that it has in code */
  reseal(secrets: Secrets, row: Row): unknown[];
}

const bytes = (
  table: string,
  key: string,
  column: string,
  purpose: Purpose,
  rowOf: (id: string) => string,
): SealedColumn => ({
  ...{ table, key: [key], column },
  reseal: (secrets, row) => {
    const name = rowOf(String(row.id));
    return [secrets.seal(purpose, name, secrets.open(purpose, name, row.sealed as Buffer))];
  },
});

const inObject = (
  table: string,
  key: readonly [string, string],
  column: string,
  purpose: Purpose,
  rowOf: (first: string, second: string) => string,
): SealedColumn => ({
  ...{ table, key, column, inObject: true },
  reseal: (secrets, row) => {
    const name = rowOf(String(row.id), String(row.id2));
    const { sealed, ...rest } = row.sealed as { sealed: string };
    const opened = secrets.open(purpose, name, Buffer.from(sealed, 'base64'));
    return [JSON.stringify({ ...rest, sealed: secrets.seal(purpose, name, opened).toString('base64') })];
  },
});

/** Everything in the database that a master key seals. Lasting keys come first: without them nothing starts. */
export const sealedColumns: readonly SealedColumn[] = [
  bytes('lasting_keys', 'purpose', 'key_encrypted', 'lasting-key', lastingKeyRow),
  bytes('jwks_keys', 'kid', 'private_encrypted', 'signing-key', keyRow),
  bytes('jwks_decryption_keys', 'kid', 'private_encrypted', 'decryption-key', decryptionKeyRow),
  bytes('identity_providers', 'id', 'secrets_encrypted', 'identity-provider', providerRow),
  bytes('totp_devices', 'id', 'secret_encrypted', 'totp', (id) => id),
  bytes('one_time_codes', 'id', 'destination_encrypted', 'one-time-code', (id) => id),
  bytes('backchannel_requests', 'id', 'sealed', 'oidc-payload', backchannelRow),
  {
    // A new data key for each person, not the old one in a new wrapping: who has the old one must not read what comes.
    ...{ table: 'users', key: ['id'], column: 'pii_key', beside: 'pii_encrypted' },
    reseal: (secrets, row) => {
      const id = String(row.id);
      const pii = openPii(secrets, { id, piiKey: row.sealed as Buffer, piiEncrypted: row.beside as Buffer });
      const { piiKey, piiEncrypted } = sealPii(secrets, id, pii);
      return [piiKey, piiEncrypted];
    },
  },
  inObject('oidc_payloads', ['model', 'id_hash'], 'payload', 'oidc-payload', (model, idHash) => `${model}:${idHash}`),
  inObject('pgboss.job', ['name', 'id'], 'data', 'job', (queue) => queue),
];

const batch = 200;
/** Rows that somebody has locked are passed over, and come with the next pass. */
const passesMax = 5;

/** The first bytes of a ciphertext in SQL: its version and the name of its key. */
const prefixOf = ({ column, inObject }: SealedColumn): string =>
  inObject ? `decode(left(${column} ->> 'sealed', 12), 'base64')` : `substring(${column} from 1 for 9)`;

/** The columns whose tables are there: the queue's come when jobs first run. */
const presentColumns = async (db: Db): Promise<SealedColumn[]> => {
  const present: SealedColumn[] = [];
  for (const sealed of sealedColumns) {
    const { rows } = (await db.raw('select to_regclass(?) is not null as there', [sealed.table])) as { rows: Row[] };
    if (rows[0]?.there) present.push(sealed);
  }
  return present;
};

/** Rows under another master key than the one that seals now. */
export interface Waiting {
  column: string;
  /** The name of that key; undefined for what was sealed before keys had names. */
  masterKey?: string;
  rows: number;
}

/** Counts what is not under the master key that seals now. */
export const listWaiting = async (db: Db, { prefix }: Pick<Secrets, 'prefix'>): Promise<Waiting[]> => {
  const waiting: Waiting[] = [];
  for (const sealed of await presentColumns(db)) {
    const { rows } = (await db.raw(
      `select case when get_byte(prefix, 0) = 2 then encode(substring(prefix from 2), 'hex') end as master_key,
              count(*)::int as rows
       from (select ${prefixOf(sealed)} as prefix from ${sealed.table}) as sealed
       where prefix <> ? group by 1 order by 1`,
      [prefix],
    )) as { rows: { masterKey: string | null; rows: number }[] };
    for (const { masterKey, rows: count } of rows)
      waiting.push({ column: `${sealed.table}.${sealed.column}`, ...(masterKey ? { masterKey } : {}), rows: count });
  }
  return waiting;
};

interface Batch {
  /** The last key that was looked at; undefined at the end of the table. */
  last: unknown[] | undefined;
  resealed: number;
}

/** Seals a batch anew, in one transaction that has its rows locked. Nobody waits for more than that. */
const resealBatch = (db: Db, secrets: Secrets, sealed: SealedColumn, after: unknown[] | undefined): Promise<Batch> =>
  db.transaction(async (db) => {
    const { table, key, column, beside } = sealed;
    const marks = key.map(() => '?').join(', ');
    const { rows } = (await db.raw(
      `select ${key.map((name, at) => `${name} as id${at ? at + 1 : ''}`).join(', ')}, ${column} as sealed${beside ? `, ${beside} as beside` : ''}
       from ${table}
       where ${prefixOf(sealed)} <> ?${after ? ` and (${key.join(', ')}) > (${marks})` : ''}
       order by ${key.join(', ')} limit ${batch} for update skip locked`,
      [secrets.prefix, ...((after ?? []) as string[])],
    )) as { rows: Row[] };
    let resealed = 0;
    const idsOf = (row: Row) => key.map((_, at) => row[at ? `id${at + 1}` : 'id'] as string);
    for (const row of rows) {
      let values: unknown[];
      try {
        values = sealed.reseal(secrets, row);
      } catch {
        // Under a key that is not set, or not ours at all: it is left, and told of at the end.
        continue;
      }
      await db.raw(
        `update ${table} set ${column} = ?${beside ? `, ${beside} = ?` : ''} where (${key.join(', ')}) = (${marks})`,
        [...values, ...idsOf(row)] as string[],
      );
      resealed++;
    }
    const last = rows.at(-1);
    return { last: last && rows.length === batch ? idsOf(last) : undefined, resealed };
  });

export interface MasterKeyRotation {
  /** The name of the master key that everything is to be under. */
  masterKey: string;
  /** How many rows were sealed anew, by column. */
  resealed: Record<string, number>;
  /** What is not under it still; then the old key must stay. */
  left: Waiting[];
}

/**
 * Seals everything anew that is under another master key, until nothing is.
 * @param progress called after each batch; what it throws ends the work, which can be begun again
 */
export const rotateMasterKey = async (
  db: Db,
  secrets: Secrets,
  actor: Actor,
  progress: (line: string) => void = () => {},
): Promise<MasterKeyRotation> => {
  const target = { type: 'master_key', id: secrets.keyId };
  const resealed: Record<string, number> = {};
  let left = await listWaiting(db, secrets);
  if (!left.length) return { masterKey: secrets.keyId, resealed, left };
  await recordEvent(db, actor, { action: 'master_key.rotate', target, meta: { waiting: left } });
  for (let pass = 0; pass < passesMax && left.length; pass++) {
    for (const sealed of await presentColumns(db)) {
      const name = `${sealed.table}.${sealed.column}`;
      let after: unknown[] | undefined;
      do {
        const done = await resealBatch(db, secrets, sealed, after);
        after = done.last;
        if (!done.resealed) continue;
        resealed[name] = (resealed[name] ?? 0) + done.resealed;
        progress(`${name}: ${resealed[name]}`);
      } while (after);
    }
    left = await listWaiting(db, secrets);
  }
  if (!left.length) await recordEvent(db, actor, { action: 'master_key.complete', target, meta: { resealed } });
  return { masterKey: secrets.keyId, resealed, left };
};
