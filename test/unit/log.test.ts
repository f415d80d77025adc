/** What a line of the log tells of an error, and what it keeps to itself. */
import { expect, it } from 'vitest';
import { createLog } from '../../src/log.ts';

const written = (fields: object): Record<string, unknown> => {
  const lines: string[] = [];
  createLog('info', { write: (line: string) => void lines.push(line) }).info(fields, 'said');
  return JSON.parse(lines[0] as string);
};

it.each(['ECONNREFUSED', 'ENOENT', '23505', '57P03', 'email_taken', 'ERR_JWKS_NO_MATCHING_KEY'])(
  'an error tells its code: %s',
  (code) => {
    const { err } = written({ err: Object.assign(new Error('no'), { code, detail: 'Key (email)=(ada@example.com)' }) });
    expect(err).toEqual({ type: 'Error', errorCode: code, message: 'no', stack: expect.any(String) });
  },
);

it('so does what caused it', () => {
  const cause = Object.assign(new Error('away'), { code: 'ECONNREFUSED' });
  expect(written({ err: new Error('no', { cause }) }).err).toMatchObject({ cause: { errorCode: 'ECONNREFUSED' } });
});

it.each(['Vy1jT3rC9wq0s-Kd8aZb2nXfLh4mGp6uRe7iYoQxWvA', '493021'])(
  'an error keeps a code to sign in with: %s',
  (code) => {
    expect(JSON.stringify(written({ err: Object.assign(new Error('no'), { code }) }))).not.toContain(code);
  },
);

it.each(['code', 'token', 'password', 'email', 'cookie'])('what is called %s is not told', (name) => {
  expect(written({ [name]: 'x', inner: { [name]: 'x' } })).toMatchObject({
    [name]: '[redacted]',
    inner: { [name]: '[redacted]' },
  });
});
