/** A service that others call with tokens that are bound to their certificate (RFC 8705): what it has to check. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';

export interface StockOptions {
  /** With the certificates of certificates.sh. */
  folder: string;
  issuer: string;
  audience: string;
  jwks: JSONWebKeySet;
}

/** @returns the server, which is not listening yet */
export const createStock = ({ folder, issuer, audience, jwks }: StockOptions): Server => {
  const keys = createLocalJWKSet(jwks);
  const options = {
    cert: readFileSync(`${folder}/stock.pem`),
    key: readFileSync(`${folder}/stock.key`),
    ca: readFileSync(`${folder}/client-ca.pem`),
    // A caller without a certificate of that authority does not get as far as HTTP.
    requestCert: true,
    rejectUnauthorized: true,
  };
  return createServer(options, async (request, response) => {
    const answer = (status: number, body: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    try {
      const [, token = ''] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? [];
      const { payload } = await jwtVerify(token, keys, { issuer, audience, typ: 'at+jwt' });
      // Section 3.1: the token is for whoever holds the key of this certificate, and nobody else may use it.
      const { raw } = (request.socket as TLSSocket).getPeerCertificate();
      const thumbprint = createHash('sha256').update(raw).digest('base64url');
      const bound = (payload.cnf as Record<string, string> | undefined)?.['x5t#S256'];
      if (bound !== thumbprint) throw new Error('the token is bound to another certificate');
      answer(200, { stock: 42, caller: payload.client_id });
    } catch (error) {
      answer(401, { error: 'invalid_token', because: (error as Error).message });
    }
  });
};
