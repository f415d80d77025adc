/**
 * What waits for a person's decision while a client polls for it: device codes (RFC 8628) and backchannel authentication
 * requests (CIBA). The database decides who polls too fast and whose decision counts, for all replicas together.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type AdapterPayload, errors, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { transact } from '../db/transact.ts';
import { actorOf } from '../src/http/actor.ts';
import { recordDeviceDecision } from '../src/sessions/device-codes.commands.ts';

const models = new Set(['DeviceCode', 'BackchannelAuthenticationRequest']);

export const isPending = (model: string): boolean => models.has(model);

/** For how long an expired one is kept, so that its client is told `expired_token` and not `invalid_grant`. */
export const keptSeconds = 600;

/** Seconds that must pass between two polls at first, as both specifications have it where nothing else is said. */
export const pollSeconds = 5;

const stages = { waiting: 0, deciding: 1, decided: 2 } as const;

/** A device code is approved by naming its account, a backchannel request, which has one from the start, by its grant. */
const isDecided = (model: string, { accountId, grantId, error }: AdapterPayload): boolean =>
  Boolean(error || (model === 'DeviceCode' ? accountId : grantId));

const stageOf = (model: string, payload: AdapterPayload): number => {
  if (isDecided(model, payload)) return stages.decided;
  return payload.inFlight ? stages.deciding : stages.waiting;
};

/** A decision that is made outside a request to the engine, on a page of ours or over REST. */
export interface Decision {
  /** The approving session, to which the Grant belongs. */
  sessionUid: string;
  /** Whether the Grant is none any more once that session has ended, however it did. */
  endsWithSession: boolean;
  /** The transaction that the decision is saved in, once that has begun. */
  db?: Db;
  /** Does in that transaction what goes with the decision. */
  record(db: Db): Promise<void>;
}

const decisions = new AsyncLocalStorage<Decision>();

/** Has the engine save a decision in one transaction with all that goes with it. */
export const inDecision = <T>(decision: Decision, save: () => Promise<T>): Promise<T> => decisions.run(decision, save);

export const currentDecision = (): Decision | undefined => decisions.getStore();

interface Row {
  model: string;
  idHash: string;
  [column: string]: unknown;
}

/**
 * The first save inserts. Every later one brings the decision nearer, and only the first of those that race does.
 * @throws InvalidRequest when somebody else was first
 */
export const savePending = async (db: Db, row: Row, payload: AdapterPayload): Promise<void> => {
  const { model, idHash } = row;
  const stage = stageOf(model, payload);
  if (stage === stages.waiting) {
    await db('oidcPayloads').insert(row);
    return;
  }
  await transact(db, async (db) => {
    const won = await db('oidcPayloads')
      .where({ model, idHash })
      .where('stage', '<', stage)
      .update({ ...row, stage });
    if (!won) throw new errors.InvalidRequest('somebody has decided on this already');
    if (stage !== stages.decided) return;
    if (model === 'DeviceCode') return recordDecisionOnDevice(db, payload);
    const decision = currentDecision();
    if (!decision) return;
    decision.db = db;
    await decision.record(db);
  });
};

/** Whoever is signed in has decided; a device may also be refused before anybody is. */
const recordDecisionOnDevice = async (db: Db, { clientId, accountId, error }: AdapterPayload): Promise<void> => {
  const { ctx } = Provider;
  if (!ctx) return;
  const id = accountId ?? ctx.oidc.session?.accountId;
  const actor = { ...actorOf(ctx), ...(id ? { type: 'user' as const, id } : {}) };
  await recordDeviceDecision(db, actor, { clientId: String(clientId), error });
};

/** A poll may be early by what networks and timers add, in seconds. */
const toleranceSeconds = 1;

/**
 * Whoever polls again before the interval has passed must slow down, and waits 5 s longer from then on (RFC 8628 section
 * 3.5, CIBA Core section 11). That is an answer about what is pending: a decision is handed out however soon it is asked for.
 * @throws SlowDown
 */
export const pacePoll = async (db: Db, model: string, idHash: string, payload: AdapterPayload): Promise<void> => {
  const { ctx } = Provider;
  const polls = ctx?.oidc.route === 'token' && ctx.oidc.client?.clientId === payload.clientId;
  const expired = (payload.exp ?? 0) <= Date.now() / 1000;
  if (!polls || expired || isDecided(model, payload)) return;
  const tooSoon = `coalesce(polled_at > now() - (poll_seconds - ${toleranceSeconds}) * interval '1 second', false)`;
  const { rows } = (await db.raw(
    `update oidc_payloads set polled_too_soon = ${tooSoon}, polled_at = now(),
       poll_seconds = poll_seconds + case when ${tooSoon} then ${pollSeconds} else 0 end
     where model = ? and id_hash = ? returning polled_too_soon`,
    [model, idHash],
  )) as { rows: { polledTooSoon: boolean }[] };
  if (rows[0]?.polledTooSoon) throw new errors.SlowDown();
};
