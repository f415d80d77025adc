/** What of an event a person is told: where an administrator sits, or somebody who guesses at passwords, is for administrators. */
import { describeDevice } from '../sessions/device.ts';
import type { Activity } from './activity.queries.ts';
import type { RiskFactorName, RiskOutcome } from './risk.ts';

export const activityActors = ['you', 'api_key', 'administrator', 'application', 'service', 'unknown'] as const;
export type ActivityActor = (typeof activityActors)[number];

/**
 * What is recorded of somebody who is not signed in yet, although it takes the account's own: its password and a code of it,
 * or a link that was mailed. Whoever did so is who would be signed in.
 */
const proven: ReadonlySet<string> = new Set([
  'backup_code.use',
  'password.reset',
  'session.disown',
  'user.verify_email',
]);

/**
 * What anybody may do, and the owner does before they are signed in: nothing to wonder at, and nothing that proves who did it.
 * An account may have been registered by somebody else, before the owner of the address confirmed it.
 */
const beforeSignIn: ReadonlySet<string> = new Set([
  'otp.send',
  'password.reset_requested',
  'sign_in_link.request',
  'user.register',
  'user.verify_requested',
]);

/** Whether that nobody was signed in goes without saying. */
export const isUnsaid = ({ actorType, action }: Pick<Activity, 'actorType' | 'action'>): boolean =>
  actorType === 'anonymous' && (proven.has(action) || beforeSignIn.has(action));

/** The person acted, signed in or as good as that. */
const isOwn = ({ own, actorType, action }: Activity): boolean =>
  own || (actorType === 'anonymous' && proven.has(action));

const actorOf = (event: Activity): ActivityActor => {
  const { actorType, viaApiKey, viaClient } = event;
  const own = isOwn(event);
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
  device: (isOwn(event) && describeDevice(event.userAgent ?? undefined)) || null,
  address: isOwn(event) ? event.address : null,
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
