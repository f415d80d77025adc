/** Ids of requests: UUIDs of version 7 (RFC 9562 section 5.7), made of random bytes that are fetched many at a time. */
import { randomFillSync } from 'node:crypto';

const idBytes = 10;
const pool = Buffer.alloc(idBytes * 512);
let used = pool.length;

/** Not predictable, and in order of time by the millisecond. */
export const newRequestId = (): string => {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const random = pool.toString('hex', used, used + idBytes);
  // The variant's two bits, 10, and two that are random.
  const variant = ((pool[used] as number) & 0x3) | 0x8;
  used += idBytes;
  const time = Date.now().toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(2, 5)}-${variant.toString(16)}${random.slice(5, 8)}-${random.slice(8)}`;
};
