/**
 * `grant_type=password` (RFC 6749 section 4.3), for clients that are registered for it. It goes through the one sign-in
 * pipeline: the same limits, the same factors, the same answer for whatever is wrong.
 */
import { errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import type { SignInOutcome } from '../auth/proceed.commands.ts';
import type { SignInInput } from '../auth/sign-in.commands.ts';
import { actorOf } from '../http/actor.ts';
import { findUserAccess } from '../roles/access.queries.ts';
import { asEngineError } from './device-flow.ts';
import { issueTokens, organizationFor, type TokenIssuer } from './issue-tokens.ts';
import { wantedOrganization } from './organization-parameter.ts';
import { checkSenderConstraints } from './sender-constraints.ts';

export type SignInWith = (actor: Actor, input: SignInInput) => Promise<SignInOutcome>;

const text = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(/^\P{Cc}*$/u);
const Parameters = z.object({
  username: text(254),
  password: z.string().min(1).max(1024),
  scope: text(2000).optional(),
  mfa_code: text(64).optional(),
  organization: text(64).optional(),
});

/** The password was right. It is told in words, because no code of RFC 6749 says it. */
const passwordNotAllowed = (): Error =>
  Object.assign(new errors.InvalidGrant('sign-in method not allowed'), {
    error_description: 'an organization of the account does not allow signing in with a password',
  });

export const registerPasswordGrant = (
  provider: Provider,
  issuer: Omit<TokenIssuer, 'provider'>,
  signIn: SignInWith,
): void => {
  const handler = async (ctx: KoaContextWithOIDC): Promise<void> => {
    const { client, params } = ctx.oidc;
    const parsed = Parameters.safeParse(params);
    if (!parsed.success) {
      const fields = [...new Set(parsed.error.issues.map(({ path }) => path.join('.')))];
      throw new errors.InvalidRequest(`missing or unusable: ${fields.join(', ')}`);
    }
    const { username: email, password, scope, mfa_code: mfaCode, organization } = parsed.data;
    const clientId = client?.clientId as string;
    const binding = await checkSenderConstraints(provider, ctx);
    try {
      // Anybody can claim to be a public client; one that has authenticated speaks for many people from one address.
      const relayed = client?.clientAuthMethod !== 'none';
      const wanted = wantedOrganization({ organization }, client);
      const input = {
        ...{ email, password, clientId, relayed, putsOff: true, ...(mfaCode ? { mfaCode } : {}) },
        // Whoever gets no token has not signed in.
        ...(wanted
          ? { effect: async (db: Db, userId: string) => void organizationFor(await findUserAccess(db, userId), wanted) }
          : {}),
      };
      const outcome = await signIn(actorOf(ctx), input);
      if (outcome.kind === 'mfa-required' || outcome.kind === 'enrolment-required') {
        const { mfaToken: mfa_token, methods } = outcome;
        ctx.status = 400;
        ctx.body =
          outcome.kind === 'mfa-required'
            ? { error: 'mfa_required', error_description: 'a second factor is needed', mfa_token, methods }
            : { error: 'enrolment_required', error_description: 'a second factor must be set up', mfa_token, methods };
        return;
      }
      if (outcome.kind === 'wrong-code') throw new errors.InvalidGrant('the code is not right');
      if (outcome.kind === 'refused' && outcome.instead) throw passwordNotAllowed();
      if (outcome.kind === 'refused') throw new errors.InvalidGrant('the credentials are not right');
      ctx.body = await issueTokens({ ...issuer, provider }, actorOf(ctx), outcome, {
        clientId,
        scope,
        binding,
        organization: wanted,
      });
    } catch (error) {
      if (error instanceof errors.AccessDenied) throw new errors.InvalidGrant('the credentials are not right');
      throw asEngineError(ctx, error);
    }
  };
  provider.registerGrantType('password', handler, ['username', 'password', 'scope', 'mfa_code', 'organization']);
};
