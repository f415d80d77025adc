/** What people type or are mailed, as the pages, REST and the command line take it. */
import { z } from 'zod';

export { Email, Password, PersonName } from '../http/schemas.ts';

/** A code that was mailed or texted, however its digits are grouped. */
export const SixDigits = z
  .string()
  .max(40)
  .transform((value) => value.replace(/[\s-]/g, ''))
  .pipe(z.string().regex(/^\d{6}$/, 'expected six digits'));
/** A token from a mailed link. */
export const ActionToken = z.string().min(1).max(200).meta({ example: 'Zk3n…' });
