/** Reads of `policies` and `policy_versions`. */
import type { Db } from '../../db/connect.ts';

/** What a policy says, in one version; versions are never changed. */
export interface PolicyRule {
  effect: 'allow' | 'deny';
  /** Types of resources that it is about; `*`: all. */
  resources: string[];
  /** Actions that it is about; `*`: all. */
  actions: string[];
  /** JSON Logic: the effect comes about where it holds. */
  condition: unknown;
}

export interface PolicyVersion extends PolicyRule {
  version: number;
  createdBy: string | null;
  createdAt: Date;
}

export interface Policy {
  id: string;
  name: string;
  description: string;
  /** Null: a draft. */
  activeVersion: number | null;
  /** The rank of whoever activated it: it binds nobody who ranks higher. */
  activatedRank: number | null;
  activatedBy: string | null;
  activatedAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
}

const columns = [
  'id',
  'name',
  'description',
  'activeVersion',
  'activatedRank',
  'activatedBy',
  'activatedAt',
  'createdAt',
  'updatedAt',
] as const;
const ruleColumns = ['version', 'effect', 'resources', 'actions', 'condition', 'createdBy', 'createdAt'] as const;

export const findPolicy = (db: Db, where: { id: string } | { name: string }): Promise<Policy | undefined> =>
  db('policies')
    .where(where)
    .first(...columns);

/** As `findPolicy`, and nobody changes it until the transaction ends. */
export const lockPolicy = (db: Db, where: { id: string } | { name: string }): Promise<Policy | undefined> =>
  db('policies')
    .where(where)
    .forUpdate()
    .first(...columns);

/** In order of their names (`policies_name_key`). */
export const listPolicies = (
  db: Db,
  { after, limit, active }: { after?: string | undefined; limit: number; active?: boolean | undefined },
): Promise<Policy[]> =>
  db('policies')
    .modify((query) => {
      if (after !== undefined) query.where('name', '>', after);
      if (active === true) query.whereNotNull('activeVersion');
      if (active === false) query.whereNull('activeVersion');
    })
    .orderBy('name')
    .limit(limit)
    .select(...columns);

/** The newest first. */
export const listVersions = (db: Db, policyId: string): Promise<PolicyVersion[]> =>
  db('policyVersions')
    .where({ policyId })
    .orderBy('version', 'desc')
    .select(...ruleColumns);

export const findVersion = (db: Db, policyId: string, version: number): Promise<PolicyVersion | undefined> =>
  db('policyVersions')
    .where({ policyId, version })
    .first(...ruleColumns);

/** A policy that is active, as it is compiled. */
export interface ActiveRow extends PolicyRule {
  id: string;
  name: string;
  version: number;
  rank: number;
}

/** Those that are active, denials first, then by name: the order in which they are asked. */
export const listActive = async (db: Db): Promise<ActiveRow[]> =>
  db('policies')
    .join('policyVersions', (on) =>
      on.on('policyVersions.policyId', 'policies.id').andOn('policyVersions.version', 'policies.activeVersion'),
    )
    .orderByRaw(`effect = 'allow', name`)
    .select(
      'policies.id',
      'name',
      'version',
      'effect',
      'resources',
      'actions',
      'condition',
      db.ref('activatedRank').as('rank'),
    );

/** The same text as long as the same versions are active, activated by people of the same ranks. */
export const findFingerprint = async (db: Db): Promise<string> => {
  const { rows } = (await db.raw(
    `select coalesce(md5(string_agg(id || ' ' || active_version || ' ' || activated_rank, ',' order by id)), '') as fingerprint
     from policies where active_version is not null`,
  )) as { rows: [{ fingerprint: string }] };
  return rows[0].fingerprint;
};
