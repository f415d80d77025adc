/** The settings of TLS and of client certificates, which `config.ts` takes in with all others. */
import { z } from 'zod';
import { integer } from './setting-kinds.ts';

/** The name of an HTTP header (RFC 9110 section 5.1), in lower case. */
const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/, 'expected the name of a header, such as Client-Cert')
  .transform((name) => name.toLowerCase());

const tlsOrigin = z.string().transform((text, context) => {
  const url = URL.parse(text);
  if (url?.protocol === 'https:' && url.href === `${url.origin}/`) return url.origin;
  context.addIssue({ code: 'custom', message: 'expected an https origin alone, such as https://mtls.example.com' });
  return z.NEVER;
});

export const tlsSettings = {
  TLS_CERT_PATH: z.string().min(1).optional().meta({
    description:
      'PEM file with the certificate, and those that issued it, to speak TLS with on PORT; read again when it changes. Without it a proxy in front speaks TLS',
  }),
  TLS_KEY_PATH: z.string().min(1).optional().meta({ description: 'PEM file with the private key of TLS_CERT_PATH' }),
  MTLS_PORT: integer(1, 65_535).optional().meta({
    description:
      'A second port, with TLS, that asks clients for a certificate (RFC 8705); on PORT browsers are not bothered. Needs TLS_CERT_PATH',
  }),
  MTLS_ORIGIN: tlsOrigin.optional().meta({
    description:
      'The origin of `mtls_endpoint_aliases`, where clients present certificates; with MTLS_PORT the issuer’s host on that port unless set. Behind a proxy: unset if the proxy asks for certificates under the issuer itself',
  }),
  MTLS_PROXY_HEADER: headerName.optional().meta({
    description:
      'The header in which a proxy passes on the client’s certificate, as RFC 9440 has it (`Client-Cert`) or as URL-encoded PEM (nginx: `$ssl_client_escaped_cert`). The proxy must overwrite what clients send under that name. Believed only of TRUST_PROXY_ADDRESSES, which must be set',
  }),
  TLS_CLIENT_CA_PATH: z.string().min(1).optional().meta({
    description:
      'PEM file with the authorities that issue certificates for `tls_client_auth`, which is on with it; each must have issued clients’ certificates itself. Read again when it changes',
  }),
};

type TlsValues = Partial<z.output<z.ZodObject<typeof tlsSettings>>> & {
  PORT?: number | undefined;
  JWT_ISSUER?: string | undefined;
  TRUST_PROXY?: number | undefined;
};

/** What does not go together. */
export const tlsMistakes = (values: TlsValues, given: Readonly<Record<string, string>>): string[] => {
  const { TLS_CERT_PATH, TLS_KEY_PATH, MTLS_PORT, MTLS_ORIGIN, MTLS_PROXY_HEADER, TLS_CLIENT_CA_PATH } = values;
  const mistakes: string[] = [];
  if (TLS_CERT_PATH && !TLS_KEY_PATH) mistakes.push('TLS_KEY_PATH: is needed with TLS_CERT_PATH');
  if (TLS_KEY_PATH && !TLS_CERT_PATH) mistakes.push('TLS_CERT_PATH: is needed with TLS_KEY_PATH');
  if (TLS_CERT_PATH && values.JWT_ISSUER?.startsWith('http:'))
    mistakes.push('JWT_ISSUER: must be https with TLS_CERT_PATH');
  if (MTLS_PORT && !TLS_CERT_PATH) mistakes.push('MTLS_PORT: needs TLS_CERT_PATH and TLS_KEY_PATH');
  if (MTLS_PORT && MTLS_PORT === values.PORT) mistakes.push('MTLS_PORT: must be another one than PORT');
  if (MTLS_PROXY_HEADER && !values.TRUST_PROXY) mistakes.push('MTLS_PROXY_HEADER: needs TRUST_PROXY');
  // Whoever may set the header is any client it likes, so the addresses that usually are one's own do not do.
  if (MTLS_PROXY_HEADER && !given.TRUST_PROXY_ADDRESSES)
    mistakes.push('MTLS_PROXY_HEADER: needs TRUST_PROXY_ADDRESSES, with the addresses of the proxy alone');
  if (!MTLS_PORT && !MTLS_PROXY_HEADER) {
    if (MTLS_ORIGIN) mistakes.push('MTLS_ORIGIN: needs MTLS_PORT or MTLS_PROXY_HEADER');
    if (TLS_CLIENT_CA_PATH) mistakes.push('TLS_CLIENT_CA_PATH: needs MTLS_PORT or MTLS_PROXY_HEADER');
  }
  return mistakes;
};
