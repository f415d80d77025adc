/**
 * `organization` at the authorization endpoint: the organization that somebody signs in for. It is one that they are a member of,
 * by its id, or with `select` one that they choose; a client with `require_organization` asks for that by itself.
 *
 * What comes of such a sign-in is for that organization alone. The choice is kept in the code, the refresh tokens and the access
 * tokens, not in the Grant: a session has one Grant for a client, and tokens of two organizations may come of it.
 */
import { type Client, errors, interactionPolicy, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Db } from '../../db/connect.ts';
import { findUserAccess, isId, type Membership, type UserAccess } from '../roles/access.queries.ts';

/** The name of the prompt, and of the claim that somebody agrees to. */
export const organizationPrompt = 'organization';
const select = 'select';

/** What a person has answered on the page; another account's answer counts for nobody else. */
export interface OrganizationAnswer {
  id: string;
  accountId: string;
}

export type OrganizationChoice =
  | { kind: 'chosen'; organization: Membership }
  /** The person is to choose. */
  | { kind: 'ask'; among: Membership[] }
  /** They belong to none. */
  | { kind: 'none' }
  /** They do not belong to the one that the application wants. */
  | { kind: 'stranger' };

/** `extraParams` of the engine: wherever an authorization request begins, pushed, signed and from a device too. */
export const organizationParameter = {
  organization: (ctx: KoaContextWithOIDC, value: string | undefined, client: Client): void => {
    // Nobody could choose, and whether somebody belongs to an organization is not for an application to ask without them.
    if (ctx.oidc.route === 'backchannel_authentication' && (value !== undefined || client.require_organization))
      throw new errors.InvalidRequest('a backchannel request cannot be for an organization');
    if (value !== undefined && value !== select && !isId(value))
      throw new errors.InvalidRequest(`organization must be the id of one, or ${select}`);
  },
};

/** What a request wants: an id, `select`, or undefined when it is for no organization. */
export const wantedOrganization = (
  params: Readonly<Record<string, unknown>> | undefined,
  client: Readonly<Record<string, unknown>> | undefined,
): string | undefined =>
  (params?.organization as string | undefined) ?? (client?.require_organization ? select : undefined);

/** @param answer what was answered on the page, in this request */
export const chooseOrganization = (
  { organizations }: Pick<UserAccess, 'organizations'>,
  wanted: string,
  answer?: string,
): OrganizationChoice => {
  const named = wanted === select ? answer : wanted;
  const organization = organizations.find(({ id }) => id === named);
  if (organization) return { kind: 'chosen', organization };
  if (wanted !== select) return { kind: 'stranger' };
  const [first, ...others] = organizations;
  if (!first) return { kind: 'none' };
  return others.length ? { kind: 'ask', among: organizations } : { kind: 'chosen', organization: first };
};

/** What was chosen in a request, once its checks have passed. */
const chosen = new WeakMap<object, string>();

interface WithOrganization {
  organizationId?: string | undefined;
  accountId?: string;
}

const wantedOf = ({ oidc }: KoaContextWithOIDC) => wantedOrganization(oidc.params, oidc.client);

/** The organization that the tokens of this request are for, whatever it redeems; undefined for none. */
export const organizationOf = ({ oidc }: KoaContextWithOIDC): string | undefined => {
  const entities = oidc.entities as Record<string, WithOrganization | undefined>;
  const { RefreshToken, AuthorizationCode, DeviceCode, AccessToken } = entities;
  return chosen.get(oidc) ?? (RefreshToken ?? AuthorizationCode ?? DeviceCode ?? AccessToken)?.organizationId;
};

/** Claims that a request asks for without naming them: whoever is told the organization is told so with consent. */
export const organizationClaims = (ctx: KoaContextWithOIDC): string[] => (wantedOf(ctx) ? [organizationPrompt] : []);

/** The prompt, which comes between signing in and consent: that is to say which organization it is for. */
export const createOrganizationPrompt = (db: Db) => {
  const { Check, Prompt } = interactionPolicy;
  return new Prompt(
    { name: organizationPrompt, requestable: false },
    // Else an application could ask in silence, before anybody has agreed to anything, who belongs where.
    new Check(
      'organization_consent',
      'the End-User has not agreed to tell the organization',
      'consent_required',
      (ctx) => {
        const { account, prompts, grant } = ctx.oidc;
        if (!account || !wantedOf(ctx) || !prompts.has('none')) return false;
        return !grant?.getOIDCClaims().includes(organizationPrompt);
      },
    ),
    new Check(
      'organization',
      'an organization must be chosen',
      'interaction_required',
      async (ctx: KoaContextWithOIDC) => {
        const { oidc } = ctx;
        const wanted = wantedOf(ctx);
        const accountId = oidc.account?.accountId;
        if (!wanted || !accountId) return false;
        const answer = oidc.result?.[organizationPrompt] as OrganizationAnswer | undefined;
        const access = await findUserAccess(db, accountId);
        const choice = chooseOrganization(
          access ?? { organizations: [] },
          wanted,
          answer?.accountId === accountId ? answer.id : undefined,
        );
        if (choice.kind !== 'chosen') return true;
        chosen.set(oidc, choice.organization.id);
        return false;
      },
    ),
  );
};

/** The engine's model classes, of which the published types leave most out. */
interface Model {
  readonly IN_PAYLOAD: readonly string[];
  prototype: { save(...args: unknown[]): Promise<string> };
}

/** What a new token or code takes its organization from. */
const inherited = (kind: string, token: { accountId?: string }, ctx: KoaContextWithOIDC): string | undefined => {
  const { RotatedRefreshToken, RefreshToken, AuthorizationCode, DeviceCode } = ctx.oidc.entities as Record<
    string,
    WithOrganization | undefined
  >;
  if (kind === 'AccessToken') return (RefreshToken ?? AuthorizationCode ?? DeviceCode)?.organizationId;
  if (kind === 'RefreshToken') return (RotatedRefreshToken ?? AuthorizationCode ?? DeviceCode)?.organizationId;
  const organizationId = chosen.get(ctx.oidc);
  // A request for one organization must not end in tokens for all of them, whatever becomes of the checks.
  // A device's code has an account once somebody has let the device in.
  if (token.accountId && wantedOf(ctx) && !organizationId) throw new errors.AccessDenied('no organization was chosen');
  return organizationId;
};

/**
 * Attached to every instance: codes and tokens carry `organizationId`, one member more of what the engine stores of them. It
 * copies the members that it knows from a code to its tokens, so each takes this one from what it comes of as it is saved.
 */
export const attachOrganizations = (provider: Provider): void => {
  const models = provider as unknown as Record<string, Model>;
  for (const kind of ['AuthorizationCode', 'DeviceCode', 'RefreshToken', 'AccessToken']) {
    const model = models[kind] as Model;
    const members = [...model.IN_PAYLOAD, 'organizationId'];
    Object.defineProperty(model, 'IN_PAYLOAD', { get: () => members });
    const { save } = model.prototype;
    model.prototype.save = function (this: WithOrganization & Model['prototype'], ...args: unknown[]) {
      const ctx = Provider.ctx as KoaContextWithOIDC | undefined;
      const organizationId = this.organizationId ?? (ctx?.oidc && inherited(kind, this, ctx));
      if (organizationId) this.organizationId = organizationId;
      return save.apply(this, args);
    };
  }
};
