/** The settings of passkeys, which `config.ts` takes in with all others, and the relying party that they make. */
import { isIP } from 'node:net';
import { z } from 'zod';
import type { RelyingParty } from './mfa/passkey-ceremonies.ts';
import { list } from './setting-kinds.ts';

const domain = z
  .string()
  .toLowerCase()
  .regex(/^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'expected a domain such as example.com');

const origins = list.transform((items, context) =>
  items.map((item) => {
    const url = URL.parse(item);
    if (url?.protocol === 'https:' && url.href === `${url.origin}/`) return url.origin;
    context.addIssue({ code: 'custom', message: `${item} is not an https origin such as https://app.example.com` });
    return z.NEVER;
  }),
);

export const passkeySettings = {
  WEBAUTHN_RP_ID: domain.optional().meta({
    description:
      'The domain that passkeys are made for: the issuer’s host unless set, or a registrable domain that it ends in, so that other hosts under it can use them too. Passkeys work for the domain alone that they were made for: changing this makes them useless',
  }),
  WEBAUTHN_ORIGINS: origins.default([]).meta({
    description:
      'Further origins of yours, separated by commas, that may use the passkeys over REST; `/.well-known/webauthn` names them to browsers (related origins)',
  }),
};

type PasskeyValues = Partial<z.output<z.ZodObject<typeof passkeySettings>>> & { JWT_ISSUER?: string | undefined };

/** WebAuthn Level 3 section 5.1.2: the relying party is the host itself, or a domain that it is under and that can be registered. */
export const passkeyMistakes = ({ JWT_ISSUER, WEBAUTHN_RP_ID: id }: PasskeyValues): string[] => {
  if (!id || !JWT_ISSUER) return [];
  const { hostname } = new URL(JWT_ISSUER);
  if (id === hostname) return [];
  if (isIP(hostname.replace(/^\[|\]$/g, '')) || !hostname.endsWith(`.${id}`))
    return [`WEBAUTHN_RP_ID: must be ${hostname}, the issuer’s host, or a domain that it ends in`];
  // A label alone is nobody's; longer public suffixes are refused by browsers.
  return id.includes('.') ? [] : ['WEBAUTHN_RP_ID: nobody can register that domain'];
};

export const relyingPartyOf = ({
  JWT_ISSUER: origin,
  BRAND_NAME: name,
  WEBAUTHN_RP_ID,
  WEBAUTHN_ORIGINS: relatedOrigins = [],
}: PasskeyValues & { JWT_ISSUER: string; BRAND_NAME: string }): RelyingParty => ({
  id: WEBAUTHN_RP_ID ?? new URL(origin).hostname,
  name,
  origin,
  relatedOrigins,
});
