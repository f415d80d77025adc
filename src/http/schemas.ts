/** Fields that requests and answers of several resources have in common. */
import { z } from 'zod';

/** A name as people write theirs: any script, no control characters. */
export const PersonName = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^\P{C}*$/u, 'must not contain control characters')
  .meta({ example: 'Ada Lovelace' });
/** A label of a host name (RFC 1123 section 2.1). */
const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
/** A top-level domain has no digits, but for one that stands for letters outside ASCII (RFC 5890 section 2.3.2.1). */
const topLevel = '(?:[A-Za-z]{2,63}|[Xx][Nn]--[A-Za-z0-9-]{0,58}[A-Za-z0-9])';
const address = new RegExp(`^(?:[A-Za-z0-9_'+-]+\\.)*[A-Za-z0-9_'+-]*[A-Za-z0-9_+-]@(?:${label}\\.)+${topLevel}$`);
/** An address at a host name in its DNS form, as it is written. */
export const Address = z.email({ pattern: address });
/** … and as it is typed. */
export const Email = z.string().trim().max(254).pipe(Address).meta({ example: 'ada@example.com' });

const isLocale = (locale: string) => {
  try {
    return Intl.getCanonicalLocales(locale).length === 1;
  } catch {
    return false;
  }
};
/** BCP 47. */
export const Locale = z.string().max(35).refine(isLocale, 'expected a language tag').meta({ example: 'en' });

/** A name of the IANA time zone database. */
export const isTimeZone = (zone: string) => {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: zone }));
  } catch {
    return false;
  }
};
export const TimeZone = z
  .string()
  .max(60)
  .refine(isTimeZone, 'expected a time zone')
  .meta({ example: 'Europe/London' });

const isDate = (date: string) => {
  const day = date.replace(/^0000/, '2000');
  const parsed = new Date(day);
  // 30 February would be taken for 2 March.
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(day);
};
/** ISO 8601 date; the year may be 0000 when it is left out (OpenID Connect Core section 5.1). */
export const BirthDate = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}$/)
  .refine(isDate, 'expected a date')
  .meta({ example: '1815-12-10' });

const e164 = /^\+[1-9]\d{6,14}$/;
export const PhoneNumber = z
  .string()
  .regex(e164, 'expected a number in the form of E.164')
  .meta({ example: '+442071838750' });
/** … and as it is typed: spaces and punctuation are taken away. */
export const TypedPhoneNumber = z
  .string()
  .max(40)
  .transform((value) => value.replace(/[\s().-]/g, ''))
  .pipe(z.string().regex(e164, 'expected a number in international form, such as +4930901820'));

/** Only its size is judged here; whether it is good enough is for the password rules. */
export const Password = z.string().min(1).max(1024).meta({ example: 'correct horse battery staple' });

/** Ids of rows are UUIDs, in one spelling: whose something is, is found out by comparing them. */
export const Id = z.uuid().toLowerCase().meta({ example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f' });
/** RFC 3339, UTC. There was no year 0, and nothing is measured more finely than in nanoseconds. */
export const Time = z.iso
  .datetime()
  .max(30)
  .regex(/^(?!0000)/)
  .meta({ example: '2027-01-31T09:26:53.589Z' });

/** Which roles there are is for the database to say. */
export const RoleName = z
  .string()
  .min(1)
  .max(64)
  .regex(/^\P{C}*$/u, 'must not contain control characters')
  .meta({ description: 'The name of a role', example: 'user' });
