import { describe, expect, it } from 'vitest';
import { describeDevice, parseDevice } from '../../src/sessions/device.ts';

describe('describeDevice', () => {
  for (const [userAgent, told] of [
    ['Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', 'Firefox · Linux'],
    ['curl/8.5', 'curl 8.5'],
    ['curl/8.5.0 (x86_64) libcurl/8.5.0', 'curl 8.5'],
    ['node', 'node'],
    ['python-requests/2.31.0', 'python-requests 2.31'],
    ['Go-http-client/1.1', 'Go-http-client 1.1'],
    // Whoever asks for a mail to somebody else says nothing in it.
    ['Your account is lost, call evil.example/1 now', ''],
    ['evil.example/1 x', ''],
    ['https://evil.example', ''],
    ['Call-0800-123456', ''],
    ['Mozilla/5.0', ''],
    ['', ''],
    [undefined, ''],
  ] as const)
    it(`${userAgent} is ${told || 'unknown'}`, () => {
      expect(describeDevice(userAgent)).toBe(told);
    });

  it('tells a program from another', () => {
    expect(parseDevice('curl/8.5')).toEqual({ browser: 'curl' });
  });
});
