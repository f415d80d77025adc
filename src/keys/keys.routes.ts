/** The signing keys over REST: which there are, and new ones. Nothing private is ever shown. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import type { Config } from '../config.ts';
import { conflict } from '../errors.ts';
import { listOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Time } from '../http/schemas.ts';
import type { Secrets } from '../secrets.ts';
import { type KeySet, loadKeySet } from './key-set.ts';
import { rotateKeys } from './keys.commands.ts';
import { listKeys } from './keys.queries.ts';

const Key = z
  .object({
    kid: z.string().meta({ example: 'Xk2fW0…' }),
    alg: z.enum(['RS256', 'ES256', 'EdDSA']).meta({ example: 'RS256' }),
    state: z.enum(['published', 'signing', 'retired']).meta({
      description:
        '`published`: in JWKS and not signing yet; `retired`: in JWKS until what it signed has expired. States follow from the clock.',
      example: 'signing',
    }),
    signsFrom: Time.nullable().meta({ description: 'Null for a key from a file', example: '2027-01-31T09:36:53.589Z' }),
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
  config: Pick<Config, 'JWKS_PRIVATE_KEY_PATH' | 'JWKS_KEY_ID'>;
  /** Has this replica sign and publish with what is in the database now. */
  reload(): Promise<void>;
}

/** The newest of an algorithm whose time has come signs; in a file, the first. */
const describe = <T extends { alg: string }>(keys: readonly T[], isPublished: (key: T) => boolean) =>
  keys.map((key) => {
    if (isPublished(key)) return { key, state: 'published' as const };
    const signing = keys.find((other) => other.alg === key.alg && !isPublished(other));
    return { key, state: key === signing ? ('signing' as const) : ('retired' as const) };
  });

const fromFile = ({ jwks }: KeySet): z.input<typeof Key>[] => {
  const keys = jwks.keys.map(({ kid = '', alg }) => ({ kid, alg: alg as 'RS256' }));
  // A file knows no retired keys: what does not sign has been put there to be published.
  return describe(keys, () => false).map(({ key, state }) => ({
    ...key,
    state: state === 'retired' ? 'published' : state,
    signsFrom: null,
    createdAt: null,
  }));
};

const fromDatabase = async (db: Db): Promise<z.input<typeof Key>[]> => {
  const now = Date.now();
  return describe(await listKeys(db), ({ signsFrom }) => signsFrom.getTime() > now).map(({ key, state }) => ({
    kid: key.kid,
    alg: key.alg,
    state,
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
        await rotateKeys(db, secrets, actor, { now: body?.now ?? false });
        await reload();
        return list();
      },
    }),
  ];
};
