/** What people type or are mailed, as the pages, REST and the command line take it. */
import { z } from 'zod';

export { Email, PersonName } from '../http/schemas.ts';

/** Only its size is judged here; whether it is good enough is for the password rules. */
export const Password = z.string().min(1).max(1024).meta({ example: 'correct horse battery staple' });
/** A token from a mailed link. */
export const ActionToken = z.string().min(1).max(200).meta({ example: 'Zk3n…' });
