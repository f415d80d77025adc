/**
 * Software policies, and the initial access tokens by which clients register under them. Nobody lets clients have what they do
 * not hold themselves; a client answers to whoever made its token, and can do nothing on its own that they could not.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict, invalid, notFound } from '../errors.ts';
import { hashToken, randomToken } from '../secrets.ts';
import { assertHeld, assertRegistrar, findPresentPowers, type Powers } from './clients.commands.ts';
import {
  findInitialToken,
  findPolicy,
  type InitialAccessToken,
  type SoftwarePolicy,
} from './software-policies.queries.ts';

export type PolicyInput = Pick<
  SoftwarePolicy,
  'description' | 'grantTypes' | 'redirectHosts' | 'scope' | 'profile' | 'requirePkce'
>;

const target = (name: string) => ({ type: 'software_policy', id: name });

/** @throws AppError 409 software_policy_exists, 403 scope_exceeds_yours or rank_too_low */
export const createPolicy = (
  db: Db,
  actor: Actor,
  powers: Powers,
  name: string,
  input: PolicyInput,
): Promise<SoftwarePolicy> =>
  db.transaction(async (db) => {
    const present = await findPresentPowers(db, powers);
    assertRegistrar(present);
    assertHeld(present, input.scope);
    const [created] = await db('softwarePolicies')
      .insert({ name, ...input })
      .onConflict('name')
      .ignore()
      .returning('name');
    if (!created) throw conflict('software_policy_exists', 'There is a software policy of that name');
    await recordEvent(db, actor, { action: 'software_policy.create', target: target(name) });
    return (await findPolicy(db, name)) as SoftwarePolicy;
  });

/** Locked, for somebody who holds what it gives. */
const takePolicy = async (db: Db, powers: Powers, name: string) => {
  const present = await findPresentPowers(db, powers);
  assertRegistrar(present);
  const policy = await db('softwarePolicies').where({ name }).forUpdate().first('scope');
  if (!policy) throw notFound('software_policy');
  assertHeld(present, policy.scope);
  return present;
};

/**
 * Replaces a policy as a whole. Clients that are registered keep what they have until they change it.
 * @throws AppError 404 software_policy_not_found, 403 scope_exceeds_yours or rank_too_low
 */
export const replacePolicy = (
  db: Db,
  actor: Actor,
  powers: Powers,
  name: string,
  input: PolicyInput,
): Promise<SoftwarePolicy> =>
  db.transaction(async (db) => {
    assertHeld(await takePolicy(db, powers, name), input.scope);
    await db('softwarePolicies')
      .where({ name })
      .update({ ...input, updatedAt: db.fn.now() });
    await recordEvent(db, actor, { action: 'software_policy.update', target: target(name) });
    return (await findPolicy(db, name)) as SoftwarePolicy;
  });

/** Its tokens go with it; its clients stay. @throws AppError as `replacePolicy` */
export const deletePolicy = (db: Db, actor: Actor, powers: Powers, name: string): Promise<void> =>
  db.transaction(async (db) => {
    await takePolicy(db, powers, name);
    await db('softwarePolicies').where({ name }).delete();
    await recordEvent(db, actor, { action: 'software_policy.delete', target: target(name) });
  });

export interface NewInitialToken {
  note: string;
  softwarePolicy?: string | undefined;
  uses?: number | undefined;
  /** Seconds. */
  expiresIn: number;
}

/**
 * @returns the token, shown this once
 * @throws AppError 400 invalid_request for a policy that is not there, 403 scope_exceeds_yours or rank_too_low
 */
export const createInitialToken = (
  db: Db,
  actor: Actor,
  powers: Powers,
  { note, softwarePolicy, uses, expiresIn }: NewInitialToken,
): Promise<InitialAccessToken & { token: string }> =>
  db.transaction(async (db) => {
    const present = await findPresentPowers(db, powers);
    assertRegistrar(present);
    if (softwarePolicy !== undefined) {
      const policy = await db('softwarePolicies').where({ name: softwarePolicy }).forShare().first('scope');
      if (!policy)
        throw invalid('invalid_request', 'The request is not valid', {
          fields: [{ field: 'softwarePolicy', code: 'unknown', message: 'there is no such policy' }],
        });
      assertHeld(present, policy.scope);
    }
    const token = randomToken();
    const id = uuid();
    await db('initialAccessTokens').insert({
      id,
      tokenHash: hashToken(token),
      note,
      softwarePolicy: softwarePolicy ?? null,
      usesLeft: uses ?? null,
      createdBy: present.registrar,
      expiresAt: new Date(Date.now() + expiresIn * 1000),
    });
    await recordEvent(db, actor, {
      action: 'initial_access_token.create',
      target: { type: 'initial_access_token', id },
      meta: { softwarePolicy: softwarePolicy ?? null, uses: uses ?? null, expiresIn },
    });
    return { ...((await findInitialToken(db, { id })) as InitialAccessToken), token };
  });

/** Clients that came with it stay. @throws AppError 404 initial_access_token_not_found */
export const deleteInitialToken = (db: Db, actor: Actor, id: string): Promise<void> =>
  db.transaction(async (db) => {
    if (!(await db('initialAccessTokens').where({ id }).delete())) throw notFound('initial_access_token');
    await recordEvent(db, actor, {
      action: 'initial_access_token.delete',
      target: { type: 'initial_access_token', id },
    });
  });
