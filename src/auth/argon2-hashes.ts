/** argon2i, argon2d and argon2id as the reference implementation writes them, and as Django does. */
import { parseOptions, verify as verifyArgon2 } from '@node-rs/argon2';
import { base64, fromBase64, type HashFormat, isDigest, maxMemoryBytes, maxMemoryTraffic } from './hash-formats.ts';

const maxParallelism = 16;

/** Without `v` it is version 0x10. */
const phc = `\\$argon2(?:id|i|d)\\$(?:v=(?:16|19)\\$)?m=(?<m>\\d{1,10}),t=(?<t>\\d{1,10}),p=(?<p>\\d{1,3})\\$${base64('salt')}\\$${base64('digest')}`;

const read: HashFormat['read'] = ({ m, t, p, digest }, stored) => {
  const memoryBytes = Number(m) * 1024;
  if (memoryBytes > maxMemoryBytes || memoryBytes * Number(t) > maxMemoryTraffic || Number(p) > maxParallelism)
    return undefined;
  if (!isDigest(fromBase64(digest as string))) return undefined;
  try {
    parseOptions(stored);
  } catch {
    return undefined; // parameters that RFC 9106 section 3.1 excludes
  }
  return (password) => verifyArgon2(stored, password);
};

export const argon2Formats: readonly HashFormat[] = [
  { id: 'argon2', pattern: new RegExp(`^${phc}$`), read },
  {
    // Django's `argon2$argon2id$v=19$…`: the PHC string behind the name of the hasher.
    id: 'django-argon2',
    pattern: new RegExp(`^argon2${phc}$`),
    read: (parts, stored) => read(parts, stored.slice('argon2'.length)),
  },
];
