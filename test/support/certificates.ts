/** X.509 certificates made for tests (RFC 5280), byte by byte: also those that no sound authority would issue. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIPv6, SocketAddress } from 'node:net';

/** DER: tag, length, content. */
const der = (tag: number, ...parts: Buffer[]): Buffer => {
  const content = Buffer.concat(parts);
  if (content.length < 128) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const hex = content.length.toString(16);
  const length = Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, content]);
};
const sequence = (...parts: Buffer[]) => der(0x30, ...parts);
const set = (...parts: Buffer[]) => der(0x31, ...parts);
const boolean = () => der(0x01, Buffer.from([0xff]));
const octets = (content: Buffer) => der(0x04, content);

const oid = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const base128 = (value: number): number[] => {
    const bytes = [value & 0x7f];
    for (let left = value >> 7; left; left >>= 7) bytes.unshift((left & 0x7f) | 0x80);
    return bytes;
  };
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
};

const types = { C: '2.5.4.6', O: '2.5.4.10', OU: '2.5.4.11', CN: '2.5.4.3', L: '2.5.4.7' } as const;
type Attribute = readonly [type: keyof typeof types | (string & {}), value: string];

/** A name as its relative names in order, each of one attribute or several. */
export type SubjectName = readonly (Attribute | readonly Attribute[])[];

const attribute = ([type, value]: Attribute) =>
  sequence(oid(types[type as keyof typeof types] ?? type), der(0x0c, Buffer.from(value)));
const isAttribute = (item: Attribute | readonly Attribute[]): item is Attribute => typeof item[0] === 'string';
const name = (subject: SubjectName) =>
  sequence(...subject.map((item) => set(...(isAttribute(item) ? [item] : item).map(attribute))));

const time = (date: Date) => der(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`));

const addressBytes = (address: string): Buffer => {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = new SocketAddress({ address, family: 'ipv6' }).address.split('::');
  const words = (text: string) => text.split(':').filter(Boolean);
  const missing = 8 - words(head).length - words(tail).length;
  const all = [...words(head), ...Array.from({ length: missing }, () => '0'), ...words(tail)];
  return Buffer.from(all.map((word) => word.padStart(4, '0')).join(''), 'hex');
};

const alternative = ([type, value]: readonly [AlternativeType, string]): Buffer => {
  const tags = { email: 0x81, dns: 0x82, uri: 0x86, ip: 0x87 };
  return der(tags[type], type === 'ip' ? addressBytes(value) : Buffer.from(value));
};
type AlternativeType = 'email' | 'dns' | 'uri' | 'ip';

const extension = (id: string, value: Buffer) => sequence(oid(id), octets(value));

export interface Certified {
  certificate: X509Certificate;
  /** What a TLS client or server takes. */
  cert: string;
  key: string;
  privateKey: KeyObject;
  subject: SubjectName;
}

export interface CertificateOptions {
  subject?: SubjectName;
  alternatives?: readonly (readonly [AlternativeType, string])[];
  /** Self-signed without one. */
  issuer?: Certified;
  authority?: boolean;
  /** Extended key usage; none unless given. */
  purpose?: 'client' | 'server';
  /** Hours from now. */
  from?: number;
  until?: number;
  /** Another certificate for the same key. */
  keyOf?: Certified;
}

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));
const hourMs = 3_600_000;

/** Makes a certificate with a key on P-256. */
export const makeCertificate = ({
  subject = [['CN', 'client']],
  alternatives = [],
  issuer,
  authority = false,
  purpose,
  from = -1,
  until = 24,
  keyOf,
}: CertificateOptions = {}): Certified => {
  const fresh = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const privateKey = keyOf?.privateKey ?? fresh.privateKey;
  const publicKey = keyOf?.certificate.publicKey ?? fresh.publicKey;
  const extensions = [
    ...(authority ? [extension('2.5.29.19', sequence(boolean()))] : []),
    ...(purpose ? [extension('2.5.29.37', sequence(oid(`1.3.6.1.5.5.7.3.${purpose === 'client' ? 2 : 1}`)))] : []),
    ...(alternatives.length ? [extension('2.5.29.17', sequence(...alternatives.map(alternative)))] : []),
  ];
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ecdsaWithSha256,
    name(issuer?.subject ?? subject),
    sequence(time(new Date(Date.now() + from * hourMs)), time(new Date(Date.now() + until * hourMs))),
    name(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    ...(extensions.length ? [der(0xa3, sequence(...extensions))] : []),
  );
  const signature = sign('sha256', content, issuer?.privateKey ?? privateKey);
  const certificate = new X509Certificate(
    sequence(content, ecdsaWithSha256, der(0x03, Buffer.concat([Buffer.from([0]), signature]))),
  );
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  return { certificate, cert: certificate.toString(), key, privateKey: createPrivateKey(key), subject };
};
