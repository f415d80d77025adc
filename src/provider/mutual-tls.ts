/** Mutual TLS (RFC 8705): clients that authenticate with a certificate, and tokens bound to one. */
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type Koa from 'koa';
import type { Configuration, Provider } from 'oidc-provider';
import type { Config } from '../config.ts';
import { type CertificateOf, createCertificateReader } from '../http/client-certificate.ts';
import { readProxyAddresses } from '../limit-settings.ts';
import { isNamed } from './certificate-names.ts';

type MutualTlsSettings = Pick<
  Config,
  'JWT_ISSUER' | 'MTLS_PORT' | 'MTLS_ORIGIN' | 'MTLS_PROXY_HEADER' | 'TLS_CLIENT_CA_PATH' | 'TRUST_PROXY_ADDRESSES'
>;

/** Whether there is a way for a certificate to reach us. */
export const hasMutualTls = ({ MTLS_PORT, MTLS_PROXY_HEADER }: MutualTlsSettings): boolean =>
  MTLS_PORT !== undefined || MTLS_PROXY_HEADER !== undefined;

/** How clients may authenticate with a certificate: `tls_client_auth` needs to know whose certificates are believed. */
export const certificateMethods = (
  config: MutualTlsSettings,
): ('tls_client_auth' | 'self_signed_tls_client_auth')[] => [
  ...(hasMutualTls(config) && config.TLS_CLIENT_CA_PATH ? (['tls_client_auth'] as const) : []),
  ...(hasMutualTls(config) ? (['self_signed_tls_client_auth'] as const) : []),
];

export const readCertificates = (config: MutualTlsSettings): CertificateOf =>
  createCertificateReader({
    header: config.MTLS_PROXY_HEADER,
    trusted: readProxyAddresses(config.TRUST_PROXY_ADDRESSES),
  });

/** The origin where certificates are asked for, if it is not the issuer's own. */
export const certificateOrigin = (config: MutualTlsSettings): string | undefined => {
  if (config.MTLS_ORIGIN) return config.MTLS_ORIGIN === config.JWT_ISSUER ? undefined : config.MTLS_ORIGIN;
  if (!config.MTLS_PORT) return undefined;
  const url = new URL(config.JWT_ISSUER);
  url.protocol = 'https:';
  url.port = String(config.MTLS_PORT);
  return url.origin;
};

/** Endpoints that take a client's authentication, or its token. */
const aliased = [
  'token',
  'introspection',
  'revocation',
  'userinfo',
  'pushed_authorization_request',
  'device_authorization',
  'backchannel_authentication',
];

type Paths = Readonly<Record<string, string>>;

/** `mtls_endpoint_aliases` (RFC 8705 section 5); undefined where the issuer's own endpoints take certificates. */
export const endpointAliases = (config: MutualTlsSettings, paths: Paths): Paths | undefined => {
  const origin = certificateOrigin(config);
  if (!origin) return undefined;
  return Object.fromEntries(
    aliased.flatMap((name) => (paths[name] ? [[`${name}_endpoint`, origin + paths[name]]] : [])),
  );
};

/**
 * At that origin there are the endpoints that have an alias, and the REST API, which comes before: no pages, whose cookies
 * and forms belong to the issuer, and no second discovery document.
 */
export const onlyAliases = (config: MutualTlsSettings, paths: Paths): Koa.Middleware => {
  const origin = certificateOrigin(config);
  const host = origin && new URL(origin).host;
  const known = new Set(aliased.map((name) => paths[name]));
  return (ctx, next) => {
    if (!host || ctx.req.headers.host !== host || known.has(ctx.path)) return next();
    ctx.status = 404;
    return Promise.resolve();
  };
};

/**
 * The page on which people enter a device's code is the issuer's, whichever origin the device was at: the engine would name that
 * of the request.
 */
export const sendPeopleToIssuer = (
  provider: Provider,
  config: MutualTlsSettings,
  { device_authorization }: Paths,
): void => {
  const origin = certificateOrigin(config);
  if (!origin) return;
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path !== device_authorization || ctx.status !== 200) return;
    const body = ctx.body as Record<string, unknown>;
    for (const name of ['verification_uri', 'verification_uri_complete'])
      if (typeof body[name] === 'string' && body[name].startsWith(`${origin}/`))
        body[name] = config.JWT_ISSUER + body[name].slice(origin.length);
  });
};

/** How often the file of authorities is looked at, in milliseconds. */
const lookMs = 30_000;

/** The certificates in a PEM file, read again when it changes. @throws when it cannot be read at first, or has none */
const createAuthorities = (path: string): (() => readonly X509Certificate[]) => {
  const read = (): X509Certificate[] => {
    const blocks = readFileSync(path, 'utf8').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
    if (!blocks) throw new Error(`TLS_CLIENT_CA_PATH: ${path} has no certificate`);
    return blocks.map((block) => new X509Certificate(block));
  };
  let changedMs = statSync(path).mtimeMs;
  let lookedMs = Date.now();
  let authorities = read();
  return () => {
    if (Date.now() - lookedMs < lookMs) return authorities;
    lookedMs = Date.now();
    try {
      const { mtimeMs } = statSync(path);
      if (mtimeMs !== changedMs) authorities = read();
      changedMs = mtimeMs;
    } catch {
      // Half written, or on its way to be replaced: what was known goes on until the next look.
    }
    return authorities;
  };
};

/** RFC 5280 section 4.2.1.12: TLS client authentication, or any purpose. */
const clientPurposes = ['1.3.6.1.5.5.7.3.2', '2.5.29.37.0'];

/**
 * Whether an authority issued the certificate, itself and for clients. A chain over others that are not listed does not do: which
 * of them may issue for clients is not ours to guess, and what an authority says they may is not looked at.
 */
const isIssuedByAny = (certificate: X509Certificate, authorities: readonly X509Certificate[]): boolean => {
  const purposes: readonly string[] | undefined = certificate.keyUsage;
  if (purposes?.length && !purposes.some((purpose) => clientPurposes.includes(purpose))) return false;
  if (/md5|sha-?1\b|sha1/i.test(certificate.signatureAlgorithm ?? '')) return false;
  const now = new Date();
  return authorities.some(
    (authority) =>
      authority.ca &&
      authority.validFromDate <= now &&
      now <= authority.validToDate &&
      certificate.checkIssued(authority) &&
      certificate.verify(authority.publicKey),
  );
};

/** The engine's `features.mTLS`. */
export const mutualTlsFeature = (
  config: MutualTlsSettings,
): NonNullable<NonNullable<Configuration['features']>['mTLS']> => {
  if (!hasMutualTls(config)) return { enabled: false };
  const certificateOf = readCertificates(config);
  const common = { enabled: true, certificateBoundAccessTokens: true, selfSignedTlsClientAuth: true } as const;
  if (!config.TLS_CLIENT_CA_PATH) return { ...common, getCertificate: certificateOf };
  const authorities = createAuthorities(config.TLS_CLIENT_CA_PATH);
  return {
    ...common,
    tlsClientAuth: true,
    getCertificate: certificateOf,
    certificateAuthorized: (ctx) => {
      const certificate = certificateOf(ctx);
      return certificate !== undefined && isIssuedByAny(certificate, authorities());
    },
    certificateSubjectMatches: (ctx, property, expected) => {
      const certificate = certificateOf(ctx);
      return certificate !== undefined && isNamed(certificate, property, expected);
    },
  };
};
