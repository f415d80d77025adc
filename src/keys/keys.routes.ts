/** The signing keys over REST: which there are, and new ones. Nothing private is ever shown. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import type { Config } from '../config.ts';
import { conflict } from '../errors.ts';
import { listOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Time } from '../http/schemas.ts';
import type { Secrets } from '../secrets.ts';
import { decryptionAlgorithms, isDecryption, type KeyAlg, signingAlgorithms } from './key-algorithms.ts';
import { type KeySet, loadKeySet } from './key-set.ts';
import { rotateKeys } from './keys.commands.ts';
import { listKeys } from './keys.queries.ts';

const Key = z
  .object({
    kid: z.string().meta({ example: 'Xk2fW0…' }),
    alg: z.enum([...signingAlgorithms, ...decryptionAlgorithms]).meta({ example: 'RS256' }),
    use: z.enum(['sig', 'enc']).meta({
      description: '`sig`: it signs; `enc`: request objects are encrypted to it',
      example: 'sig',
    }),
    state: z.enum(['waiting', 'published', 'signing', 'retired']).meta({
      description:
        'Of a key that signs: `published`, in JWKS and not signing yet; `signing`; `retired`, in JWKS until what it signed has expired. Of one that decrypts: `waiting`, not in JWKS yet; `published`, the one that others encrypt to; `retired`, in JWKS no more. States follow from the clock.',
      example: 'signing',
    }),
    signsFrom: Time.nullable().meta({
      description: 'When it is first used; null for a key from a file',
      example: '2027-01-31T09:36:53.589Z',
    }),
    createdAt: Time.nullable(),
  })
  .meta({ id: 'SigningKey' });

const RotateKeys = z
  .object({
    now: z.boolean().default(false).meta({
      description:
        'Sign with the new keys at once instead of after ten minutes: for an emergency, since applications that cache JWKS may not know them yet',
      example: false,
    }),
  })
  .meta({ id: 'RotateKeys' });

export interface KeyRouteDeps {
  db: Db;
  secrets: Secrets;
  config: Pick<Config, 'JWKS_PRIVATE_KEY_PATH' | 'JWKS_KEY_ID' | 'SIGNING_ALGS'>;
  /** Has this replica sign and publish with what is in the database now. */
  reload(): Promise<void>;
}

type State = z.input<typeof Key>['state'];
interface Known {
  alg: KeyAlg;
  /** Its time has not come. */
  isEarly: boolean;
  isRetired: boolean;
}

/** Of each algorithm the first whose time has come is in use. */
const stateOf = (keys: readonly Known[], key: Known): State => {
  const decrypts = isDecryption(key.alg);
  if (key.isRetired) return 'retired';
  if (key.isEarly) return decrypts ? 'waiting' : 'published';
  const current = keys.find(({ alg, isEarly, isRetired }) => alg === key.alg && !isEarly && !isRetired);
  if (key !== current) return 'retired';
  return decrypts ? 'published' : 'signing';
};

const fromFile = ({ jwks }: KeySet): z.input<typeof Key>[] => {
  const keys = jwks.keys.map(({ kid = '', alg = 'ECDH-ES' }) => ({
    kid,
    alg: alg as KeyAlg,
    isEarly: false,
    isRetired: false,
  }));
  return keys.map((key) => {
    const state = stateOf(keys, key);
    const { kid, alg } = key;
    const common = { kid, alg, use: isDecryption(alg) ? 'enc' : 'sig', signsFrom: null, createdAt: null } as const;
    // A file knows no retired keys that sign: what does not has been put there to be published.
    return { ...common, state: state === 'retired' && !isDecryption(alg) ? 'published' : state };
  });
};

const fromDatabase = async (db: Db): Promise<z.input<typeof Key>[]> => {
  const now = Date.now();
  const keys = (await listKeys(db)).map((key) => ({
    ...key,
    isEarly: key.signsFrom.getTime() > now,
    isRetired: key.retiredAt !== null,
  }));
  return keys.map((key) => ({
    kid: key.kid,
    alg: key.alg,
    use: isDecryption(key.alg) ? 'enc' : 'sig',
    state: stateOf(keys, key),
    signsFrom: key.signsFrom.toISOString(),
    createdAt: key.createdAt.toISOString(),
  }));
};

export const keyRoutes = ({ db, secrets, config, reload }: KeyRouteDeps): Route[] => {
  const inFile = config.JWKS_PRIVATE_KEY_PATH !== undefined;
  const list = async () => ({
    data: inFile ? fromFile(await loadKeySet(config, db, secrets)) : await fromDatabase(db),
    nextCursor: null,
  });
  return [
    route({
      id: 'listKeys',
      method: 'get',
      path: '/admin/keys',
      tag: 'Administration',
      summary: 'See the signing keys and their states, the newest first',
      access: 'keys:read:any',
      returns: listOf(Key),
      status: 200,
      handle: list,
    }),
    route({
      id: 'rotateKeys',
      method: 'post',
      path: '/admin/keys/rotate',
      tag: 'Administration',
      summary: 'Publish new signing keys, which sign after ten minutes or at once',
      description:
        'Answers with all keys. No token stops verifying: the old keys stay published until what they signed has expired. Keys that wait for their time already are the new ones; no others are made.',
      access: 'keys:rotate:any',
      body: RotateKeys.optional(),
      returns: listOf(Key),
      status: 200,
      problems: { 409: ['keys_in_file', 'too_many_keys'] },
      handle: async ({ body, actor }) => {
        if (inFile) throw conflict('keys_in_file', 'The keys come from a file and are rotated there');
        await rotateKeys(db, secrets, actor, { now: body?.now ?? false, signing: config.SIGNING_ALGS });
        await reload();
        return list();
      },
    }),
  ];
};
