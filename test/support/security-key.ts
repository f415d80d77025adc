/** A passkey's other half: a software authenticator and the browser around it, with real keys, that can also lie. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

type Cbor = number | string | Uint8Array | Map<number | string, Cbor> | Cbor[];

const head = (major: number, value: number): Buffer => {
  if (value < 24) return Buffer.from([(major << 5) | value]);
  if (value < 256) return Buffer.from([(major << 5) | 24, value]);
  const long = Buffer.alloc(3);
  long[0] = (major << 5) | 25;
  long.writeUInt16BE(value, 1);
  return long;
};

/** As much of RFC 8949 as authenticators need. */
export const encodeCbor = (value: Cbor): Buffer => {
  if (typeof value === 'number') return value >= 0 ? head(0, value) : head(1, -1 - value);
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (value instanceof Uint8Array) return Buffer.concat([head(2, value.length), value]);
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(encodeCbor)]);
  return Buffer.concat([
    head(5, value.size),
    ...[...value].flatMap(([key, item]) => [encodeCbor(key), encodeCbor(item)]),
  ]);
};

const sha256 = (bytes: string | Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');

export type KeyKind = 'ES256' | 'EdDSA' | 'RS256';

/** What the browser or the authenticator says that is not so. */
export interface Lies {
  origin?: string;
  rpId?: string;
  challenge?: string;
  type?: string;
  crossOrigin?: boolean;
  userPresent?: boolean;
  userVerified?: boolean;
  counter?: number;
  /** COSE algorithm. */
  alg?: number;
  /** The whole COSE key. */
  publicKey?: Map<number, Cbor>;
  attestation?: { fmt: string; statement: Map<string, Cbor> };
  backupEligible?: boolean;
  backedUp?: boolean;
  userHandle?: string | null;
  credentialId?: string;
  signature?: Buffer;
  /** `credProps.rk`, or nothing about it. */
  discoverable?: boolean | undefined;
}

/** Options as the service gives them in JSON. */
// biome-ignore lint/suspicious/noExplicitAny: what the service answers is what is tested
type Options = any;

/** One credential of one authenticator. */
export class SecurityKey {
  readonly origin: string;
  readonly credentialId = randomBytes(32);
  readonly #pair: { publicKey: KeyObject; privateKey: KeyObject };
  readonly #kind: KeyKind;
  readonly #synced: boolean;
  /** Stays 0 where the authenticator does not count. */
  counter: number;
  readonly #counts: boolean;
  userHandle: string | undefined;

  constructor(
    origin: string,
    { kind = 'ES256', synced = false, counts = true }: { kind?: KeyKind; synced?: boolean; counts?: boolean } = {},
  ) {
    this.origin = origin;
    this.#kind = kind;
    this.#synced = synced;
    this.#counts = counts;
    this.counter = 0;
    this.#pair =
      kind === 'ES256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : kind === 'EdDSA'
          ? generateKeyPairSync('ed25519')
          : generateKeyPairSync('rsa', { modulusLength: 2048 });
  }

  /** COSE_Key (RFC 9053). */
  #cose(alg: number | undefined): Map<number, Cbor> {
    const jwk = this.#pair.publicKey.export({ format: 'jwk' });
    const bytes = (member: 'x' | 'y' | 'n' | 'e') => Buffer.from(jwk[member] as string, 'base64url');
    if (this.#kind === 'ES256')
      return new Map<number, Cbor>([
        [1, 2],
        [3, alg ?? -7],
        [-1, 1],
        [-2, bytes('x')],
        [-3, bytes('y')],
      ]);
    if (this.#kind === 'EdDSA')
      return new Map<number, Cbor>([
        [1, 1],
        [3, alg ?? -8],
        [-1, 6],
        [-2, bytes('x')],
      ]);
    return new Map<number, Cbor>([
      [1, 3],
      [3, alg ?? -257],
      [-1, bytes('n')],
      [-2, bytes('e')],
    ]);
  }

  #clientData(type: string, options: Options, lies: Lies): Buffer {
    return Buffer.from(
      JSON.stringify({
        type: lies.type ?? type,
        challenge: lies.challenge ?? options.challenge,
        origin: lies.origin ?? this.origin,
        crossOrigin: lies.crossOrigin ?? false,
      }),
    );
  }

  #authData(rpId: string, lies: Lies, attested?: Buffer): Buffer {
    const counter = Buffer.alloc(4);
    if (this.#counts) this.counter += 1;
    counter.writeUInt32BE(lies.counter ?? this.counter);
    const flags =
      ((lies.userPresent ?? true) ? 1 : 0) |
      ((lies.userVerified ?? true) ? 4 : 0) |
      ((lies.backupEligible ?? this.#synced) ? 8 : 0) |
      ((lies.backedUp ?? this.#synced) ? 16 : 0) |
      (attested ? 64 : 0);
    return Buffer.concat([sha256(lies.rpId ?? rpId), Buffer.from([flags]), counter, ...(attested ? [attested] : [])]);
  }

  #sign(bytes: Buffer): Buffer {
    return sign(this.#kind === 'EdDSA' ? null : 'sha256', bytes, this.#pair.privateKey);
  }

  /** `navigator.credentials.create`, then `toJSON`. */
  create(options: Options, lies: Lies = {}) {
    this.userHandle = options.user.id;
    const id = lies.credentialId ? Buffer.from(lies.credentialId, 'base64url') : this.credentialId;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(id.length);
    const key = encodeCbor(lies.publicKey ?? this.#cose(lies.alg));
    const authData = this.#authData(options.rp.id, lies, Buffer.concat([Buffer.alloc(16), length, id, key]));
    const { fmt, statement } = lies.attestation ?? { fmt: 'none', statement: new Map<string, Cbor>() };
    const attestationObject = encodeCbor(
      new Map<string, Cbor>([
        ['fmt', fmt],
        ['attStmt', statement],
        ['authData', authData],
      ]),
    );
    return {
      id: base64url(id),
      rawId: base64url(id),
      type: 'public-key' as const,
      authenticatorAttachment: 'cross-platform',
      clientExtensionResults: {
        credProps: 'discoverable' in lies ? { rk: lies.discoverable } : { rk: true },
      },
      response: {
        clientDataJSON: base64url(this.#clientData('webauthn.create', options, lies)),
        attestationObject: base64url(attestationObject),
        transports: ['usb', 'hybrid'],
      },
    };
  }

  /** `navigator.credentials.get`, then `toJSON`. */
  get(options: Options, lies: Lies = {}) {
    const clientData = this.#clientData('webauthn.get', options, lies);
    const authData = this.#authData(options.rpId, lies);
    const id = lies.credentialId ?? base64url(this.credentialId);
    const userHandle = 'userHandle' in lies ? lies.userHandle : this.userHandle;
    return {
      id,
      rawId: id,
      type: 'public-key' as const,
      authenticatorAttachment: 'cross-platform',
      clientExtensionResults: {},
      response: {
        clientDataJSON: base64url(clientData),
        authenticatorData: base64url(authData),
        signature: base64url(lies.signature ?? this.#sign(Buffer.concat([authData, sha256(clientData)]))),
        ...(userHandle === undefined ? {} : { userHandle }),
      },
    };
  }
}
