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
  schema: z.ZodType;
  /** The members that the schema speaks of. */
  declared: readonly string[];
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
      {
        title,
        text,
        schema: z.fromJSONSchema(schema as never),
        declared: Object.keys((schema.properties ?? {}) as object),
      },
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

/** What cannot be seen, or turns the writing around, would make a person agree to something else than they read. */
const isShown = (text: string) => !/\p{C}/u.test(text);

/** @throws InvalidAuthorizationDetails (RFC 9396 section 5) */
const assertDetail = ({ schema, declared }: DetailsType, detail: Detail): void => {
  const refuse = (why: string) => new errors.InvalidAuthorizationDetails(`${detail.type}: ${why}`.slice(0, 300));
  // What could not be shown in full could not be agreed to.
  const members = readMembers(detail);
  if (!members || JSON.stringify(detail).length > detailCharsMax) throw refuse('too long, or nested too deeply');
  if (!members.every(({ name, value }) => isShown(name) && isShown(value)))
    throw refuse('contains control or invisible characters');
  // A schema need not speak of the members that every type may have; where it does they are held to it.
  const judged = Object.fromEntries(
    Object.entries(detail).filter(([name]) => declared.includes(name) || !commonMembers.includes(name)),
  );
  const parsed = schema.safeParse(judged);
  if (parsed.success) return;
  const { issues } = parsed.error;
  throw refuse([...new Set(issues.map(({ path, message }) => `${path.join('.') || 'detail'}: ${message}`))].join('; '));
};

/** Of what was granted that which the token request names, or all; of that what the token's resource is meant by. */
const detailsForToken = (ctx: KoaContextWithOIDC, token: object, granted: Detail[]): Detail[] | undefined => {
  // What was sent: the engine takes an empty list for no list, and who asks for nothing would be given everything.
  const sent = ctx.oidc.params?.authorization_details ?? ctx.oidc.body?.authorization_details;
  const wanted = parseDetails(sent);
  if (sent !== undefined) {
    // RFC 9396 section 7: a token request can narrow, never add.
    if (!wanted?.every((detail) => granted.some((one) => isDeepStrictEqual(one, detail))))
      throw new errors.InvalidAuthorizationDetails('the authorization_details were not granted');
  }
  const resource = (token as { resourceServer?: { identifier(): string } }).resourceServer?.identifier();
  const meant = (wanted ?? granted).filter(({ locations }) => !resource || !locations || locations.includes(resource));
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
