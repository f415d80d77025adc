/** What a certificate says and how a proxy passes it on. */
import { describe, expect, it } from 'vitest';
import { parseDistinguishedName } from '../../src/clients/distinguished-names.ts';
import { parseCertificateHeader } from '../../src/http/client-certificate.ts';
import { alternativeNames, isNamed } from '../../src/provider/certificate-names.ts';
import { makeCertificate, type SubjectName } from '../support/certificates.ts';

describe('a subject is the name that is registered (RFC 4514)', () => {
  const acme: SubjectName = [
    ['C', 'DE'],
    ['O', 'Acme'],
    ['CN', 'app'],
  ];
  for (const [expected, subject, is] of [
    ['CN=app,O=Acme,C=DE', acme, true],
    ['cn=app, O = Acme, C=DE', acme, true],
    ['2.5.4.3=app,2.5.4.10=Acme,countryName=DE', acme, true],
    // The order is the other way round than in the certificate.
    ['C=DE,O=Acme,CN=app', acme, false],
    ['CN=app,O=Acme', acme, false],
    ['CN=app,O=Acme,C=DE,C=DE', acme, false],
    ['CN=APP,O=Acme,C=DE', acme, false],
    ['CN=app,O=Acme,C=DE', [...acme, ['CN', 'other']], false],
    ['', [], false],
    // Characters that would make one name look like another.
    ['CN=app,O=Acme', [['CN', 'app,O=Acme']], false],
    ['CN=app\\,O=Acme', [['CN', 'app,O=Acme']], true],
    ['CN=app\\2cO\\3dAcme', [['CN', 'app,O=Acme']], true],
    ['CN=app,O=Acme', [['O', 'Acme\nCN=app']], false],
    ['O=Acme\\0aCN=app', [['O', 'Acme\nCN=app']], true],
    ['CN=a+OU=b', [['CN', 'a + OU=b']], false],
    ['CN=a \\+ OU=b', [['CN', 'a + OU=b']], true],
    ['CN=\\ app\\ ', [['CN', ' app ']], true],
    ['CN= app ', [['CN', ' app ']], false],
    ['CN=app', [['CN', 'app\0.evil']], false],
    ['CN=Jos\\c3\\a9', [['CN', 'José']], true],
    ['CN=José', [['CN', 'José']], true],
    ['CN=日本', [['CN', '日本']], true],
    // Several attributes in one relative name, in whatever order.
    [
      'OU=b+CN=a,O=Acme',
      [
        ['O', 'Acme'],
        [
          ['CN', 'a'],
          ['OU', 'b'],
        ],
      ],
      true,
    ],
    [
      'OU=b,CN=a',
      [
        [
          ['CN', 'a'],
          ['OU', 'b'],
        ],
      ],
      false,
    ],
    ['1.2.3.4=x', [['1.2.3.4', 'x']], true],
  ] as const) {
    it(`${JSON.stringify(expected)} of ${JSON.stringify(subject)}: ${is}`, () => {
      const { certificate } = makeCertificate({ subject: subject as SubjectName });
      expect(isNamed(certificate, 'tls_client_auth_subject_dn', expected)).toBe(is);
    });
  }

  for (const text of [
    '',
    'app',
    'CN',
    '=app',
    'CN=a,',
    'CN=a,,O=b',
    'CN="a"',
    'CN=a\\',
    'CN=a\\x',
    'CN=#0403',
    'C N=a',
    'CN=a;O=b',
    '/CN=a',
  ])
    it(`${JSON.stringify(text)} is no name`, () => expect(parseDistinguishedName(text)).toBeUndefined());
});

describe('alternative names', () => {
  const { certificate } = makeCertificate({
    alternatives: [
      ['dns', 'App.example.com'],
      ['dns', 'a.example, DNS:evil.example'],
      ['uri', 'https://app.example.com/a,b'],
      ['ip', '192.0.2.1'],
      ['ip', '2001:db8::1'],
      ['email', 'App@Example.com'],
    ],
  });
  for (const [property, value, is] of [
    ['tls_client_auth_san_dns', 'app.example.com', true],
    ['tls_client_auth_san_dns', 'example.com', false],
    // CVE-2021-44532.
    ['tls_client_auth_san_dns', 'evil.example', false],
    ['tls_client_auth_san_dns', 'a.example, DNS:evil.example', true],
    ['tls_client_auth_san_uri', 'https://app.example.com/a,b', true],
    ['tls_client_auth_san_uri', 'https://app.example.com/a', false],
    ['tls_client_auth_san_ip', '192.0.2.1', true],
    ['tls_client_auth_san_ip', '2001:0db8:0:0::1', true],
    ['tls_client_auth_san_ip', '2001:DB8::1', true],
    ['tls_client_auth_san_ip', '192.0.2.2', false],
    ['tls_client_auth_san_email', 'App@example.COM', true],
    ['tls_client_auth_san_email', 'app@example.com', false],
    // One type's value is not another's.
    ['tls_client_auth_san_uri', 'App.example.com', false],
    ['tls_client_auth_san_other', '192.0.2.1', false],
  ] as const)
    it(`${property} ${value}: ${is}`, () => expect(isNamed(certificate, property, value)).toBe(is));

  it('of none there is none', () => {
    expect(isNamed(makeCertificate().certificate, 'tls_client_auth_san_dns', 'client')).toBe(false);
    for (const text of ['DNS', 'DNS:"a', 'DNS:a,DNS:b', ', DNS:a', 'DNS:"\\x"'])
      expect(alternativeNames(text)).toEqual([]);
  });
});

describe('a certificate in a header', () => {
  const { certificate, cert } = makeCertificate();
  const base64 = certificate.raw.toString('base64');
  const read = (value: string) => parseCertificateHeader(value)?.fingerprint256;

  for (const [how, value] of [
    ['as RFC 9440 has it', `:${base64}:`],
    ['as nginx writes it', encodeURIComponent(cert)],
    ['with the letters that AWS leaves alone', encodeURI(cert)],
  ])
    it(`${how}`, () => expect(read(value as string)).toBe(certificate.fingerprint256));

  for (const [what, value] of [
    ['nothing', ''],
    ['base64 alone', base64],
    ['two of them', `:${base64}:, :${base64}:`],
    ['two in PEM', encodeURIComponent(cert + cert)],
    ['another thing', `:${Buffer.from('certificate').toString('base64')}:`],
    ['a broken escape', '-----BEGIN%'],
    ['a key', encodeURIComponent('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----')],
    ['nginx’s (null)', '(null)'],
    ['a great deal', `:${'A'.repeat(20_000)}:`],
  ])
    it(`${what} is none`, () => expect(read(value as string)).toBeUndefined());
});
