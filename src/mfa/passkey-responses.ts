/** What a browser sends of a WebAuthn ceremony (`PublicKeyCredential.toJSON`), read as bytes from a stranger. */
import { z } from 'zod';

/** Without padding, and never of a length that no bytes have. */
const bytes = (lengthMax: number) =>
  z
    .string()
    .min(1)
    .max(Math.ceil((lengthMax * 4) / 3))
    .regex(/^[\w-]+$/, 'is not base64url')
    .refine((text) => text.length % 4 !== 1, 'is not base64url');

/** WebAuthn Level 3 section 4: at most 1023 bytes. */
const credentialId = bytes(1023);
const transport = z
  .string()
  .max(32)
  .regex(/^[a-z-]+$/, 'is not a transport');
const extensions = z.object({
  credProps: z
    .object({ rk: z.boolean().optional().catch(undefined) })
    .optional()
    .catch(undefined),
});

const credential = {
  id: credentialId.meta({ example: 'mZ0rT9wB4kQ7xL2v' }),
  rawId: credentialId.meta({ example: 'mZ0rT9wB4kQ7xL2v' }),
  type: z.literal('public-key'),
  clientExtensionResults: extensions.default({}),
};

/** `RegistrationResponseJSON` (WebAuthn Level 3 section 5.1.8). */
export const RegistrationResponse = z
  .object({
    ...credential,
    response: z.object({
      clientDataJSON: bytes(4096).meta({ example: 'eyJ0eXBlIjoid2ViYXV0aG4uY3JlYXRlIn0' }),
      attestationObject: bytes(16_384).meta({ example: 'o2NmbXRkbm9uZQ' }),
      transports: z.array(transport).max(10).default([]),
    }),
  })
  .refine(({ id, rawId }) => id === rawId, 'id and rawId differ')
  .meta({
    id: 'PasskeyRegistrationResponse',
    description: 'What `PublicKeyCredential.toJSON()` gives after `create()`',
  });
export type RegistrationResponse = z.output<typeof RegistrationResponse>;

/** `AuthenticationResponseJSON`. */
export const AuthenticationResponse = z
  .object({
    ...credential,
    response: z.object({
      clientDataJSON: bytes(4096).meta({ example: 'eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0' }),
      authenticatorData: bytes(4096).meta({ example: 'SZYN5YgOjGh0NBcPZHZgW4' }),
      signature: bytes(2048).meta({ example: 'MEUCIQDk' }),
      userHandle: bytes(64).nullish().meta({ example: 'b8fTq2' }),
    }),
  })
  .refine(({ id, rawId }) => id === rawId, 'id and rawId differ')
  .meta({ id: 'PasskeyAssertion', description: 'What `PublicKeyCredential.toJSON()` gives after `get()`' });
export type AuthenticationResponse = z.output<typeof AuthenticationResponse>;

const ClientData = z.object({ challenge: z.string().max(2048), crossOrigin: z.boolean().optional() });

/**
 * The challenge that the client data names; everything else in it is checked with the signature.
 * @returns undefined when there is none, or the page that asked was in a frame of somebody else's (section 7.2 step 12)
 */
export const challengeOf = (clientDataJSON: string): string | undefined => {
  try {
    const data = ClientData.parse(JSON.parse(Buffer.from(clientDataJSON, 'base64url').toString()));
    return data.crossOrigin ? undefined : data.challenge;
  } catch {
    return undefined;
  }
};
