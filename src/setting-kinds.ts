/** Kinds that many settings are of; all come as text. */
import { z } from 'zod';

export const flag = z
  .enum(['true', 'false', '1', '0'], 'expected true or false')
  .transform((text) => text === 'true' || text === '1');

export const integer = (min: number, max: number) => {
  const message = `expected a whole number from ${min} to ${max}`;
  return z.coerce.number(message).int(message).min(min, message).max(max, message);
};

/** Items with commas between. */
export const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean),
);

const unitSeconds = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** `15m`, `30d`, `90s`, `12h`, or a bare number of seconds; parsed to seconds. */
export const duration = z
  .string()
  .regex(/^\d+[smhd]?$/, 'expected a duration such as 90s, 15m, 12h or 30d')
  .transform(
    (text) => Number.parseInt(text, 10) * unitSeconds[(/[smhd]$/.exec(text)?.[0] ?? 's') as keyof typeof unitSeconds],
  );
