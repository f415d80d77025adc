/** TLS terminated here: a server whose certificate is read again when its files change, as those who renew them expect. */
import { constants, randomFillSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { Log } from '../log.ts';

export interface TlsOptions {
  certPath: string;
  keyPath: string;
  /** Whether clients are asked for a certificate. One of any kind will do: what it is good for is decided later. */
  asksCertificate: boolean;
  log: Log;
}

/**
 * Of TLS 1.2 what RFC 9325 section 4.2 recommends, which is all that FAPI 2.0 Security Profile section 5.2.2 allows, for
 * certificates of either kind; of TLS 1.3 everything.
 */
const ciphers = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
].join(':');
const strength = { minVersion: 'TLSv1.2', ciphers } as const;

/** How often the files are looked at, in milliseconds. */
const lookMs = 30_000;

/** What goes wrong with a setting's file is told by the setting's name: OpenSSL and the file system know neither. */
const naming = <T>(setting: string, work: () => T): T => {
  try {
    return work();
  } catch (error) {
    throw new Error(`${setting}: ${(error as Error).message}`, { cause: error });
  }
};

const readFiles = ({ certPath, keyPath }: TlsOptions) => ({
  cert: naming('TLS_CERT_PATH', () => readFileSync(certPath, 'utf8')),
  key: naming('TLS_KEY_PATH', () => readFileSync(keyPath, 'utf8')),
});

/** @throws when they are no certificate and its key */
const checkFiles = ({ cert, key }: ReturnType<typeof readFiles>, { certPath, keyPath }: TlsOptions): void => {
  naming(`TLS_CERT_PATH: no certificate in ${certPath}`, () => createSecureContext({ cert, ...strength }));
  naming(`TLS_KEY_PATH: not the private key of that certificate in ${keyPath}`, () =>
    createSecureContext({ cert, key, ...strength }),
  );
};

/** @throws when the files cannot be read, or are no certificate and its key */
export const createTlsServer = (handler: RequestListener, options: TlsOptions): Server => {
  let files = readFiles(options);
  checkFiles(files, options);
  // Without a list of authorities clients send whatever certificate they have, self-signed ones included. Each connection
  // proves that its client holds the key: none is resumed, and with it the certificate of an earlier one.
  const asking = options.asksCertificate
    ? { requestCert: true, rejectUnauthorized: false, secureOptions: constants.SSL_OP_NO_TICKET }
    : {};
  const server = createServer({ ...files, ...asking, ...strength }, handler);
  // A signature in the client's chain that is wrong leaves an error in OpenSSL's queue, which Node then takes for one of the connection.
  // Any such call empties the queue; what the certificate is good for is decided later.
  if (options.asksCertificate) server.on('secureConnection', () => void randomFillSync(new Uint8Array(1)));
  const look = () => {
    try {
      const next = readFiles(options);
      if (next.cert === files.cert && next.key === files.key) return;
      // Of half a renewal, a certificate that is not of that key, nothing is taken.
      checkFiles(next, options);
      server.setSecureContext({ ...next, ...asking, ...strength });
      files = next;
      options.log.info({ certPath: options.certPath }, 'the TLS certificate has changed');
    } catch (error) {
      options.log.warn({ err: error }, 'the TLS certificate could not be read again; the one before goes on');
    }
  };
  const timer = setInterval(look, lookMs).unref();
  server.once('close', () => clearInterval(timer));
  return server;
};
