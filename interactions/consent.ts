/** The `consent` prompt: what an application asks for, in words. */
import type { Db } from '../db/connect.ts';
import { isTrusted } from '../src/clients/standing.queries.ts';
import { AppError } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import { grantConsent } from '../src/sessions/sessions.commands.ts';
import { findConsent } from '../src/sessions/sessions.queries.ts';
import { findUser } from '../src/users/users.queries.ts';
import type { Interaction, Step } from './interactions.ts';
import type { Pages } from './pages.ts';

interface Missing {
  missingOIDCScope?: string[];
  missingOIDCClaims?: string[];
  missingResourceScopes?: Record<string, string[]>;
}

const missingOf = ({ prompt }: Interaction) => {
  const { missingOIDCScope = [], missingOIDCClaims = [], missingResourceScopes = {} } = prompt.details as Missing;
  return { scopes: missingOIDCScope, claims: missingOIDCClaims, resources: missingResourceScopes };
};

export const consent = ({ db, pages }: { db: Db; pages: Pages }): Step => {
  const load = async ({ session, params }: Interaction) => {
    const [user, client] = await Promise.all([
      session ? findUser(db, session.accountId) : undefined,
      pages.client(params.client_id as string),
    ]);
    if (!user || !client) throw new AppError(400, 'session_not_found', 'the session or the client is gone');
    return { user, client };
  };

  return {
    show: async (ctx, interaction) => {
      const { user, client } = await load(interaction);
      const { uid, params } = interaction;
      const { scopes, claims, resources } = missingOf(interaction);
      const before = await findConsent(db, user.id, client.clientId);
      const trusted = await isTrusted(db, client.clientId, user.id);
      const action = `/interaction/${uid}`;
      pages.show(
        ctx,
        'consent',
        {
          action,
          cancelAction: `${action}/abort`,
          switchAccountAction: `${action}/switch`,
          account: { name: user.name, email: user.email },
          ...(client.clientUri ? { clientUri: client.clientUri } : {}),
          ...(client.policyUri ? { policyUri: client.policyUri } : {}),
          ...(client.tosUri ? { tosUri: client.tosUri } : {}),
          // Until administrators can vouch for an application, only the operator's own is known to be what it says.
          verified: trusted,
          firstParty: trusted,
          scopes,
          claims,
          resources: Object.entries(resources).map(([indicator, scopes]) => ({ indicator, scopes })),
          alreadyGranted: [...(before?.scopes ?? []), ...(before?.claims ?? [])],
          redirectHost: URL.parse(String(params.redirect_uri))?.host || String(params.redirect_uri),
        },
        { client, signedInAs: user.email, uiLocales: params.ui_locales as string | undefined },
      );
      return undefined;
    },

    submit: async (ctx, interaction) => {
      const { user, client } = await load(interaction);
      await grantConsent(
        db,
        { ...actorOf(ctx), type: 'user', id: user.id },
        user.id,
        client.clientId,
        missingOf(interaction),
        interaction.iat,
      );
      return { consent: {} };
    },
  };
};
