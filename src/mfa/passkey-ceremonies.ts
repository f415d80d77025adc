/**
 * What is checked of a WebAuthn ceremony, besides the challenge: origin, relying party, flags, key and signature. The bytes
 * are a stranger's, so whatever a parser throws is the same refusal.
 */
import type { VerifiedRegistrationResponse } from '@simplewebauthn/server';
import { type AppError, invalid } from '../errors.ts';
import { equalInConstantTime, type Secrets } from '../secrets.ts';
import {
  type Ceremony,
  type Challenge,
  openChallenge,
  type Registering,
  restSignIn,
  type SigningIn,
} from './passkey-challenges.ts';
import { loadWebAuthn, nobodysKey, passkeyAlgorithms } from './passkey-library.ts';
import { type AuthenticationResponse, challengeOf, type RegistrationResponse } from './passkey-responses.ts';
import type { PasskeyKey } from './passkeys.queries.ts';

/** Whom passkeys are made for and shown to. */
export interface RelyingParty {
  /** A domain: the issuer's host, or what it ends in (WEBAUTHN_RP_ID). */
  id: string;
  name: string;
  /** Where the pages are, exactly. */
  origin: string;
  /** Further origins of the operator's that may use the same passkeys over REST (WEBAUTHN_ORIGINS). */
  relatedOrigins: readonly string[];
}

interface CheckDeps {
  secrets: Secrets;
  relyingParty: RelyingParty;
}

/**
 * What the authenticator keeps instead of a name, and shows again when it finds the passkey by itself: neither the address
 * (section 14.6.1) nor the `sub` that applications know.
 */
export const userHandle = (secrets: Secrets, userId: string): string => secrets.mac('passkey', `user-handle ${userId}`);

/** A challenge made over REST may come back from the operator's other origins too; one of a page comes back from there. */
const originsOf = ({ origin, relatedOrigins }: RelyingParty, ceremony: Ceremony): string[] =>
  ceremony.kind === 'sign-in' && ceremony.at !== restSignIn ? [origin] : [origin, ...relatedOrigins];

export const invalidPasskey = (): AppError => invalid('invalid_passkey', 'The passkey could not be used; begin again');

/**
 * No attestation is asked for, so none is judged: what a browser leaves is `none`, or the passkey's own signature
 * (`packed` without certificates; section 5.1.3). Certificates would have us follow the links in them.
 */
const isUnattested = async (attestationObject: string): Promise<boolean> => {
  const { decodeAttestationObject } = await loadWebAuthn();
  const object = decodeAttestationObject(new Uint8Array(Buffer.from(attestationObject, 'base64url')));
  const fmt: string = object.get('fmt');
  return fmt === 'none' || (fmt === 'packed' && object.get('attStmt').get('x5c') === undefined);
};

type Registered = NonNullable<VerifiedRegistrationResponse['registrationInfo']>;

/** Section 7.1. @throws AppError 400 invalid_passkey */
export const checkRegistration = async (
  { secrets, relyingParty }: CheckDeps,
  ceremony: Registering,
  response: RegistrationResponse,
): Promise<{ challenge: Challenge; made: Registered }> => {
  const text = challengeOf(response.response.clientDataJSON);
  const challenge = text === undefined ? undefined : openChallenge(secrets, ceremony, text);
  if (text === undefined || !challenge) throw invalidPasskey();
  try {
    if (!(await isUnattested(response.response.attestationObject))) throw invalidPasskey();
    const { verifyRegistrationResponse, isSoundKey } = await loadWebAuthn();
    const { verified, registrationInfo: made } = await verifyRegistrationResponse({
      response: response as never,
      expectedChallenge: text,
      expectedOrigin: originsOf(relyingParty, ceremony),
      expectedRPID: relyingParty.id,
      requireUserVerification: challenge.passwordless,
      supportedAlgorithmIDs: passkeyAlgorithms,
    });
    const fine = verified && made.credential.id === response.id && isSoundKey(made.credential.publicKey);
    if (fine && !(challenge.passwordless && response.clientExtensionResults.credProps?.rk === false))
      return { challenge, made };
  } catch {
    // Whatever a stranger's bytes make the parser say.
  }
  throw invalidPasskey();
};

/** Browsers that do not say whether it is discoverable make passkeys that are synced, and those are. */
export const isDiscoverable = ({ clientExtensionResults }: RegistrationResponse, made: Registered): boolean =>
  clientExtensionResults.credProps?.rk ?? made.credentialDeviceType === 'multiDevice';

export interface CheckedAssertion {
  challenge: Challenge;
  counter: number;
  backupEligible: boolean;
  backedUp: boolean;
  userVerified: boolean;
}

/**
 * Section 7.2, but for the counter, which is the caller's: it tells the owner.
 * @param passkey undefined when there is none of that credential id; then the signature is checked all the same
 */
export const checkAssertion = async (
  { secrets, relyingParty }: CheckDeps,
  ceremony: SigningIn,
  response: AuthenticationResponse,
  passkey: PasskeyKey | undefined,
): Promise<CheckedAssertion | undefined> => {
  const text = challengeOf(response.response.clientDataJSON);
  const challenge = text === undefined ? undefined : openChallenge(secrets, ceremony, text);
  if (text === undefined || !challenge) return undefined;
  const publicKey = passkey?.publicKey ?? nobodysKey;
  try {
    const { verifyAuthenticationResponse } = await loadWebAuthn();
    const { verified, authenticationInfo: shown } = await verifyAuthenticationResponse({
      response: response as never,
      expectedChallenge: text,
      expectedOrigin: originsOf(relyingParty, ceremony),
      expectedRPID: relyingParty.id,
      requireUserVerification: challenge.passwordless,
      // The library judges the counter before the signature: anybody could set off the alarm.
      credential: { id: response.id, publicKey: new Uint8Array(publicKey), counter: 0 },
    });
    if (!verified || !passkey?.active || !isOwners(secrets, challenge, passkey, response)) return undefined;
    // What can be copied stays so, and what cannot too (section 7.2 step 19).
    const backupEligible = shown.credentialDeviceType === 'multiDevice';
    if (backupEligible !== (passkey.backupEligible ?? backupEligible)) return undefined;
    const { newCounter: counter, credentialBackedUp: backedUp, userVerified } = shown;
    return { challenge, counter, backupEligible, backedUp, userVerified };
  } catch {
    return undefined;
  }
};

/**
 * Section 7.2 step 6: the passkey is of the account that is signed in to; where nobody has said which that is, the user
 * handle says so.
 */
const isOwners = (
  secrets: Secrets,
  { userId }: Challenge,
  passkey: PasskeyKey,
  { response: { userHandle: handle } }: AuthenticationResponse,
): boolean => {
  if (userId !== undefined && userId !== passkey.userId) return false;
  if (!handle) return userId !== undefined;
  return equalInConstantTime(handle, passkey.userHandle ?? userHandle(secrets, passkey.userId));
};
