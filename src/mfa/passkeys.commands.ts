/**
 * Passkeys (WebAuthn Level 3): adding them, and checking what one has signed. The challenge says by
 * itself what it was made for; it is used up in the transaction of what it is used for.
 */
import type {
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
} from '@simplewebauthn/server';
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { consumeOnce } from '../consumed-tokens.ts';
import { conflict } from '../errors.ts';
import { createBackupCodes } from './backup-codes.commands.ts';
import { type FactorDeps, lockForNewFactor, type Standing } from './factor-changes.ts';
import { findFactors, hasStrongFactor } from './factors.queries.ts';
import {
  checkAssertion,
  checkRegistration,
  invalidPasskey,
  isDiscoverable,
  type RelyingParty,
  userHandle,
} from './passkey-ceremonies.ts';
import { challengeMs, createChallenge, type Registering, type SigningIn } from './passkey-challenges.ts';
import { loadWebAuthn, passkeyAlgorithms } from './passkey-library.ts';
import type { AuthenticationResponse, RegistrationResponse } from './passkey-responses.ts';
import { findPasskey, findPasskeyKey, listDescriptors, type Passkey, usePasskey } from './passkeys.queries.ts';

/** How many passkeys one person may have. */
export const passkeysMax = 10;

export interface PasskeyDeps extends FactorDeps {
  relyingParty: RelyingParty;
}
type VerifyDeps = Pick<PasskeyDeps, 'db' | 'secrets' | 'relyingParty' | 'tellOwner'>;

const descriptorsOf = async (db: Db, userId: string) =>
  (await listDescriptors(db, userId)).map(({ credentialId, transports }) => ({
    id: credentialId,
    transports: transports as never,
  }));

/** What a browser is to be asked so that it makes a passkey: the argument of `parseCreationOptionsFromJSON`. */
export const passkeyRegistrationOptions = async (
  { db, secrets, relyingParty }: Pick<PasskeyDeps, 'db' | 'secrets' | 'relyingParty'>,
  { email, name, ...ceremony }: Omit<Registering, 'kind'> & { email: string; name: string },
): Promise<PublicKeyCredentialCreationOptionsJSON> =>
  (await loadWebAuthn()).generateRegistrationOptions({
    rpName: relyingParty.name,
    rpID: relyingParty.id,
    userID: new Uint8Array(Buffer.from(userHandle(secrets, ceremony.userId), 'base64url')),
    // What the person tells accounts apart by, in the authenticator's own list.
    userName: email,
    userDisplayName: name,
    challenge: new Uint8Array(createChallenge(secrets, { kind: 'register', ...ceremony })),
    timeout: challengeMs,
    attestationType: 'none',
    excludeCredentials: await descriptorsOf(db, ceremony.userId),
    authenticatorSelection: {
      residentKey: ceremony.passwordless ? 'required' : 'preferred',
      userVerification: ceremony.passwordless ? 'required' : 'preferred',
    },
    supportedAlgorithmIDs: passkeyAlgorithms,
  });

/** What a browser is to be asked so that it shows a passkey: the argument of `parseRequestOptionsFromJSON`. */
export const passkeySignInOptions = async (
  { db, secrets, relyingParty }: Pick<PasskeyDeps, 'db' | 'secrets' | 'relyingParty'>,
  ceremony: SigningIn,
): Promise<PublicKeyCredentialRequestOptionsJSON> =>
  (await loadWebAuthn()).generateAuthenticationOptions({
    rpID: relyingParty.id,
    challenge: new Uint8Array(createChallenge(secrets, ceremony)),
    timeout: challengeMs,
    userVerification: ceremony.kind === 'sign-in' ? 'required' : 'preferred',
    // Nobody who has not said who they are learns which passkeys an account has.
    ...(ceremony.userId ? { allowCredentials: await descriptorsOf(db, ceremony.userId) } : {}),
  });

export interface AddedPasskey {
  passkey: Passkey;
  /** Shown this once; none for somebody who has some already. */
  backupCodes: string[];
}

/**
 * Adds a passkey, and tells the owner by mail. With the first factor come backup codes, and browsers that were remembered
 * are so no longer.
 * @throws AppError 400 invalid_passkey, 401 invalid_token when the standing is gone, 403 email_not_verified,
 *   409 passkey_exists or passkey_limit_reached
 */
export const registerPasskey = async (
  deps: PasskeyDeps,
  db: Db,
  actor: Actor,
  { name, response, ...asked }: { userId: string; standing: Standing; name: string; response: RegistrationResponse },
): Promise<AddedPasskey> => {
  const { userId, standing } = asked;
  const { challenge, made } = await checkRegistration(deps, { kind: 'register', ...asked }, response);
  return transact(db, async (db) => {
    await lockForNewFactor(db, userId, standing);
    if (!(await consumeOnce(db, challenge.id, challenge.expiresAt))) throw invalidPasskey();
    const before = await findFactors(db, userId);
    if (before.passkeys >= passkeysMax)
      throw conflict('passkey_limit_reached', `There are ${passkeysMax} passkeys already; remove one first`);
    const id = uuid();
    const inserted = await db('passkeys')
      .insert({
        id,
        userId,
        credentialId: made.credential.id,
        publicKey: Buffer.from(made.credential.publicKey),
        counter: made.credential.counter,
        transports: JSON.stringify([...new Set(response.response.transports)]),
        aaguid: made.aaguid,
        discoverable: isDiscoverable(response, made),
        backupEligible: made.credentialDeviceType === 'multiDevice',
        backedUp: made.credentialBackedUp,
        name,
      })
      .onConflict('credentialId')
      .ignore()
      .returning('id');
    // Section 7.1 step 26: a credential belongs to one account.
    if (!inserted.length) throw conflict('passkey_exists', 'This passkey was added before');
    const backupCodes = before.backupCodes ? [] : await createBackupCodes(db, deps.secrets, userId);
    if (!hasStrongFactor(before)) await deps.forgetBrowsers(db, userId);
    await recordEvent(db, actor, {
      action: 'factor.add',
      target: userTarget(userId),
      meta: { factor: 'passkey', id, backupCodes: backupCodes.length },
    });
    await deps.tellOwner(db, actor, userId, 'passkey-added');
    return { passkey: (await findPasskey(db, userId, id)) as Passkey, backupCodes };
  });
};

/** What a passkey has shown. */
export interface PasskeyProof {
  userId: string;
  passkeyId: string;
  /** RFC 8176: possession; and the person, where the authenticator has verified them, which makes it two factors. */
  amr: string[];
  /**
   * Uses the challenge up and notes the counter: do it in the transaction of what the proof is for.
   * @throws AppError 400 invalid_passkey when either was used meanwhile
   */
  effect(db: Db): Promise<void>;
}

/**
 * Checks what a passkey has signed. One that is not known, is of somebody else's, or of an account that is not active looks
 * and costs the same as a wrong signature.
 * @returns undefined when it proves nothing
 */
export const verifyPasskey = async (
  deps: VerifyDeps,
  actor: Actor,
  ceremony: SigningIn,
  response: AuthenticationResponse,
): Promise<PasskeyProof | undefined> => {
  const { db } = deps;
  const passkey = await findPasskeyKey(db, response.id);
  const checked = await checkAssertion(deps, ceremony, response, passkey);
  if (!checked || !passkey) return undefined;
  const { challenge, userVerified, ...use } = checked;
  const { counter } = use;
  const { id, userId } = passkey;
  if (counter <= passkey.counter && (counter > 0 || passkey.counter > 0)) {
    await db.transaction(async (db) => {
      // The same answer again is no second alarm.
      if (!(await consumeOnce(db, challenge.id, challenge.expiresAt))) return;
      await recordEvent(db, actor, { action: 'passkey.refuse', target: userTarget(userId), meta: { id } });
      await deps.tellOwner(db, actor, userId, 'passkey-refused');
    });
    return undefined;
  }
  return {
    userId,
    passkeyId: id,
    amr: userVerified ? ['pop', 'user', 'mfa'] : ['pop'],
    effect: async (db) => {
      const used = (await consumeOnce(db, challenge.id, challenge.expiresAt)) && (await usePasskey(db, id, use));
      if (!used) throw invalidPasskey();
    },
  };
};
