/** The settings that every service of a test has, unless it says otherwise. */

/** Limits are off unless a test sets them, those of a busy machine as well; nothing is logged. */
export const defaultSettings = {
  NODE_ENV: 'test',
  ENCRYPTION_MASTER_KEY: 'bXkgdGVzdHMgYXJlIG5vdCBzZWNyZXQgYXQgYWxsISE=',
  RATE_LIMIT_FACTOR: '1000',
  LOG_LEVEL: 'silent',
  OUTBOUND_ALLOW: '127.0.0.1,localhost',
  HASH_QUEUE: '1000',
  MAX_EVENT_LOOP_DELAY: '60000',
};
