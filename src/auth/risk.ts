/**
 * How risky a sign-in is: facts in, score and outcome out, nothing else. Each factor has a name, a weight and a rule, all
 * declared here once; docs/risk.md is written from them. A factor that cannot be judged says `unknown` and weighs nothing.
 */
import { distanceKm, type Place } from '../sessions/place.ts';

export type RiskOutcome = 'allow' | 'step-up' | 'refuse';

/** A factor as it was judged for one sign-in. */
export interface RiskFactor {
  name: RiskFactorName;
  /** What it added to the score: its whole weight, or 0. */
  weight: number;
  /** A word: `new`, `known`, `unknown` … */
  value: string;
  /** A sentence in English, for administrators and developers. */
  explanation: string;
}

export interface Assessment {
  /** 0 to 100. */
  score: number;
  outcome: RiskOutcome;
  factors: RiskFactor[];
  place?: Place;
}

/** A sign-in of the same person before. */
export interface PastSignIn {
  at: Date;
  country: string | null;
  network: string | null;
  latitude: number | null;
  longitude: number | null;
}

export interface Facts {
  at: Date;
  /** Whether the account knows the device; undefined when nothing tells what the person sits at. */
  knownDevice: boolean | undefined;
  place: Place | undefined;
  /** The newest first. */
  history: readonly PastSignIn[];
  /** Sign-ins to the account that failed in the last `failureMinutes`. */
  failures: number;
}

/** From which score on; 0: never. */
export interface RiskThresholds {
  stepUp: number;
  refuse: number;
}

export const scoreMax = 100;
/** How many sign-ins are looked back on at most. */
export const historyMax = 100;
export const failureMinutes = 15;
const failuresMin = 5;
const velocityMinutes = 10;
const velocityMin = 5;
/** What a person's hours and days are judged by. */
const hoursMin = 10;
const daysMin = 20;
const distinctDaysMin = 10;
/** How far a sign-in reaches around its hour: the standard deviation of a von Mises kernel. */
const kernelHours = 1.5;
/** Below this part of what hours picked at random would give, an hour is unusual. */
const densityMin = 0.2;
/** Faster than an airliner, and farther than an address can be mislocated. */
const travelKmh = 1000;
const travelKmMin = 500;

interface Judgement {
  value: string;
  risky: boolean;
  explanation: string;
}

const unknown = (explanation: string): Judgement => ({ value: 'unknown', risky: false, explanation });

const noHistory = unknown('There is no earlier sign-in to compare with');
const noPlace = unknown('Where the address is, is not known');

const hourAngle = (at: Date) => ((at.getTime() % 86_400_000) / 86_400_000) * 2 * Math.PI;

/**
 * How dense a person's sign-ins are around a time of the day, as a multiple of what random hours would give: a kernel
 * density on the circle, so that 23:30 is near to 00:30, and somebody with two habits (mornings and evenings) has two.
 */
export const hourDensity = (at: Date, past: readonly Date[]): number => {
  const kappa = ((24 / (2 * Math.PI)) * (1 / kernelHours)) ** 2;
  const kernel = (angle: number) => Math.exp(kappa * (Math.cos(angle) - 1));
  const steps = 96;
  let mean = 0;
  for (let step = 0; step < steps; step++) mean += kernel((step / steps) * 2 * Math.PI) / steps;
  const here = hourAngle(at);
  return past.reduce((sum, other) => sum + kernel(here - hourAngle(other)), 0) / past.length / mean;
};

const judgeHour = ({ at, history }: Facts): Judgement => {
  if (history.length < hoursMin) return unknown(`There are fewer than ${hoursMin} sign-ins to compare with`);
  const density = hourDensity(
    at,
    history.map((past) => past.at),
  );
  return density < densityMin
    ? { value: 'unusual', risky: true, explanation: 'The person has hardly ever signed in at this time of the day' }
    : { value: 'usual', risky: false, explanation: 'The person signs in at this time of the day' };
};

const judgeDay = ({ at, history }: Facts): Judgement => {
  const dates = new Set(history.map((past) => past.at.toISOString().slice(0, 10)));
  if (history.length < daysMin || dates.size < distinctDaysMin)
    return unknown(`There are fewer than ${daysMin} sign-ins on ${distinctDaysMin} days to compare with`);
  return history.some((past) => past.at.getUTCDay() === at.getUTCDay())
    ? { value: 'usual', risky: false, explanation: 'The person signs in on this day of the week' }
    : { value: 'unusual', risky: true, explanation: 'The person has not signed in on this day of the week before' };
};

/** @param what "country", "network" */
const judgeNovelty =
  (what: 'country' | 'network') =>
  ({ place, history }: Facts): Judgement => {
    const here = place?.[what];
    if (!here) return noPlace;
    const before = history.filter((past) => past[what] !== null);
    if (!before.length) return noHistory;
    return before.some((past) => past[what] === here)
      ? { value: 'known', risky: false, explanation: `The person has signed in from this ${what} (${here}) before` }
      : { value: 'new', risky: true, explanation: `The person has not signed in from this ${what} (${here}) before` };
  };

const judgeTravel = ({ at, place, history }: Facts): Judgement => {
  const { latitude, longitude, radiusKm = 0 } = place ?? {};
  if (latitude === undefined || longitude === undefined) return noPlace;
  const last = history.find((past) => past.latitude !== null && past.longitude !== null);
  if (!last) return noHistory;
  const from = { latitude: last.latitude as number, longitude: last.longitude as number };
  const km = Math.max(0, distanceKm(from, { latitude, longitude }) - radiusKm);
  const hours = Math.max(0, at.getTime() - last.at.getTime()) / 3_600_000;
  const told = `${Math.round(km)} km from the last sign-in, ${hours < 10 ? hours.toFixed(1) : Math.round(hours)} hours after it`;
  return km >= travelKmMin && km > hours * travelKmh
    ? { value: 'impossible', risky: true, explanation: told }
    : { value: 'possible', risky: false, explanation: told };
};

const judgeDevice = ({ knownDevice, history }: Facts): Judgement => {
  if (knownDevice === undefined) return unknown('The sign-in came through an application, which hides the device');
  if (knownDevice)
    return { value: 'known', risky: false, explanation: 'The person has signed in on this device before' };
  if (!history.length) return noHistory;
  return { value: 'new', risky: true, explanation: 'The person has not signed in on this device before' };
};

const judgeVelocity = ({ at, history }: Facts): Judgement => {
  const since = at.getTime() - velocityMinutes * 60_000;
  const count = history.filter((past) => past.at.getTime() > since).length;
  const explanation = `${count} sign-ins in the ${velocityMinutes} minutes before`;
  return count >= velocityMin
    ? { value: 'high', risky: true, explanation }
    : { value: 'normal', risky: false, explanation };
};

const judgeFailures = ({ failures }: Facts): Judgement => {
  const explanation = `${failures} failed sign-ins in the ${failureMinutes} minutes before`;
  return failures >= failuresMin
    ? { value: 'high', risky: true, explanation }
    : { value: 'normal', risky: false, explanation };
};

/** Every factor: what it weighs, when it does, and what it needs to be judged. */
export const riskFactors = {
  'new-device': {
    weight: 30,
    when: 'The account does not know the browser: it has no device cookie of an earlier sign-in of this person, or, where there are no cookies, the address and User-Agent are new',
    needs: 'an earlier sign-in, and a sign-in that was not relayed by an application',
    judge: judgeDevice,
  },
  'new-country': {
    weight: 45,
    when: 'The address is in a country from which the person has not signed in',
    needs: 'GEOIP_DB, and an earlier sign-in whose country was known',
    judge: judgeNovelty('country'),
  },
  'new-network': {
    weight: 15,
    when: 'The address belongs to an autonomous system (an internet provider, a company) from which the person has not signed in',
    needs: 'GEOIP_DB with autonomous systems, and an earlier sign-in whose network was known',
    judge: judgeNovelty('network'),
  },
  'impossible-travel': {
    weight: 40,
    when: `The last sign-in was at least ${travelKmMin} km away, and who made both travelled faster than ${travelKmh} km/h. The radius within which the address may be is taken off`,
    needs: 'GEOIP_DB with coordinates, and an earlier sign-in whose coordinates were known',
    judge: judgeTravel,
  },
  'unusual-hour': {
    weight: 10,
    when: `The density of the person’s earlier sign-ins around this time of the day, on the circle of 24 hours and with a kernel of ${kernelHours} hours, is below ${densityMin} of what random hours would give`,
    needs: `${hoursMin} earlier sign-ins`,
    judge: judgeHour,
  },
  'unusual-day': {
    weight: 5,
    when: 'The person has never signed in on this day of the week (UTC)',
    needs: `${daysMin} earlier sign-ins on ${distinctDaysMin} different days`,
    judge: judgeDay,
  },
  velocity: {
    weight: 20,
    when: `${velocityMin} or more sign-ins of the person in the ${velocityMinutes} minutes before`,
    needs: 'nothing',
    judge: judgeVelocity,
  },
  'bad-passwords': {
    weight: 25,
    when: `${failuresMin} or more failed sign-ins to the account in the ${failureMinutes} minutes before, wherever they came from`,
    needs: 'nothing',
    judge: judgeFailures,
  },
} as const satisfies Record<string, { weight: number; when: string; needs: string; judge(facts: Facts): Judgement }>;

export type RiskFactorName = keyof typeof riskFactors;
export const riskFactorNames = Object.keys(riskFactors) as RiskFactorName[];

const outcomeOf = (score: number, { stepUp, refuse }: RiskThresholds): RiskOutcome => {
  if (refuse && score >= refuse) return 'refuse';
  return stepUp && score >= stepUp ? 'step-up' : 'allow';
};

/** Judges a sign-in by what is known of it. */
export const assessFacts = (facts: Facts, thresholds: RiskThresholds): Assessment => {
  const factors = riskFactorNames.map((name): RiskFactor => {
    const { weight, judge } = riskFactors[name];
    const { value, risky, explanation } = judge(facts);
    return { name, weight: risky ? weight : 0, value, explanation };
  });
  const score = Math.min(
    scoreMax,
    factors.reduce((sum, { weight }) => sum + weight, 0),
  );
  return { score, outcome: outcomeOf(score, thresholds), factors, ...(facts.place ? { place: facts.place } : {}) };
};
