/**
 * How often a password may be guessed. Three circles, each counted by the normalized address, so that one without an
 * account is treated as any other:
 *
 * - *client*: 5 per account and address, 50 per address, in 15 minutes. Past them 429, which tells only what the client did.
 * - *account*, over all addresses, for devices on which the account has never signed in: after 10 wrong passwords each
 *   further one has to wait for 1, 2, 4, … seconds up to 15 minutes since the one before; after 100 attempts in a day
 *   the account takes none from such devices for an hour. What is held back is answered as a wrong password.
 * - *device*: what only one device can show (its cookie, a session, a mailed link) has 5 of its own in 15 minutes, 20 in
 *   a day, and nothing else to fear. So whoever holds an account back by guessing does not hold its owner back, and whoever
 *   has taken a session or a device does not guess for long.
 */

export type Device =
  /** Nobody else can show it; `key` is what it is counted by. */
  | { kind: 'proven'; key: string }
  /** An address and browser of an earlier sign-in. Others may have both, so it only escapes the account's circle. */
  | { kind: 'known' }
  /** Somewhere behind an application that has proven itself: its own network address says nothing of who typed. */
  | { kind: 'relayed'; clientId: string }
  | { kind: 'unknown' };

export interface Guess {
  /** Normalized. */
  email: string;
  address: string | undefined;
  device: Device;
}

export interface Attempt {
  /** Set when the password must be answered as wrong, whatever it is. */
  held: 'locked' | 'delayed' | undefined;
  /** The lockout of the account begins with this attempt. */
  locks: boolean;
  /** Nothing was tried: gives back what was counted. */
  undo(): Promise<void>;
  /** It was right: forgets what was counted for the client or device. */
  forgive(): Promise<void>;
}

export interface Guesses {
  /** Counts a guess before it is tried, so that guesses made at the same time cannot all slip under a limit. @throws AppError 429 */
  begin(guess: Guess): Promise<Attempt>;
  /** Ends delay and lockout: the owner has signed in or set a new password. */
  release(email: string): Promise<void>;
}

/** Of `adapters/rate-limits.ts`, what is needed here. */
export interface GuessCounters {
  consume(limit: 'guessAddress' | 'guessAccount' | DeviceLimit | RelayLimit, key: string): Promise<void>;
  reward(limit: GuessLimit, key: string): Promise<void>;
  reset(limit: GuessLimit, key: string): Promise<void>;
  count(limit: 'accountFailures' | 'accountAttempts', key: string): Promise<number>;
  hold(name: 'accountDelay' | 'accountLock', key: string, seconds: number): Promise<boolean>;
  isHeld(name: 'accountDelay' | 'accountLock', key: string): Promise<boolean>;
  release(name: 'accountDelay' | 'accountLock', key: string): Promise<void>;
}
type DeviceLimit = 'guessDevice' | 'guessDeviceDaily';
type RelayLimit = 'relayedAccount' | 'relayedClient';
type GuessLimit = 'guessAddress' | 'guessAccount' | DeviceLimit | RelayLimit | 'accountFailures' | 'accountAttempts';

/** In this order: what the quarter of an hour refuses does not count for the day. */
const deviceLimits = ['guessDevice', 'guessDeviceDaily'] as const;

const delaySecondsMax = 900;
const lockSeconds = 3600;

/** @param excess wrong passwords beyond those that are free */
export const delaySeconds = (excess: number): number => Math.min(2 ** (excess - 1), delaySecondsMax);

/** @param addressKey what a network address is counted by */
export const createGuesses = (counters: GuessCounters, addressKey: (address: string) => string): Guesses => {
  /** The account's own circle. Whoever takes the delay is tried; everybody else waits until it has run out. */
  const holdAccount = async (email: string): Promise<Pick<Attempt, 'held' | 'locks'>> => {
    if (await counters.isHeld('accountLock', email)) return { held: 'locked', locks: false };
    const excess = await counters.count('accountFailures', email);
    const waits = excess > 0 && !(await counters.hold('accountDelay', email, delaySeconds(excess)));
    // What was not tried makes nobody wait for longer.
    if (waits) await counters.reward('accountFailures', email);
    const locks = (await counters.count('accountAttempts', email)) >= 0 && (await lock(email));
    return { held: waits ? 'delayed' : undefined, locks };
  };

  const lock = async (email: string): Promise<boolean> => {
    const begins = await counters.hold('accountLock', email, lockSeconds);
    // After the hour it takes as many attempts again.
    if (begins) await counters.reset('accountAttempts', email);
    return begins;
  };

  const undoAccount = async (email: string): Promise<void> => {
    await counters.reward('accountFailures', email);
    await counters.reward('accountAttempts', email);
    await counters.release('accountDelay', email);
  };

  return {
    begin: async ({ email, address = '', device }) => {
      if (device.kind === 'proven') {
        const key = `${email} ${device.key}`;
        for (const limit of deviceLimits) await counters.consume(limit, key);
        return {
          held: undefined,
          locks: false,
          undo: async () => {
            for (const limit of deviceLimits) await counters.reward(limit, key);
          },
          forgive: async () => {
            for (const limit of deviceLimits) await counters.reset(limit, key);
          },
        };
      }
      if (device.kind === 'relayed') {
        // Circles of its own: what strangers do at one application holds nobody back elsewhere.
        const pair = `${email} ${device.clientId}`;
        await counters.consume('relayedClient', device.clientId);
        await counters.consume('relayedAccount', pair);
        return {
          held: undefined,
          locks: false,
          undo: async () => {
            await counters.reward('relayedClient', device.clientId);
            await counters.reward('relayedAccount', pair);
          },
          forgive: async () => {
            await counters.reward('relayedClient', device.clientId);
            await counters.reset('relayedAccount', pair);
          },
        };
      }
      const from = addressKey(address);
      const pair = `${email} ${from}`;
      await counters.consume('guessAddress', from);
      await counters.consume('guessAccount', pair);
      const { held, locks } = device.kind === 'known' ? { held: undefined, locks: false } : await holdAccount(email);
      return {
        held,
        locks,
        undo: async () => {
          await counters.reward('guessAddress', from);
          await counters.reward('guessAccount', pair);
          if (device.kind === 'unknown' && !held) await undoAccount(email);
        },
        forgive: async () => {
          await counters.reward('guessAddress', from);
          await counters.reset('guessAccount', pair);
        },
      };
    },
    release: async (email) => {
      for (const limit of ['accountFailures', 'accountAttempts'] as const) await counters.reset(limit, email);
      for (const name of ['accountDelay', 'accountLock'] as const) await counters.release(name, email);
    },
  };
};
