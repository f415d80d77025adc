/** How risky a sign-in is: properties that hold for all facts, and a table of people. */
import { describe, expect, it } from 'vitest';
import {
  assessFacts,
  type Facts,
  historyMax,
  hourDensity,
  type PastSignIn,
  riskFactorNames,
  riskFactors,
  scoreMax,
} from '../../src/auth/risk.ts';
import { describePlace, distanceKm, type Place } from '../../src/sessions/place.ts';
import { settings } from '../../src/settings.ts';

const thresholds = {
  stepUp: settings.shape.RISK_STEP_UP.parse(undefined),
  refuse: settings.shape.RISK_REFUSE.parse(undefined),
};
const now = new Date('2026-03-04T09:30:00Z');
const hour = 3_600_000;
const day = 24 * hour;
const london: Place = { country: 'GB', city: 'London', latitude: 51.5, longitude: -0.1, radiusKm: 10, network: 'AS1' };
const sydney: Place = {
  country: 'AU',
  city: 'Sydney',
  latitude: -33.9,
  longitude: 151.2,
  radiusKm: 10,
  network: 'AS2',
};
const oxford: Place = {
  country: 'GB',
  city: 'Oxford',
  latitude: 51.75,
  longitude: -1.25,
  radiusKm: 50,
  network: 'AS3',
};

const past = (place: Place | undefined, at: Date): PastSignIn => ({
  at,
  country: place?.country ?? null,
  network: place?.network ?? null,
  latitude: place?.latitude ?? null,
  longitude: place?.longitude ?? null,
});
/** One sign-in a day at about the same hour, the newest first. */
const daily = (count: number, place: Place | undefined = london, from = new Date(now.getTime() - day)) =>
  Array.from({ length: count }, (_, index) => past(place, new Date(from.getTime() - index * day)));
const facts = (over: Partial<Facts> = {}): Facts => ({
  at: now,
  knownDevice: true,
  place: london,
  history: daily(30),
  failures: 0,
  ...over,
});
const judged = (over: Partial<Facts>) =>
  Object.fromEntries(assessFacts(facts(over), thresholds).factors.map(({ name, value }) => [name, value]));

/** The same numbers in every run (mulberry32). */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};
const anyFacts = (seed: number): Facts => {
  const next = random(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)] as T;
  const place = () =>
    pick<Place | undefined>([undefined, london, sydney, oxford, { country: 'FR' }, { network: 'AS9' }, {}]);
  const count = pick([0, 1, 9, 10, 19, 20, historyMax]);
  return {
    at: new Date(now.getTime() + next() * 30 * day),
    knownDevice: pick([true, false, undefined]),
    place: place(),
    history: Array.from({ length: count }, () => past(place(), new Date(now.getTime() - next() * 60 * day))).sort(
      (one, other) => other.at.getTime() - one.at.getTime(),
    ),
    failures: Math.floor(next() * 30),
  };
};

describe('for all facts', () => {
  const cases = Array.from({ length: 500 }, (_, seed) => anyFacts(seed));

  it('every factor is there once, and adds its whole weight or nothing', () => {
    for (const one of cases) {
      const { factors, score } = assessFacts(one, thresholds);
      expect(factors.map(({ name }) => name)).toEqual(riskFactorNames);
      for (const { name, weight, explanation } of factors) {
        expect([0, riskFactors[name].weight]).toContain(weight);
        expect(explanation).not.toBe('');
      }
      const sum = factors.reduce((total, { weight }) => total + weight, 0);
      expect(score).toBe(Math.min(scoreMax, sum));
    }
  });

  it('what is unknown weighs nothing', () => {
    for (const one of cases)
      for (const { value, weight } of assessFacts(one, thresholds).factors)
        if (value === 'unknown') expect(weight).toBe(0);
  });

  it('a first sign-in weighs nothing, wherever it comes from', () => {
    for (const one of cases) {
      const { score, outcome } = assessFacts({ ...one, history: [], failures: 0 }, thresholds);
      expect([score, outcome]).toEqual([0, 'allow']);
    }
  });

  it('without GEOIP_DB what needs it is unknown', () => {
    for (const one of cases) {
      const { factors } = assessFacts({ ...one, place: undefined }, thresholds);
      const values = factors.filter(({ name }) => ['new-country', 'new-network', 'impossible-travel'].includes(name));
      expect(values.map(({ value }) => value)).toEqual(['unknown', 'unknown', 'unknown']);
    }
  });

  it('a known device, and fewer failures, never make it worse', () => {
    for (const one of cases) {
      const { score } = assessFacts(one, thresholds);
      expect(assessFacts({ ...one, knownDevice: true }, thresholds).score).toBeLessThanOrEqual(score);
      expect(assessFacts({ ...one, failures: 0 }, thresholds).score).toBeLessThanOrEqual(score);
    }
  });

  it('the outcome follows from the score alone, and 0 turns a threshold off', () => {
    for (const one of cases) {
      const { score } = assessFacts(one, thresholds);
      const outcome = (stepUp: number, refuse: number) => assessFacts(one, { stepUp, refuse }).outcome;
      expect(outcome(0, 0)).toBe('allow');
      expect(outcome(score + 1, 0)).toBe('allow');
      if (score) {
        expect(outcome(score, score + 1)).toBe('step-up');
        expect(outcome(score, score)).toBe('refuse');
        expect(outcome(0, score)).toBe('refuse');
      }
    }
  });

  it('the hours of a person are judged alike wherever on the circle they lie', () => {
    for (const { at, history } of cases.filter(({ history }) => history.length >= 10)) {
      const times = history.map((one) => one.at);
      const turned = (ms: number) =>
        hourDensity(
          new Date(at.getTime() + ms),
          times.map((time) => new Date(time.getTime() + ms)),
        );
      expect(turned(7 * hour)).toBeCloseTo(turned(0), 6);
    }
  });
});

describe('people, at the default settings', () => {
  for (const { name, over, expected } of [
    { name: 'as every day', over: {}, expected: 'allow' },
    { name: 'a new phone at home', over: { knownDevice: false }, expected: 'allow' },
    { name: 'a new phone on a new network', over: { knownDevice: false, place: oxford }, expected: 'allow' },
    {
      name: 'a new phone on a new network in the middle of the night',
      over: { knownDevice: false, place: oxford, at: new Date('2026-03-04T22:30:00Z') },
      expected: 'allow',
    },
    {
      name: 'abroad with the own laptop',
      over: { place: sydney, history: daily(30, london, new Date(now.getTime() - 3 * day)) },
      expected: 'allow',
    },
    { name: 'a new device abroad', over: { knownDevice: false, place: sydney }, expected: 'step-up' },
    {
      name: 'the own laptop where nobody can be',
      over: { place: sydney, history: daily(30, london, new Date(now.getTime() - hour)) },
      expected: 'step-up',
    },
    { name: 'after many wrong passwords, on the own laptop', over: { failures: 50 }, expected: 'allow' },
    {
      name: 'after many wrong passwords, on a new device and network',
      over: { failures: 50, knownDevice: false, place: oxford },
      expected: 'step-up',
    },
    {
      name: 'behind an application that hides the person',
      over: { knownDevice: undefined, place: undefined },
      expected: 'allow',
    },
  ] satisfies { name: string; over: Partial<Facts>; expected: string }[]) {
    it(`${name}: ${expected}`, () => expect(assessFacts(facts(over), thresholds).outcome).toBe(expected));
  }
});

describe('the hour and the day', () => {
  const at = (time: string) => judged({ at: new Date(`2026-03-04T${time}Z`) })['unusual-hour'];
  it('need enough sign-ins', () => {
    expect(judged({ history: daily(9) })['unusual-hour']).toBe('unknown');
    expect(judged({ history: daily(10) })['unusual-hour']).toBe('usual');
    expect(judged({ history: daily(19) })['unusual-day']).toBe('unknown');
  });
  it('of somebody who comes at half past nine', () => {
    expect([at('09:00:00'), at('12:30:00'), at('06:30:00'), at('15:30:00'), at('02:00:00')]).toEqual([
      'usual',
      'usual',
      'usual',
      'unusual',
      'unusual',
    ]);
  });
  it('are near to each other around midnight', () => {
    const history = daily(30, london, new Date('2026-03-03T23:45:00Z'));
    expect(judged({ history, at: new Date('2026-03-05T00:30:00Z') })['unusual-hour']).toBe('usual');
  });
  it('of somebody with two habits lie at neither’s mean', () => {
    const history = [
      ...daily(15, london, new Date('2026-03-03T08:00:00Z')),
      ...daily(15, london, new Date('2026-03-03T20:00:00Z')),
    ];
    const when = (time: string) => judged({ history, at: new Date(`2026-03-04T${time}Z`) })['unusual-hour'];
    expect([when('08:30:00'), when('20:30:00'), when('14:00:00'), when('02:00:00')]).toEqual([
      'usual',
      'usual',
      'unusual',
      'unusual',
    ]);
  });
  it('of somebody who comes on weekdays', () => {
    const history = daily(60).filter((one) => ![0, 6].includes(one.at.getUTCDay()));
    expect(judged({ history })['unusual-day']).toBe('usual');
    expect(judged({ history, at: new Date('2026-03-08T09:30:00Z') })['unusual-day']).toBe('unusual');
  });
});

describe('travel', () => {
  const travel = (ms: number, to: Place) =>
    judged({ place: to, history: [past(london, new Date(now.getTime() - ms))] });
  it('is judged by distance and time', () => {
    expect(travel(hour, sydney)['impossible-travel']).toBe('impossible');
    expect(travel(20 * hour, sydney)['impossible-travel']).toBe('possible');
    // Two towns, a minute apart: an address is not known that well.
    expect(travel(60_000, oxford)['impossible-travel']).toBe('possible');
    expect(travel(0, sydney)['impossible-travel']).toBe('impossible');
    // Clocks that are apart make nobody travel back in time.
    expect(travel(-hour, sydney)['impossible-travel']).toBe('impossible');
  });
  it('measures great circles', () => {
    expect(distanceKm({ latitude: 51.5, longitude: -0.1 }, { latitude: -33.9, longitude: 151.2 })).toBeCloseTo(
      16_990,
      -2,
    );
    expect(distanceKm({ latitude: 0, longitude: 179.9 }, { latitude: 0, longitude: -179.9 })).toBeCloseTo(22.2, 1);
    expect(distanceKm({ latitude: 0, longitude: 0 }, { latitude: 0, longitude: 180 })).toBeCloseTo(20_015, 0);
  });
  it('names places in the reader’s language', () => {
    expect(describePlace({ country: 'SE', city: 'Linköping' }, 'de')).toBe('Linköping, Schweden');
    expect(describePlace({ country: 'SE' }, 'fr')).toBe('Suède');
    expect(describePlace({ country: 'QQ' }, 'en')).toBe('QQ');
    expect(describePlace({}, 'en')).toBe('');
  });
});

it('counts sign-ins and failures in a short time', () => {
  const burst = (count: number) => Array.from({ length: count }, () => past(london, new Date(now.getTime() - 60_000)));
  expect([judged({ history: burst(4) }).velocity, judged({ history: burst(5) }).velocity]).toEqual(['normal', 'high']);
  expect([judged({ failures: 4 })['bad-passwords'], judged({ failures: 5 })['bad-passwords']]).toEqual([
    'normal',
    'high',
  ]);
});
