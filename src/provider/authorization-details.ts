/**
 * Rich Authorization Requests (RFC 9396): the types that the operator has registered in AUTHORIZATION_DETAILS_PATH. A detail
 * is for this request alone: the person is asked each time, and what they allowed goes into the code and from there into the
 * tokens.
 */
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { z } from 'zod';
import { readMembers } from './authorization-details-text.ts';

/** Texts by language; `en` is what others fall back to. */
const Texts = z
  .record(z.string().regex(/^[a-z]{2,3}(-[A-Za-z0-9]+)*$/), z.string().min(1).max(1000))
  .refine((texts) => 'en' in texts, 'needs a text in English (en)');

/** The file: for each type what it is called, what it means in a sentence, and the JSON Schema of its members. */
const Types = z.record(
  z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/),
  z.strictObject({
    title: Texts,
    /** `{a.b}` stands for a member of the detail. */
    text: Texts.optional(),
    schema: z.looseObject({ type: z.literal('object') }),
  }),
);

export interface DetailsType {
  title: Readonly<Record<string, string>>;
  text?: Readonly<Record<string, string>> | undefined;
  /** Of the members beside those that RFC 9396 section 2 names. */
  schema: z.ZodType;
}
export type DetailsTypes = Readonly<Record<string, DetailsType>>;

/** Members that every type may have; the engine checks their form. */
const commonMembers = ['type', 'locations', 'actions', 'datatypes', 'privileges', 'identifier'];
/** What a person can be asked to read at once. */
const detailsMax = 10;
const detailCharsMax = 4000;

/** @throws Error that says what is wrong with the file */
export const parseDetailsTypes = (json: string): DetailsTypes => {
  const parsed = Types.safeParse(JSON.parse(json));
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error));
  return Object.fromEntries(
    Object.entries(parsed.data).map(([type, { title, text, schema }]) => [
      type,
      { title, text, schema: z.fromJSONSchema(schema as never) },
    ]),
  );
};

/** @throws Error that names the setting */
export const readDetailsTypes = async (path: string | undefined): Promise<DetailsTypes> => {
  if (path === undefined) return {};
  try {
    return parseDetailsTypes(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new Error(`AUTHORIZATION_DETAILS_PATH: ${path}: ${(cause as Error).message}`, { cause });
  }
};

export interface Detail {
  type: string;
  locations?: string[];
  [member: string]: unknown;
}

const parseDetails = (value: unknown): Detail[] | undefined => {
  if (typeof value !== 'string') return undefined;
  try {
    const details = JSON.parse(value) as unknown;
    return Array.isArray(details) ? (details as Detail[]) : undefined;
  } catch {
    return undefined;
  }
};

/** @throws InvalidAuthorizationDetails (RFC 9396 section 5) */
const assertDetail = ({ schema }: DetailsType, detail: Detail): void => {
  // What could not be shown in full could not be agreed to.
  if (JSON.stringify(detail).length > detailCharsMax || readMembers(detail) === undefined)
    throw new errors.InvalidAuthorizationDetails(`${detail.type}: too long, or nested too deeply`);
  const own = Object.fromEntries(Object.entries(detail).filter(([name]) => !commonMembers.includes(name)));
  const named = Object.fromEntries(Object.entries(detail).filter(([name]) => commonMembers.includes(name)));
  // A schema may say more of the common members, or nothing.
  const [strict, lenient] = [schema.safeParse({ ...named, ...own }), schema.safeParse(own)];
  if (strict.success || lenient.success) return;
  const fields = [
    ...new Set(lenient.error.issues.map(({ path, message }) => `${path.join('.') || 'detail'}: ${message}`)),
  ];
  throw new errors.InvalidAuthorizationDetails(`${detail.type}: ${fields.join('; ')}`.slice(0, 300));
};

/** Of what was granted that which the token request names, or all; of that what the token's resource is meant by. */
const detailsForToken = (ctx: KoaContextWithOIDC, token: object, granted: Detail[]): Detail[] | undefined => {
  const wanted = parseDetails(ctx.oidc.params?.authorization_details);
  if (ctx.oidc.params?.authorization_details !== undefined) {
    // RFC 9396 section 7: a token request can narrow, never add.
    if (!wanted?.every((detail) => granted.some((one) => isDeepStrictEqual(one, detail))))
      throw new errors.InvalidAuthorizationDetails('the authorization_details were not granted');
  }
  const resource = (token as { resourceServer?: { identifier(): string } }).resourceServer?.identifier();
  const meant = (wanted?.length ? wanted : granted).filter(
    ({ locations }) => !resource || !locations || locations.includes(resource),
  );
  return meant.length ? meant : undefined;
};

/** `features.richAuthorizationRequests`. */
export const richAuthorizationRequests = (types: DetailsTypes) => ({
  enabled: Object.keys(types).length > 0,
  types: Object.fromEntries(
    Object.entries(types).map(([name, type]) => [
      name,
      {
        validate: (ctx: KoaContextWithOIDC, detail: object) => {
          if ((parseDetails(ctx.oidc.params?.authorization_details)?.length ?? 0) > detailsMax)
            throw new errors.InvalidAuthorizationDetails(`more than ${detailsMax} authorization_details`);
          assertDetail(type, detail as Detail);
        },
      },
    ]),
  ),
  // The consent page was shown for this very request: the engine asks whenever there are any.
  authorizationDetailsForGrantSource: (ctx: KoaContextWithOIDC) => parseDetails(ctx.oidc.params?.authorization_details),
  authorizationDetailsForAccessToken: (
    ctx: KoaContextWithOIDC,
    token: object,
    source: { rar?: Detail[] } | undefined,
  ) => {
    if (!source) throw new errors.InvalidAuthorizationDetails('nobody has granted any authorization_details');
    return detailsForToken(ctx, token, source.rar ?? []);
  },
  authorizationDetailsForIntrospection: (_ctx: KoaContextWithOIDC, token: { rar?: Detail[] }) => token.rar,
});
