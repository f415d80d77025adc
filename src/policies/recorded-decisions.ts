/**
 * Decisions that were made, a sample of them, which new policies are tried on. They are written in batches off the way of requests,
 * and what is lost does no harm. What is kept is in ids: no names, addresses or properties.
 */
import { v7 as uuid } from 'uuid';
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import type { NormalCheck } from './checks.ts';
import type { Decision, Question } from './decide.ts';

/** How often what has gathered is written, in milliseconds, and how many of all that were made in between. */
const flushMs = 5000;
const sampleMax = 50;

interface Recorded {
  question: Question;
  decision: Decision;
  at: Date;
}

export interface DecisionRecorder {
  record(question: Question, decision: Decision): void;
  /** Writes what has gathered. It does not fail. */
  flush(): Promise<void>;
  stop(): void;
}

/** Ids that nobody chose: of other things an id may be anything, a mail address too. */
const Unnamed = z.union([z.uuid(), z.string().regex(/^[\w-]{20,40}$/)]);
const unnamed = (id: string | undefined): string | undefined => (Unnamed.safeParse(id).success ? id : undefined);

/** What is kept of a question. */
export interface StoredQuestion {
  subject: { type: string; id?: string | undefined };
  action: string;
  resource: {
    type: string;
    id?: string | undefined;
    owner?: string | undefined;
    organizations?: string[];
    every?: boolean;
  };
  context: { acr?: string; risk?: number; organization?: string };
}

const name = /^[\w.:*-]{1,64}$/;
const stored = ({ subject, action, resource, context = {} }: Question): StoredQuestion | undefined => {
  if (![subject.type, action, resource.type].every((text) => name.test(text))) return undefined;
  const { acr, risk, organization } = context;
  return {
    subject: { type: subject.type, id: unnamed(subject.id) },
    action,
    resource: {
      type: resource.type,
      id: unnamed(resource.id),
      owner: unnamed(resource.owner),
      ...(resource.every ? { every: true } : {}),
      organizations: (resource.organizations ?? []).flatMap(([id]) => unnamed(id) ?? []),
    },
    context: {
      ...(typeof acr === 'string' && acr.length <= 100 ? { acr } : {}),
      ...(typeof risk === 'number' ? { risk } : {}),
      ...(typeof organization === 'string' && unnamed(organization) ? { organization } : {}),
    },
  };
};

/** @param enabled false keeps nothing */
export const createDecisionRecorder = (db: Db, enabled: boolean): DecisionRecorder => {
  let sample: Recorded[] = [];
  let seen = 0;
  let timer: NodeJS.Timeout | undefined;
  let writing = Promise.resolve();

  const write = async () => {
    const rows = sample.flatMap(({ question, decision, at }) => {
      const kept = stored(question);
      const { allowed, because } = decision;
      return kept
        ? [{ id: uuid(), at, question: JSON.stringify(kept), allowed, because: JSON.stringify(because) }]
        : [];
    });
    sample = [];
    seen = 0;
    if (rows.length) await db('decisions').insert(rows);
  };
  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    writing = writing.then(write).catch(() => {});
    return writing;
  };

  return {
    record: (question, decision) => {
      if (!enabled) return;
      // Each has the same chance to be among those that are kept, however many there are.
      const place = seen < sampleMax ? seen : Math.floor(Math.random() * (seen + 1));
      seen++;
      if (place < sampleMax) sample[place] = { question, decision, at: new Date() };
      timer ??= setTimeout(() => void flush(), flushMs).unref();
    },
    flush,
    stop: () => clearTimeout(timer),
  };
};

/** Decisions that were made lately, the last first. */
export const listRecorded = async (
  db: Db,
  { limit, types, actions }: { limit: number; types: readonly string[]; actions: readonly string[] },
): Promise<{ at: Date; check: NormalCheck }[]> => {
  const rows: { at: Date; question: StoredQuestion }[] = await db('decisions')
    .modify((query) => {
      if (!types.includes('*')) query.whereRaw(`question -> 'resource' ->> 'type' = any(?)`, [[...types]]);
      if (!actions.includes('*')) query.whereRaw(`question ->> 'action' = any(?)`, [[...actions]]);
    })
    .orderBy('at', 'desc')
    .limit(limit)
    .select('at', 'question');
  return rows.flatMap(({ at, question: { subject, action, resource, context } }) =>
    subject.id === undefined
      ? []
      : [
          {
            at,
            check: {
              subject: { type: subject.type, id: subject.id },
              action,
              resource: { ...resource, organizations: resource.organizations ?? [], isKnown: true },
              context,
            },
          },
        ],
  );
};
