/**
 * Which new passwords are refused, after NIST SP 800-63B section 3.1.1.2 (revision 4): too short, on a list of common
 * or breached ones, or derived from the service or the person. There are no composition rules; spaces and all of
 * Unicode are welcome.
 */
import { createHash } from 'node:crypto';
import type { Log } from '../log.ts';

export interface PasswordProblem {
  code:
    | 'password_too_short'
    | 'password_too_long'
    | 'password_common'
    | 'password_contains_identity'
    | 'password_breached';
  values?: Record<string, string | number>;
}

export interface PasswordRuleOptions {
  minLength: number;
  /** Refused as (most of) a password besides the project's own name. */
  brandName?: string;
  /** The five hex digits are appended, after a `/` unless it ends in `/` or `=`. */
  breachUrl?: string;
  fetch?: typeof fetch;
  log?: Pick<Log, 'warn'>;
}

/** Far above any passphrase, and low enough that normalising and hashing stay cheap. */
export const maxPasswordBytes = 1024;

/**
 * So that a password typed on another keyboard or system has the same bytes. NIST SP 800-63B section 3.1.1.2 asks for NFC;
 * NFKC text is in NFC too, and also makes full-width letters, which Japanese and Chinese keyboards type, equal to
 * ordinary ones (revision 3, section 5.1.1.2, asked for NFKC or NFKD).
 */
export const normalisePassword = (password: string): string => password.normalize('NFKC');

/** Measured as typed and normalised: NFKC can make one character eighteen. */
export const isTooLong = (password: string): boolean =>
  Buffer.byteLength(password) > maxPasswordBytes || Buffer.byteLength(normalisePassword(password)) > maxPasswordBytes;

/** For comparing words: without case, accents, spaces and punctuation. */
const squash = (text: string): string =>
  text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '');

/** Whether at least half of the password is made of the person's or the service's names. */
const isMostlyIdentity = (
  password: string,
  { email, name }: { email: string; name: string },
  names: readonly string[],
): boolean => {
  const [local = '', domain = ''] = email.split('@');
  const texts = [
    email,
    local,
    ...local.split(/[._+-]/),
    ...domain.split('.').slice(0, -1),
    name,
    ...name.split(/\s+/),
    ...names,
  ];
  const words = [...new Set(texts.map(squash))].filter((word) => word.length >= 3).sort((a, b) => b.length - a.length);
  const whole = squash(password);
  // A space in place of each word, so that what stood around it does not form another one.
  const rest = words.reduce((text, word) => text.replaceAll(word, ' '), whole).replaceAll(' ', '');
  return whole !== rest && (whole.length - rest.length) * 2 >= [...password].length;
};

const rows = ['1234567890', 'qwertyuiop', 'asdfghjkl', 'zxcvbnm'];

/** 0 for a repeated character, 1 or -1 for neighbours in the alphabet or on a keyboard row, else undefined. */
const stepBetween = (left: string, right: string): number | undefined => {
  const distances = [(right.codePointAt(0) as number) - (left.codePointAt(0) as number)];
  for (const row of rows)
    if (row.includes(left) && row.includes(right)) distances.push(row.indexOf(right) - row.indexOf(left));
  return distances.find((distance) => Math.abs(distance) <= 1);
};

/** `aaaaaaaa`, `abcabcabc`, `87654321`, `abcd4321`, `qwertyuiop`: a unit of up to four repeated, or runs of four on average. */
export const isTrivial = (password: string): boolean => {
  const characters = [...password.toLowerCase()];
  for (let unit = 1; unit <= 4 && unit * 2 <= characters.length; unit += 1) {
    if (characters.every((character, index) => index < unit || character === characters[index - unit])) return true;
  }
  let runs = 1;
  let direction: number | undefined;
  let length = 1;
  for (let index = 1; index < characters.length; index += 1) {
    const step = stepBetween(characters[index - 1] as string, characters[index] as string);
    const continues = step !== undefined && (length === 1 || step === direction);
    if (!continues) runs += 1;
    length = continues ? length + 1 : 1;
    direction = step;
  }
  return runs * 4 <= characters.length;
};

/**
 * The words of the list that the length rule does not refuse already, in lower case. Loaded when first needed: a replica that
 * only issues tokens does not carry it.
 */
const loadCommon = async (minLength: number): Promise<Set<string>> => {
  const { dictionary } = await import('@zxcvbn-ts/language-common');
  return new Set(
    dictionary['passwords-common'].filter((word) => word.length >= minLength).map((word) => word.toLowerCase()),
  );
};

/**
 * Asks a range service (the Pwned Passwords API), which learns five hex digits of the SHA-1 and so one of a million
 * buckets. `Add-Padding` hides the bucket's size from who watches the connection; padding has a count of 0.
 *
 * It fails open: the check is one of several, and an outage elsewhere must not close registration and, worse, password
 * reset, by which a person gets rid of a breached password. The warning lets the operator notice.
 */
const isBreached = async (
  password: string,
  url: string,
  { fetch: request = fetch, log }: PasswordRuleOptions,
): Promise<boolean> => {
  const digest = createHash('sha1').update(password).digest('hex').toUpperCase();
  try {
    const response = await request(`${url}${/[/=]$/.test(url) ? '' : '/'}${digest.slice(0, 5)}`, {
      headers: { 'Add-Padding': 'true' },
      signal: AbortSignal.timeout(2_000),
    });
    if (!response.ok) throw new Error(`the answer was ${response.status}`);
    return (await response.text()).split('\n').some((line) => {
      const [suffix, count] = line.trim().split(':');
      return suffix?.toUpperCase() === digest.slice(5) && Number(count) > 0;
    });
  } catch (error) {
    log?.warn({ err: error }, 'the breached-password service did not answer; the password was not checked against it');
    return false;
  }
};

export const createPasswordRules = (options: PasswordRuleOptions) => {
  const { minLength, breachUrl } = options;
  const names = ['Countersign', options.brandName ?? ''];
  let common: Promise<Set<string>> | undefined;

  return async (typed: string, context: { email: string; name: string }): Promise<PasswordProblem[]> => {
    if (isTooLong(typed)) return [{ code: 'password_too_long', values: { max: maxPasswordBytes } }];
    const password = normalisePassword(typed);
    const problems: PasswordProblem[] = [];
    // NIST SP 800-63B section 3.1.1.2: each code point counts as one character.
    if (Math.min([...typed].length, [...password].length) < minLength)
      problems.push({ code: 'password_too_short', values: { min: minLength } });
    common ??= loadCommon(minLength);
    // The same section: the whole password is compared, not words that it contains.
    if (isTrivial(password) || (await common).has(password.toLowerCase())) problems.push({ code: 'password_common' });
    if (isMostlyIdentity(password, context, names)) problems.push({ code: 'password_contains_identity' });
    if (!problems.length && breachUrl && (await isBreached(password, breachUrl, options)))
      problems.push({ code: 'password_breached' });
    return problems;
  };
};
