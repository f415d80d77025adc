/** Whether a certificate names the client as it is registered (RFC 8705 section 2.1.2). */
import type { X509Certificate } from 'node:crypto';
import { isIP, SocketAddress } from 'node:net';
import { isSubject } from '../clients/distinguished-names.ts';

/**
 * The subject's alternative names by type. Node.js puts a value in quotes, as JSON, when it has characters by which it could
 * be mistaken for several (CVE-2021-44532). Text that is not as expected to its end names nothing.
 */
export const alternativeNames = (text: string | undefined): [type: string, value: string][] => {
  const names: [string, string][] = [];
  let rest = text ?? '';
  while (rest) {
    const [whole, type = '', value = ''] = /^([^:",]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/.exec(rest) ?? [];
    if (!whole) return [];
    try {
      names.push([type, value.startsWith('"') ? (JSON.parse(value) as string) : value]);
    } catch {
      return [];
    }
    rest = rest.slice(whole.length);
  }
  return names;
};

/** An address in the one spelling that compares; other text stays what it is. */
const canonicalAddress = (text: string): string => {
  const version = isIP(text);
  return version ? new SocketAddress({ address: text, family: version === 6 ? 'ipv6' : 'ipv4' }).address : text;
};

/** RFC 5321 section 2.4: the domain of a mail address knows no case, and what stands before it may. */
const canonicalMail = (text: string): string => text.replace(/@[^@]*$/, (domain) => domain.toLowerCase());

/** How each property's value is looked for among the alternative names, and brought into one spelling. */
const properties: Readonly<Record<string, readonly [type: string, canonical: (text: string) => string]>> = {
  tls_client_auth_san_dns: ['DNS', (text) => text.toLowerCase()],
  tls_client_auth_san_uri: ['URI', (text) => text],
  tls_client_auth_san_ip: ['IP Address', canonicalAddress],
  tls_client_auth_san_email: ['email', canonicalMail],
};

/** @param property the `tls_client_auth_*` member that the client has registered */
export const isNamed = (certificate: X509Certificate, property: string, expected: string): boolean => {
  if (property === 'tls_client_auth_subject_dn') return isSubject(certificate.subject, expected);
  const [type, canonical] = properties[property] ?? [];
  if (!type || !canonical) return false;
  return alternativeNames(certificate.subjectAltName).some(
    ([name, value]) => name === type && canonical(value) === canonical(expected),
  );
};
