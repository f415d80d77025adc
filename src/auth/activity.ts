/** What of an event a person is told: where an administrator sits, or somebody who guesses at passwords, is for administrators. */
import { describeDevice } from '../sessions/device.ts';
import type { Activity } from './activity.queries.ts';
import type { RiskFactorName, RiskOutcome } from './risk.ts';

export const activityActors = ['you', 'api_key', 'administrator', 'application', 'service', 'unknown'] as const;
export type ActivityActor = (typeof activityActors)[number];

const actorOf = ({ own, actorType, viaApiKey, viaClient }: Activity): ActivityActor => {
  if (own && viaApiKey) return 'api_key';
  if (own) return viaClient ? 'application' : 'you';
  return { user: 'administrator', client: 'application', anonymous: 'unknown', operator: 'service', system: 'service' }[
    actorType
  ] as ActivityActor;
};

export interface ToldActivity {
  id: string;
  at: Date;
  action: string;
  by: ActivityActor;
  device: string | null;
  address: string | null;
  client: { id: string; name: string | null } | null;
  signIn: { outcome: RiskOutcome; signals: RiskFactorName[]; country: string | null; city: string | null } | null;
}

export const tellActivity = (event: Activity): ToldActivity => ({
  id: event.id,
  at: event.at,
  action: event.action,
  by: actorOf(event),
  device: (event.own && describeDevice(event.userAgent ?? undefined)) || null,
  address: event.own ? event.address : null,
  client: event.clientId === null ? null : { id: event.clientId, name: event.clientName },
  signIn: event.outcome
    ? {
        outcome: event.outcome,
        signals: (event.factors ?? []).filter(({ weight }) => weight > 0).map(({ name }) => name),
        country: event.own ? event.country : null,
        city: event.own ? event.city : null,
      }
    : null,
});
