/**
 * Our REST API as a resource server: a token that is bound to a key or a certificate is good only together with the proof
 * that its client holds it. The engine checks the same at userinfo, and remembers proofs in the same place.
 */
import { createHash } from 'node:crypto';
import { calculateJwkThumbprint, EmbeddedJWK, errors as joseErrors, jwtVerify } from 'jose';
import type Koa from 'koa';
import type { Provider } from 'oidc-provider';
import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import type { CertificateOf } from '../http/client-certificate.ts';
import { equalInConstantTime, type Secrets } from '../secrets.ts';
import { proofSigningAlgs } from './algorithms.ts';

export interface ProofDeps {
  /** The engine's instance that serves now. */
  provider(): Provider;
  config: Pick<Config, 'DPOP_NONCE'>;
  secrets: Secrets;
  certificateOf: CertificateOf;
}

/** How a token was sent, and whom it speaks for. */
export interface Presented {
  scheme: 'Bearer' | 'DPoP';
  token: string;
  caller: Caller;
}

/** How old a proof may be, how far ahead of our clock it may be dated, and for how long a nonce is new; in seconds. */
const proofSeconds = 300;
const aheadSeconds = 60;
const nonceStepSeconds = 60;

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('base64url');
const nowSeconds = () => Math.floor(Date.now() / 1000);

/** RFC 9449 section 7.1: what is wrong is told under the scheme that the client must use. */
const challenge = (code: string) => ({
  challenge: `DPoP error="${code}", algs="${proofSigningAlgs.join(' ')}"`,
});
const refuseToken = (message: string) => new AppError(401, 'invalid_token', message, challenge('invalid_token'));
const refuseProof = (message: string) =>
  new AppError(401, 'invalid_dpop_proof', message, challenge('invalid_dpop_proof'));
const askForNonce = () =>
  new AppError(401, 'use_dpop_nonce', 'The DPoP proof needs the nonce in DPoP-Nonce', challenge('use_dpop_nonce'));

/** A token that is no one's to send plainly. */
const refusePlain = (): AppError =>
  new AppError(401, 'invalid_token', 'The token is bound to a key: send it as DPoP, with a proof', {
    challenge: `Bearer error="invalid_token", DPoP algs="${proofSigningAlgs.join(' ')}"`,
  });

/** RFC 9449 section 4.3: where the proof says it is sent to, without query and fragment. */
const target = (uri: unknown): string | undefined => {
  const url = typeof uri === 'string' ? URL.parse(uri) : null;
  if (!url) return undefined;
  url.search = '';
  url.hash = '';
  return url.href;
};

/** Nonces that every replica makes alike, a new one each minute. */
const createNonces = (secrets: Secrets) => {
  const at = (step: number) => secrets.mac('dpop-nonce', `resource server ${step}`);
  const step = () => Math.floor(nowSeconds() / nonceStepSeconds);
  return {
    next: () => at(step()),
    // One ahead, of a replica whose clock is; and those of the last five minutes.
    isKnown: (nonce: string) =>
      Array.from({ length: proofSeconds / nonceStepSeconds + 2 }, (_, back) => at(step() + 1 - back)).some((known) =>
        equalInConstantTime(known, nonce),
      ),
  };
};

/** What a proof says, once its signature and form are right. @throws AppError 401 */
const readProof = async (proof: string) => {
  try {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      algorithms: [...proofSigningAlgs],
      typ: 'dpop+jwt',
      requiredClaims: ['jti', 'htm', 'htu', 'iat', 'ath'],
    });
    return {
      payload,
      jkt: await calculateJwkThumbprint(protectedHeader.jwk as NonNullable<typeof protectedHeader.jwk>),
    };
  } catch (error) {
    if (error instanceof joseErrors.JOSEError || error instanceof TypeError || error instanceof DOMException)
      throw refuseProof('The DPoP proof is not a valid one');
    throw error;
  }
};

/**
 * Checks that whoever sends a token may: a bound one with the proof of what it is bound to, and another one plainly.
 * @throws AppError 401 invalid_token, invalid_dpop_proof, use_dpop_nonce
 */
export const createProofCheck = ({ provider, config, secrets, certificateOf }: ProofDeps) => {
  const nonces = createNonces(secrets);

  const checkProof = async (ctx: Koa.Context, { token }: Presented, jkt: string): Promise<void> => {
    const proof = await readProof(ctx.get('dpop'));
    const { htm, htu, iat = 0, jti, ath, nonce } = proof.payload;
    const url = target(`${ctx.protocol}://${ctx.host}${ctx.state.path ?? ctx.path}`);
    if (htm !== ctx.method || target(htu) !== url) throw refuseProof('The DPoP proof is for another request');
    if (ath !== sha256(token)) throw refuseProof('The DPoP proof is for another token');
    if (typeof jti !== 'string' || !jti) throw refuseProof('The DPoP proof has no jti');
    const age = nowSeconds() - iat;
    if (age > proofSeconds || age < -aheadSeconds) throw refuseProof('The DPoP proof is too old, or of the future');
    const next = nonces.next();
    if (nonce !== next) ctx.set('DPoP-Nonce', next);
    if (nonce === undefined ? config.DPOP_NONCE === 'required' : typeof nonce !== 'string' || !nonces.isKnown(nonce))
      throw askForNonce();
    if (proof.jkt !== jkt) throw refuseToken('The token is bound to another key');
    // Last, so that a proof that would be refused anyway uses nothing up.
    if (!(await provider().ReplayDetection.unique(jkt, jti, nowSeconds() + proofSeconds)))
      throw refuseProof('The DPoP proof was used before');
  };

  return async (ctx: Koa.Context, presented: Presented): Promise<void> => {
    const { scheme, caller } = presented;
    const { jkt, 'x5t#S256': x5t, ...others } = caller.confirmation ?? {};
    if (Object.keys(others).length) throw refuseToken('The token is bound to something that is not known here');
    if (scheme === 'Bearer' && jkt) throw refusePlain();
    if (scheme === 'DPoP' && !jkt) throw refuseToken('The token is not bound to a key: send it as Bearer');
    if (jkt) await checkProof(ctx, presented, jkt);
    if (x5t) {
      const certificate = certificateOf(ctx);
      if (!certificate || sha256(certificate.raw) !== x5t)
        throw new AppError(401, 'invalid_token', 'The token is bound to a client certificate that was not shown');
    }
  };
};
