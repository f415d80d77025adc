/** The `consent` prompt: what an application asks for, in words. */
import type { Db } from '../db/connect.ts';
import { findStanding, isOwnTo, isVouchedFor } from '../src/clients/standing.queries.ts';
import { AppError } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import type { Detail, DetailsTypes } from '../src/provider/authorization-details.ts';
import { fillIn, inLanguage, readMembers } from '../src/provider/authorization-details-text.ts';
import { findUserAccess } from '../src/roles/access.queries.ts';
import { grantConsent } from '../src/sessions/sessions.commands.ts';
import { findConsent } from '../src/sessions/sessions.queries.ts';
import { findUser } from '../src/users/users.queries.ts';
import { type Interaction, isForDevice, type Step } from './interactions.ts';
import { organizationFor } from './organization.ts';
import type { Pages } from './pages.ts';
import { describeResources } from './resources.ts';

interface Missing {
  missingOIDCScope?: string[];
  missingOIDCClaims?: string[];
  missingResourceScopes?: Record<string, string[]>;
  /** The engine's name for authorization details. */
  rar?: Detail[];
}

const missingOf = ({ prompt }: Interaction) => {
  const { missingOIDCScope = [], missingOIDCClaims = [], missingResourceScopes = {} } = prompt.details as Missing;
  return { scopes: missingOIDCScope, claims: missingOIDCClaims, resources: missingResourceScopes };
};

/** Authorization details as the page tells them; the engine has refused types that are not registered. */
const inWords = (types: DetailsTypes, { rar = [] }: Missing, locale: string) =>
  rar.flatMap((detail) => {
    const type = types[detail.type];
    if (!type) return [];
    const text = type.text && fillIn(inLanguage(type.text, locale), detail);
    return [{ title: inLanguage(type.title, locale), ...(text ? { text } : {}), members: readMembers(detail) ?? [] }];
  });

const redirectHostOf = (uri: unknown): string => URL.parse(String(uri))?.host || String(uri);

export const consent = ({ db, pages, detailsTypes }: { db: Db; pages: Pages; detailsTypes: DetailsTypes }): Step => {
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
      const standing = await findStanding(db, client.clientId);
      const access = await findUserAccess(db, user.id);
      const trusted = isOwnTo(standing, access);
      const action = `/interaction/${uid}`;
      const chosen = await organizationFor(db, interaction, client, user.id);
      pages.show(
        ctx,
        'consent',
        {
          action,
          cancelAction: `${action}/abort`,
          ...(isForDevice(interaction)
            ? {}
            : { switchAccountAction: `${action}/switch`, redirectHost: redirectHostOf(params.redirect_uri) }),
          account: { name: user.name, email: user.email },
          ...(chosen?.kind === 'chosen' ? { organization: chosen.organization.name } : {}),
          ...(client.clientUri ? { clientUri: client.clientUri } : {}),
          ...(client.policyUri ? { policyUri: client.policyUri } : {}),
          ...(client.tosUri ? { tosUri: client.tosUri } : {}),
          verified: trusted || isVouchedFor(standing, access?.rank),
          ...(client.kind === 'metadata-document' ? { comesFrom: new URL(client.clientId).host } : {}),
          firstParty: trusted,
          scopes,
          claims,
          resources: (await describeResources(db, [resources])).flat(),
          details: inWords(
            detailsTypes,
            interaction.prompt.details as Missing,
            pages.locale(ctx, params.ui_locales as string | undefined),
          ),
          alreadyGranted: [...(before?.scopes ?? []), ...(before?.claims ?? [])],
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
