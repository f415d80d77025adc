/** The settings of passkeys: a domain that is the issuer's own, and origins as browsers write them. */
import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config.ts';
import { relyingPartyOf } from '../../src/passkey-settings.ts';

const load = (settings: Record<string, string>) =>
  loadConfig({ NODE_ENV: 'test', ENCRYPTION_MASTER_KEY: 'x'.repeat(40), ...settings });

const mistakesOf = (settings: Record<string, string>): readonly string[] => {
  try {
    load(settings);
    return [];
  } catch (error) {
    return error instanceof ConfigError ? error.mistakes : [String(error)];
  }
};

describe('the relying party', () => {
  for (const [name, settings, id] of [
    ['is the host of the issuer', { JWT_ISSUER: 'https://id.example.com:8443' }, 'id.example.com'],
    [
      'may be a domain that it ends in',
      { JWT_ISSUER: 'https://id.example.com', WEBAUTHN_RP_ID: 'Example.com' },
      'example.com',
    ],
    ['may be the host itself', { JWT_ISSUER: 'http://localhost:3000', WEBAUTHN_RP_ID: 'localhost' }, 'localhost'],
  ] as const)
    it(name, () => {
      const { JWT_ISSUER: origin } = settings;
      expect(relyingPartyOf(load(settings))).toEqual({ id, name: 'Countersign', origin, relatedOrigins: [] });
    });

  for (const id of ['example.org', 'xample.com', 'com', 'login.id.example.com', 'https://example.com', '127.0.0.1'])
    it(`is not ${id} at id.example.com`, () => {
      expect(mistakesOf({ JWT_ISSUER: 'https://id.example.com', WEBAUTHN_RP_ID: id })).toEqual([
        expect.stringMatching(/^WEBAUTHN_RP_ID: /),
      ]);
    });

  it('is no part of an address', () => {
    expect(mistakesOf({ JWT_ISSUER: 'http://127.0.0.1:3000', WEBAUTHN_RP_ID: '0.1' })).toHaveLength(1);
  });
});

describe('related origins', () => {
  it('are written as browsers write them', () => {
    const { relatedOrigins } = relyingPartyOf(
      load({ WEBAUTHN_ORIGINS: 'https://shop.example/, https://a.example:8443' }),
    );
    expect(relatedOrigins).toEqual(['https://shop.example', 'https://a.example:8443']);
  });
  for (const origin of ['http://shop.example', 'shop.example', 'https://shop.example/path', 'https://u:p@shop.example'])
    it(`are not ${origin}`, () => {
      expect(mistakesOf({ WEBAUTHN_ORIGINS: origin })).toHaveLength(1);
    });
});
